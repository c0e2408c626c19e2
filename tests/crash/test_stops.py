"""A server that is stopped or started at a bad moment, and workers that die."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from lamina.core.ids import document_id
from tests.crash.orphans import assert_no_orphans
from tests.server import RunningServer
from tests.steps import (
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    finished,
    ok,
    text_extractor,
)

FLEET = [{"text": f"Ship number {number} sails home before the storm."} for number in range(100)]


def begun(api: httpx.Client, hundreds: int) -> tuple[str, list[str], str]:
    """A batch that runs: its collection, its objects and its task."""
    bucket_id = create_bucket(api)["bucket_id"]
    collection_id = create_collection(api, bucket_id, feature_extractor=text_extractor())["collection_id"]
    ids = [one for _ in range(hundreds) for one in create_objects(api, bucket_id, FLEET)]
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": ids}))["batch_id"]
    task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
    eventually(lambda: progress(api, task_id) > 0, "the batch has begun")
    return collection_id, ids, task_id


def progress(api: httpx.Client, task_id: str) -> int:
    """How many sources are done."""
    task = ok(api.get(f"/v1/tasks/{task_id}"))
    return int(((task.get("additional_data") or {}).get("progress") or {}).get("processed", 0))


def assert_complete(api: httpx.Client, collection_id: str, ids: list[str]) -> None:
    """Each object has exactly its document."""
    expected = {document_id(collection_id, one, "text_extractor_v1", "0") for one in ids}
    found: list[str] = []
    cursor = None
    while True:
        url = f"/v1/collections/{collection_id}/documents/list"
        page = ok(api.post(url, json={"limit": 1000, **({"cursor": cursor} if cursor else {})}))
        found += [one["document_id"] for one in page["results"]]
        cursor = page["pagination"].get("next_cursor")
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert set(found) == expected


def workers(server: RunningServer) -> list[psutil.Process]:
    """The server's worker processes."""
    return psutil.Process(server.pid).children(recursive=True)


@pytest.fixture
def server(tmp_path: Path) -> RunningServer:
    """A server that is not started yet."""
    return RunningServer(tmp_path / "data")


def test_an_idle_server_stops_at_once(server: RunningServer) -> None:
    with server:
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5.0


def test_a_stop_during_a_batch_is_clean_and_the_batch_goes_on_after_the_restart(
    server: RunningServer,
) -> None:
    with server:
        with server.client() as api:
            collection_id, ids, task_id = begun(api, 20)
            done = progress(api, task_id)
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 20.0
        server.start()
        with server.client() as api:
            assert done <= progress(api, task_id), "work was lost"
            finished(api, task_id, seconds=120)
            assert_complete(api, collection_id, ids)
        assert "step_broke" not in server.log
        assert server.stop() == 0
        assert_no_orphans(server.data_dir)


def test_a_worker_that_is_killed_costs_nothing(server: RunningServer) -> None:
    with server, server.client() as api:
        collection_id, ids, task_id = begun(api, 12)
        for _ in range(3):
            for worker in workers(server):
                worker.send_signal(signal.SIGKILL)
            time.sleep(0.7)
        finished(api, task_id, seconds=120)
        assert_complete(api, collection_id, ids)


def test_no_worker_outlives_a_server_that_was_killed(server: RunningServer) -> None:
    with server:
        with server.client() as api:
            begun(api, 12)
            left = workers(server)
            assert left
        server.kill()
        _, alive = psutil.wait_procs(left, timeout=10.0)
        assert not alive


def test_a_start_that_is_killed_anywhere_is_made_good_by_the_next(tmp_path: Path) -> None:
    """The first start of a folder too: the key that it prints works in the end."""
    seed = int(os.environ.get("LAMINA_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"LAMINA_TEST_SEED={seed}")
    rng = random.Random(seed)
    for number in range(3):
        server = RunningServer(tmp_path / f"data-{number}", generated_key=True)
        server.data_dir.mkdir()
        for _ in range(5):
            killed_start(server, rng.uniform(0.3, 2.5))
        with server, server.client() as api:
            bucket_id = create_bucket(api)["bucket_id"]
            made = create_collection(api, bucket_id)["collection_id"]
            ids = create_objects(api, bucket_id, FLEET[:3])
            batches = f"/v1/buckets/{bucket_id}/batches"
            batch_id = ok(api.post(batches, json={"object_ids": ids}))["batch_id"]
            finished(api, ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"])
            assert len(documents(api, made)) == 3
            assert ok(api.get("/v1/me"))["organization_id"]


def killed_start(server: RunningServer, seconds: float) -> None:
    """Start it, and kill it whatever it is doing after these seconds."""
    with server.log_path.open("ab") as log:
        process = subprocess.Popen(
            server.command(),
            stdout=log,
            stderr=log,
            env=server.environment(),
            start_new_session=True,
        )
    try:
        status = process.wait(seconds)
        raise AssertionError(f"the server ended by itself with {status}\n{server.log_tail()}")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_folder_belongs_to_one_server_at_a_time(server: RunningServer) -> None:
    with server:
        second = subprocess.run(
            [*server.command()[:-3], "0", *server.command()[-2:]],
            env=server.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "Another Lamina process uses" in second.stderr
        assert "Traceback" not in second.stderr
        with server.client() as api:
            ok(api.get("/v1/health"))
