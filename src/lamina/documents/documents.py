"""④ Documents: created, read, changed and deleted one by one or many at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from lamina.core.errors import AlreadyExistsError, LaminaError, NotFoundError, ValidationError
from lamina.core.filters import Filter, equals
from lamina.core.ids import new_document_id
from lamina.core.models import isoformat, now
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.documents.requests import BatchUpdate, DocumentCreate, LineageStep, Upsert, UpsertDocument
from lamina.documents.vectors import new_index, read_features, read_vector, unknown
from lamina.platform.namespaces import NamespaceService, VectorConfig
from lamina.platform.organizations import OrganizationService
from lamina.processing.collection_service import CollectionService
from lamina.processing.collections import Collection
from lamina.processing.exclusion import Exclusion
from lamina.processing.points import SYSTEM_FIELDS, Lineage, Origin, document_prefix, payload
from lamina.processing.removal import Removal
from lamina.stores.vectors.base import CollectionRef, Point, SparseVector, Vector, VectorSpec

_UNCHANGEABLE: Final = SYSTEM_FIELDS | {"vectors", "features", "_vectors", "vector", "document_blobs"}
"""What no patch can set: ids, vectors, and everything of ours."""

_LEXICAL: Final = ("title", "name", "text", "content", "description")
"""Fields of directly written documents that BM25 finds them by."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one document in a batch; `error` is None when it worked."""

    document_id: str
    error: str | None = None


