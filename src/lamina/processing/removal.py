"""② Documents go: with the files that are theirs, and where asked with all that was made from them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

from lamina.core.filters import Condition, Filter
from lamina.core.types import Json, JsonObject
from lamina.processing.points import document_prefix
from lamina.stores.blobs.base import BlobStore
from lamina.stores.vectors.base import CollectionRef, Point, VectorStore

_AT_ONCE: Final = 1000


class Removal:
    """Removes documents. Files go first, so that a removal that was cut short can be repeated."""

    def __init__(self, vectors: VectorStore, blobs: BlobStore) -> None:
        self.vectors = vectors
        self.blobs = blobs

    async def matching(self, at: CollectionRef, where: Filter) -> int:
        """Remove the documents of a collection that match; how many there were."""
        removed = 0
        async for points in self.pages(at, where):
            await self.points(at, points)
            removed += len(points)
        return removed

    async def everywhere(self, namespace_id: str, where: Filter) -> int:
        """The same in every collection of a namespace."""
        places = [CollectionRef(namespace_id, one) for one in await self.vectors.collections(namespace_id)]
        return sum([await self.matching(at, where) for at in places])

    async def of_objects(self, namespace_id: str, object_ids: Sequence[str]) -> int:
        """Remove every document that descends from these objects; how many there were."""
        roots: list[Json] = list(object_ids)
        where = Condition("_internal.lineage.root_object_id", "in", roots, case_sensitive=True)
        return await self.everywhere(namespace_id, where)

    async def with_descendants(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Remove documents with those that were made from them, and from those in turn."""
        for start in range(0, len(points), _AT_ONCE):
            some = points[start : start + _AT_ONCE]
            ids: list[Json] = [point.document_id for point in some]
            made = Condition("_internal.lineage.source_document_id", "in", ids, case_sensitive=True)
            for collection_id in await self.vectors.collections(at.namespace_id):
                below = CollectionRef(at.namespace_id, collection_id)
                async for children in self.pages(below, made):
                    await self.with_descendants(below, children)
            await self.points(at, some)

    async def points(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Remove these documents."""
        ids = [point.document_id for point in points]
        with_files = [point.document_id for point in points if _has_files(point)]
        prefixes = [document_prefix(at.namespace_id, at.collection_id, one) for one in with_files]
        await asyncio.gather(*(self.blobs.delete_prefix(prefix) for prefix in prefixes))
        await self.vectors.delete(at, ids)

    async def collection(self, at: CollectionRef) -> None:
        """Remove all documents of a collection, and the collection from the store."""
        await self.blobs.delete_prefix(document_prefix(at.namespace_id, at.collection_id))
        await self.vectors.drop(at)

    async def pages(self, at: CollectionRef, where: Filter) -> AsyncIterator[Sequence[Point]]:
        """The documents that match, some at a time; they may be removed meanwhile."""
        after: str | None = None
        while True:
            page = await self.vectors.scroll(at, limit=_AT_ONCE, where=where, after=after)
            if page.points:
                yield page.points
            after = page.after
            if after is None:
                return


def _has_files(point: Point) -> bool:
    """Whether a document has files of its own, besides those of its source."""
    internal = cast("JsonObject", point.payload.get("_internal") or {})
    files = cast("list[JsonObject]", internal.get("document_blobs") or [])
    return any(file.get("role") != "source" for file in files)
