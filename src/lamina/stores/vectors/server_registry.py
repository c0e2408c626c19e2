"""What several processes must agree on, kept on the Qdrant server itself: one small collection of records.

A record of a collection says that it exists, its vectors and its declared indexes. A record of a
namespace says which generation of its Qdrant collection counts, and whether it is being copied to
gain a vector. A record carries a stamp and is only ever replaced by whoever knows the last one: the
server compares it in the same step, so of two processes one succeeds and the other reads anew.
"""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from qdrant_client import models

from lamina.stores.vectors import server_requests
from lamina.stores.vectors.base import CollectionRef, IndexType, VectorSpec
from lamina.stores.vectors.server_client import STRICT, MissingError, RefusedError, Server
from lamina.stores.vectors.server_terms import LAYOUT

R = TypeVar("R", "CollectionRecord", "SpaceRecord")

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A collection. Its `token` tells it from one of the same id that was dropped."""

    namespace_id: str
    collection_id: str
    vectors: tuple[VectorSpec, ...] = ()
    indexes: dict[str, IndexType] = field(default_factory=dict)
    token: str = ""
    dropping: bool = False
    stamp: str | None = None

    @property
    def specs(self) -> dict[str, VectorSpec]:
        """The vectors by name."""
        return {spec.name: spec for spec in self.vectors}


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy under way, and the last point that is known to be copied."""

    vectors: tuple[VectorSpec, ...]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Optimizing:
    """What Qdrant's optimizers keep to. A threshold of 0 keeps them from making indexes."""

    indexing_threshold: int
    default_segment_number: int

    @classmethod
    def told(cls, info: models.CollectionInfo) -> Self:
        """What those of a Qdrant collection keep to, by what the server tells of it."""
        config = info.config.optimizer_config
        return cls(config.indexing_threshold or 0, config.default_segment_number)

    @property
    def config(self) -> models.OptimizersConfigDiff:
        """The same as the server takes it."""
        return models.OptimizersConfigDiff(
            indexing_threshold=self.indexing_threshold, default_segment_number=self.default_segment_number
        )