class DocumentService:
    """Writes and looks up documents. Lists are `DocumentReader`'s."""

    def __init__(
        self,
        removal: Removal,
        exclusion: Exclusion,
        collections: CollectionService,
        organizations: OrganizationService,
        namespaces: NamespaceService,
    ) -> None:
        self.vectors = removal.vectors
        self.removal = removal
        self._exclusion = exclusion
        self.collections = collections
        self.organizations = organizations
        self.namespaces = namespaces

    # Creating

    async def create(self, scope: Scope, collection: Collection, asked: DocumentCreate) -> Point:
        """A new document. Vectors given as `features` may be new to the collection, other vectors not."""
        named = {name: read_vector(value, f"vectors.{name}") for name, value in (asked.vectors or {}).items()}
        indexes = {one.index.name for one in collection.vector_indexes}
        strange = [name for name in named if name not in indexes]
        if strange:
            raise unknown(collection, strange, "vectors")
        features = read_features([(one.feature_extractor_id, one.vectors) for one in asked.features])
        new = [
            new_index(name, one, made_by) for name, (made_by, one) in features.items() if name not in indexes
        ]
        fields = dict(asked.model_extra or {})
        if asked.metadata is not None:
            fields["metadata"] = asked.metadata
        taken = sorted(set(fields) & _UNCHANGEABLE)
        if taken:
            raise ValidationError(f"'{taken[0]}' is set by the system.", field=taken[0])
        organization = await self.organizations.get(scope)
        identifier = asked.document_id or new_document_id()
        body = payload(
            document_id=identifier,
            collection_id=collection.collection_id,
            namespace_id=scope.namespace,
            internal_id=organization.internal_id,
            fields=fields,
            origin=_origin(asked, asked.lineage_chain),
        )
        internal = cast("JsonObject", body["_internal"])
        if asked.document_schema_version:
            internal["document_schema_version"] = asked.document_schema_version
        kept: list[Json] = [
            {"feature_extractor_id": one.feature_extractor_id, "payload": one.payload}
            for one in asked.features
            if one.payload
        ]
        if kept:
            internal["features"] = kept
        vectors: dict[str, Vector] = {**named, **{name: one for name, (_, one) in features.items()}}
        point = Point(identifier, body, vectors, _lexical(fields), list(vectors))
        self.vectors.check([*collection.specs, *(one.spec for one in new)], point)
        async with self._exclusion.of([identifier]):
            if asked.document_id is not None:
                await self._check_free(scope, [identifier])
            if new:
                collection = await self.collections.add_indexes(scope, collection, new)
            await self.vectors.upsert(_place(scope, collection), [point])
        return point

    async def _check_free(
        self, scope: Scope, ids: Sequence[str], within: CollectionRef | None = None
    ) -> None:
        """`AlreadyExistsError` for an id that a document of the namespace has, outside of a collection."""
        async for at, points in self._everywhere(scope, ids):
            if points and at != within:
                raise AlreadyExistsError(
                    f"Document '{points[0].document_id}' exists already, in collection {at.collection_id}.",
                    resource="document",
                    id=points[0].document_id,
                )

    async def upsert(self, scope: Scope, asked: Upsert) -> list[str]:
        """Write documents with the caller's vectors; indexes are made for names seen the first time."""
        collection = (
            await self.collections.get(scope, asked.collection_id)
            if asked.collection_id
            else await self.collections.direct(scope)
        )
        organization = await self.organizations.get(scope)
        points = [
            self._upserted(scope, collection, one, organization.internal_id, number)
            for number, one in enumerate(asked.documents)
        ]
        ids = [point.document_id for point in points]
        async with self._exclusion.of(ids):
            await self._check_free(scope, ids, within=_place(scope, collection))
            collection = await self._make_room(scope, collection, points)
            await self.vectors.upsert(_place(scope, collection), points)
        return ids

    def _upserted(
        self, scope: Scope, collection: Collection, one: UpsertDocument, internal_id: str, number: int
    ) -> Point:
        fields = dict(one.payload or {})
        origin = _origin(one, one.lineage_chain or ())
        origin.lineage.source_type = origin.lineage.source_type or "direct_upsert"
        origin.metadata = one.metadata or {}
        body = payload(
            document_id=one.document_id,
            collection_id=collection.collection_id,
            namespace_id=scope.namespace,
            internal_id=internal_id,
            fields=fields,
            origin=origin,
            acl=one.acl.model_dump(exclude_none=True) if one.acl else None,
        )
        at = f"documents.{number}.vectors"
        vectors = {name: read_vector(value, f"{at}.{name}") for name, value in one.vectors.items()}
        return Point(one.document_id, body, vectors, _lexical(fields))

    async def _make_room(self, scope: Scope, collection: Collection, points: Sequence[Point]) -> Collection:
        """Indexes for vectors that the collection does not have, by the namespace's declared metrics."""
        known = {one.index.name for one in collection.vector_indexes}
        fresh: dict[str, Vector] = {}
        for point in points:
            for name, vector in point.vectors.items():
                if name not in known:
                    fresh.setdefault(name, vector)
        if not fresh:
            self._check_each(collection.specs, points)
            return collection
        namespace = await self.namespaces.resolve(scope.organization_id, scope.namespace)
        declared = {one.name: one for one in namespace.vector_configs or ()}
        new = []
        configs = []
        for name, vector in fresh.items():
            config = declared.get(name)
            size = None if isinstance(vector, SparseVector) else int(np.asarray(vector).shape[-1])
            if config is not None and size is not None and size != config.dimension:
                raise ValidationError(
                    f"Vector '{name}' has {size} dimensions; the namespace declares {config.dimension}.",
                    field=f"vectors.{name}",
                )
            metric = config.metric if config else "cosine"
            new.append(new_index(name, vector, "direct_upsert_v1", metric))
            if config is None and size is not None:
                configs.append(VectorConfig(name=name, dimension=size))
        self._check_each([*collection.specs, *(one.spec for one in new)], points)
        collection = await self.collections.add_indexes(scope, collection, new)
        if configs and namespace.mode == "standalone":
            await self.namespaces.add_vectors(scope, configs)
        return collection

    def _check_each(self, specs: Sequence[VectorSpec], points: Sequence[Point]) -> None:
        """Refuse what the store would, and say which document it is, before anything is made for them."""
        for number, point in enumerate(points):
            try:
                self.vectors.check(specs, point)
            except ValidationError as error:
                raise error.inside(f"documents.{number}") from error

    # Reading

    async def get(
        self,
        scope: Scope,
        collection: Collection,
        document_id: str,
        *,
        with_vectors: bool | Sequence[str] = False,
    ) -> Point:
        """A document of a collection."""
        found = await self.vectors.get(_place(scope, collection), [document_id], with_vectors=with_vectors)
        if not found:
            raise NotFoundError("document", document_id)
        return found[0]

    async def find(
        self, scope: Scope, document_id: str, *, with_vectors: bool | Sequence[str] = False
    ) -> tuple[Point, CollectionRef]:
        """A document wherever in the namespace it lies, and where that is."""
        async for at, points in self._everywhere(scope, [document_id], with_vectors):
            if points:
                return points[0], at
        raise NotFoundError("document", document_id)

    async def get_many(self, scope: Scope, document_ids: Sequence[str]) -> tuple[list[Point], list[str]]:
        """The documents that exist, in order of first mention, and the ids that do not."""
        wanted = list(dict.fromkeys(document_ids))
        found: dict[str, Point] = {}
        async for _, points in self._everywhere(scope, wanted):
            found.update((point.document_id, point) for point in points)
            if len(found) == len(wanted):
                break
        return [found[one] for one in wanted if one in found], [one for one in wanted if one not in found]

    async def _everywhere(
        self, scope: Scope, ids: Sequence[str], with_vectors: bool | Sequence[str] = False
    ) -> AsyncIterator[tuple[CollectionRef, list[Point]]]:
        for collection_id in await self.vectors.collections(scope.namespace):
            at = CollectionRef(scope.namespace, collection_id)
            yield at, await self.vectors.get(at, ids, with_vectors=with_vectors)

    # Changing

    async def patch(
        self, scope: Scope, at: CollectionRef, document_id: str, fields: Mapping[str, Json]
    ) -> Point:
        """Set fields at the root; `metadata` key by key, where null removes."""
        _check_patch(fields)
        patched = await self._patched(at, {document_id: [fields]})
        if not patched:
            raise NotFoundError("document", document_id)
        return patched[document_id]

    async def patch_each(self, scope: Scope, at: CollectionRef, asked: BatchUpdate) -> list[Changed]:
        """Different changes for documents by id; one that fails does not stop the others."""
        changes: dict[str, list[Mapping[str, Json]]] = {}
        refused: dict[int, str] = {}
        for number, one in enumerate(asked.updates or []):
            try:
                _check_patch(one.update_data)
                changes.setdefault(one.document_id, []).append(one.update_data)
            except LaminaError as error:
                refused[number] = error.message
        patched = await self._patched(at, changes)
        results = []
        for number, one in enumerate(asked.updates or []):
            missing = (
                None if one.document_id in patched else NotFoundError("document", one.document_id).message
            )
            results.append(Changed(one.document_id, refused.get(number, missing)))
        return results

    async def patch_where(self, at: CollectionRef, where: Filter, fields: Mapping[str, Json]) -> int:
        """One change for all documents that match; how many there were."""
        _check_patch(fields)
        # The ids are taken first: a change may move documents into or out of the filter.
        ids = [one async for page in self._matching(at, where) for one in page]
        for start in range(0, len(ids), 500):
            await self._patched(at, {one: [fields] for one in ids[start : start + 500]})
        return len(ids)

    async def _patched(
        self, at: CollectionRef, changes: Mapping[str, Sequence[Mapping[str, Json]]]
    ) -> dict[str, Point]:
        """Change the documents that exist. Nobody else, no batch either, writes them meanwhile."""
        found = await self.vectors.get(at, list(changes))
        async with self._exclusion.of([*changes, *filter(None, map(_root, found))]):
            found = await self.vectors.get(at, list(changes))
            for point in found:
                for fields in changes[point.document_id]:
                    point.payload = _merged(point.payload, fields)
            await self.vectors.replace_payloads(at, {one.document_id: one.payload for one in found})
        return {point.document_id: point for point in found}

    async def _matching(self, at: CollectionRef, where: Filter) -> AsyncIterator[list[str]]:
        after: str | None = None
        while True:
            page = await self.vectors.scroll(at, limit=1000, where=where, after=after)
            yield [point.document_id for point in page.points]
            after = page.after
            if after is None:
                return

    # Deleting

    async def delete(self, scope: Scope, at: CollectionRef, document_ids: Sequence[str]) -> list[Changed]:
        """Remove documents with their own files, by id."""
        found = await self.vectors.get(at, document_ids)
        await self.removal.points(at, found)
        known = {one.document_id for one in found}
        return [Changed(one, None if one in known else "The document was not found.") for one in document_ids]

    async def delete_where(self, scope: Scope, at: CollectionRef, where: Filter) -> int:
        """Remove the documents that match; how many there were."""
        return await self.removal.matching(at, where)

    async def forget_collection(self, scope: Scope, collection: Collection) -> None:
        """Remove the files that belong to a collection's documents, before the collection goes."""
        await self.removal.blobs.delete_prefix(document_prefix(scope.namespace, collection.collection_id))


