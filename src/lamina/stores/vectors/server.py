"""The vector store of an installation that outgrew one machine: a Qdrant server, or a cluster of them.

A namespace is one Qdrant collection (`server_spaces`), whose points belong to the namespace's
collections by `collection_id`. What the processes of an installation must agree on is kept on
the server (`server_registry`); what filters need to know of a field's values, in every point
(`server_terms`). See ADR 10.

Scores are those of the embedded store, but that the rarity of a word, which BM25 weighs it by, is
counted over the namespace and not over the collection.

Writes. A write goes to the Qdrant collection that the process knows of, waits until all of the
replicas that are up have it, and then reads the records anew. If the collection was dropped or
copied meanwhile, the write is done again where it belongs before it is acknowledged. So every
process sees what any process was told is written.

Reads use the records that the process remembers. What reads as missing is looked up anew.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Final, TypeVar

from qdrant_client import models

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.filters import ALL, Filter
from lamina.core.types import JsonObject
from lamina.stores.vectors import server_requests
from lamina.stores.vectors.base import (
    CollectionInfo,
    CollectionRef,
    Hit,
    IndexType,
    OrderBy,
    Point,
    PointPage,
    VectorQuery,
    VectorSpec,
)
from lamina.stores.vectors.edge_indexes import SYSTEM_INDEXES
from lamina.stores.vectors.edge_points import NAMES_KEY, check_specs, checked_id, described
from lamina.stores.vectors.server_client import ORDERED, MissingError, Server, ServerOptions
from lamina.stores.vectors.server_order import ordered_page
from lamina.stores.vectors.server_points import (
    check_point,
    chunks,
    server_id,
    to_server,
    to_server_payload,
)
from lamina.stores.vectors.server_reading import Reading, WithVectors
from lamina.stores.vectors.server_registry import CollectionRecord, Known, Registry
from lamina.stores.vectors.server_spaces import Spaces

T = TypeVar("T")

_PATIENCE: Final = 10.0
"""Seconds for which a write waits for a copy under way."""
_LONG_PATIENCE: Final = 600.0
"""The same for making a collection, which may be what the copy is for."""
_UNBROKEN: Final = 50
"""Points made ready in one go, in some milliseconds: meanwhile no other request is answered, nor sent on."""
_DELETED: Final = 1_000
"""Points in one delete or one replacement of payloads."""


class QdrantVectorStore:
    """`VectorStore` on a Qdrant server. Any number of processes may use one server at once.

    `prefix` begins the names of all its Qdrant collections. `index_from` is the number of points
    from which a namespace gets the payload indexes that its filters want. `takeover` is how many
    seconds a copy may stand still before another process goes on with it.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        prefix: str = "lamina",
        index_from: int = 2_000,
        takeover: float = 30.0,
    ) -> None:
        self._server = Server(options)
        self._registry = Registry(self._server, prefix)
        self._spaces = Spaces(self._server, self._registry, prefix, index_from=index_from, takeover=takeover)
        self._known: dict[CollectionRef, Known] = {}

    async def verify(self) -> None:
        """Raise `UnavailableError` that says how to mend it when the server cannot be used.

        Finishes what a process that died left half done.
        """
        await self._server.check()
        await self._spaces.check()
        for space in await self._registry.spaces():
            for record in await self._registry.collections(space.namespace_id):
                if record.dropping:
                    await self._finish_drop(record)

    # Collections

    async def create(self, at: CollectionRef, vectors: Sequence[VectorSpec]) -> None:
        """Make a collection, or add the vectors that an existing one lacks."""
        _check_ids(at)
        while True:
            record = await self._registry.collection(at)
            if record is not None and record.dropping:
                await self._finish_drop(record)
                continue
            if record is None:
                check_specs(vectors)
                record = CollectionRecord(*_ids(at), token=uuid.uuid4().hex)
            lacking = _lacking(record, vectors)
            check_specs(lacking)
            await self._spaces.ensure(at.namespace_id, [*record.vectors, *lacking], _LONG_PATIENCE)
            if record.stamp is not None and not lacking:
                return
            if await self._registry.put(replace(record, vectors=(*record.vectors, *lacking))) is not None:
                return

    async def drop(self, at: CollectionRef) -> None:
        """Remove a collection with all its points."""
        _check_ids(at)
        while True:
            record = await self._registry.collection(at)
            if record is None:
                break
            if not record.dropping:
                marked = await self._registry.put(replace(record, dropping=True))
                if marked is None:
                    continue
                record = marked
            await self._finish_drop(record)
        self._known.pop(at, None)

    async def drop_namespace(self, namespace_id: str) -> None:
        """Remove every collection of a namespace."""
        checked_id(namespace_id, "namespace_id")
        for record in await self._registry.collections(namespace_id):
            await self._registry.forget(record)
        await self._spaces.drop(namespace_id)
        for at in [at for at in self._known if at.namespace_id == namespace_id]:
            self._known.pop(at, None)

    async def collections(self, namespace_id: str) -> list[str]:
        """Ids of the collections that a namespace holds, sorted."""
        checked_id(namespace_id, "namespace_id")
        records = await self._registry.collections(namespace_id)
        return sorted(record.collection_id for record in records if not record.dropping)

    def loading(self, namespace_id: str, points: int) -> AbstractAsyncContextManager[None]:
        """Keep Qdrant from indexing a namespace that is made in it, until its end (`server_loading`)."""
        return self._spaces.loading(namespace_id, points)

    async def info(self, at: CollectionRef) -> CollectionInfo:
        """Size, vectors and payload indexes of a collection."""
        known = await self._look(at)
        if known is None:
            return CollectionInfo(0, (), {})
        record = known.collection
        return CollectionInfo(
            points=await self._reading(at, known).count(ALL),
            vectors=record.vectors,
            indexes={**SYSTEM_INDEXES, **record.indexes},
        )

    async def index(self, at: CollectionRef, field: str, type: IndexType) -> None:
        """Make a payload index. Further ones are made by themselves when a filter needs them."""
        while True:
            record = await self._registry.collection(at)
            if record is None or record.dropping:
                raise NotFoundError("collection", at.collection_id)
            declared = replace(record, indexes={**record.indexes, field: type})
            if await self._registry.put(declared) is not None:
                break
        await self._spaces.indexes.declare(at.namespace_id, field, type)

    # Points

    def check(self, vectors: Sequence[VectorSpec], point: Point) -> None:
        """Raise what writing the point to a collection with these vectors would raise of it."""
        check_point(vectors, point)

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write points; one with the id of an existing point replaces it whole."""
        latest = {point.document_id: point for point in points}.values()

        async def write(known: Known, name: str) -> None:
            specs = known.collection.specs
            prepared: list[bytes] = []
            for point in latest:
                prepared.append(to_server(point, at.collection_id, specs))
                if len(prepared) % _UNBROKEN == 0:
                    await asyncio.sleep(0)
            for chunk in chunks(prepared):
                await server_requests.upsert(self._server, name, chunk)

        await self._write(at, write)

    async def replace_payloads(self, at: CollectionRef, payloads: Mapping[str, JsonObject]) -> None:
        """Put new payloads, by document id, in place of the old ones; vectors stay."""
        by_id = {server_id(at.collection_id, one): one for one in payloads}

        async def write(known: Known, name: str) -> None:
            operations: list[Any] = []
            for ids in _pieces(list(by_id)):
                records = await self._server.ask(
                    self._server.client.retrieve, name, ids, with_payload=[NAMES_KEY]
                )
                for record in records:
                    document_id = by_id[str(record.id)]
                    names: Any = (record.payload or {}).get(NAMES_KEY, [])
                    payload = to_server_payload(document_id, payloads[document_id], at.collection_id, names)
                    change = models.SetPayload(payload=payload, points=[record.id])
                    operations.append(models.OverwritePayloadOperation(overwrite_payload=change))
            for piece in _pieces(operations):
                await self._server.ask(
                    self._server.client.batch_update_points,
                    name,
                    piece,
                    wait=True,
                    ordering=ORDERED,
                )

        await self._write(at, write)

    async def delete(self, at: CollectionRef, document_ids: Sequence[str]) -> None:
        """Remove points by document id; unknown ids are no error."""
        ids = [server_id(at.collection_id, one) for one in document_ids]

        async def write(known: Known, name: str) -> None:
            await self._delete(name, ids)

        await self._write_if_there(at, write)

    async def delete_where(self, at: CollectionRef, where: Filter) -> int:
        """Remove the points that match; how many there were."""
        deleted: set[str] = set()

        async def write(known: Known, name: str) -> None:
            reading = self._reading(at, known)
            ids = [str(record.id) async for record in reading.matching(await reading.plan(where))]
            await self._delete(name, ids)
            deleted.update(ids)

        await self._write_if_there(at, write)
        return len(deleted)

    # Reading

    async def get(
        self, at: CollectionRef, document_ids: Sequence[str], *, with_vectors: WithVectors = False
    ) -> list[Point]:
        """The points that exist, in the order asked for."""
        return await self._read(
            at, [], lambda reading: reading.get(document_ids, with_vectors), with_vectors=with_vectors
        )

    async def search(self, at: CollectionRef, query: VectorQuery) -> list[Hit]:
        """The best hits first. Never more than `query.limit`."""
        return await self._read(
            at, [], lambda reading: reading.search(query), with_vectors=query.with_vectors, doubted=True
        )

    async def scroll(
        self,
        at: CollectionRef,
        *,
        limit: int,
        where: Filter = ALL,
        order: OrderBy | None = None,
        after: str | None = None,
        with_vectors: WithVectors = False,
    ) -> PointPage:
        """Points page by page."""

        def page(reading: Reading) -> Awaitable[PointPage]:
            if order is None:
                return reading.page(limit, where, after, with_vectors)
            return ordered_page(reading, limit, where, order, after, with_vectors)

        return await self._read(at, PointPage([]), page, with_vectors=with_vectors)

    async def export(self, at: CollectionRef, *, limit: int, after: str | None = None) -> PointPage:
        """Points page by page, whole."""
        return await self._read(
            at, PointPage([]), lambda reading: reading.export(limit, after), with_vectors=True
        )

    async def count(self, at: CollectionRef, where: Filter = ALL) -> int:
        """How many points match, exactly."""
        return await self._read(at, 0, lambda reading: reading.count(where))

    async def facet(
        self, at: CollectionRef, field: str, *, limit: int, where: Filter = ALL
    ) -> list[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field with exact counts: by count descending, then value."""
        return await self._read(at, [], lambda reading: reading.facet(field, limit, where))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._spaces.close()
        await self._server.close()

    # The how

    async def _look(self, at: CollectionRef) -> Known | None:
        """Read the records anew."""
        _check_ids(at)
        known = await self._registry.known(at)
        if known is None:
            self._known.pop(at, None)
        else:
            self._known[at] = known
        return known

    def _reading(self, at: CollectionRef, known: Known) -> Reading:
        return Reading(self._server, self._spaces, at, known.collection.specs)

    async def _read(
        self,
        at: CollectionRef,
        empty: T,
        work: Callable[[Reading], Awaitable[T]],
        *,
        with_vectors: WithVectors = False,
        doubted: bool = False,
    ) -> T:
        """Read from a collection; one that does not exist gives `empty`.

        The remembered vectors may be those of a collection that was dropped and made anew
        elsewhere. So they are read anew when vectors are asked for, when they do not fit, and,
        where `doubted`, when they find nothing.
        """
        known = None if with_vectors else self._known.get(at)
        fresh = known is None
        if known is None:
            known = await self._look(at)
        while known is not None:
            try:
                result = await work(self._reading(at, known))
            except (MissingError, ValidationError):
                if fresh:
                    raise
                known, fresh = await self._look(at), True
                continue
            if fresh or result or not doubted:
                return result
            earlier, known, fresh = known, await self._look(at), True
            if known is not None and known.collection == earlier.collection:
                return result
        return empty

    async def _write(self, at: CollectionRef, work: Callable[[Known, str], Awaitable[None]]) -> None:
        """Write to a collection, again if it moved meanwhile. Raises `NotFoundError` if there is none."""
        known = self._known.get(at)
        fresh = known is None
        if known is None:
            known = await self._look(at)
        while known is not None:
            if known.space.copying is not None:
                await self._spaces.settled(at.namespace_id, _PATIENCE)
                known, fresh = await self._look(at), True
                continue
            name = self._spaces.name(known.space)
            failure: Exception | None = None
            try:
                await work(known, name)
            except (MissingError, ValidationError) as error:
                if fresh and isinstance(error, ValidationError):
                    raise
                failure = error
            now = await self._look(at)
            if now is not None and known.same_place(now):
                if failure is None:
                    return
                if isinstance(failure, MissingError) or known.collection == now.collection:
                    raise failure
            known, fresh = now, True
        await self._sweep(at)
        raise NotFoundError("collection", at.collection_id)

    async def _write_if_there(self, at: CollectionRef, work: Callable[[Known, str], Awaitable[None]]) -> None:
        try:
            await self._write(at, work)
        except NotFoundError:
            return

    async def _delete(self, name: str, ids: Sequence[str]) -> None:
        for piece in _pieces(ids):
            selector = models.PointIdsList(points=list(piece))
            await self._server.ask(self._server.client.delete, name, selector, wait=True, ordering=ORDERED)

    async def _sweep(self, at: CollectionRef) -> None:
        """Remove what a write may have left of a collection that is gone."""
        space = await self._registry.space(at.namespace_id)
        if space is None or await self._registry.collection(at) is not None:
            return
        await self._delete_points(self._spaces.name(space), at)

    async def _finish_drop(self, record: CollectionRecord) -> None:
        at = CollectionRef(record.namespace_id, record.collection_id)
        while (space := await self._spaces.settled(at.namespace_id, _PATIENCE)) is not None:
            await self._delete_points(self._spaces.name(space), at)
            if await self._registry.space(at.namespace_id) == space:
                break
        await self._registry.forget(record)

    async def _delete_points(self, name: str, at: CollectionRef) -> None:
        belongs = models.FieldCondition(key="collection_id", match=models.MatchValue(value=at.collection_id))
        selector = models.FilterSelector(filter=models.Filter(must=[belongs]))
        try:
            await self._server.ask(self._server.client.delete, name, selector, wait=True, ordering=ORDERED)
        except MissingError:
            return


def _ids(at: CollectionRef) -> tuple[str, str]:
    return at.namespace_id, at.collection_id


def _check_ids(at: CollectionRef) -> None:
    checked_id(at.namespace_id, "namespace_id")
    checked_id(at.collection_id, "collection_id")


def _lacking(record: CollectionRecord, vectors: Sequence[VectorSpec]) -> list[VectorSpec]:
    """The vectors that a collection does not have. Raises `ValidationError` for one that it has otherwise."""
    specs = record.specs
    for spec in vectors:
        if specs.get(spec.name, spec) != spec:
            raise ValidationError(
                f"The collection has another vector of the name '{spec.name}': "
                f"{described({spec.name: specs[spec.name]})}, {specs[spec.name].distance}.",
                field=f"vectors.{spec.name}",
            )
    return [spec for spec in dict.fromkeys(vectors) if spec.name not in specs]


def _pieces(items: Sequence[T]) -> Iterable[list[T]]:
    return (list(items[start : start + _DELETED]) for start in range(0, len(items), _DELETED))
