"""The embedded vector store: Qdrant Edge in this process, one shard per collection.

    <path>/<namespace_id>/<collection_id>/     see `edge_shard`

Distances. Cosine and dot product score as Qdrant does; a Euclidean distance d becomes the score
1 / (1 + d), so that higher is better everywhere and `min_score` lies between 0 and 1.

Threads. Every call of Qdrant Edge 0.9 holds Python's global lock until it returns, so a thread
makes no search overlap with another; it only costs the hop (about 0.1 ms). What the engine alone
answers in one short call therefore runs where it is asked; everything else, and every write, runs
in a small pool, in chunks that let the event loop run between them.
"""

import asyncio
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from lamina.core.errors import NotFoundError, UnavailableError
from lamina.core.filters import ALL, Filter
from lamina.core.types import JsonObject
from lamina.stores.vectors import edge_order, edge_reading
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
from lamina.stores.vectors.edge_disk import read_into_memory
from lamina.stores.vectors.edge_filters import Plan
from lamina.stores.vectors.edge_graphs import GraphBuilder
from lamina.stores.vectors.edge_points import check_specs, checked_id, to_engine
from lamina.stores.vectors.edge_shard import Shard

T = TypeVar("T")

_THREADS: Final = 4
_SHORT: Final = 100
"""Points that a search or a page may return and still run where it is asked."""
_SHORT_GET: Final = 1_000
"""The same for points asked for by id: about 12 µs each."""

_DROPPED: Final = ".dropped-"


