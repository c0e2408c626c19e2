"""The payload indexes of namespaces on a Qdrant server: few from the start, more as filters want them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import models

from lamina.stores.vectors.base import IndexType
from lamina.stores.vectors.edge_indexes import SYSTEM_INDEXES
from lamina.stores.vectors.server_client import ORDERED, Server
from lamina.stores.vectors.server_filters import Wanted
from lamina.stores.vectors.server_terms import (
    INSTANTS,
    NUMBERS,
    PRESENCE,
    PRESENT,
    TOKENS,
    path_and_part,
    terms_key,
)

_PART_TYPES: Final[Mapping[str, Any]] = {
    TOKENS: models.PayloadSchemaType.KEYWORD,
    NUMBERS: models.PayloadSchemaType.FLOAT,
    INSTANTS: models.PayloadSchemaType.DATETIME,
    # Servers that know `enable_hnsw`, as 1.16 does not, then make no graph for each thing that is present.
    PRESENT: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=False),
}

# Dates are compared and put in order. Tests of equality, which are rare of them, make that index themselves.
_PARTS: Final[Mapping[IndexType, Sequence[str]]] = {
    "keyword": [TOKENS],
    "uuid": [TOKENS],
    "bool": [TOKENS],
    "integer": [TOKENS, NUMBERS],
    "float": [TOKENS, NUMBERS],
    "datetime": [INSTANTS],
    "geo": [],
    "text": [],
}

_MOST_INDEXES: Final = 100
"""Payload indexes of a namespace beyond which filters get none by themselves, but that of what is present."""

_SHORT_BUILD: Final = 50_000
"""Points up to which making an index is waited for: about half a second."""

_LOOK_AGAIN: Final = 30.0
"""Seconds for which the indexes that a namespace has are remembered."""


@dataclass(slots=True)
class _Seen:
    """The payload indexes that a namespace was last seen to have."""

    made: Wanted
    points: int
    seen: float


class Indexes:
    """Those of all namespaces, as one process sees them. `alias` gives a namespace's name on the server."""

    def __init__(self, server: Server, alias: Callable[[str], str], index_from: int) -> None:
        self._server = server
        self._alias = alias
        self._index_from = index_from
        self._known: dict[str, _Seen] = {}

    async def declare(self, namespace_id: str, path: str, type: IndexType) -> None:
        """Make the indexes that serve one of a type.

        `geo` is served by indexes of its two coordinates. `text` is served by none: Qdrant's finds
        tokens, and no operator of ours does.
        """
        wanted = self._serving(path, type)
        await self.make(self._alias(namespace_id), [terms_key(*one) for one in sorted(wanted)])
        self.forget(namespace_id)

    async def usable(self, namespace_id: str, wanted: Wanted) -> Wanted:
        """Those of the wanted indexes that there are, once those that are due are made."""
        if not wanted:
            return set()
        known = await self._look(namespace_id)
        room = len(known.made) < _MOST_INDEXES
        missing = sorted(one for one in wanted - known.made if room or one == PRESENCE)
        if missing and known.points >= self._index_from:
            short = known.points < _SHORT_BUILD
            await self.make(self._alias(namespace_id), [terms_key(*one) for one in missing], wait=short)
            if short:
                known.made.update(missing)
        return wanted & known.made

    def forget(self, namespace_id: str) -> None:
        """Look anew which there are."""
        self._known.pop(namespace_id, None)

    def first(self) -> list[str]:
        """The keys that are indexed from the start: of ids. The others wait for a filter that wants them.

        Qdrant makes a graph for every value, or range, of an indexed field that some 7,000 points share.
        With what is present, and times, indexed from the start, the graphs of 30,000 points took it 60
        seconds for 7, and a search of them 2.4 ms for 1.5.
        """
        ids = [path for path, type in SYSTEM_INDEXES.items() if type == "keyword"]
        return ["collection_id", *(terms_key(path, TOKENS) for path in sorted(ids))]

    async def make(self, name: str, keys: Iterable[str], *, wait: bool = True) -> None:
        """Make the indexes of these keys; without waiting for them to be built where `wait` is false."""
        for key in keys:
            parted = path_and_part(key)
            schema: Any = models.PayloadSchemaType.KEYWORD
            if parted is not None:
                schema = _PART_TYPES[parted[1]]
            elif key == "collection_id":
                schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
            await self._server.ask(
                self._server.client.create_payload_index,
                name,
                key,
                schema,
                wait=wait,
                ordering=ORDERED,
            )

    # The how

    def _serving(self, path: str, type: IndexType) -> Wanted:
        if type == "geo":
            return {(f"{path}.lat", NUMBERS), (f"{path}.lon", NUMBERS)}
        return {(path, part) for part in _PARTS[type]}

    async def _look(self, namespace_id: str) -> _Seen:
        known = self._known.get(namespace_id)
        if known is None or time.monotonic() - known.seen > _LOOK_AGAIN:
            told = await self._server.ask(self._server.client.get_collection, self._alias(namespace_id))
            made = {parted for key in told.payload_schema if (parted := path_and_part(key)) is not None}
            known = self._known[namespace_id] = _Seen(made, told.points_count or 0, time.monotonic())
        return known
