"""② What a collection of a batch reads, chunk by chunk: objects by id, or documents by scrolling."""

from collections.abc import Sequence
from typing import Final, Protocol, cast

from lamina.core.errors import ExtractionError, LaminaError
from lamina.core.filters import ALL, Condition, Filter, Or, both
from lamina.core.models import isoformat, now
from lamina.core.predicate import predicate
from lamina.core.scope import Scope
from lamina.core.types import Json
from lamina.ingest.objects import StoredObject
from lamina.processing.collections import Collection
from lamina.processing.sources import SourceRecord, from_document, from_object
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import CollectionRef, VectorStore

Place = list[Json]
"""Where a chunk begins: JSON, because a restart goes on from it."""

_PAGE: Final = 2048
"""Documents in a chunk, at most: they are read whole for their ids."""


class Feed(Protocol):
    """The sources of one collection of a batch."""

    gone: LaminaError | None
    """What a source comes to that no longer exists; None where there is nothing to say of it."""

    async def total(self) -> int:
        """How many there are."""

    async def chunk(self, place: Place) -> tuple[list[str], Place | None]:
        """Ids of the chunk at a place, and the place of the next. The first one's place is empty."""

    async def read(self, ids: Sequence[str]) -> dict[str, SourceRecord | None]:
        """Those that still exist, as they are now, by id; None for what the collection's filter excludes."""

    async def versions(self, ids: Sequence[str]) -> dict[str, str]:
        """The versions of those that still exist, by id."""


class ObjectFeed:
    """Objects of a bucket, in the order of their batch."""

    gone: LaminaError | None = ExtractionError("The object no longer exists.")

    def __init__(
        self,
        objects: Repository[StoredObject],
        scope: Scope,
        collection: Collection,
        object_ids: Sequence[str],
        chunk_size: int,
    ) -> None:
        self._objects = objects
        self._scope = scope.of_namespace()
        self._collection = collection
        self._ids = object_ids
        self._size = chunk_size
        where = collection.source.where
        self._wanted = predicate(where) if where != ALL else None

    async def total(self) -> int:
        """All that the batch names."""
        return len(self._ids)

    async def chunk(self, place: Place) -> tuple[list[str], Place | None]:
        """A place is a position in the batch."""
        start = cast("int", place[0]) if place else 0
        ids = list(self._ids[start : start + self._size])
        following = start + len(ids)
        return ids, [following] if following < len(self._ids) else None

    async def read(self, ids: Sequence[str]) -> dict[str, SourceRecord | None]:
        """Straight from the records."""
        moment = isoformat(now())
        found: dict[str, SourceRecord | None] = {}
        for identifier, stored in (await self._objects.get_many(self._scope, ids)).items():
            if self._wanted is not None and not self._wanted(stored.model_dump(mode="json")):
                found[identifier] = None
            else:
                extractor_id = self._collection.feature_extractor.feature_extractor_id
                found[identifier] = from_object(stored, self._collection, extractor_id, moment)
        return found

    async def versions(self, ids: Sequence[str]) -> dict[str, str]:
        """When each was updated last."""
        return await self._objects.versions(self._scope, ids)


class DocumentFeed:
    """Documents of the collections that a collection reads.

    With `roots`, those that descend from these objects, or that have one of these ids themselves.
    """

    gone: LaminaError | None = None  # it went with its object, or another batch has replaced it

    def __init__(
        self,
        vectors: VectorStore,
        namespace_id: str,
        collection: Collection,
        *,
        collection_ids: Sequence[str],
        where: Filter,
        roots: Sequence[str] | None,
        chunk_size: int,
    ) -> None:
        self._vectors = vectors
        self._collection = collection
        self._places = [CollectionRef(namespace_id, one) for one in collection_ids]
        self._where = both(where, collection.source.where)
        self._roots = roots
        self._size = min(chunk_size, _PAGE)

    @property
    def _spans(self) -> int:
        """Into how many pieces the roots are cut; each is one filter."""
        return 1 if self._roots is None else -(-len(self._roots) // self._size)

    async def total(self) -> int:
        """All that match now."""
        counts = [
            await self._vectors.count(at, self._filter(span))
            for at in self._places
            for span in range(self._spans)
        ]
        return sum(counts)

    async def chunk(self, place: Place) -> tuple[list[str], Place | None]:
        """A place is a source collection, a piece of the roots, and how far the scroll is."""
        number, after = (cast("int", place[0]), cast("str | None", place[1])) if place else (0, None)
        last = len(self._places) * self._spans - 1
        if number > last:
            return [], None
        at, span = self._places[number // self._spans], number % self._spans
        page = await self._vectors.scroll(at, limit=self._size, where=self._filter(span), after=after)
        ids = [point.document_id for point in page.points]
        if page.after is not None:
            return ids, [number, page.after]
        return ids, [number + 1, None] if number < last else None

    async def read(self, ids: Sequence[str]) -> dict[str, SourceRecord | None]:
        """By id, wherever among the source collections they lie."""
        moment = isoformat(now())
        extractor_id = self._collection.feature_extractor.feature_extractor_id
        found: dict[str, SourceRecord | None] = {}
        for at in self._places:
            missing = [one for one in ids if one not in found]
            for point in await self._vectors.get(at, missing) if missing else ():
                found[point.document_id] = from_document(point, self._collection, extractor_id, moment)
        return found

    async def versions(self, ids: Sequence[str]) -> dict[str, str]:
        """When each was updated last."""
        found = await self.read(ids)
        return {one: record.version for one, record in found.items() if record is not None}

    def _filter(self, span: int) -> Filter:
        if self._roots is None:
            return self._where
        some: list[Json] = list(self._roots[span * self._size : (span + 1) * self._size])
        rooted = Or(
            (
                Condition("_internal.lineage.root_object_id", "in", some, case_sensitive=True),
                Condition("document_id", "in", some, case_sensitive=True),
            )
        )
        return both(self._where, rooted)
