"""Records that are kept in memory: never older than what a request may expect."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

import lamina
from lamina.stores.records.base import Kind
from lamina.stores.records.cache import Cache
from lamina.stores.records.migrations.versions.r0004_changes import CACHED
from lamina.stores.records.repository import SqlRepository
from lamina.stores.records.sql import SqlRecordStore
from tests.databases import end_connections
from tests.stores.test_record_store import HOME, NAMED, Named, Pair


@pytest.fixture
def statements(records: SqlRecordStore) -> list[str]:
    """What a store asks its database, beside the driver's own question."""
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    sa.event.listen(records.database.engine.sync_engine, "before_cursor_execute", note)
    return asked


async def test_a_record_is_read_once(records: SqlRecordStore, statements: list[str]) -> None:
    named = records.repository(NAMED)
    bucket = Named(bucket_name="one")
    await named.add(HOME, bucket)
    async with records.caching():
        await named.get(HOME, "one")
    statements.clear()
    async with records.caching():
        assert await named.get(HOME, "one") == bucket
    assert statements == []


async def test_every_change_in_another_process_is_seen(pair: Pair) -> None:
    here, there = (store.repository(NAMED) for store in pair)
    bucket = Named(bucket_name="one")

    async def seen() -> Named | None:
        async with pair[1].caching():
            return await there.find(HOME, bucket.bucket_id)

    await here.add(HOME, bucket)
    assert await seen() == bucket
    await here.update(HOME, changed := bucket.model_copy(update={"note": "updated"}))
    assert await seen() == changed
    await here.patch(HOME, [bucket.bucket_id], {"note": "patched"})
    assert (found := await seen()) is not None and found.note == "patched"
    await here.change(HOME, bucket.bucket_id, lambda one: one.model_copy(update={"note": "changed"}))
    assert (found := await seen()) is not None and found.note == "changed"
    async with pair[0].transaction(HOME):
        await here.put(HOME, bucket)
        assert (found := await seen()) is not None and found.note == "changed"
    assert await seen() == bucket
    await pair[0].delete_namespace(HOME)
    assert await seen() is None


async def test_outside_of_requests_shared_records_are_read_anew(pair: Pair) -> None:
    here, there = (store.repository(NAMED) for store in pair)
    await here.add(HOME, bucket := Named(bucket_name="one"))
    async with pair[1].caching():
        await there.get(HOME, "one")
        left = asyncio.create_task(outliving(there, until := asyncio.Event()))
        await asyncio.sleep(0)
    await here.update(HOME, bucket.model_copy(update={"note": "new"}))
    until.set()
    assert (await there.get(HOME, "one")).note == "new"
    assert await left == "new"


async def outliving(named: SqlRepository[Named], until: asyncio.Event) -> str | None:
    """A task that a request leaves behind."""
    await until.wait()
    return (await named.get(HOME, "one")).note


async def test_a_request_outlives_the_connections_of_the_one_before(
    pair: Pair, empty_postgres_url: str
) -> None:
    store = pair[0]
    named = store.repository(NAMED)
    await named.add(HOME, Named(bucket_name="one"))
    for _ in range(3):
        async with store.caching():
            await asyncio.gather(*(named.count(HOME) for _ in range(8)))  # over several connections
        await asyncio.to_thread(end_connections, empty_postgres_url)
        async with store.caching():
            assert await asyncio.gather(*(named.count(HOME) for _ in range(8))) == [1] * 8


async def test_others_do_not_keep_what_a_transaction_is_about_to_replace(records: SqlRecordStore) -> None:
    named = records.repository(NAMED)
    bucket = Named(bucket_name="one")
    await named.add(HOME, bucket)
    written, looked = asyncio.Event(), asyncio.Event()

    async def change() -> None:
        async with records.transaction(HOME):
            await named.update(HOME, bucket.model_copy(update={"note": "new"}))
            assert (await named.get(HOME, "one")).note == "new"
            written.set()
            await looked.wait()

    changing = asyncio.create_task(change())
    await written.wait()
    async with records.caching():
        assert (await named.get(HOME, "one")).note is None
        looked.set()
        await changing
    async with records.caching():
        assert (await named.get(HOME, "one")).note == "new"


async def test_what_was_taken_back_is_never_kept(records: SqlRecordStore) -> None:
    named = records.repository(NAMED)
    with pytest.raises(ZeroDivisionError):
        async with records.transaction(HOME):
            await named.add(HOME, Named(bucket_name="one"))
            assert (await named.get(HOME, "one")).note is None
            raise ZeroDivisionError
    async with records.caching():
        assert await named.find(HOME, "one") is None


async def test_an_entry_that_a_change_overtook_is_dropped() -> None:
    cache = Cache(None)
    before = cache.entries
    assert before is not None
    cache.forget()
    before["one"] = "old"
    assert cache.entries == {}


async def test_one_look_serves_all_who_came_before_it() -> None:
    looks = 0
    answer = asyncio.Event()

    async def last_change() -> int:
        nonlocal looks
        looks += 1
        await answer.wait()
        return looks

    cache = Cache(last_change)

    async def request() -> int:
        async with cache.trusted():
            return looks

    first = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert looks == 1
    others = [asyncio.create_task(request()) for _ in range(20)]
    await asyncio.sleep(0)
    answer.set()
    assert await first == 1
    # The look under way began before they came, and may have missed what was written in between.
    assert set(await asyncio.gather(*others)) == {2}
    assert looks == 2


async def test_a_look_that_failed_serves_nobody() -> None:
    answers: Iterator[OSError | int] = iter([OSError("gone"), 1])

    async def last_change() -> int:
        await asyncio.sleep(0)
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    cache = Cache(last_change)

    async def request() -> bool:
        async with cache.trusted():
            return cache.entries is not None

    told = await asyncio.gather(request(), request(), return_exceptions=True)
    assert isinstance(told[0], OSError)
    assert told[1] is True
    assert cache.entries is None


def test_every_cached_kind_has_its_trigger() -> None:
    kinds = set[str]()
    for module in pkgutil.walk_packages(lamina.__path__, "lamina."):
        if module.name.partition(".")[2].startswith(("__main__", "cli", "inference", "stores.records.migr")):
            continue
        found = vars(importlib.import_module(module.name)).values()
        kinds |= {one.name for one in found if isinstance(one, Kind) and one.cached}
    assert kinds == set(CACHED)
