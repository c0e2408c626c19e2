"""API processes and workers that share an installation: work moves between them, and away from the dead."""

import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from lamina.processing.exclusion import Exclusion
from lamina.stores.records.database import Database
from lamina.stores.records.locks import Locks
from tests.server import RunningServer, ServerDied
from tests.shared import RunningWorker, Shared, shared_stores
from tests.steps import (
    POEMS,
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    ok,
)

COUNT = 400


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """What the processes of this file share."""
    with shared_stores(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture(scope="module")
def server(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An API process that leaves batches to workers."""
    env = {
        **shared.env,
        "LAMINA_PROCESS_BATCHES": "false",
        "LAMINA_CHUNK_OBJECTS": "128",
        "LAMINA_SHARE_OBJECTS": "32",
    }
    key = f"sk_{secrets.token_hex(24)}"
    with RunningServer(tmp_path_factory.mktemp("api") / "data", api_key=key, env=env) as running:
        yield running


def worker(shared: Shared, folder: Path, name: str) -> RunningWorker:
    """A worker that does little at once, so that it can be caught in the middle."""
    return RunningWorker(
        folder / name, env={**shared.env, "LAMINA_CHUNK_OBJECTS": "128", "LAMINA_SHARE_OBJECTS": "32"}
    )


def submitted(api: httpx.Client, count: int = COUNT) -> tuple[str, str, str]:
    """A bucket, its collection, and a batch of all its objects that was submitted."""
    bucket = create_bucket(api)["bucket_id"]
    collection = create_collection(api, bucket)["collection_id"]
    ids = []
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        bodies = [
            {
                "title": f"No. {n}",
                "blobs": [{"property": "text", "type": "text", "data": f"Text number {n}. " * 9}],
            }
            for n in numbers
        ]
        made = ok(api.post(f"/v1/buckets/{bucket}/objects/batch", json={"objects": bodies}))
        ids += [one["object_id"] for one in made]
    batches = f"/v1/buckets/{bucket}/batches"
    batch = ok(api.post(batches, json={"object_ids": ids}))["batch_id"]
    ok(api.post(f"{batches}/{batch}/submit"))
    return bucket, collection, batch


def state(api: httpx.Client, bucket: str, batch: str) -> dict[str, Any]:
    """The batch as it is."""
    found: dict[str, Any] = ok(api.get(f"/v1/buckets/{bucket}/batches/{batch}"))
    return found


def all_there(api: httpx.Client, collection: str, count: int = COUNT) -> None:
    """Every object has one document, and no document is there twice."""
    found = documents(api, collection)
    assert len(found) == count
    assert len({one["title"] for one in found}) == count


def test_a_batch_waits_for_a_worker_and_is_run_by_it(
    shared: Shared, server: RunningServer, tmp_path: Path
) -> None:
    with server.client() as api:
        bucket, collection, batch = submitted(api)
        time.sleep(2)
        assert state(api, bucket, batch)["status"] == "PENDING"
        with worker(shared, tmp_path, "one") as one:
            eventually(lambda: state(api, bucket, batch)["status"] == "COMPLETED", "the batch has ended")
            assert one.stop() == 0
        all_there(api, collection)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_has_nothing_to_do_sleeps(shared: Shared, tmp_path: Path) -> None:
    """None of its threads wakes up more often than the looks for work need: a few times a second."""
    with worker(shared, tmp_path, "idle") as one:
        time.sleep(2)
        before, began = waits(one.pid), time.monotonic()
        time.sleep(3)
        after, seconds = waits(one.pid), time.monotonic() - began
    busiest = max((after[thread] - before.get(thread, 0)) / seconds for thread in after)
    assert busiest < 80


def waits(pid: int) -> dict[str, int]:
    """How often each thread of a process has gone to sleep."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        told = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
        found[thread.name] = int(told["voluntary_ctxt_switches"])
    return found


def test_the_work_of_a_worker_that_was_killed_is_taken_over(
    shared: Shared, server: RunningServer, tmp_path: Path
) -> None:
    with server.client() as api, worker(shared, tmp_path, "one") as one:
        bucket, collection, batch = submitted(api)
        eventually(lambda: documents(api, collection, limit=1) != [], "it has begun")
        one.kill(workers=True)
        assert state(api, bucket, batch)["status"] not in {"COMPLETED", "FAILED"}
        with worker(shared, tmp_path, "two") as two:
            eventually(lambda: state(api, bucket, batch)["status"] == "COMPLETED", "another has ended it")
            assert "work_taken_over" in two.log + server.log
            assert two.stop() == 0
        all_there(api, collection)
        progress = state(api, bucket, batch)["progress"]
        assert (progress["processed"], progress["documents_written"]) == (COUNT, COUNT), "each counts once"


def test_two_workers_share_one_batch(shared: Shared, server: RunningServer, tmp_path: Path) -> None:
    with (
        server.client() as api,
        worker(shared, tmp_path, "one") as one,
        worker(shared, tmp_path, "two") as two,
    ):
        bucket, collection, batch = submitted(api)
        eventually(lambda: state(api, bucket, batch)["status"] == "COMPLETED", "the batch has ended")
        all_there(api, collection)
        progress = state(api, bucket, batch)["progress"]
        assert (progress["processed"], progress["total"]) == (COUNT, COUNT)
        assert [one.stop(), two.stop()] == [0, 0]
        engine = sa.create_engine(shared.database)
        took_part = sa.text(
            "SELECT count(DISTINCT executor_id) FROM dbos.workflow_status "
            "WHERE name = 'process_share' AND parent_workflow_id = :id"
        )
        with engine.connect() as connection:
            task_id = state(api, bucket, batch)["task_id"]
            assert connection.execute(took_part, {"id": task_id}).scalar_one() == 2
        engine.dispose()


def test_a_batch_that_was_promised_and_never_begun_is_begun_by_another(
    shared: Shared, server: RunningServer, tmp_path: Path
) -> None:
    """Its API process died right after it had stored that the batch is due."""
    with server.client() as api:
        bucket, collection, batch = submitted(api, 100)
        engine = sa.create_engine(shared.database)
        with engine.begin() as connection:
            forgotten = sa.text("DELETE FROM dbos.workflow_status WHERE workflow_uuid = :id")
            task_id = state(api, bucket, batch)["task_id"]
            assert connection.execute(forgotten, {"id": task_id}).rowcount == 1
        engine.dispose()
        with worker(shared, tmp_path, "one") as one:
            eventually(lambda: state(api, bucket, batch)["status"] == "COMPLETED", "the batch has ended")
            assert one.stop() == 0
        all_there(api, collection, 100)


async def test_an_object_is_not_deleted_while_a_batch_writes_its_documents(
    shared: Shared, server: RunningServer
) -> None:
    """The batch runs in another process, which holds what it writes to."""
    database = await Database.open(shared.database)
    with server.client() as api, ThreadPoolExecutor(1) as threads:
        bucket = create_bucket(api)["bucket_id"]
        (object_id,) = create_objects(api, bucket, POEMS[:1])
        async with Exclusion(Locks(database)).of([object_id], jointly=True):
            deletion = threads.submit(api.delete, f"/v1/buckets/{bucket}/objects/{object_id}")
            await asyncio.sleep(1)
            assert not deletion.done()
            ok(api.get(f"/v1/buckets/{bucket}/objects/{object_id}"))
        assert deletion.result(60).status_code == 204
    await database.close()


def test_batches_of_two_namespaces_take_turns(shared: Shared, server: RunningServer, tmp_path: Path) -> None:
    """One that asks for much leaves room for the other, though it came first."""
    name = f"other-{secrets.token_hex(4)}"
    with server.client() as api:
        ok(api.post("/v1/namespaces", json={"namespace_name": name}))
    with server.client() as much, server.client(namespace=name) as little:
        large = [submitted(much, 100) for _ in range(10)]
        bucket, collection, batch = submitted(little, 20)
        with worker(shared, tmp_path, "one") as one:
            eventually(lambda: state(little, bucket, batch)["status"] == "COMPLETED", "the small one")
            ended = sum(state(much, at, one)["status"] == "COMPLETED" for at, _, one in large)
            assert ended < len(large), "the large ones have not all gone first"
            eventually(
                lambda: all(state(much, at, one)["status"] == "COMPLETED" for at, _, one in large),
                "all ended",
            )
            one.stop()
        all_there(little, collection, 20)
        for _, at, _ in large:
            all_there(much, at, 100)


def test_who_keeps_something_to_itself_is_refused(
    shared: Shared, server: RunningServer, tmp_path: Path
) -> None:
    """A server with embedded points beside one that shares everything, and a worker without a database."""
    alone = {name: value for name, value in shared.env.items() if name != "LAMINA_VECTORS_URL"}
    with pytest.raises(ServerDied, match="LAMINA_VECTORS_URL"):
        RunningServer(tmp_path / "embedded", env=alone).start()
    env = RunningServer(tmp_path / "none", env={}).environment()
    command = [sys.executable, "-m", "lamina", "worker", "--data-dir", str(tmp_path / "none")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "LAMINA_RECORDS_URL" in done.stderr
