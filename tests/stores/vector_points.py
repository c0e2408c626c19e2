"""Points that the suites of the vector stores share, and short words for what is found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.types import JsonObject
from lamina.stores.vectors.base import CollectionRef, Hit, Point, PointPage, VectorSpec, VectorStore

AT = CollectionRef("ns_1", "col_1")
ELSEWHERE = CollectionRef("ns_1", "col_2")
SIZE = 4


def document(number: int, **more: Any) -> Point:
    """A point whose vector turns with its number."""
    angle = number / 50
    vector = [float(np.cos(angle)), float(np.sin(angle)), 0.0, 0.0]
    payload: JsonObject = {"number": number, "parity": "Even" if number % 2 == 0 else "Odd", **more}
    return Point(f"doc_{number:03d}", payload, {"dense": vector})


async def filled(
    store: VectorStore, numbers: Sequence[int] = range(20), at: CollectionRef = AT
) -> VectorStore:
    """The store with a collection of such points."""
    await store.create(at, [VectorSpec("dense", SIZE)])
    await store.upsert(at, [document(number) for number in numbers])
    return store


def ids(found: Sequence[Point] | Sequence[Hit] | PointPage) -> list[str]:
    """Document ids in the order found."""
    points = found.points if isinstance(found, PointPage) else found
    return [item.point.document_id if isinstance(item, Hit) else item.document_id for item in points]


async def every_page(store: VectorStore, limit: int, **how: Any) -> list[str]:
    """Ids over all pages."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = await store.scroll(AT, limit=limit, after=after, **how)
        assert len(page.points) <= limit
        found += ids(page)
        if page.after is None:
            return found
        after = page.after
