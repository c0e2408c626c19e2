"""Records that are kept in memory, for as long as they are what the database holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

LastChange = Callable[[], Awaitable[int]]
"""Tells which transaction was the last to write a record of a cached kind."""


@dataclass(slots=True)
class _Trust:
    """Begins with a look at the last change; tasks that were started meanwhile may outlive it."""

    ended: bool = False


class Cache:
    """What was read, dropped whole when any of it changes.

    Where other processes write too, `last_change` is asked at the beginning of a request, and the
    entries are there in requests only. An entry is put into the dictionary that was there before it
    was read: one that was overtaken by a change goes with the old dictionary.
    """

    def __init__(self, last_change: LastChange | None) -> None:
        self._last_change = last_change
        self._entries: dict[Hashable, Any] = {}
        self._trust: ContextVar[_Trust | None] = ContextVar("trust", default=None)
        self._seen: int | None = None
        self._looking = asyncio.Lock()
        self._asked = self._answered = 0

    @property
    def entries(self) -> dict[Hashable, Any] | None:
        """What is known to hold; None where that is not known."""
        if self._last_change is not None:
            trust = self._trust.get()
            if trust is None or trust.ended:
                return None
        return self._entries

    def forget(self) -> None:
        """Drop everything."""
        self._entries = {}

    @asynccontextmanager
    async def trusted(self) -> AsyncIterator[None]:
        """Inside, in this task, the entries are there: as they were at the beginning, or newer."""
        if self._last_change is None:
            yield
            return
        await self._look(self._last_change)
        trust = _Trust()
        token = self._trust.set(trust)
        try:
            yield
        finally:
            trust.ended = True
            self._trust.reset(token)

    async def _look(self, last_change: LastChange) -> None:
        """Drop everything if there was a change. One look serves all who came before it began."""
        self._asked += 1
        ticket = self._asked
        async with self._looking:
            if self._answered >= ticket:
                return
            asked = self._asked
            last = await last_change()
            if last != self._seen:
                self.forget()
                self._seen = last
            self._answered = asked