class EdgeVectorStore:
    """`VectorStore` over a folder. Only one process may have it open.

    `index_from` is the number of points from which a shard has payload indexes: to make them takes
    0.1 ms a point, during which nothing else runs, and every index costs a small shard a dozen
    files. `graph_from` is the number from which its vectors get graphs (None: never); every
    `look_for_graphs` seconds it is looked which ones are due.
    """

    def __init__(
        self,
        path: Path,
        *,
        index_from: int = 256,
        graph_from: int | None = 20_000,
        look_for_graphs: float = 2.0,
    ) -> None:
        self._path = path
        self._index_from = index_from
        self._shards: dict[CollectionRef, Shard] = {}
        self._opening = threading.RLock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="vectors")
        # One shard after the other: each may take half of the memory that those before it left.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="vectors-read")
        self._closing = threading.Event()
        path.mkdir(parents=True, exist_ok=True)
        for leftover in path.glob(f"*/{_DROPPED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self._graphs = (
            None
            if graph_from is None
            else GraphBuilder(lambda: list(self._shards.values()), graph_from, look_for_graphs)
        )

    # Collections

    async def create(self, at: CollectionRef, vectors: Sequence[VectorSpec]) -> None:
        """Make a collection, or add the vectors that an existing one lacks."""
        await self._in_thread(self._create, at, tuple(vectors))

    async def drop(self, at: CollectionRef) -> None:
        """Remove a collection with all its points."""
        await self._in_thread(self._drop, at)

    async def drop_namespace(self, namespace_id: str) -> None:
        """Remove every collection of a namespace."""
        for collection_id in await self.collections(namespace_id):
            await self.drop(CollectionRef(namespace_id, collection_id))

    async def collections(self, namespace_id: str) -> list[str]:
        """Ids of the collections that a namespace holds, sorted."""
        folder = self._path / checked_id(namespace_id, "namespace_id")
        return await self._in_thread(
            lambda: sorted(manifest.parent.name for manifest in folder.glob("[!.]*/manifest.json"))
        )

    @asynccontextmanager
    async def loading(self, namespace_id: str, points: int) -> AsyncIterator[None]:
        """Changes nothing: graphs are built once the writing pauses anyway."""
        yield

    async def info(self, at: CollectionRef) -> CollectionInfo:
        """Size, vectors and payload indexes of a collection."""
        return await self._on_shard(at, CollectionInfo(0, (), {}), _info)

    async def index(self, at: CollectionRef, field: str, type: IndexType) -> None:
        """Make a payload index. Further ones are made by themselves when a filter needs them."""
        await self._write(at, lambda shard: shard.declare_index(field, type))

    # Points

    def check(self, vectors: Sequence[VectorSpec], point: Point) -> None:
        """Raise what writing the point to a collection with these vectors would raise of it."""
        check_specs(vectors)
        to_engine(point, dict(point.payload), {spec.name: spec for spec in vectors})

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write points; one with the id of an existing point replaces it whole."""
        await self._write(at, lambda shard: shard.upsert(points))

    async def replace_payloads(self, at: CollectionRef, payloads: Mapping[str, JsonObject]) -> None:
        """Put new payloads, by document id, in place of the old ones; vectors stay."""
        await self._write(at, lambda shard: shard.replace_payloads(payloads))

    async def delete(self, at: CollectionRef, document_ids: Sequence[str]) -> None:
        """Remove points by document id; unknown ids are no error."""
        await self._on_shard(at, None, lambda shard: shard.delete_documents(document_ids))

    async def delete_where(self, at: CollectionRef, where: Filter) -> int:
        """Remove the points that match; how many there were."""
        return await self._on_shard(at, 0, lambda shard: shard.delete_where(where))

    # Reading

    async def get(
        self, at: CollectionRef, document_ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """The points that exist, in the order asked for."""
        short = len(document_ids) <= _SHORT_GET
        return await self._on_shard(
            at, [], lambda shard: edge_reading.get(shard, document_ids, with_vectors), short=short
        )

    async def search(self, at: CollectionRef, query: VectorQuery) -> list[Hit]:
        """The best hits first. Never more than `query.limit`."""
        planned = self._plan(at, query.where) if query.limit <= _SHORT else None
        return await self._on_shard(
            at, [], lambda shard: edge_reading.search(shard, query, planned), short=planned is not None
        )

    async def scroll(
        self,
        at: CollectionRef,
        *,
        limit: int,
        where: Filter = ALL,
        order: OrderBy | None = None,
        after: str | None = None,
        with_vectors: bool | Sequence[str] = False,
    ) -> PointPage:
        """Points page by page."""
        if order is not None:
            return await self._on_shard(
                at,
                PointPage([]),
                lambda shard: edge_order.ordered_page(shard, limit, where, order, after, with_vectors),
            )
        short = limit <= _SHORT and self._plan(at, where) is not None
        return await self._on_shard(
            at,
            PointPage([]),
            lambda shard: edge_reading.page(shard, limit, where, after, with_vectors),
            short=short,
        )

    async def export(self, at: CollectionRef, *, limit: int, after: str | None = None) -> PointPage:
        """Points page by page, whole."""
        return await self._on_shard(at, PointPage([]), lambda shard: edge_reading.export(shard, limit, after))

    async def count(self, at: CollectionRef, where: Filter = ALL) -> int:
        """How many points match, exactly."""
        return await self._on_shard(at, 0, lambda shard: edge_reading.count(shard, where))

    async def facet(
        self, at: CollectionRef, field: str, *, limit: int, where: Filter = ALL
    ) -> list[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field with exact counts: by count descending, then value."""
        return await self._on_shard(at, [], lambda shard: edge_reading.facet(shard, field, limit, where))

    async def close(self) -> None:
        """Flush and let go of all files."""
        self._closing.set()
        self._reader.shutdown(wait=False, cancel_futures=True)
        if self._graphs is not None:
            await self._in_thread(self._graphs.close)
        await self._in_thread(self._close)
        self._pool.shutdown()

    # The how

    async def _on_shard(
        self, at: CollectionRef, empty: T, work: Callable[[Shard], T], *, short: bool = False
    ) -> T:
        """Run something on a shard; a collection that does not exist gives `empty`."""
        shard = self._shards.get(at)
        if short and shard is not None:
            with _engine_failures():
                return work(shard)
        return await self._in_thread(self._with_shard, at, empty, work)

    async def _write(self, at: CollectionRef, work: Callable[[Shard], None]) -> None:
        def on_existing() -> None:
            shard = self._open(at)
            if shard is None:
                raise NotFoundError("collection", at.collection_id)
            work(shard)

        await self._in_thread(on_existing)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        def guarded() -> T:
            with _engine_failures():
                return work(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._pool, guarded)

    def _with_shard(self, at: CollectionRef, empty: T, work: Callable[[Shard], T]) -> T:
        shard = self._open(at)
        return empty if shard is None else work(shard)

    def _plan(self, at: CollectionRef, where: Filter) -> Plan | None:
        """The plan of a filter that an open shard's engine answers alone and at once."""
        shard = self._shards.get(at)
        if shard is None:
            return None
        planned = shard.plan(where)
        return planned if planned.residual == ALL and not planned.wanted else None

    def _open(self, at: CollectionRef) -> Shard | None:
        shard = self._shards.get(at)
        if shard is not None:
            return shard
        folder = self._folder(at)
        with self._opening:
            if at not in self._shards and Shard.exists(folder):
                shard = self._shards[at] = Shard(folder, at, self._index_from)
                if not self._closing.is_set():
                    self._reader.submit(read_into_memory, shard.generation, self._closing.is_set)
            return self._shards.get(at)

    def _create(self, at: CollectionRef, vectors: Sequence[VectorSpec]) -> None:
        with self._opening:
            shard = self._open(at)
            if shard is None:
                self._shards[at] = Shard.create(self._folder(at), at, self._index_from, vectors)
                return
        shard.add_vectors(vectors)

    def _drop(self, at: CollectionRef) -> None:
        folder = self._folder(at)
        with self._opening:
            shard = self._shards.pop(at, None)
            if shard is not None:
                shard.retire()
            if not folder.exists():
                return
            rubbish = folder.with_name(f"{_DROPPED}{uuid.uuid4().hex}")
            folder.rename(rubbish)
        shutil.rmtree(rubbish, ignore_errors=True)

    def _close(self) -> None:
        with self._opening, ExitStack() as stack:  # which closes all of them, also when one fails
            while self._shards:
                stack.callback(self._shards.popitem()[1].close)

    def _folder(self, at: CollectionRef) -> Path:
        namespace_id = checked_id(at.namespace_id, "namespace_id")
        return self._path / namespace_id / checked_id(at.collection_id, "collection_id")


def _info(shard: Shard) -> CollectionInfo:
    return CollectionInfo(
        points=shard.engine.info().points_count,
        vectors=tuple(shard.specs.values()),
        indexes=shard.indexes(),
    )


@contextmanager
def _engine_failures() -> Iterator[None]:
    """Turn failures of the engine, which come as bare `Exception`, and of the disk into one that says so."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"The vector store cannot be used at the moment: {error.strerror or type(error).__name__}."
        ) from error
    except Exception as error:
        if type(error) is Exception:
            raise UnavailableError(f"The vector store cannot answer: {error}") from error
        raise