@dataclass(frozen=True, slots=True)
class SpaceRecord:
    """A namespace's Qdrant collection.

    `loading` is what its optimizers go back to after a load under way, `layout` how its points tell
    their terms.
    """

    namespace_id: str
    generation: int = 1
    copying: Copying | None = None
    loading: Optimizing | None = None
    layout: int = LAYOUT
    stamp: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Both records that a write depends on."""

    space: SpaceRecord
    collection: CollectionRecord

    def same_place(self, other: "Known") -> bool:
        """Whether points written by one are where the other looks for them."""
        return (
            self.space.generation == other.space.generation
            and other.space.copying is None
            and self.collection.token == other.collection.token
        )


class Registry:
    """The records, in the Qdrant collection `<prefix>.registry`."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self.name = f"{prefix}.registry"
        self._space_of_ids = uuid.uuid5(uuid.NAMESPACE_URL, f"lamina:{prefix}")
        self._made = False

    async def known(self, at: CollectionRef) -> Known | None:
        """Both records of a collection that exists."""
        ids = [self._space_id(at.namespace_id), self._collection_id(at)]
        found = await self._read(ids)
        space, collection = (found.get(id) for id in ids)
        if space is None or collection is None or collection["dropping"]:
            return None
        return Known(_space(space), _collection(collection))

    async def collection(self, at: CollectionRef) -> CollectionRecord | None:
        """The record of a collection, also while it is being dropped."""
        id = self._collection_id(at)
        found = await self._read([id])
        return _collection(found[id]) if id in found else None

    async def space(self, namespace_id: str) -> SpaceRecord | None:
        """The record of a namespace."""
        id = self._space_id(namespace_id)
        found = await self._read([id])
        return _space(found[id]) if id in found else None

    async def spaces(self) -> list[SpaceRecord]:
        """Those of all namespaces."""
        return [_space(one) for one in await self._all(_having("kind", "space"))]

    async def collections(self, namespace_id: str) -> list[CollectionRecord]:
        """Those of a namespace's collections, also while they are being dropped."""
        found = await self._all(_having("kind", "collection"), _having("namespace_id", namespace_id))
        return [_collection(one) for one in found]

    async def put(self, record: R) -> R | None:
        """Put a record in place of the one with its stamp, or where there is none; None when it lost."""
        await self._make()
        fresh = replace(record, stamp=uuid.uuid4().hex)
        is_space = isinstance(fresh, SpaceRecord)
        payload: dict[str, Any] = {**asdict(fresh), "kind": "space" if is_space else "collection"}
        at = CollectionRef(fresh.namespace_id, getattr(fresh, "collection_id", ""))
        id = self._space_id(at.namespace_id) if is_space else self._collection_id(at)
        # A point that is not there is always written; one that is, only where this holds.
        replaced: models.Condition = models.HasIdCondition(has_id=[])
        if record.stamp is not None:
            replaced = _having("stamp", record.stamp)
        point = models.PointStruct(id=id, vector={}, payload=payload)
        await self._server.ask(
            self._server.client.upsert,
            self.name,
            [point],
            wait=True,
            ordering=STRICT,
            update_filter=models.Filter(must=[replaced]),
        )
        found = (await self._read([id])).get(id)
        return fresh if found is not None and found["stamp"] == fresh.stamp else None

    async def optimizing(self) -> Optimizing:
        """The server's own settings of optimizers, which the records are kept with."""
        await self._make()
        return Optimizing.told(await self._server.ask(self._server.client.get_collection, self.name))

    async def forget(self, record: CollectionRecord | SpaceRecord) -> None:
        """Remove a record, unless somebody has replaced it."""
        assert record.stamp is not None
        await self._delete(_having("stamp", record.stamp))

    async def _delete(self, *conditions: models.FieldCondition) -> None:
        selector = models.FilterSelector(filter=models.Filter(must=list(conditions)))
        try:
            await self._server.ask(
                self._server.client.delete, self.name, selector, wait=True, ordering=STRICT
            )
        except MissingError:
            return

    async def _read(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        try:
            found = await server_requests.retrieve(self._server, self.name, ids)
        except MissingError:
            return {}
        return {record.id: record.payload for record in found}

    async def _all(self, *conditions: models.FieldCondition) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        offset: Any = None
        while True:
            try:
                records, offset = await self._server.ask(
                    self._server.client.scroll,
                    self.name,
                    scroll_filter=models.Filter(must=list(conditions)),
                    limit=_PAGE,
                    offset=offset,
                    with_payload=True,
                )
            except MissingError:
                return found
            found += [record.payload or {} for record in records]
            if offset is None:
                return found

    async def _make(self) -> None:
        if self._made:
            return
        try:
            await self._server.ask(
                self._server.client.create_collection,
                self.name,
                vectors_config={},
                shard_number=1,
                replication_factor=self._server.options.replication_factor,
            )
        except RefusedError as error:
            if "already exists" not in error.message:
                raise
        for key in ("kind", "namespace_id", "stamp"):
            await self._server.ask(
                self._server.client.create_payload_index,
                self.name,
                key,
                models.PayloadSchemaType.KEYWORD,
                wait=True,
            )
        self._made = True

    def _space_id(self, namespace_id: str) -> str:
        return str(uuid.uuid5(self._space_of_ids, namespace_id))

    def _collection_id(self, at: CollectionRef) -> str:
        return str(uuid.uuid5(self._space_of_ids, f"{at.namespace_id}/{at.collection_id}"))


def _having(key: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _space(stored: dict[str, Any]) -> SpaceRecord:
    copying, loading = stored["copying"], stored.get("loading")
    return SpaceRecord(
        namespace_id=stored["namespace_id"],
        generation=stored["generation"],
        copying=None if copying is None else Copying(_vectors(copying["vectors"]), copying["after"]),
        loading=None if loading is None else Optimizing(**loading),
        layout=stored.get("layout", 1),
        stamp=stored["stamp"],
    )


def _collection(stored: dict[str, Any]) -> CollectionRecord:
    return CollectionRecord(
        namespace_id=stored["namespace_id"],
        collection_id=stored["collection_id"],
        vectors=_vectors(stored["vectors"]),
        indexes=stored["indexes"],
        token=stored["token"],
        dropping=stored["dropping"],
        stamp=stored["stamp"],
    )


def _vectors(stored: Sequence[dict[str, Any]]) -> tuple[VectorSpec, ...]:
    return tuple(VectorSpec(**one) for one in stored)
