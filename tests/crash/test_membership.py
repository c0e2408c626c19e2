"""Who is there: processes that start side by side, lose their locks, and drain before they leave."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from lamina.core.errors import UnavailableError
from lamina.processing import membership
from lamina.processing.durable import Durable
from lamina.processing.membership import Membership, nobody_else
from lamina.stores.records.database import Database
from lamina.stores.records.locks import Locks
from tests.databases import end_connections, fresh_database


class Work:
    """Durable work as a membership sees it: whose it is, and what was taken over."""

    def __init__(self, executor_id: str, others: set[str] | None = None) -> None:
        self.executor_id = executor_id
        self.others = others or set()
        self.taken: list[str] = []

    async def executors(self) -> set[str]:
        return self.others

    async def take_over(self, executor_id: str) -> int:
        self.taken.append(executor_id)
        return 1


@pytest.fixture
def url() -> Iterator[str]:
    """A database of the test's own."""
    with fresh_database() as made:
        yield made


@pytest.fixture
async def locks(url: str) -> AsyncIterator[Locks]:
    """Its locks, as any process takes them."""
    database = await Database.open(url)
    yield Locks(database)
    await database.close()


def member(locks: Locks, work: Any, *, exclusive: bool = False) -> Membership:
    """A process among others."""
    return Membership(locks, cast(Durable, work), exclusive=exclusive)


async def free(locks: Locks, executor: str) -> bool:
    """Whether others would take over the work of a process."""
    return await can_be_had(locks, f"executor {executor}")


async def can_be_had(locks: Locks, name: str, *, jointly: bool = False) -> bool:
    """Whether nobody has a lock that keeps this one away."""
    lock = await locks.hold(name, jointly=jointly)
    if lock is not None:
        await lock.release()
    return lock is not None


async def until(true: Any, what: str) -> None:
    """Wait until something holds."""
    for _ in range(200):
        if await true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within 10 s: {what}")


async def test_nobody_is_alone_beside_one_that_has_started(locks: Locks) -> None:
    one, two = member(locks, Work("one")), member(locks, Work("two"))
    async with one.alone() as alone:
        assert alone
    async with two.alone() as alone:  # the first is between its start and its presence
        assert not alone
    async with one.present(), two.present():
        assert not await free(locks, "one")
        with pytest.raises(UnavailableError, match="stop them first"):
            async with nobody_else(locks):
                pass
    assert await free(locks, "one")
    async with nobody_else(locks):
        with pytest.raises(UnavailableError, match="start again when"):
            async with member(locks, Work("late")).alone():
                pass
    async with one.alone() as alone:
        assert alone
        with pytest.raises(UnavailableError, match="stop them first"):
            async with nobody_else(locks):
                pass


async def test_the_server_is_asked_to_notice_machines_that_are_gone(locks: Locks, url: str) -> None:
    database = await Database.open(url)
    lock = await locks.hold("any")
    assert lock is not None
    assert lock._connection is not None
    async with database.reading() as reading:
        for connection in (reading, lock._connection):
            for name, value in {"tcp_keepalives_idle": "10", "tcp_user_timeout": "25000"}.items():
                assert (await connection.execute(sa.text(f"show {name}"))).scalar_one() == value
    await lock.release()
    await database.close()


async def test_a_start_that_fails_leaves_no_lock_behind(locks: Locks) -> None:
    with pytest.raises(ZeroDivisionError):
        async with member(locks, Work("one")).alone():
            raise ZeroDivisionError
    async with member(locks, Work("two")).alone() as alone:
        assert alone


async def test_locks_that_the_database_lost_are_taken_anew(
    locks: Locks, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_LOOK_SECONDS", 0.2)
    one = member(locks, Work("one"), exclusive=True)
    async with one.alone():
        pass
    async with one.present():
        end_connections(url)

        async def back() -> bool:
            return not await free(locks, "one") and not await can_be_had(locks, "members", jointly=True)

        await until(back, "it is there again, and alone")


async def test_a_process_keeps_its_own_lock_while_another_starts(
    locks: Locks, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_LOOK_SECONDS", 0.2)
    one = member(locks, Work("one"))
    async with nobody_else(locks), one.present():
        await asyncio.sleep(0.5)
        assert not await free(locks, "one")


async def test_work_of_the_dead_is_taken_over_whatever_else_fails(
    locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_LOOK_SECONDS", 0.05)
    work = Work("one", {"one", "dead"})
    failures = iter([ValueError("a defect"), ValueError("another")])

    async def executors() -> set[str]:
        if failure := next(failures, None):
            raise failure
        return work.others

    monkeypatch.setattr(work, "executors", executors)
    async with member(locks, work).present():

        async def taken() -> bool:
            return work.taken[:1] == ["dead"]

        await until(taken, "the work is taken over")
        assert not await free(locks, "one")


_DRAINING = """
import asyncio, sys
from pathlib import Path
from lamina import app
from lamina.core.settings import Settings
from lamina.processing.durable import Durable
from lamina.processing.recovery import Recovery
from lamina.stores.records.database import Database
from lamina.stores.records.locks import Locks

async def main(folder, url, fails):
    database = await Database.open(url)
    drained = []

    async def stop(self, seconds):
        drained.append(await Locks(database).hold(f"executor {self.executor_id}"))
        return True

    async def begin(self):
        raise ZeroDivisionError

    Durable.stop = stop
    if fails:
        Recovery.begin = begin
    try:
        async with app.open_services(Settings(data_dir=Path(folder), records_url=url)):
            pass
    except ZeroDivisionError:
        print("failed")
    print(len(drained), fails or drained == [None])

asyncio.run(main(sys.argv[1], sys.argv[2], bool(sys.argv[3])))
"""


@pytest.mark.parametrize(
    ("fails", "said"), [("", ["1 True"]), ("fails", ["failed", "1 True"])], ids=["stop", "failed start"]
)
def test_what_is_under_way_is_drained_before_others_may_take_it(
    tmp_path: Path, url: str, fails: str, said: list[str]
) -> None:
    program = [sys.executable, "-c", _DRAINING, str(tmp_path), url, fails]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stdout.splitlines() if line in {"failed", "1 True"}]
    assert lines == said, done.stdout + done.stderr


_FORGETTING = """
import asyncio, sys
from datetime import timedelta
from lamina.core.models import now
from lamina.processing.durable import Durable

async def main(url):
    durable = Durable(url)
    durable.register("twice", lambda number: 2 * number)
    await durable.launch()
    for number in range(150):
        await durable.start("twice", f"id_{number}", number, partition=None)
    await asyncio.sleep(2)
    ids = [f"id_{number}" for number in range(150)]
    print(await durable.forget(now() - timedelta(days=1)), len(await durable.begun(ids)))
    print(await durable.forget(now()), len(await durable.begun(ids)), flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_workflows_that_ended_long_ago_are_forgotten(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _FORGETTING, f"sqlite:///{tmp_path / 'workflows.sqlite'}"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-2:] == ["0 150", "150 0"], done.stdout + done.stderr
