"""Asking the vector store: hits of several collections as one ranked list."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from lamina.core.filters import Filter
from lamina.core.types import Json, JsonObject
from lamina.processing.collections import Collection
from lamina.retrieval.stages.base import Documents, StageContext
from lamina.retrieval.stages.filter.feature_search.queries import Asked
from lamina.stores.vectors.base import CollectionRef, Hit, Point, SparseVector, Vector, VectorQuery

T = TypeVar("T")

MAX_POOL: Final = 10_000
"""How deep pages can reach: the contract's largest offset."""

_SCROLL_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One search's hits, best first."""

    hits: Sequence[Hit]
    with_vectors: bool

    def __len__(self) -> int:
        return len(self.hits)

    def documents(self) -> Documents:
        """The hits as documents with their raw scores."""
        documents = []
        for hit in self.hits:
            document = document_of(hit.point, self.with_vectors)
            document["score"] = hit.score
            documents.append(document)
        return documents

    def ranking(self) -> list[tuple[str, float]]:
        """Key and raw score of each hit."""
        return [(_key(hit.point), hit.score) for hit in self.hits]

    def by_key(self) -> Mapping[str, JsonObject]:
        """The hits as documents, by the key they have in the ranking."""
        return {_key(hit.point): document_of(hit.point, self.with_vectors) for hit in self.hits}


async def find(
    asked: Sequence[Asked], limit: int, where: Filter, min_score: float | None, given: StageContext
) -> Found:
    """The best `limit` hits over all collections asked; equal scores by document id."""
    lists = await together([_ask(one, limit, where, min_score, given) for one in asked])
    if len(lists) == 1:
        return Found(lists[0], given.with_vectors)
    merged = sorted(
        (hit for hits in lists for hit in hits), key=lambda hit: (-hit.score, hit.point.document_id)
    )
    return Found(merged[:limit], given.with_vectors)


async def together(waiting: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """The results of all, run at the same time; a single one is run without a task of its own."""
    if len(waiting) == 1:
        return [await waiting[0]]
    return await asyncio.gather(*waiting)


async def scrolled(
    collections: Sequence[Collection], where: Filter, limit: int, given: StageContext
) -> Documents:
    """The first `limit` documents that match, collection after collection, without scores.

    Within a collection they come in the store's own order, which is the same every time.
    """
    lists = await asyncio.gather(
        *(_scroll(given.targets.ref(collection), where, limit, given) for collection in collections)
    )
    points = [point for points in lists for point in points]
    given.exhausted = len(points) <= limit
    return [document_of(point, given.with_vectors) for point in points[:limit]]


def document_of(point: Point, with_vectors: bool) -> JsonObject:
    """A point as a document of the pipeline: its payload, and its vectors by name if asked for."""
    document = point.payload
    if with_vectors:
        for name, vector in point.vectors.items():
            document[name] = _written(vector)
    return document


async def _ask(
    one: Asked, limit: int, where: Filter, min_score: float | None, given: StageContext
) -> list[Hit]:
    extra = 1 if one.without is not None else 0
    query = VectorQuery(
        one.query, limit + extra, where=where, min_score=min_score, with_vectors=given.with_vectors
    )
    hits = await given.vectors.search(one.target.ref, query)
    if one.without is None:
        return hits
    return [hit for hit in hits if hit.point.document_id != one.without][:limit]


async def _scroll(at: CollectionRef, where: Filter, limit: int, given: StageContext) -> list[Point]:
    points: list[Point] = []
    after: str | None = None
    wanted = limit + 1
    while len(points) < wanted:
        page = await given.vectors.scroll(
            at,
            limit=min(_SCROLL_CHUNK, wanted - len(points)),
            where=where,
            after=after,
            with_vectors=given.with_vectors,
        )
        points.extend(page.points)
        after = page.after
        if after is None:
            break
    return points


def _key(point: Point) -> str:
    collection = point.payload.get("collection_id")
    return f"{point.document_id}\x1f{collection}"


def _written(vector: Vector) -> Json:
    if isinstance(vector, SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    written: list[Json] = np.asarray(vector, dtype=np.float32).tolist()
    return written
