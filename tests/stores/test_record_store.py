"""The life that all resources share, on every engine of the record store."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import create_async_engine

from lamina.core.errors import AlreadyExistsError, MissingExtraError, NotFoundError, UnavailableError
from lamina.core.filters import Condition, Filter, equals, parse_filter
from lamina.core.ids import new_id
from lamina.core.models import Model, Sort, Timestamp, isoformat, now
from lamina.core.paging import PageRequest
from lamina.core.predicate import matches
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.types import Json, JsonObject
from lamina.processing.batches import OUTCOMES
from lamina.stores.records.base import EVERYTHING, Kind
from lamina.stores.records.migrate import _config, migrate
from lamina.stores.records.repository import SqlRepository
from lamina.stores.records.sql import SqlRecordStore
from tests.stores.filter_cases import CASES, RECORDS
from tests.stores.test_filters_agree import random_filter, random_record

HOME = Scope("org_1", "ns_1")
BUCKET = HOME.within("bkt_1")


class Thing(Model):
    """A record with fields of its own, as objects are."""

    model_config = ConfigDict(extra="allow")

    object_id: str = Field(default_factory=lambda: new_id("obj"))
    status: str | None = None
    count: int = 0
    content_hash: str | None = None
    unique_value: str | None = None
    idempotency_key: str | None = None
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class Named(Model):
    """A record with a name."""

    bucket_id: str = Field(default_factory=lambda: new_id("bkt"))
    bucket_name: str
    note: str | None = None
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


THINGS = Kind(
    "objects",
    Thing,
    "object_id",
    columns=("content_hash",),
    unique=("unique_value", "idempotency_key"),
    search=(EVERYTHING,),
    indexed=True,
)
NAMED = Kind("buckets", Named, "bucket_id", "bucket_name", search=("note",), cached=True)


@pytest.fixture
def things(records: SqlRecordStore) -> SqlRepository[Thing]:
    return records.repository(THINGS)


@pytest.fixture
def named(records: SqlRecordStore) -> SqlRepository[Named]:
    return records.repository(NAMED)


async def every(things: SqlRepository[Thing], where: Filter, scope: Scope = HOME) -> set[str]:
    return {one.object_id async for some in things.iterate(scope, where=where) for one in some}


async def test_a_record_is_found_by_id_and_by_name_in_its_scope_only(named: SqlRepository[Named]) -> None:
    made = Named(bucket_name="Films", note="a note")
    await named.add(HOME, made)
    assert await named.get(HOME, made.bucket_id) == made
    assert await named.get(HOME, "Films") == made
    assert await named.find(HOME, "films") is None
    assert await named.find(Scope("org_1", "ns_2"), made.bucket_id) is None
    assert await named.find(Scope("org_2", "ns_1"), "Films") is None
    assert await named.find(Scope("org_1"), "Films") == made
    assert await named.find(EVERYWHERE, made.bucket_id) == made
    with pytest.raises(NotFoundError):
        await named.get(HOME, "Songs")


async def test_an_id_goes_before_a_name(named: SqlRepository[Named]) -> None:
    by_name, by_id = Named(bucket_name="bkt_x"), Named(bucket_id="bkt_x", bucket_name="other")
    await named.add(HOME, by_name, by_id)
    assert (await named.get(HOME, "bkt_x")).bucket_name == "other"


async def test_what_is_taken_is_named(things: SqlRepository[Thing], named: SqlRepository[Named]) -> None:
    await named.add(HOME, Named(bucket_name="Films"))
    with pytest.raises(AlreadyExistsError, match="'Films' already exists") as taken:
        await named.add(HOME, Named(bucket_name="Films"))
    assert taken.value.details == {"field": "bucket_name"}
    await named.add(Scope("org_1", "ns_2"), Named(bucket_name="Films"))

    # The value names another unique field, so that only the constraint can say which one it is.
    await things.add(BUCKET, Thing(idempotency_key="unique_value"))
    with pytest.raises(AlreadyExistsError) as taken:
        await things.add(BUCKET, Thing(idempotency_key="unique_value"))
    assert taken.value.details == {"field": "idempotency_key"}
    await things.add(HOME.within("bkt_2"), Thing(idempotency_key="unique_value"))
    assert await things.count(HOME) == 2


async def test_of_several_records_all_are_added_or_none(things: SqlRepository[Thing]) -> None:
    fresh = [Thing(unique_value="a"), Thing(unique_value="b"), Thing(unique_value="a")]
    with pytest.raises(AlreadyExistsError):
        await things.add(BUCKET, *fresh)
    assert await things.count(HOME) == 0


async def test_put_takes_the_place_of_the_same_ids(things: SqlRepository[Thing]) -> None:
    first, second = Thing(count=1), Thing(count=1)
    await things.add(BUCKET, first, second)
    await things.put(BUCKET, first.model_copy(update={"count": 2}), Thing(count=3))
    page = await things.list_page(BUCKET, PageRequest())
    assert [one.count for one in page.items] == [2, 1, 3]


async def test_of_an_id_that_is_put_twice_at_once_the_last_counts(things: SqlRepository[Thing]) -> None:
    first, second = Thing(count=1), Thing(count=1)
    await things.put(BUCKET, first, second, first.model_copy(update={"count": 2}))
    page = await things.list_page(BUCKET, PageRequest())
    assert [one.count for one in page.items] == [2, 1]


async def test_update_writes_back_whole_and_not_what_is_gone(things: SqlRepository[Thing]) -> None:
    made = Thing.model_validate({"title": "old", "unique_value": "a", "status": "DRAFT"})
    await things.add(BUCKET, made)
    await things.update(HOME, Thing(object_id=made.object_id, unique_value="b", created_at=made.created_at))
    found = await things.get(HOME, made.object_id)
    assert (found.model_extra, found.unique_value, found.status) == ({}, "b", None)
    assert await things.first(HOME, equals("unique_value", "b")) == found
    with pytest.raises(NotFoundError):
        await things.update(HOME, made, Thing())
    assert (await things.get(HOME, made.object_id)).unique_value == "b"


async def test_patch_sets_fields_at_the_root_and_null_empties_them(things: SqlRepository[Thing]) -> None:
    made = [
        Thing.model_validate({"title": "t", "inner": {"a": 1, "b": 2}, "error": "e", "status": "FAILED"})
        for _ in range(3)
    ]
    await things.add(BUCKET, *made)
    changed = [made[0].object_id, made[2].object_id, "obj_gone"]
    await things.patch(
        HOME, changed, {"inner": {"a": {"deep": [1]}}, "status": "COMPLETED", "error": None, "ünï": "x"}
    )
    for one in (made[0], made[2]):
        found = await things.get(HOME, one.object_id)
        assert found.model_extra == {"title": "t", "inner": {"a": {"deep": [1]}}, "ünï": "x"}
        assert found.status == "COMPLETED"
    assert await things.get(HOME, made[1].object_id) == made[1]
    assert await things.count_by(HOME, "status") == {"COMPLETED": 2, "FAILED": 1}
    assert await every(things, parse_filter({"field": "error", "operator": "exists", "value": True})) == {
        made[1].object_id
    }


async def test_what_was_patched_is_found_and_what_was_there_is_not(things: SqlRepository[Thing]) -> None:
    made = [
        Thing.model_validate({"title": "old", "error": "Old", "status": "FAILED", "inner": {"error": "in"}})
        for _ in range(2)
    ]
    await things.add(BUCKET, *made)
    both, one = {thing.object_id for thing in made}, {made[0].object_id}
    assert await every(things, equals("error", "Old")) == both
    for fields in ({"status": "COMPLETED", "error": "New"}, {"error": {"code": 7}}, {"title": "new"}):
        await things.patch(HOME, sorted(one), fields)
        for field, value in fields.items():
            where = equals("error.code", 7) if isinstance(value, dict) else equals(field, value)
            assert await every(things, where) == one, where
    for where in (equals("error", "Old"), equals("title", "old"), equals("status", "FAILED")):
        assert await every(things, where) == both - one, where
    assert await every(things, equals("inner.error", "in")) == both


async def test_a_page_says_what_follows_and_how_many_there_are(things: SqlRepository[Thing]) -> None:
    made = [Thing(count=number) for number in range(25)]
    await things.add(BUCKET, *made)
    for sort in (None, Sort(field="count"), Sort(field="created_at", direction="desc")):
        seen: list[int] = []
        cursor: str | None = None
        while True:
            page = await things.list_page(
                BUCKET, PageRequest(limit=10, cursor=cursor, include_total=True), sort=sort
            )
            assert page.total == 25
            seen += [one.count for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        descending = sort is not None and sort.direction == "desc"
        assert seen == sorted(range(25), reverse=descending)
    page = await things.list_page(BUCKET, PageRequest(limit=5, offset=20))
    assert [one.count for one in page.items] == [20, 21, 22, 23, 24]
    assert page.next_cursor is None


async def test_names_are_ordered_by_code_point(named: SqlRepository[Named]) -> None:
    names = ["b", "B", "a", "é", "Z", "_x", "a b", "ab"]
    await named.add(HOME, *(Named(bucket_name=name) for name in names))
    page = await named.list_page(HOME, PageRequest(limit=20), sort=Sort(field="bucket_name"))
    assert [one.bucket_name for one in page.items] == sorted(names)
    page = await named.list_page(
        HOME, PageRequest(limit=20), sort=Sort(field="bucket_name", direction="desc")
    )
    assert [one.bucket_name for one in page.items] == sorted(names, reverse=True)


async def test_fields_of_the_body_are_ordered_too(things: SqlRepository[Thing]) -> None:
    values: Sequence[Json] = ["b", 10, "B", 9.5, None, True, "é", -1]
    await things.add(BUCKET, *(Thing.model_validate({"value": value}) for value in values))
    page = await things.list_page(BUCKET, PageRequest(limit=20), sort=Sort(field="value"))
    found = [(one.model_extra or {}).get("value") for one in page.items]
    assert found == [-1, 9.5, 10, "B", "b", "é", True, None]


async def test_search_looks_into_fields_without_case(
    things: SqlRepository[Thing], named: SqlRepository[Named]
) -> None:
    await named.add(
        HOME,
        Named(bucket_id="bkt_a", bucket_name="Films", note="Of 100% Gold"),
        Named(bucket_id="bkt_b", bucket_name="Songs_1"),
    )
    for text, expected in (
        ("film", ["Films"]),
        ("100%", ["Films"]),
        ("s_1", ["Songs_1"]),
        ("*1", ["Songs_1"]),
        ("GOLD", ["Films"]),
        ("i_ms", []),
    ):
        page = await named.list_page(HOME, PageRequest(), search=text)
        assert [one.bucket_name for one in page.items] == expected, text
    await things.add(BUCKET, Thing.model_validate({"inner": {"name": "Grüße aus Köln"}}), Thing())
    found = await things.list_page(BUCKET, PageRequest(include_total=True), search="GRüßE")
    assert found.total == 1


async def test_counts_sums_and_deletions(things: SqlRepository[Thing]) -> None:
    await things.add(
        BUCKET, *(Thing.model_validate({"size": n, "word": "1" * n, "status": "A" * n}) for n in range(1, 4))
    )
    await things.add(HOME.within("bkt_2"), Thing.model_validate({"size": 0.5}))
    assert await things.sum(HOME, "size") == 6.5
    assert await things.sum(HOME.within("bkt_3"), "size") == 0
    assert await things.count_by(BUCKET, "status") == {"A": 1, "AA": 1, "AAA": 1}
    assert await things.delete_all(BUCKET, Condition("size", "gte", 3)) == 1
    assert await things.delete_all(BUCKET, Condition("word", "regex", "^11$")) == 1  # not for SQL to decide
    kept = await things.list_page(BUCKET, PageRequest())
    assert await things.delete(Scope("org_2"), kept.items[0].object_id) == 0
    assert await things.delete(HOME, kept.items[0].object_id, "obj_gone") == 1
    assert await things.count(HOME) == 1


async def test_a_namespace_goes_with_all_its_records(
    records: SqlRecordStore, things: SqlRepository[Thing], named: SqlRepository[Named]
) -> None:
    elsewhere = Scope("org_1", "ns_2")
    for scope in (HOME, elsewhere):
        await things.add(scope.within("b"), Thing())
        await named.add(scope, Named(bucket_name="Films"))
    await records.delete_namespace(HOME)
    assert [await things.count(one) for one in (HOME, elsewhere)] == [0, 1]
    assert await named.find(HOME, "Films") is None
    assert await named.find(elsewhere, "Films") is not None


async def test_a_transaction_is_kept_whole_or_not_at_all(
    records: SqlRecordStore, things: SqlRepository[Thing], named: SqlRepository[Named]
) -> None:
    class Broken(Exception):
        pass

    with pytest.raises(Broken):
        async with records.transaction(HOME):
            await things.add(BUCKET, Thing())
            async with records.transaction(HOME):
                await named.add(HOME, Named(bucket_name="Films"))
            assert await things.count(HOME) == 1
            assert await named.find(HOME, "Films") is not None
            raise Broken
    assert await things.count(HOME) == 0
    assert await named.find(HOME, "Films") is None


async def test_what_is_written_atomically_is_kept_whole_or_not_at_all(
    records: SqlRecordStore, things: SqlRepository[Thing]
) -> None:
    kept = Thing(count=1)
    await things.add(BUCKET, kept)
    with pytest.raises(AlreadyExistsError):
        async with records.atomic():
            await things.change(HOME, kept.object_id, lambda one: one.model_copy(update={"count": 2}))
            await things.add(BUCKET, Thing(), kept)
    assert await things.count(HOME) == 1
    assert (await things.get(HOME, kept.object_id)).count == 1


async def test_versions_are_those_of_the_records_that_exist(things: SqlRepository[Thing]) -> None:
    made = [Thing() for _ in range(3)]
    await things.add(BUCKET, *made)
    ids = [one.object_id for one in made]
    later = made[0].model_copy(update={"updated_at": made[0].updated_at + timedelta(seconds=1)})
    await things.update(HOME, later)
    await things.patch(HOME, ids[1:], {"status": "COMPLETED"})
    found = await things.versions(HOME, [*ids, "obj_unknown"])
    assert found == {one.object_id: isoformat(one.updated_at) for one in (later, *made[1:])}
    assert await things.versions(Scope("org_1", "ns_2"), ids) == {}


async def test_what_is_read_is_what_was_written(things: SqlRepository[Thing]) -> None:
    body: JsonObject = {
        "text": 'a "quoted" \\u0000 \\ line\nwith \t tabs and \x7f',
        "numbers": [0, -1, 1.0, 0.1, 1e300, 5e-324, 2**53 + 1, 123456789.123456789, 1.5e15],
        "nested": {"": {"a.b": [[], {}, [None, False]]}, "ключ": "値"},
    }
    made = Thing.model_validate(body)
    await things.add(BUCKET, made)
    found = (await things.get(HOME, made.object_id)).model_extra
    assert found == body
    assert found is not None
    assert [type(one) for one in found["numbers"]][:4] == [int, int, float, float]


@pytest.fixture
async def filtered(things: SqlRepository[Thing]) -> AsyncIterator[SqlRepository[Thing]]:
    """The records of the filter cases, and many others in another namespace."""
    rows = [Thing.model_validate({"object_id": key, **record}) for key, record in RECORDS.items()]
    await things.add(BUCKET, *rows)
    yield things


async def test_a_repository_finds_what_the_table_says(filtered: SqlRepository[Thing]) -> None:
    wrong = {}
    for case in CASES:
        if "created_at" in str(case.raw):  # a repository's records all have one
            continue
        found = await every(filtered, parse_filter(case.raw))
        if found != case.finds:
            wrong[case.name] = found ^ case.finds
    assert not wrong


@pytest.mark.parametrize("seed", range(3))
async def test_a_repository_agrees_with_the_predicate_on_random_filters(
    seed: int, things: SqlRepository[Thing]
) -> None:
    choose = random.Random(seed)
    rows = {f"r{number}": random_record(choose) for number in range(40)}
    await things.add(BUCKET, *(Thing.model_validate({"object_id": key, **row}) for key, row in rows.items()))
    for _ in range(80):
        where = random_filter(choose)
        expected = {key for key, row in rows.items() if matches(where, row)}
        assert await every(things, where) == expected, where


async def test_equality_is_answered_by_the_index(empty_postgres_url: str) -> None:
    """PostgreSQL finds a few of many by fields that clients made up, without reading the others."""
    store = await SqlRecordStore.open(empty_postgres_url)
    things = store.repository(THINGS)
    for start in range(0, 4000, 1000):
        rows = [
            {"title": f"Title {n}", "year": n, "meta": [{"colour": f"c{n}"}], "price": n / 7}
            for n in range(start, start + 1000)
        ]
        await things.add(BUCKET, *(Thing.model_validate(row) for row in rows))
    async with store.database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
            sa.text("VACUUM ANALYZE objects")
        )
    wheres: Mapping[str, Json] = {
        "text without case": {"field": "title", "operator": "eq", "value": "TITLE 1234"},
        "a number": {"field": "year", "operator": "eq", "value": 1234.0},
        "a fraction": {"field": "price", "operator": "eq", "value": 1234 / 7},
        "through a list": {"field": "meta.colour", "operator": "in", "value": ["c1234", "none"]},
    }
    for name, raw in wheres.items():
        where = parse_filter(raw)
        assert len(await every(things, where)) == 1, name
        condition, _ = things._split(where)
        query = sa.select(things._table.c.seq).where(condition)
        text = str(query.compile(store.database.engine, compile_kwargs={"literal_binds": True}))
        async with store.database.reading() as connection:
            plan = (await connection.exec_driver_sql(f"EXPLAIN {text.replace('%', '%%')}")).scalars().all()
        assert any("ix_objects_terms" in line for line in plan), (name, plan)
    await store.close()


async def test_the_status_of_records_is_shown_without_a_write_to_an_index(empty_postgres_url: str) -> None:
    """PostgreSQL keeps the new version on the same page, for large bodies too, as often as they change."""
    store = await SqlRecordStore.open(empty_postgres_url)
    things = store.repository(THINGS)
    sizes = random.Random(1).choices(range(0, 300, 10), k=600)
    words = [[new_id("obj") for _ in range(size)] for size in sizes]
    made = [Thing.model_validate({"title": "t", "status": "DRAFT", "words": some}) for some in words]
    await things.add(BUCKET, *made)
    await no_other_transaction(store)
    counted = sa.text(
        "SELECT pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid) "
        "FROM pg_class WHERE relname = 'objects'"
    )
    for fields in ({"status": "FAILED", "error": "why"}, {"status": "COMPLETED", "error": None}):
        async with store.database.writing() as connection:
            before = (await connection.execute(counted)).one()
            await things.patch(HOME, [one.object_id for one in made], fields)
            after = (await connection.execute(counted)).one()
        updated, on_the_page = (late - early for early, late in zip(before, after, strict=True))
        assert updated == len(made)
        assert on_the_page > 0.9 * updated
        await no_other_transaction(store)
    await store.close()


async def no_other_transaction(store: SqlRecordStore) -> None:
    """Wait until none that began before now is open: also those of other databases keep old versions."""
    async with store.database.writing() as connection:
        now = (await connection.execute(sa.text("SELECT pg_current_xact_id()::text::bigint"))).scalar_one()
    async with asyncio.timeout(60):
        while True:
            async with store.database.reading() as connection:
                asked = sa.text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                if (await connection.execute(asked)).scalar_one() > now:
                    return
            await asyncio.sleep(0.05)


def statements_of(store: SqlRecordStore) -> list[tuple[str, Any]]:
    """Every statement that the store makes from now on, with its parameters."""
    asked: list[tuple[str, Any]] = []

    def seen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(store.database.engine.sync_engine, "before_cursor_execute", seen)
    return asked


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
async def test_ids_are_looked_up_by_their_index_while_nothing_is_known_of_the_table(
    on: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/records.sqlite"
    store = await SqlRecordStore.open(
        url if on == "sqlite" else request.getfixturevalue("empty_postgres_url")
    )
    things = store.repository(THINGS)
    made = [Thing() for _ in range(2000)]
    await things.add(BUCKET, *made)
    asked = statements_of(store)
    ids = [one.object_id for one in made[:200]]
    assert len(await things.get_many(BUCKET, ids)) == 200
    assert len(await things.versions(HOME, ids)) == 200
    await things.patch(BUCKET, ids, {"status": "COMPLETED"})
    assert await things.delete(HOME, *ids) == 200
    statements = asked[:]
    assert len(statements) == 4
    explain, index = {
        "sqlite": ("EXPLAIN QUERY PLAN", "(organization_id=? AND id=?)"),
        "postgresql": ("EXPLAIN", "uq_objects_id"),
    }[on]
    async with store.database.engine.connect() as connection:
        for statement, parameters in statements:
            told = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
            plan = "\n".join(str(row[-1]) for row in told)
            assert index in plan
            assert "ix_objects_scope" not in plan
    await store.close()


async def test_sqlite_finds_outcomes_by_their_sources(tmp_path: Path) -> None:
    store = await SqlRecordStore.open(f"sqlite+aiosqlite:///{tmp_path}/records.sqlite")
    outcomes = store.repository(OUTCOMES)
    asked = statements_of(store)
    sources: list[Json] = [new_id("obj") for _ in range(256)]
    where = Condition("source_id", "in", sources, case_sensitive=True)
    assert [some async for some in outcomes.iterate(HOME, where=where)] == []
    ((statement, parameters),) = asked
    async with store.database.engine.connect() as connection:
        told = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert "ix_outcomes_source_id" in "\n".join(str(row[-1]) for row in told)
    await store.close()


async def test_a_character_that_postgresql_cannot_hold_is_shown_by_its_symbol(
    empty_postgres_url: str,
) -> None:
    """It comes with the messages of other people's libraries; requests that hold it are refused."""
    store = await SqlRecordStore.open(empty_postgres_url)
    things = store.repository(THINGS)
    made = Thing.model_validate({"error": "\0 and \\u0000 and \\\0"})
    await things.add(BUCKET, made)
    assert (await things.get(HOME, made.object_id)).model_extra == {"error": "␀ and \\u0000 and \\␀"}
    await store.close()


