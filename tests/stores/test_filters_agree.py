"""Every engine finds what `core.predicate` says a filter means: the table, and filters at random."""

import random
from collections.abc import Iterator, Mapping, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from lamina.core.filters import ALL, And, Condition, Filter, Not, Operator, Or, parse_filter
from lamina.core.predicate import matches
from lamina.core.types import Json, JsonObject
from lamina.stores.records.filters import field_expression, split
from lamina.stores.vectors.base import CollectionRef, Nearest, Point, VectorQuery, VectorSpec, VectorStore
from tests.stores.filter_cases import CASES, RECORDS, FilterCase

COLUMNS = ("name", "status", "created_at")

table = sa.Table(
    "filter_cases",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text) for name in COLUMNS),
    sa.Column("body", sa.JSON().with_variant(JSONB, "postgresql")),
    prefixes=["TEMPORARY"],
)

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def fill(connection: sa.Connection, records: Mapping[str, JsonObject]) -> None:
    """Put records into a fresh temporary table."""
    table.drop(connection, checkfirst=True)
    table.create(connection)
    rows = [
        {"id": key, "body": body, **{name: body.get(name) for name in COLUMNS}}
        for key, body in records.items()
    ]
    connection.execute(sa.insert(table), rows)


def column_of(path: str) -> sa.ColumnElement[str] | None:
    """The real column of a field."""
    return table.c[path] if path in COLUMNS else None


