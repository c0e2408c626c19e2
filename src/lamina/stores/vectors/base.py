"""The vector store's Protocol: document points, by collection."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.core.filters import ALL, Filter
from lamina.core.types import JsonObject

DenseVector = NDArray[np.float32] | Sequence[float]
"""Shape (d,)."""

MultiVector = NDArray[np.float32] | Sequence[Sequence[float]]
"""Shape (n, d): one row per token, page or region; compared by MaxSim."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """The non-zero entries of a long vector."""

    indices: Sequence[int]
    values: Sequence[float]


Vector = DenseVector | MultiVector | SparseVector

Distance = Literal["cosine", "dot", "euclidean"]

IndexType = Literal["keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid"]


@dataclass(frozen=True, slots=True)
class CollectionRef:
    """Where points lie: a collection in a namespace."""

    namespace_id: str
    collection_id: str


@dataclass(frozen=True, slots=True)
class VectorSpec:
    """A named vector of a collection. `size` is None for sparse vectors."""

    name: str
    size: int | None = None
    distance: Distance = "cosine"
    kind: Literal["dense", "multi", "sparse"] = "dense"


@dataclass(slots=True)
class Point:
    """A document as it is stored.

    `payload` holds the user's fields at its root, `document_id`, `collection_id`, and everything
    of ours under `_internal`. `lexical` is the text behind the document's BM25 vector, or that
    vector itself, as only `VectorStore.export` gives it. `vectors` is filled on reading only when
    asked for; `vector_names` is filled on every read.
    """

    document_id: str
    payload: JsonObject
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    lexical: str | SparseVector | None = None
    vector_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Nearest:
    """Points whose vector `using` is closest to `vector`."""

    vector: Vector
    using: str


@dataclass(frozen=True, slots=True)
class Lexical:
    """Points whose text matches `text` by BM25."""

    text: str


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """One search in one collection. `min_score` is in the measure of the vector's distance."""

    query: Nearest | Lexical
    limit: int
    where: Filter = ALL
    min_score: float | None = None
    with_vectors: bool | Sequence[str] = False
    exact: bool = False


@dataclass(slots=True)
class Hit:
    """A found point with its score: similarity, higher is better, for every distance."""

    point: Point
    score: float


@dataclass(frozen=True, slots=True)
class OrderBy:
    """Order of a scroll by a payload field, written as a dot path."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class PointPage:
    """A stretch of a scroll. `after` is where the next one begins; None at the end."""

    points: Sequence[Point]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What the store knows of a collection."""

    points: int
    vectors: Sequence[VectorSpec]
    indexes: Mapping[str, IndexType]


class VectorStore(Protocol):
    """Points of documents, by collection. Every engine answers alike; `tests/stores` proves it.

    Filters follow `lamina.core.predicate`. Equal scores come in order of document id; a scroll
    without an order, in an order that is the engine's own but does not change. A write that has
    returned survives `kill -9` and is seen by the next read. A collection that was never created
    reads as empty, and writing to it raises `NotFoundError`. Every collection has a BM25 vector
    besides the named ones; it is not listed among them.

    Raises `ValidationError` for a vector whose name or size the collection does not have, or a
    query on one, and names those it has; `UnavailableError` when the engine cannot answer.
    """

    async def create(self, at: CollectionRef, vectors: Sequence[VectorSpec]) -> None:
        """Make a collection, or add the vectors that an existing one lacks."""

    async def drop(self, at: CollectionRef) -> None:
        """Remove a collection with all its points."""

    async def drop_namespace(self, namespace_id: str) -> None:
        """Remove every collection of a namespace."""

    async def collections(self, namespace_id: str) -> list[str]:
        """Ids of the collections that a namespace holds, sorted."""

    def loading(self, namespace_id: str, points: int) -> AbstractAsyncContextManager[None]:
        """Entered to write some number of points: the engine may put off what makes searching them quick.

        It is done at the end, also after a failure, and after a crash once the store is opened again.
        """

    async def info(self, at: CollectionRef) -> CollectionInfo:
        """Size, vectors and payload indexes of a collection."""

    def check(self, vectors: Sequence[VectorSpec], point: Point) -> None:
        """Raise what writing the point to a collection with these vectors would raise of it."""

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write points; one with the id of an existing point replaces it whole."""

    async def replace_payloads(self, at: CollectionRef, payloads: Mapping[str, JsonObject]) -> None:
        """Put new payloads, by document id, in place of the old ones; vectors stay."""

    async def get(
        self,
        at: CollectionRef,
        document_ids: Sequence[str],
        *,
        with_vectors: bool | Sequence[str] = False,
    ) -> list[Point]:
        """The points that exist, in the order asked for."""

    async def delete(self, at: CollectionRef, document_ids: Sequence[str]) -> None:
        """Remove points by document id; unknown ids are no error."""

    async def delete_where(self, at: CollectionRef, where: Filter) -> int:
        """Remove the points that match; how many there were."""

    async def search(self, at: CollectionRef, query: VectorQuery) -> list[Hit]:
        """The best hits first. Never more than `query.limit`."""

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
        """Points page by page; those without the ordering field come last.

        Points that are written meanwhile may or may not be met; every other one is met once.
        Raises `ValidationError` for an `after` that no page gave.
        """

    async def export(self, at: CollectionRef, *, limit: int, after: str | None = None) -> PointPage:
        """Points page by page, whole: what another engine must be given to hold the same."""

    async def count(self, at: CollectionRef, where: Filter = ALL) -> int:
        """How many points match, exactly."""

    async def facet(
        self, at: CollectionRef, field: str, *, limit: int, where: Filter = ALL
    ) -> list[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field with exact counts: by count descending, then value."""

    async def index(self, at: CollectionRef, field: str, type: IndexType) -> None:
        """Make a payload index, so that filters on `field` need not read every payload."""

    async def close(self) -> None:
        """Flush and let go of all files and connections."""
