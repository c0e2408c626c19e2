"""What every vector store promises of pages, orders, counts and facets."""

from typing import Any

import numpy as np
import pytest

from lamina.core.errors import ValidationError
from lamina.core.filters import NONE, Condition, Not, equals
from lamina.core.types import JsonObject
from lamina.stores.vectors.base import (
    IndexType,
    OrderBy,
    Point,
    VectorStore,
)
from tests.stores.vector_points import AT, document, every_page, filled, ids

# Scroll


@pytest.mark.parametrize("limit", [1, 7, 20, 1000])
async def test_pages_meet_every_point_once(limit: int, vectors: VectorStore) -> None:
    await filled(vectors)
    expected = sorted(document(n).document_id for n in range(20))
    assert sorted(await every_page(vectors, limit)) == expected
    assert sorted(await every_page(vectors, limit, where=Condition("parity", "regex", "."))) == expected
    odd = await every_page(vectors, limit, where=equals("parity", "Odd"))
    assert sorted(odd) == expected[1::2]


async def test_the_order_without_an_order_does_not_change(vectors: VectorStore) -> None:
    await filled(vectors)
    before = await every_page(vectors, 6)
    await vectors.upsert(AT, [document(n, more="x") for n in range(0, 20, 3)])
    assert await every_page(vectors, 9) == before


async def test_paging_goes_on_while_points_come_and_go(vectors: VectorStore) -> None:
    await filled(vectors, range(60))
    for order in (None, OrderBy("number"), OrderBy("parity", descending=True), OrderBy("missing")):
        found: list[str] = []
        after: str | None = None
        for turn in range(30):
            page = await vectors.scroll(AT, limit=7, order=order, after=after)
            found += ids(page)
            after = page.after
            if after is None:
                break
            await vectors.delete(AT, [page.points[-1].document_id])
            await vectors.upsert(AT, [document(1000 + turn), document(-1000 - turn)])
            await vectors.delete(AT, [f"doc_{1000 + turn:03d}", f"doc_{-1000 - turn:03d}"])
            await vectors.upsert(AT, [page.points[-1]])
        assert sorted(found) == [f"doc_{n:03d}" for n in range(60)]


@pytest.mark.parametrize("after", ["", "x", "bm9wZQ", "eyJhIjoxfQ", "💥"])
async def test_a_cursor_that_no_page_gave_is_refused(after: str, vectors: VectorStore) -> None:
    await filled(vectors)
    with pytest.raises(ValidationError, match="no cursor"):
        await vectors.scroll(AT, limit=5, after=after)
    with pytest.raises(ValidationError, match="no cursor"):
        await vectors.scroll(AT, limit=5, order=OrderBy("number"), after=after)


ORDERED: dict[str, list[Any]] = {
    "integers": [5, 3, None, 3, 8, 0, None, 3, -2, 8],
    "floats": [0.5, 2, None, 0.5, -1.25, 1e10, 7, 7.0, None, 2],
    "times": ["2026-01-01", "2025-06-01T12:00:00+02:00", None, "2025-06-01T10:00:00Z",
              "2026-01-01T00:00:00.000001Z", None, "1969-12-31T23:59:59Z", "2026-01-01T00:00:00Z",
              "2024-02-29 12:00", None],
    "strings": ["b", "a", None, "B", "ä", "", "a", "10", None, "9"],
    "mixed": [2, "b", True, None, [1], {"x": 1}, 1.5, False, "a", 10],
    "huge": [2**53, 2**53 + 1, 2**53 - 1, 2**62, None, 2**53 + 1, 0, -(2**60), 1, 2**53],
    "missing": [None] * 10,
    "equal": [1] * 10,
}  # fmt: skip


def standing(field: str, value: Any) -> Any:
    """Where a value stands in an ascending order."""
    if field == "times":
        return np.datetime64(value.replace("+02:00", "").replace("Z", "")) - (
            np.timedelta64(2, "h") if "+02:00" in value else np.timedelta64(0, "h")
        )
    kind = 2 if isinstance(value, bool) else 1 if isinstance(value, str) else 0
    return (kind, value)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("field", sorted(ORDERED))
async def test_an_ordered_scroll_is_in_order_on_every_page_size(
    field: str, descending: bool, vectors: VectorStore
) -> None:
    await vectors.create(AT, [])
    values = dict(zip((f"doc_{n}" for n in range(10)), ORDERED[field], strict=True))
    await vectors.upsert(
        AT, [Point(key, {"o": {"v": v}} if v is not None else {}) for key, v in values.items()]
    )
    whole = await every_page(vectors, 100, order=OrderBy("o.v", descending))
    ordered = [values[key] for key in whole]
    present = [value for value in ordered if isinstance(value, str | int | float)]
    assert ordered[: len(present)] == present, "what has no place in the order comes last"
    steps = [standing(field, value) for value in present]
    assert steps == sorted(steps, reverse=descending)
    assert sorted(whole) == sorted(values)
    for limit in (1, 2, 3, 9):
        assert await every_page(vectors, limit, order=OrderBy("o.v", descending)) == whole
    kept = await every_page(
        vectors, 4, order=OrderBy("o.v", descending), where=Not(equals("document_id", "doc_3"))
    )
    assert kept == [key for key in whole if key != "doc_3"]