class DerivedDocuments:
    """`ingest.objects.Derived`: the documents that descend from objects."""

    def __init__(self, removal: Removal, exclusion: Exclusion) -> None:
        self.removal = removal
        self.vectors = removal.vectors
        self._exclusion = exclusion

    @asynccontextmanager
    async def alone(self, scope: Scope, object_ids: Sequence[str]) -> AsyncIterator[None]:
        """Inside, no batch writes documents of these objects, which are gone at the end."""
        async with self._exclusion.of(object_ids) as lock:
            yield
            if not await lock.alive():  # a batch may have done so after all
                await self.remove(scope, object_ids)

    async def remove(self, scope: Scope, object_ids: Sequence[str]) -> None:
        """Delete them in every collection, their own files first."""
        await self.removal.of_objects(scope.namespace, object_ids)

    async def count(self, scope: Scope, object_id: str) -> int:
        """How many there are, over all collections."""
        where = equals("_internal.lineage.root_object_id", object_id)
        places = [
            CollectionRef(scope.namespace, one) for one in await self.vectors.collections(scope.namespace)
        ]
        return sum(await asyncio.gather(*(self.vectors.count(at, where) for at in places)))


def _root(point: Point) -> str | None:
    """The object that a document descends from."""
    internal = cast("JsonObject", point.payload.get("_internal") or {})
    return cast("str | None", cast("JsonObject", internal.get("lineage") or {}).get("root_object_id"))


