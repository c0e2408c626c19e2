"""② Who may write the documents of an object: one at a time.

A batch that writes an object's documents and a request that deletes the object exclude each other,
so that no document is written after its object went. Within a process that goes by the object;
between processes by one of `STRIPES` that it falls into, because a database holds only some
thousands of locks. Batches of several processes may hold one jointly: what they write goes by
the same ids.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from zlib import crc32

from lamina.stores.records.locks import Lock, Locks

STRIPES: Final = 512


class Exclusion:
    """Keys that are held. A caller waits until none of its keys is, then holds all of them at once."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._held: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def of(self, keys: Iterable[str], *, jointly: bool = False) -> AsyncIterator[Lock]:
        """Hold the keys. Taking further ones inside could wait for ever: take all at once.

        Other processes may hold them `jointly`. The lock says whether they were held all the time.
        """
        wanted = frozenset(keys)
        while not self._held.isdisjoint(wanted):
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        self._held |= wanted
        try:
            stripes = {f"objects {crc32(key.encode()) % STRIPES}" for key in wanted}
            async with self._locks.held(stripes, jointly=jointly) as lock:
                yield lock
        finally:
            self._held -= wanted
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)
