"""④ The reconciler: proves that nothing outlived what it belonged to, or removes what did.

An orphan is a document that processing made and whose object is gone, a collection in the vector
store or an object without a record above it, or a blob of an object, upload or document that is
gone. Documents that clients write may name any object as theirs and are never orphans.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lamina.core.filters import And, Condition, Filter
from lamina.core.models import now
from lamina.core.scope import Scope
from lamina.core.types import Json
from lamina.ingest.buckets import Bucket
from lamina.ingest.uploads import Upload
from lamina.processing.collections import Collection
from lamina.processing.deletion import Emptying
from lamina.processing.points import MADE_BY
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import CollectionRef

_ROOT: Final = "_internal.lineage.root_object_id"
_AT_ONCE: Final = 1000
_MAKING_SECONDS: Final = 2.0
"""How long a collection may be in the vector store before its record is there."""


@dataclass(slots=True)
class Orphans:
    """What belongs to nothing, in one namespace."""

    documents: dict[str, list[str]] = field(default_factory=dict)
    """Ids of documents, by collection."""
    collections: list[str] = field(default_factory=list)
    """Collections in the vector store that have no record."""
    buckets: list[str] = field(default_factory=list)
    """Buckets that are gone and still have objects."""
    blobs: list[str] = field(default_factory=list)
    """Keys of blobs."""

    def __bool__(self) -> bool:
        return bool(self.documents or self.collections or self.buckets or self.blobs)

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {
            "documents": sum(map(len, self.documents.values())),
            "collections": len(self.collections),
            "buckets": len(self.buckets),
            "blobs": len(self.blobs),
        }


class Reconciler:
    """Looks through a namespace. Safe while it is written to: what is younger than `before` is left alone."""

    def __init__(
        self,
        *,
        emptying: Emptying,
        buckets: Repository[Bucket],
        uploads: Repository[Upload],
        collections: Repository[Collection],
    ) -> None:
        self.emptying = emptying
        self.removal = emptying.removal
        self.vectors = self.removal.vectors
        self.blobs = self.removal.blobs
        self.objects = emptying.objects
        self.buckets = buckets
        self.uploads = uploads
        self.collections = collections

    async def orphans(self, scope: Scope, *, before: datetime | None = None) -> Orphans:
        """Everything in the namespace that belongs to nothing; of blobs, those written before a moment."""
        scope = scope.of_namespace()
        found = Orphans()
        stored = await self.vectors.collections(scope.namespace)
        known = await self.collections.get_many(scope, stored)
        if len(known) < len(stored):  # a collection is made before its record is
            await asyncio.sleep(_MAKING_SECONDS)
            known = await self.collections.get_many(scope, stored)
        for collection_id in stored:
            if collection_id not in known:
                found.collections.append(collection_id)
            elif documents := await self._documents(scope, collection_id):
                found.documents[collection_id] = documents
        counts = await self.objects.count_by(scope, "parent_id")
        buckets = await self.buckets.get_many(scope, list(counts))
        found.buckets = [one for one in counts if one not in buckets]
        found.blobs = await self._blobs(scope, before or now())
        return found

    async def repair(self, scope: Scope, *, before: datetime | None = None) -> Orphans:
        """Remove what `orphans` finds; what that was."""
        scope = scope.of_namespace()
        found = await self.orphans(scope, before=before)
        for collection_id in found.collections:
            await self.removal.collection(CollectionRef(scope.namespace, collection_id))
        for bucket_id in found.buckets:
            await self.emptying.bucket(scope, bucket_id)
        for collection_id, ids in found.documents.items():
            await self._remove_documents(scope, CollectionRef(scope.namespace, collection_id), ids)
        await self.blobs.delete(*found.blobs)
        return found

    async def _documents(self, scope: Scope, collection_id: str) -> list[str]:
        """Documents that processing made, and whose object is gone."""
        at = CollectionRef(scope.namespace, collection_id)
        made: Filter = Condition(MADE_BY, "exists", True)
        ids: list[str] = []
        count = await self.vectors.count(at, made)
        roots = [
            str(root) for root, _ in await self.vectors.facet(at, _ROOT, limit=max(count, 1), where=made)
        ]
        for some in _pieces(roots):
            gone: list[Json] = list(set(some) - set(await self.objects.get_many(scope, some)))
            if gone:
                where = And((made, Condition(_ROOT, "in", gone, case_sensitive=True)))
                async for points in self.removal.pages(at, where):
                    ids.extend(point.document_id for point in points)
        return ids

    async def _blobs(self, scope: Scope, before: datetime) -> list[str]:
        """Blobs whose object, upload or document is gone."""
        orphans: list[str] = []
        some: dict[str, tuple[str, str, str]] = {}
        async for blob in self.blobs.list(scope.namespace):
            if blob.modified_at < before:
                _, first, second, third, *_ = [*blob.key.split("/"), "", "", ""]
                some[blob.key] = (first, second, third)
            if len(some) == _AT_ONCE:
                orphans.extend(await self._without_owner(scope, some))
                some = {}
        return [*orphans, *await self._without_owner(scope, some)]

    async def _without_owner(self, scope: Scope, blobs: dict[str, tuple[str, str, str]]) -> list[str]:
        """Keys begin with `{namespace}/` and then `{bucket}/{object}/`, `{bucket}/uploads/{upload}/` or
        `documents/{collection}/{document}/`."""
        places = blobs.values()
        objects = {two for one, two, _ in places if one != "documents" and two != "uploads"}
        uploads = {three for one, two, three in places if one != "documents" and two == "uploads"}
        owners = set(await self.objects.get_many(scope, list(objects)))
        owners.update(await self.uploads.get_many(scope, list(uploads)))
        for collection_id in {two for one, two, _ in places if one == "documents"}:
            ids = [three for one, two, three in places if (one, two) == ("documents", collection_id)]
            at = CollectionRef(scope.namespace, collection_id)
            owners.update(point.document_id for point in await self.vectors.get(at, ids))
        return [
            key
            for key, (one, two, three) in blobs.items()
            if (three if one == "documents" or two == "uploads" else two) not in owners
        ]

    async def _remove_documents(self, scope: Scope, at: CollectionRef, ids: Sequence[str]) -> None:
        for some in _pieces(ids):
            points = await self.vectors.get(at, some)
            await self.removal.points(at, points)


def _pieces(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