async def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lamina\[postgres\]'"):
        await SqlRecordStore.open("postgresql+psycopg://127.0.0.1/lamina")


# Two processes on one database


Pair = tuple[SqlRecordStore, SqlRecordStore]


async def test_one_of_two_processes_gets_a_name(pair: Pair) -> None:
    async def attempt(store: SqlRecordStore, number: int) -> bool:
        try:
            await store.repository(NAMED).add(HOME, Named(bucket_name=f"name {number}"))
        except AlreadyExistsError:
            return False
        return True

    made = await asyncio.gather(*(attempt(store, number) for number in range(30) for store in pair))
    assert sum(made) == 30
    assert await pair[0].repository(NAMED).count(HOME) == 30


async def test_changes_of_two_processes_all_count(pair: Pair) -> None:
    made = Thing()
    await pair[0].repository(THINGS).add(BUCKET, made)

    def more(thing: Thing) -> Thing:
        return thing.model_copy(update={"count": thing.count + 1})

    await asyncio.gather(
        *(one.repository(THINGS).change(HOME, made.object_id, more) for one in pair for _ in range(40))
    )
    assert (await pair[0].repository(THINGS).get(HOME, made.object_id)).count == 80


async def test_what_a_transaction_has_read_holds_until_it_writes(pair: Pair) -> None:
    """A submission that finds a draft, in two processes at once: one succeeds."""
    made = [Thing(status="DRAFT") for _ in range(20)]
    await pair[0].repository(THINGS).add(BUCKET, *made)

    async def submit(store: SqlRecordStore, object_id: str) -> bool:
        things = store.repository(THINGS)
        async with store.transaction(HOME):
            if (await things.get(HOME, object_id)).status != "DRAFT":
                return False
            await asyncio.sleep(0.001)
            await things.patch(HOME, [object_id], {"status": "PENDING"})
            return True

    answers = await asyncio.gather(
        *(submit(store, one.object_id) for one in made for store in pair for _ in range(2))
    )
    assert sum(answers) == len(made)