def found_by_sql(connection: sa.Connection, where: Filter) -> frozenset[str]:
    """What a caller of `split` finds."""
    condition, rest = split(where, column_of, table.c.body)
    rows = connection.execute(sa.select(table.c.id, table.c.body).where(condition))
    return frozenset(key for key, body in rows if matches(rest, body))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def records_table(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """The table's records in each SQL database."""
    engine: sa.Engine = request.getfixturevalue(f"{request.param}_engine")
    with engine.connect() as connection:
        fill(connection, RECORDS)
        yield connection
        connection.rollback()


def test_the_table_is_large_enough_to_mean_something() -> None:
    """At least 80 cases, of which not many find nothing."""
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(1 for case in CASES if case.finds) > 100


@every_case
def test_the_predicate_finds_what_the_table_says(case: FilterCase) -> None:
    where = parse_filter(case.raw)
    assert {key for key, record in RECORDS.items() if matches(where, record)} == case.finds


@every_case
def test_sql_finds_what_the_table_says(case: FilterCase, records_table: sa.Connection) -> None:
    assert found_by_sql(records_table, parse_filter(case.raw)) == case.finds


def test_sql_decides_most_filters_itself() -> None:
    """What is left to the predicate costs a scan, so it must stay the exception."""
    decided = [case for case in CASES if split(parse_filter(case.raw), column_of, table.c.body)[1] == ALL]
    assert len(decided) > 0.6 * len(CASES)


def test_sql_orders_numbers_before_strings_and_missing_last(records_table: sa.Connection) -> None:
    for path, expected in (
        ("price", ["sushi", "anvil", "bolt", "deluxe", "crate", "creme"]),
        ("brand", ["odd", "bolt", "anvil", "creme", "accents"]),
        ("metadata.size.width", ["anvil"]),
        ('no "such" field', sorted(RECORDS)),
    ):
        keys = [key.asc().nulls_last() for key in field_expression(table.c.body, path)]
        rows = records_table.execute(sa.select(table.c.id).order_by(*keys, table.c.id)).scalars().all()
        assert list(rows[: len(expected)]) == expected


# Filters at random

LEAVES: Sequence[Json] = (
    None, True, False, 0, 1, 2, 1.0, 1.5, -1, "a", "A", "b", "ab", "Ba b", "", "1", "é", "É",
    "2024-01-01", "2024-01-01T00:00:00Z", "2024-06-01T12:00:00+02:00", "2024-06-01 10:00", [], ["a", "B"],
    [1, "a"], [None], [None, 1], [True], [["a"]], ["2024-01-01", "x"], {}, {"lat": 1, "lon": 1},
)  # fmt: skip
FIELDS = ("f", "g", "o.f", "o.g", "o.o.f", "name", "missing", "missing.f")
SCALARS = tuple(leaf for leaf in LEAVES if leaf is None or isinstance(leaf, str | int | float))


def random_record(choose: random.Random, depth: int = 0) -> JsonObject:
    """A record over a few fields, so that filters often meet something."""
    record: JsonObject = {key: choose.choice(LEAVES) for key in ("f", "g") if choose.random() < 0.75}
    if depth < 2 and choose.random() < 0.8:
        inner: list[Json] = [random_record(choose, depth + 1) for _ in range(choose.randint(1, 3))]
        record["o"] = inner[0] if choose.random() < 0.6 else [*inner, *choose.choices(LEAVES, k=1)]
    return record


def random_filter(choose: random.Random, depth: int = 0) -> Filter:
    """A filter of up to three levels over the same fields."""
    if depth < 2 and choose.random() < 0.4:
        parts = tuple(random_filter(choose, depth + 1) for _ in range(choose.randint(0, 3)))
        made: list[Filter] = [And(parts), Or(parts), Not(And(parts)), Not(Or(parts))]
        return choose.choice(made)
    return random_condition(choose)


def random_condition(choose: random.Random) -> Condition:
    """One condition with a value that its operator takes."""
    field, case = choose.choice(FIELDS), choose.random() < 0.3
    texts = [value for value in SCALARS if isinstance(value, str)]
    match choose.choice(["equal", "list", "range", "presence", "text", "geo"]):
        case "equal":
            return Condition(field, choose.choice(["eq", "ne"]), choose.choice(SCALARS), case)
        case "list":
            values = choose.choices(SCALARS, k=choose.randint(0, 3))
            return Condition(field, choose.choice(["in", "nin"]), values, case)
        case "range":
            limits = [value for value in SCALARS if value is not None and not isinstance(value, bool)]
            return Condition(field, choose.choice(["gt", "gte", "lt", "lte"]), choose.choice(limits), case)
        case "presence":
            return Condition(field, choose.choice(["exists", "is_null"]), choose.random() < 0.5)
        case "geo":
            value: JsonObject = {"center": {"lat": 1, "lon": 1}, "radius": 10}
            return Condition(field, "geo_radius", value)
        case _:
            operators: list[Operator] = ["contains", "starts_with", "ends_with", "text", "regex"]
            operator = choose.choice(operators)
            return Condition(field, operator, choose.choice(texts), case)


async def stored_points(store: VectorStore, records: Mapping[str, JsonObject]) -> CollectionRef:
    """A new collection that holds the records as payloads."""
    at = CollectionRef("ns_filters", f"col_{len(await store.collections('ns_filters'))}")
    await store.create(at, [VectorSpec("v", 2)])
    points = [Point(key, record, {"v": [1.0, 0.5]}) for key, record in records.items()]
    await store.upsert(at, points)
    return at


async def found_by_vectors(store: VectorStore, at: CollectionRef, where: Filter) -> frozenset[str]:
    """What a scroll finds, once count and search have agreed with it."""
    page = await store.scroll(at, limit=1000, where=where)
    found = frozenset(point.document_id for point in page.points)
    assert await store.count(at, where) == len(found)
    hits = await store.search(at, VectorQuery(Nearest([1.0, 0.5], "v"), limit=1000, where=where))
    assert {hit.point.document_id for hit in hits} == found
    return found


async def test_a_vector_store_finds_what_the_table_says(vectors: VectorStore) -> None:
    at = await stored_points(vectors, RECORDS)
    wrong = {}
    for case in CASES:
        found = await found_by_vectors(vectors, at, parse_filter(case.raw))
        if found != case.finds:
            wrong[case.name] = found ^ case.finds
    assert not wrong


@pytest.mark.parametrize("seed", range(3))
async def test_a_vector_store_agrees_with_the_predicate_on_random_filters(
    seed: int, vectors: VectorStore
) -> None:
    """Also while points come in, which changes what the store knows of the fields."""
    choose = random.Random(seed)
    records = {f"r{number}": random_record(choose) for number in range(40)}
    at = await stored_points(vectors, dict(list(records.items())[:10]))
    for turn in range(150):
        if turn % 40 == 39:
            part = choose.sample(sorted(records), 15)
            await vectors.upsert(at, [Point(key, records[key], {"v": [1.0, 0.5]}) for key in part])
        stored = (await vectors.scroll(at, limit=1000)).points
        where = random_filter(choose)
        expected = {point.document_id for point in stored if matches(where, point.payload)}
        assert await found_by_vectors(vectors, at, where) == expected, where


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_sql_agrees_with_the_predicate_on_random_filters(
    seed: int, database: str, request: pytest.FixtureRequest
) -> None:
    choose = random.Random(seed)
    records = {f"r{number}": random_record(choose) for number in range(40)}
    engine: sa.Engine = request.getfixturevalue(f"{database}_engine")
    with engine.connect() as connection:
        fill(connection, records)
        for _ in range(80):
            where = random_filter(choose)
            expected = {key for key, record in records.items() if matches(where, record)}
            assert found_by_sql(connection, where) == expected, where
        connection.rollback()