def _place(scope: Scope, collection: Collection) -> CollectionRef:
    return CollectionRef(scope.namespace, collection.collection_id)


def _origin(asked: DocumentCreate | UpsertDocument, chain: Sequence[LineageStep]) -> Origin:
    lineage = Lineage(
        source_type=asked.source_type,
        root_object_id=asked.root_object_id,
        root_bucket_id=asked.root_bucket_id,
        source_object_id=asked.source_object_id,
        source_document_id=asked.source_document_id,
        source_collection_id=asked.source_collection_id,
        path=asked.lineage_path,
        chain=[one.model_dump(mode="json", exclude_none=True) for one in chain],
    )
    return Origin(lineage=lineage, content_hash=asked.content_hash)


def _lexical(fields: Mapping[str, Json]) -> str | None:
    texts = [value for name in _LEXICAL if isinstance(value := fields.get(name), str)]
    return "\n".join(texts) or None


def _check_patch(fields: Mapping[str, Json]) -> None:
    taken = sorted(set(fields) & _UNCHANGEABLE)
    if taken:
        raise ValidationError(
            f"'{taken[0]}' cannot be changed: ids, vectors and _internal are fixed.", field=taken[0]
        )


def _merged(stored: JsonObject, fields: Mapping[str, Json]) -> JsonObject:
    merged = dict(stored)
    for name, value in fields.items():
        if name == "metadata":
            if isinstance(value, Mapping):
                held = merged.get("metadata")
                both = {**(held if isinstance(held, Mapping) else {}), **value}
                merged["metadata"] = {key: one for key, one in both.items() if one is not None}
            elif value is not None:
                merged["metadata"] = value
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    internal = dict(cast("JsonObject", merged.get("_internal") or {}))
    internal["updated_at"] = isoformat(now())
    merged["_internal"] = internal
    return merged
