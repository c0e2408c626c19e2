"""② Processes that share an installation: who is there, and whose work is taken over.

Every process holds a lock for as long as it lives, which the database lets go of when the
process or its machine dies. Two of them say all there is to know: one by the process's own name,
and one that all hold jointly, which a process that wants to be alone cannot get.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from lamina.core.errors import RecordsUnavailableError, UnavailableError
from lamina.processing.durable import Durable
from lamina.stores.records.locks import Lock, Locks

log = structlog.get_logger()

_LOOK_SECONDS: Final = 2.0
_LOOKS: Final = 3
"""How often in a row a process must be missing: a database that restarts lets go of every lock."""

_ALL: Final = "members"


class Membership:
    """This process among those that share the records.

    `exclusive` says that it keeps to itself what others would need (embedded points or blobs).
    """

    def __init__(self, locks: Locks, durable: Durable, *, exclusive: bool) -> None:
        self._locks = locks
        self._durable = durable
        self._exclusive = exclusive
        self._missing: dict[str, int] = {}
        self._everyone: Lock | None = None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Around the start: says whether no other process is there.

        Raises `UnavailableError` when one is, and this one or that cannot share.
        """
        everyone = await self._locks.hold(_ALL)
        if everyone is None and self._exclusive:
            raise UnavailableError(
                "Another process uses these records, and this one keeps points or blobs in its data folder. "
                "To mend it, set LAMINA_VECTORS_URL and LAMINA_BLOBS_URL for both."
            )
        try:
            yield everyone is not None
        finally:
            if everyone is not None and not self._exclusive:
                await everyone.release()
            else:
                self._everyone = everyone

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Be there, and take over from those who are not any more."""
        watching = asyncio.create_task(self._watch()) if self._locks.shared else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching

    async def _watch(self) -> None:
        own: list[Lock] = []
        try:
            while True:
                with suppress(RecordsUnavailableError):
                    await self._renew(own)
                    await self._take_over()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await _release(own)

    async def _renew(self, own: list[Lock]) -> None:
        """Take this process's locks, anew where the database lost them. `own` are those held, always."""
        wanted = [(_name(self._durable.executor_id), False)]
        if not self._exclusive:
            wanted.append((_ALL, True))
        if len(own) == len(wanted) and all([await lock.alive() for lock in own]):
            return
        await _release(own)
        for name, jointly in wanted:
            lock = await self._locks.hold(name, jointly=jointly)
            if lock is None:  # another starts, or looks for us: both are over in a moment
                await _release(own)
                return
            own.append(lock)

    async def _take_over(self) -> None:
        others = await self._durable.executors() - {self._durable.executor_id}
        self._missing = {one: self._missing.get(one, 0) for one in others}
        for one in others:
            lock = await self._locks.hold(_name(one))
            if lock is None:
                self._missing[one] = 0
                continue
            try:
                self._missing[one] += 1
                if self._missing[one] >= _LOOKS:
                    count = await self._durable.take_over(one)
                    log.info("work_taken_over", workflows=count, executor=one)
            finally:
                await lock.release()


async def _release(own: list[Lock]) -> None:
    while own:
        await own.pop().release()


def _name(executor_id: str) -> str:
    return f"executor {executor_id}"