async def test_a_process_reads_what_the_other_wrote(pair: Pair) -> None:
    """Also what one process keeps in memory when it is alone."""
    here, there = (store.repository(NAMED) for store in pair)
    made = Named(bucket_name="Films")
    await here.add(HOME, made)
    for note in ("one", "two"):
        assert await there.get(HOME, "Films") == made
        made = made.model_copy(update={"note": note})
        await here.update(HOME, made)
    await here.delete(HOME, made.bucket_id)
    assert await there.find(HOME, "Films") is None


async def test_patches_of_the_same_records_do_not_meet_crosswise(pair: Pair) -> None:
    made = [Thing() for _ in range(1000)]  # several statements each
    await pair[0].repository(THINGS).add(BUCKET, *made)
    ids = [one.object_id for one in made]

    async def patch(store: SqlRecordStore, seed: int) -> None:
        mixed = random.Random(seed).sample(ids, len(ids))
        await store.repository(THINGS).patch(HOME, mixed, {"status": f"S{seed}"})

    await asyncio.gather(*(patch(store, seed) for seed in range(6) for store in pair))
    assert sum((await pair[0].repository(THINGS).count_by(HOME, "status")).values()) == 1000


async def test_patches_of_other_fields_of_the_same_records_all_count(pair: Pair) -> None:
    made = [Thing() for _ in range(50)]
    await pair[0].repository(THINGS).add(BUCKET, *made)
    ids = [one.object_id for one in made]
    names = [f"field_{number}" for number in range(20)]
    await asyncio.gather(
        *(pair[place % 2].repository(THINGS).patch(HOME, ids, {name: 1}) for place, name in enumerate(names))
    )
    found = await pair[0].repository(THINGS).get_many(HOME, ids)
    assert [sorted(one.model_extra or {}) for one in found.values()] == [sorted(names)] * len(made)


