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
from lamina.processing.watching import again_and_again
from lamina.stores.records.locks import Lock, Locks

log = structlog.get_logger()

_LOOK_SECONDS: Final = 2.0
_LOOKS: Final = 3
"""How often in a row a process must be missing: a database that restarts lets go of every lock."""

_ALL: Final = "members"

_STARTS: Final = "starts"
"""Held jointly by processes that start, until they hold the other; and by one alone that keeps all away."""


class Membership:
    """This process among those that share the records.

    `exclusive` says that it keeps to itself what others would need (embedded points or blobs).
    """

    def __init__(self, locks: Locks, durable: Durable, *, exclusive: bool) -> None:
        self._locks = locks
        self._durable = durable
        self._exclusive = exclusive
        self._missing: dict[str, int] = {}
        self._own: dict[str, Lock] = {}
        """The locks that this process holds, by name."""

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Around the start: says whether no other process is there.

        Raises `UnavailableError` when one is, and this one or that cannot share.
        """
        starts = await self._locks.hold(_STARTS, jointly=True)
        if starts is None:
            raise UnavailableError(
                "These records are being copied, or looked through for left-overs. To mend it, start again "
                "when that has ended."
            )
        self._own[_STARTS] = starts
        everyone = await self._locks.hold(_ALL)
        if everyone is None and self._exclusive:
            await self._leave()
            raise UnavailableError(
                "Another process uses these records, and this one keeps points or blobs in its data folder. "
                "To mend it, set LAMINA_VECTORS_URL and LAMINA_BLOBS_URL for both."
            )
        if everyone is not None:
            self._own[_ALL] = everyone
        try:
            yield everyone is not None
        except BaseException:
            await self._leave()
            raise
        if everyone is not None and not self._exclusive:
            with suppress(RecordsUnavailableError):  # then it is taken anew
                await everyone.share()

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Be there, and take over from those who are not any more."""
        if not self._locks.shared:
            yield
            return
        with suppress(RecordsUnavailableError):
            await self._renew()
        if (starts := self._own.pop(_STARTS, None)) is not None:
            await starts.release()
        # Apart, for to look for others takes long where the database is away.
        watching = [
            asyncio.create_task(again_and_again(one, _LOOK_SECONDS)) for one in (self._renew, self._take_over)
        ]
        try:
            yield
        finally:
            for one in watching:
                one.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await self._leave()

    async def _renew(self) -> None:
        """Take this process's locks, anew where the database lost them."""
        for name, jointly in ((_name(self._durable.executor_id), False), (_ALL, not self._exclusive)):
            if name in self._own and await self._own[name].alive():
                continue
            if name in self._own:
                await self._own.pop(name).release()
            lock = await self._locks.hold(name, jointly=jointly)
            if lock is not None:  # else another starts, or looks for us: both are over in a moment
                self._own[name] = lock

    async def _leave(self) -> None:
        while self._own:
            await self._own.popitem()[1].release()

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
                if self._missing[one] >= _LOOKS and (count := await self._durable.take_over(one)):
                    log.info("work_taken_over", workflows=count, executor=one)
            finally:
                await lock.release()


@asynccontextmanager
async def nobody_else(locks: Locks) -> AsyncIterator[None]:
    """Keep every process away that would share the records.

    Raises `UnavailableError` where one is there already.
    """
    held: list[Lock] = []
    try:
        for name in (_STARTS, _ALL):
            lock = await locks.hold(name)
            if lock is None:
                raise UnavailableError("Other processes use these records. To mend it, stop them first.")
            held.append(lock)
        yield
    finally:
        for lock in held:
            await lock.release()


def _name(executor_id: str) -> str:
    return f"executor {executor_id}"
