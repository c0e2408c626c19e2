"""Namespaces on a Qdrant server: the Qdrant collection of each, and its vectors.

    <prefix>.<namespace_id>        an alias, through which everything is read
    <prefix>.<namespace_id>.g1     the Qdrant collection behind it

A server that can add a named vector to a collection is asked to. Where it cannot (1.16), the
collection is copied into the next generation, which has the vector, and the alias then moves there
in one step. Meanwhile reads go on and writes wait (`server.QdrantVectorStore`). The copy notes on
the server how far it is; when its process dies, whoever waits for it takes it over.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Any, Final

from qdrant_client import models

from lamina.core.errors import UnavailableError
from lamina.stores.vectors import server_requests
from lamina.stores.vectors.base import Distance, VectorSpec
from lamina.stores.vectors.edge_points import LEXICAL
from lamina.stores.vectors.server_client import (
    ORDERED,
    MissingError,
    RefusedError,
    Server,
    UnknownRequestError,
)
from lamina.stores.vectors.server_indexes import Indexes
from lamina.stores.vectors.server_loading import Loads, optimize
from lamina.stores.vectors.server_points import chunks, server_name, spec_of
from lamina.stores.vectors.server_registry import Copying, Optimizing, Registry, SpaceRecord
from lamina.stores.vectors.server_terms import LAYOUT

_DISTANCES: Final[Mapping[Distance, models.Distance]] = {
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
    "euclidean": models.Distance.EUCLID,
}

_COPIED: Final = 250
"""Points in one step of a copy."""

_PASSES: Final = 3
"""Times that a copy reads all points at most, when there are more of them at its end than it has copied."""

_BEAT: Final = 2.0
"""Seconds between notes of how far a copy is."""

_POLL: Final = 0.1


class Spaces:
    """All namespaces on one server, as one process sees them."""

    def __init__(
        self, server: Server, registry: Registry, prefix: str, *, index_from: int, takeover: float
    ) -> None:
        self._server = server
        self._registry = registry
        self._prefix = prefix
        self._takeover = takeover
        self._loads = Loads(server, registry, self.settled, self.name, takeover)
        self.indexes = Indexes(server, self.alias, index_from)
        self._copies: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, tuple[str | None, float]] = {}

    def alias(self, namespace_id: str) -> str:
        """The name to read through."""
        return f"{self._prefix}.{namespace_id}"

    def name(self, space: SpaceRecord) -> str:
        """The name to write to."""
        return self._generation(space.namespace_id, space.generation)

    def loading(self, namespace_id: str, points: int) -> AbstractAsyncContextManager[None]:
        """Entered to write so many points to a namespace that is not there yet, or was left half loaded."""
        return self._loads.loading(namespace_id, points)

    # Vectors

    async def ensure(self, namespace_id: str, vectors: Sequence[VectorSpec], patience: float) -> None:
        """Give the namespace a Qdrant collection with these vectors, and more."""
        while True:
            space = await self.settled(namespace_id, patience)
            if space is None:
                first = self._generation(namespace_id, 1)
                usual = await self._registry.optimizing()
                how = self._loads.keeping(namespace_id)
                loading = None if how is None else usual
                if not await self._make(first, vectors, how):
                    # Who made it may have died before saying that it was for a load.
                    await optimize(self._server, first, usual)
                    loading = None
                await self.indexes.make(first, self.indexes.first())
                await self._point_alias(namespace_id, first)
                await self._registry.put(SpaceRecord(namespace_id, loading=loading))
                await self._loads.begin(namespace_id)
                continue
            lacking = await self._lacking(self.name(space), vectors)
            if not lacking or await self._added(self.name(space), lacking):
                return
            if await self._registry.put(replace(space, copying=Copying(tuple(lacking)))):
                await asyncio.shield(self._copying(namespace_id))

    async def settled(self, namespace_id: str, patience: float) -> SpaceRecord | None:
        """The record of the namespace once no copy is under way; takes over one that does not go on.

        Raises `UnavailableError` when that takes longer than `patience` seconds.
        """
        until = time.monotonic() + patience
        while True:
            space = await self._registry.space(namespace_id)
            if space is None or space.copying is None:
                self._watched.pop(namespace_id, None)
                return space
            if self._stands_still(space):
                with suppress(
                    UnavailableError, TimeoutError
                ):  # it is tried again as long as there is patience
                    await asyncio.wait_for(
                        asyncio.shield(self._copying(namespace_id)), max(0.0, until - time.monotonic())
                    )
            if time.monotonic() >= until:
                raise UnavailableError(
                    f"The points of the namespace '{namespace_id}' are being copied, to gain the vectors "
                    f"{', '.join(spec.name for spec in space.copying.vectors)}: try again in a while."
                )
            await asyncio.sleep(_POLL)

    async def check(self) -> None:
        """Raise `UnavailableError` when a Qdrant collection is not what its records and vectors say.

        Removes what finished copies left behind, and sees to loads that do not go on.
        """
        answer = await self._server.ask(self._server.client.get_collections)
        there = {one.name for one in answer.collections}
        for space in await self._registry.spaces():
            if space.loading is not None:
                self._loads.watch(space.namespace_id)
            name = self.name(space)
            if name not in there:
                raise UnavailableError(
                    f"The Qdrant collection '{name}' is gone, which held the points of the namespace "
                    f"'{space.namespace_id}': restore it from a snapshot, or point LAMINA_VECTORS_URL to "
                    "the server that has it."
                )
            if space.layout != LAYOUT:
                raise UnavailableError(
                    f"The points of the Qdrant collection '{name}' were written by another version: "
                    f"they say what filters compare in layout {space.layout}, and this version reads layout "
                    f"{LAYOUT}. Run `lamina backup` with that version, and with this one `lamina restore` "
                    "into empty stores."
                )
            self._check_vectors(name, await self._vectors_there(name))
            for older in range(1, space.generation):
                if (left_over := self._generation(space.namespace_id, older)) in there:
                    await self._remove(left_over)

    async def drop(self, namespace_id: str) -> None:
        """Remove the namespace with everything in it."""
        space = await self._registry.space(namespace_id)
        if space is not None:
            await self._registry.forget(space)
        answer = await self._server.ask(self._server.client.get_collections)
        start = self._generation(namespace_id, 0)[:-1]
        for one in answer.collections:
            if one.name.startswith(start) and one.name[len(start) :].isdigit():
                await self._remove(one.name)
        self.indexes.forget(namespace_id)

    async def close(self) -> None:
        """Stop the copies of this process; they go on elsewhere, or after the next start."""
        await self._loads.close()
        for task in self._copies.values():
            task.cancel()
        await asyncio.gather(*self._copies.values(), return_exceptions=True)

    # The how

    def _generation(self, namespace_id: str, generation: int) -> str:
        return f"{self.alias(namespace_id)}.g{generation}"

    async def _make(self, name: str, vectors: Iterable[VectorSpec], how: Optimizing | None) -> bool:
        """Make a Qdrant collection, whose optimizers keep to that; False where there is one of the name."""
        options = self._server.options
        specs = {server_name(spec): spec for spec in vectors}
        dense = {key: self._dense(spec) for key, spec in specs.items() if spec.kind != "sparse"}
        sparse = {key: models.SparseVectorParams() for key, spec in specs.items() if spec.kind == "sparse"}
        sparse[LEXICAL] = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            await self._server.ask(
                self._server.client.create_collection,
                name,
                vectors_config=dense,
                sparse_vectors_config=sparse,
                shard_number=options.shard_number,
                replication_factor=options.replication_factor,
                quantization_config=_CODES[options.quantization],
                optimizers_config=None if how is None else how.config,
                # A graph for each collection, none for all: every search is in one collection.
                hnsw_config=models.HnswConfigDiff(
                    m=0, payload_m=options.hnsw_m, ef_construct=options.hnsw_ef_construct
                ),
            )
        except RefusedError as error:
            if "already exists" not in error.message:
                raise
            return False
        return True

    def _dense(self, spec: VectorSpec) -> models.VectorParams:
        several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        return models.VectorParams(
            size=spec.size or 0,
            distance=_DISTANCES[spec.distance],
            multivector_config=several if spec.kind == "multi" else None,
            on_disk=self._server.options.quantization != "none",  # the codes are what is in memory
        )

    async def _vectors_there(self, name: str) -> dict[str, models.VectorParams | None]:
        """The vectors of a Qdrant collection by name; None stands for sparse."""
        return _vectors_of(await self._server.ask(self._server.client.get_collection, name))

    async def _lacking(self, name: str, vectors: Sequence[VectorSpec]) -> list[VectorSpec]:
        there = await self._vectors_there(name)
        self._check_vectors(name, there)
        return [spec for spec in vectors if server_name(spec) not in there]

    def _check_vectors(self, name: str, there: Mapping[str, models.VectorParams | None]) -> None:
        for key, params in there.items():
            spec = spec_of(key)
            if spec is None or params is None:
                continue
            found = (params.size, params.distance, params.multivector_config is not None)
            if found != (spec.size, _DISTANCES[spec.distance], spec.kind == "multi"):
                raise UnavailableError(
                    f"The Qdrant collection '{name}' has a vector '{key}' of size {params.size} and distance "
                    f"{params.distance}, where size {spec.size} and {spec.distance} are expected: it was not "
                    "made by Lamina. Remove it, or point LAMINA_VECTORS_URL to another server."
                )
        if LEXICAL not in there:
            raise UnavailableError(
                f"The Qdrant collection '{name}' has no vector '{LEXICAL}': it was not made by Lamina. "
                "Remove it, or point LAMINA_VECTORS_URL to another server."
            )

    async def _added(self, name: str, vectors: Sequence[VectorSpec]) -> bool:
        """Add vectors to a Qdrant collection, if this server can."""
        for spec in vectors:
            config: models.DenseVectorNameConfig | models.SparseVectorNameConfig
            if spec.kind == "sparse":
                config = models.SparseVectorNameConfig(sparse=models.SparseVectorConfig())
            else:
                params = self._dense(spec)
                config = models.DenseVectorNameConfig(
                    dense=models.DenseVectorConfig(
                        size=params.size,
                        distance=params.distance,
                        multivector_config=params.multivector_config,
                    )
                )
            try:
                await self._server.ask(
                    self._server.client.create_vector_name,
                    name,
                    server_name(spec),
                    config,
                    wait=True,
                    ordering=ORDERED,
                )
            except UnknownRequestError:
                return False
        return True

    def _stands_still(self, space: SpaceRecord) -> bool:
        """Whether the copy has not moved for a while, by this process's own watch."""
        stamp, since = self._watched.get(space.namespace_id, (None, 0.0))
        if stamp != space.stamp:
            self._watched[space.namespace_id] = (space.stamp, time.monotonic())
            return False
        return time.monotonic() - since >= self._takeover

    def _copying(self, namespace_id: str) -> asyncio.Task[None]:
        """This process's copy of the namespace, which goes on when who waits for it does not."""
        task = self._copies.get(namespace_id)
        if task is None or task.done():
            task = self._copies[namespace_id] = asyncio.create_task(self._copy(namespace_id))
        return task

    async def _copy(self, namespace_id: str) -> None:
        space = await self._registry.space(namespace_id)
        if space is None or space.copying is None:
            return
        old, new = self.name(space), self._generation(namespace_id, space.generation + 1)
        told = await self._server.ask(self._server.client.get_collection, old)
        had = [spec for spec in map(spec_of, _vectors_of(told)) if spec is not None]
        how = None if space.loading is None else Optimizing.told(told)
        await self._make(new, [*had, *space.copying.vectors], how)
        await self.indexes.make(new, told.payload_schema)
        copied = await self._copy_points(space, old, new)
        if copied is None:
            return  # another process has taken over
        await self._point_alias(namespace_id, new)
        finished = replace(copied, generation=copied.generation + 1, copying=None)
        if await self._registry.put(finished) is not None:
            await self._remove(old)
        self.indexes.forget(namespace_id)

    async def _copy_points(self, space: SpaceRecord, old: str, new: str) -> SpaceRecord | None:
        """Copy all points, from where the record says on. Gives the record as it is then."""
        assert space.copying is not None
        after = space.copying.after
        passes = 1 if after is None else 0
        noted = time.monotonic()
        while True:
            records, following = await server_requests.scroll(
                self._server, old, limit=_COPIED, offset=after, vectors=True
            )
            points = (
                server_requests.encoded({"id": one.id, "vector": one.vector, "payload": one.payload})
                for one in records
            )
            for chunk in chunks(points):
                await server_requests.upsert(self._server, new, chunk)
            if following is None:
                there, here = [await self._count(name) for name in (old, new)]
                if here >= there:
                    return space
                if passes >= _PASSES:
                    raise UnavailableError(f"Copying '{old}' gave {here:,} of {there:,} points.")
                # A write that began before the copy came in behind it. It will be done again, too.
                following, passes = _FIRST_ID, passes + 1
            after = following
            if time.monotonic() - noted >= _BEAT:
                moved = await self._registry.put(replace(space, copying=replace(space.copying, after=after)))
                if moved is None or moved.copying is None:
                    return None
                space, noted = moved, time.monotonic()

    async def _count(self, name: str) -> int:
        return (await self._server.ask(self._server.client.count, name, exact=True)).count

    async def _point_alias(self, namespace_id: str, name: str) -> None:
        """Let the alias stand for a Qdrant collection, in one step."""
        alias = self.alias(namespace_id)
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=name, alias_name=alias)
        )
        delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        answer = await self._server.ask(self._server.client.get_aliases)
        there = {one.alias_name: one.collection_name for one in answer.aliases}
        if there.get(alias) == name:
            return
        operations: list[models.CreateAliasOperation | models.DeleteAliasOperation] = [create]
        if alias in there:
            operations.insert(0, delete)
        await self._server.ask(self._server.client.update_collection_aliases, operations)

    async def _remove(self, name: str) -> None:
        with suppress(MissingError):
            await self._server.ask(self._server.client.delete_collection, name)


def _vectors_of(told: models.CollectionInfo) -> dict[str, models.VectorParams | None]:
    params = told.config.params
    dense = params.vectors if isinstance(params.vectors, dict) else {}
    return {**dense, **dict.fromkeys(params.sparse_vectors or {})}


_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"

_CODES: Final[Mapping[str, Any]] = {
    "none": None,
    "scalar": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    ),
    "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
}
