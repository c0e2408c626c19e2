"""④ Lists of documents: one collection or several, filtered, searched, sorted, grouped, partitioned."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Final

from lamina.core.filters import ALL, Condition, Filter, Or, both, equals
from lamina.core.models import Sort
from lamina.core.paging import PageRequest, decode_cursor, encode_cursor
from lamina.core.types import Json
from lamina.documents.requests import Partition
from lamina.processing.collections import Collection
from lamina.stores.vectors.base import CollectionRef, OrderBy, Point, VectorStore

SORT_LIMIT: Final = 10_000
"""Documents that a sorted list over several collections looks at, as the contract has it."""

_SEARCHED: Final = (
    "document_id",
    "title",
    "name",
    "text",
    "content",
    "description",
    "metadata.title",
    "metadata.name",
)

Vectors = bool | Sequence[str]


@dataclass(slots=True)
class Listing:
    """One page of documents."""

    points: Sequence[Point]
    next_cursor: str | None = None
    total: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Group:
    """Documents that share a field's value."""

    key: Json
    points: Sequence[Point]
    count: int


class DocumentReader:
    """Reads documents of a namespace's collections."""

    def __init__(self, vectors: VectorStore) -> None:
        self.vectors = vectors

    async def page(
        self,
        namespace_id: str,
        collections: Sequence[Collection],
        page: PageRequest,
        *,
        where: Filter = ALL,
        sort: Sort | None = None,
        partition: Partition | None = None,
        with_vectors: Vectors = False,
    ) -> Listing:
        """One page. Without a sort, collection after collection in a stable order."""
        places = [CollectionRef(namespace_id, one.collection_id) for one in collections]
        if sort is not None and len(places) > 1:
            listing = await self._sorted(places, page, where, sort, with_vectors)
        else:
            order = OrderBy(sort.field, sort.direction == "desc") if sort else None
            listing = await self._walk(places, page, where, order, partition, with_vectors)
        if page.include_total:
            listing.total = sum([await self.vectors.count(at, where) for at in places])
        return listing

    async def _walk(
        self,
        places: Sequence[CollectionRef],
        page: PageRequest,
        where: Filter,
        order: OrderBy | None,
        partition: Partition | None,
        with_vectors: Vectors,
    ) -> Listing:
        """Scroll from where the cursor points, skipping `offset` where there is no cursor."""
        number, after, skip = 0, None, page.offset
        if page.cursor is not None:
            first, second = decode_cursor(page.cursor, int, str | NoneType)
            number, after, skip = first, second, 0
        found: list[Point] = []
        while number < len(places):
            wanted = page.limit - len(found) + skip
            got = await self.vectors.scroll(
                places[number], limit=min(max(wanted, 1), 1000), where=where, order=order, after=after,
                with_vectors=with_vectors,
            )  # fmt: skip
            points = [one for one in got.points if partition is None or _in(partition, one.document_id)]
            found.extend(points[skip:])
            skip = max(0, skip - len(points))
            after = got.after
            if after is None:
                number += 1
            if len(found) >= page.limit:
                break
        more = number < len(places) and (after is not None or await self._any(places[number:], where))
        return Listing(found[: page.limit], encode_cursor(number, after) if more else None)

    async def _any(self, places: Sequence[CollectionRef], where: Filter) -> bool:
        for at in places:
            if (await self.vectors.scroll(at, limit=1, where=where)).points:
                return True
        return False

    async def _sorted(
        self,
        places: Sequence[CollectionRef],
        page: PageRequest,
        where: Filter,
        sort: Sort,
        with_vectors: Vectors,
    ) -> Listing:
        """Several collections in one order: their first documents in that order, merged."""
        skip = page.offset
        if page.cursor is not None:
            skip = decode_cursor(page.cursor, int, str | NoneType)[0]
        order = OrderBy(sort.field, sort.direction == "desc")
        warnings: list[str] = []
        every: list[Point] = []
        for at in places:
            after: str | None = None
            taken = 0
            while True:
                limit = min(1000, SORT_LIMIT - taken)
                got = await self.vectors.scroll(
                    at, limit=limit, where=where, order=order, after=after, with_vectors=with_vectors
                )
                every.extend(got.points)
                taken += len(got.points)
                after = got.after
                if after is None or taken >= min(SORT_LIMIT, skip + page.limit + 1):
                    break
            if taken >= SORT_LIMIT:
                warnings.append(f"Only the first {SORT_LIMIT} documents of a collection are sorted.")
        present = [one for one in every if value_at(one.payload, sort.field) is not None]
        absent = [one for one in every if value_at(one.payload, sort.field) is None]
        present.sort(key=lambda one: _key(value_at(one.payload, sort.field)), reverse=order.descending)
        merged = [*present, *absent]
        following = encode_cursor(skip + page.limit, None) if len(merged) > skip + page.limit else None
        return Listing(merged[skip : skip + page.limit], following, warnings=warnings)

    async def groups(
        self,
        namespace_id: str,
        collections: Sequence[Collection],
        page: PageRequest,
        field: str,
        where: Filter,
    ) -> tuple[list[Group], int, bool]:
        """Groups of one page with their documents, the number of all groups, and whether more follow."""
        places = [CollectionRef(namespace_id, one.collection_id) for one in collections]
        counts: dict[Json, int] = {}
        for at in places:
            for value, count in await self.vectors.facet(at, field, limit=SORT_LIMIT, where=where):
                counts[value] = counts.get(value, 0) + count
        ordered = sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
        chosen = ordered[page.offset : page.offset + page.limit]
        groups = []
        for key, count in chosen:
            points: list[Point] = []
            for at in places:
                mine = both(where, equals(field, key))
                points.extend((await self.vectors.scroll(at, limit=1000, where=mine)).points)
            groups.append(Group(key, points, count))
        return groups, len(ordered), len(ordered) > page.offset + page.limit


def searched(text: str, collections: Sequence[Collection]) -> Filter:
    """Documents that hold a text, case-insensitively, in one of their text fields; `*` matches anything."""
    fields = dict.fromkeys(_SEARCHED)
    for collection in collections:
        for name, one in collection.output_schema.properties.items():
            if one.type.value in {"text", "string"}:
                fields[name] = None
    pieces = [piece for piece in text.split("*") if piece]
    filter: Filter = ALL
    for piece in pieces:
        filter = both(filter, Or([Condition(name, "text", piece) for name in fields]))
    return filter


def value_at(record: Mapping[str, Json], path: str) -> Json:
    """The value at a dot path; None where there is none."""
    value: Json = record
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _key(value: Json) -> tuple[int, Json]:
    """Numbers before texts, so that mixed fields sort too."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _in(partition: Partition, document_id: str) -> bool:
    return zlib.crc32(document_id.encode()) % partition.count == partition.index