async def test_readers_are_answered_while_writers_wait_for_each_other(pair: Pair) -> None:
    here, there = pair
    things = here.repository(THINGS)
    await things.add(BUCKET, Thing())
    waiting = []
    async with there.transaction(HOME):

        async def write() -> None:
            async with here.transaction(HOME):
                await things.add(BUCKET, Thing())

        waiting = [asyncio.create_task(write()) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert await asyncio.wait_for(things.count(HOME), 2) == 1
    await asyncio.gather(*waiting)
    assert await things.count(HOME) == 21


# What can be wrong with a database


@pytest.mark.parametrize("limit", ["PRAGMA max_page_count = 1", "PRAGMA query_only = on"])
async def test_a_full_or_read_only_disk_refuses_writes_and_reading_goes_on(
    limit: str, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.sqlite'}"
    store = await SqlRecordStore.open(url)
    await store.repository(THINGS).add(BUCKET, Thing(object_id="obj_1"))
    await store.close()

    def limited(connection: Any, _: object) -> None:
        connection.cursor().execute(limit)

    store = await SqlRecordStore.open(url)
    sa.event.listen(store.database.engine.sync_engine, "connect", limited)
    await store.database.engine.dispose()
    await refuses_writes(store)
    await store.close()


async def test_a_standby_refuses_writes_and_is_read_from(empty_postgres_url: str) -> None:
    store = await SqlRecordStore.open(empty_postgres_url)
    await store.repository(THINGS).add(BUCKET, Thing(object_id="obj_1"))
    await store.close()
    url = f"{empty_postgres_url}?options=-c%20default_transaction_read_only%3Don"
    store = await SqlRecordStore.open(url)
    await refuses_writes(store)
    await store.close()


async def refuses_writes(store: SqlRecordStore) -> None:
    """Writes are refused in whole, the one record that is there is read."""
    things = store.repository(THINGS)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="The record store is unavailable"):
            await things.add(BUCKET, *(Thing(note="x" * 10_000) for _ in range(50)))
        assert (await things.get(BUCKET, "obj_1")).object_id == "obj_1"
        assert await things.count(BUCKET) == 1


async def test_a_newer_database_is_refused(records_url: str) -> None:
    store = await SqlRecordStore.open(records_url)
    async with store.database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    with pytest.raises(UnavailableError, match=r"revision '9999'.*newer"):
        await SqlRecordStore.open(records_url)


async def test_records_of_an_older_revision_are_kept_and_found(records_url: str) -> None:
    """Also after a way back, which finds by all fields again."""
    made = [Thing.model_validate({"title": f"t{n}", "error": "why", "status": "FAILED"}) for n in range(3)]
    ids = {one.object_id for one in made}
    store = await SqlRecordStore.open(records_url)
    await store.repository(THINGS).add(BUCKET, *made)
    async with store.database.engine.begin() as connection:
        await connection.run_sync(downgraded, "0004")
        if store.database.is_postgresql:
            asked = "SELECT count(*) FROM objects WHERE cardinality(terms) = cardinality(lamina_terms(body))"
            assert (await connection.exec_driver_sql(asked)).scalar_one() == len(made)
    await store.close()

    store = await SqlRecordStore.open(records_url)
    things = store.repository(THINGS)
    assert await things.get_many(HOME, sorted(ids)) == {one.object_id: one for one in made}
    await things.patch(HOME, [made[0].object_id], {"error": None, "status": "COMPLETED"})
    await things.patch(HOME, [made[1].object_id], {"title": "other"})
    assert await every(things, equals("error", "why")) == ids - {made[0].object_id}
    assert await every(things, equals("title", "t0")) == {made[0].object_id}
    assert await every(things, equals("title", "other")) == {made[1].object_id}
    assert await every(things, equals("title", "t1")) == set()
    await store.close()


def downgraded(connection: sa.Connection, to: str) -> None:
    """Take a database's tables back to a revision."""
    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, to)


async def test_a_start_that_dies_among_the_migrations_leaves_nothing_behind(
    records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(connection: sa.Connection) -> None:
        migrate(connection)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("lamina.stores.records.database.migrate", dies)
        with pytest.raises(SystemExit):
            await SqlRecordStore.open(records_url)
    engine = create_async_engine(records_url)
    async with engine.connect() as connection:
        assert not await connection.run_sync(lambda opened: sa.inspect(opened).get_table_names())
    await engine.dispose()
    await (await SqlRecordStore.open(records_url)).close()
