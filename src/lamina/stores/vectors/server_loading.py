"""Loading many points into a namespace at once: Qdrant makes its indexes and graphs when all are there.

While points arrive, Qdrant's optimizers would build again and again what the next points make
out of date. And a segment that takes points pays for each by the length of its lists of words, which
many of them keep short: 30,000 points of 20 words cost Qdrant 420 µs each with optimizers, 380
without them in two segments, and 230 in sixteen; 100,000 points 304 µs in sixteen segments, 241 in 32,
231 in 48, and 240 in 96.

The record of the namespace says that it is being loaded, and what its optimizers go back to, before
they stop. So whoever loads sets them back at the end, and where its process dies, any that opens
the store does, unless the load is gone on with. Only what a load has made itself is loaded in
this way: a collection that is in use has few segments, and is slower without optimizers.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from lamina.core.errors import UnavailableError
from lamina.stores.vectors.server_client import MissingError, Server
from lamina.stores.vectors.server_registry import Optimizing, Registry, SpaceRecord

_MOST_SEGMENTS: Final = 64
_PATIENCE: Final = 600.0
"""Seconds for which the end of a load waits for a copy of the namespace that is under way."""


class Loads:
    """The loads of one process, and those that others have left behind."""

    def __init__(
        self,
        server: Server,
        registry: Registry,
        settled: Callable[[str, float], Awaitable[SpaceRecord | None]],
        name: Callable[[SpaceRecord], str],
        takeover: float,
    ) -> None:
        self._server = server
        self._registry = registry
        self._settled = settled
        self._name = name
        self._takeover = takeover
        self._open: dict[str, Optimizing] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    def keeping(self, namespace_id: str) -> Optimizing | None:
        """What the optimizers of a namespace that this process is loading keep to; None for another one."""
        return self._open.get(namespace_id)

    @asynccontextmanager
    async def loading(self, namespace_id: str, points: int) -> AsyncIterator[None]:
        """Put the optimizers' work off until the end, when there will be so many points."""
        self._open[namespace_id] = put_off(segments_for(points))
        beating = asyncio.create_task(self._beat(namespace_id))
        try:
            await self.begin(namespace_id)
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            del self._open[namespace_id]
            await self._end(namespace_id)

    async def begin(self, namespace_id: str) -> None:
        """Stop the optimizers of a namespace whose record says that it is being loaded, if it is here."""
        while (how := self.keeping(namespace_id)) is not None:
            space = await self._settled(namespace_id, _PATIENCE)
            if space is None or space.loading is None:
                return
            # A new stamp tells those that watch it that the load goes on.
            if await self._registry.put(space) is not None:
                await optimize(self._server, self._name(space), how)
                return

    def watch(self, namespace_id: str) -> None:
        """End a load whose process has died, once it was not gone on with for a while."""
        if namespace_id not in self._watches:
            self._watches[namespace_id] = asyncio.create_task(self._watch(namespace_id))

    async def close(self) -> None:
        """Watch no more."""
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    async def _beat(self, namespace_id: str) -> None:
        """Show those that watch the load that it goes on. A copy of the namespace shows it by itself."""
        while True:
            await asyncio.sleep(self._takeover / 3)
            with suppress(UnavailableError):
                space = await self._registry.space(namespace_id)
                if space is not None and space.loading is not None and space.copying is None:
                    await self._registry.put(space)

    async def _watch(self, namespace_id: str) -> None:
        stamp: str | None = None
        while namespace_id not in self._open:
            with suppress(UnavailableError):  # it is tried again
                space = await self._registry.space(namespace_id)
                if space is None or space.loading is None:
                    return
                if space.stamp == stamp:
                    await self._end(namespace_id)
                stamp = space.stamp
            await asyncio.sleep(self._takeover)

    async def _end(self, namespace_id: str) -> None:
        """Set the optimizers of a namespace back to what they were."""
        while True:
            space = await self._settled(namespace_id, _PATIENCE)
            if space is None or space.loading is None:
                return
            with suppress(MissingError):  # it is being dropped
                await optimize(self._server, self._name(space), space.loading)
            if await self._registry.put(replace(space, loading=None)) is not None:
                return


def segments_for(points: int) -> int:
    """The segments in which that many points are loaded soonest.

    Each segment costs its making, some 30 ms with its indexes, and a point's words' lists grow with the
    points of one: the sum of both is least where the segments grow with the root of the points.
    """
    return min(max(1, math.isqrt(points) // 8), _MOST_SEGMENTS)


def put_off(segments: int) -> Optimizing:
    """What optimizers that build nothing and join no segments keep to."""
    return Optimizing(indexing_threshold=0, default_segment_number=segments)


async def optimize(server: Server, name: str, how: Optimizing) -> None:
    """Set what the optimizers of a Qdrant collection keep to."""
    await server.ask(server.client.update_collection, name, optimizers_config=how.config)