async def test_an_order_follows_what_is_written_later(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    await vectors.upsert(AT, [Point("doc_1", {"v": 2}), Point("doc_2", {"v": 1})])
    assert await every_page(vectors, 10, order=OrderBy("v")) == ["doc_2", "doc_1"]
    await vectors.upsert(AT, [Point("doc_3", {"v": 1.5})])
    assert await every_page(vectors, 10, order=OrderBy("v")) == ["doc_2", "doc_3", "doc_1"]
    await vectors.upsert(AT, [Point("doc_4", {"v": "text"}), Point("doc_5", {"v": [0]})])
    assert await every_page(vectors, 10, order=OrderBy("v")) == ["doc_2", "doc_3", "doc_1", "doc_4", "doc_5"]


# Counts


async def test_counts_are_exact(vectors: VectorStore) -> None:
    await filled(vectors, range(300))
    assert await vectors.count(AT) == 300
    assert await vectors.count(AT, Condition("number", "lt", 100)) == 100
    assert await vectors.count(AT, Condition("parity", "eq", "even")) == 150
    assert await vectors.count(AT, NONE) == 0
    await vectors.delete(AT, [f"doc_{n:03d}" for n in range(50)])
    assert await vectors.count(AT) == 250


async def test_facets_count_exactly_most_frequent_first_then_by_value(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    payloads: list[JsonObject] = [
        {
            "s": "b",
            "n": 1,
            "f": 0.5,
            "flag": True,
            "tags": ["x", "y", "x"],
            "mixed": 1,
            "in": [{"k": "p"}, {"k": "q"}],
        },
        {"s": "B", "n": 2, "f": 0.5, "flag": False, "tags": ["y"], "mixed": "1", "in": {"k": "p"}},
        {"s": "a", "n": 2, "f": 1, "flag": True, "tags": "z", "mixed": True, "in": []},
        {"s": "a", "n": 3, "f": 2.0, "flag": None, "tags": [], "mixed": 1.0, "date": "2026-01-01"},
        {},
    ]
    await vectors.upsert(AT, [Point(f"doc_{n}", payload) for n, payload in enumerate(payloads)])
    expected: dict[str, list[tuple[Any, int]]] = {
        "s": [("a", 2), ("B", 1), ("b", 1)],
        "n": [(2, 2), (1, 1), (3, 1)],
        "f": [(0.5, 2), (1, 1), (2.0, 1)],
        "flag": [(True, 2), (False, 1)],
        "tags": [("y", 2), ("x", 1), ("z", 1)],
        "mixed": [(1, 2), ("1", 1), (True, 1)],
        "in.k": [("p", 2), ("q", 1)],
        "date": [("2026-01-01", 1)],
        "no.such": [],
    }
    for field, counts in expected.items():
        assert await vectors.facet(AT, field, limit=10) == counts, field
        assert await vectors.facet(AT, field, limit=1) == counts[:1], field
    assert await vectors.facet(AT, "s", limit=10, where=Condition("n", "gte", 2)) == [("a", 2), ("B", 1)]
    assert await vectors.facet(AT, "s", limit=10, where=Condition("s", "regex", "b")) == [("B", 1), ("b", 1)]
    values = [value for value, _ in await vectors.facet(AT, "mixed", limit=10)]
    assert [type(value) is bool for value in values] == [False, False, True]


async def test_facets_with_many_equal_counts_are_cut_by_value(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    await vectors.upsert(AT, [Point(f"doc_{n}", {"k": f"k{n:04d}"}) for n in range(1500)])
    assert await vectors.facet(AT, "k", limit=3) == [("k0000", 1), ("k0001", 1), ("k0002", 1)]


@pytest.mark.parametrize("type", ["keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid"])
async def test_an_index_changes_no_answer(type: IndexType, vectors: VectorStore) -> None:
    """Also where the values are not of its type."""
    await vectors.create(AT, [])
    values: list[Any] = [1, 1.5, "1", "a", True, None, [1, "a"], {"lat": 1, "lon": 1}, "2026-01-01", 2**60]
    points = [Point(f"doc_{n}", {"v": value}) for n, value in enumerate(values)]
    await vectors.upsert(AT, points[:4])
    await vectors.index(AT, "v", type)
    await vectors.upsert(AT, points[4:])
    assert (await vectors.info(AT)).indexes["v"] == type
    for where, found in (
        (Condition("v", "eq", 1), [0, 6]),
        (Condition("v", "gt", 1), [1, 9]),
        (Condition("v", "eq", "A"), [3, 6]),
        (Condition("v", "eq", "1"), [2]),
        (Condition("v", "eq", True), [4]),
        (Condition("v", "gte", "2025-12-31"), [8]),
        (Condition("v", "is_null", True), [5]),
        (Condition("v", "geo_radius", {"center": {"lat": 1, "lon": 1}, "radius": 10}), [7]),
    ):
        assert sorted(ids(await vectors.scroll(AT, limit=20, where=where))) == [f"doc_{n}" for n in found], (
            where
        )
