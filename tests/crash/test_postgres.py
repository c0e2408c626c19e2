"""A server whose records are in PostgreSQL: what it survives, and what it says."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.databases import Gate, end_connections, postgres_server
from tests.server import RunningServer, ServerDied
from tests.steps import (
    POEMS,
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    finished,
    ok,
    refused,
    search_stage,
)

SMALL_STEPS = {"LAMINA_CHUNK_OBJECTS": "64", "LAMINA_SHARE_OBJECTS": "32", "LAMINA_WORKERS": "1"}
COUNT = 400


@pytest.fixture
def server(tmp_path: Path, empty_postgres_url: str) -> Iterator[RunningServer]:
    """A server with records on PostgreSQL."""
    with RunningServer(
        tmp_path / "data", env={**SMALL_STEPS, "LAMINA_RECORDS_URL": empty_postgres_url}
    ) as it:
        yield it


class Load:
    """Some hundred texts on their way through a collection."""

    def __init__(self, api: httpx.Client) -> None:
        self.api = api
        self.bucket_id = create_bucket(api)["bucket_id"]
        self.collection = create_collection(api, self.bucket_id)
        texts = [{**POEMS[n % len(POEMS)], "title": f"Text {n}", "year": n} for n in range(COUNT)]
        self.object_ids = [
            one
            for start in range(0, COUNT, 100)
            for one in create_objects(api, self.bucket_id, texts[start : start + 100])
        ]
        batches = f"/v1/buckets/{self.bucket_id}/batches"
        batch_id = ok(api.post(batches, json={"object_ids": self.object_ids}))["batch_id"]
        self.batch = f"{batches}/{batch_id}"
        self.task_id = ok(api.post(f"{self.batch}/submit"))["task_id"]

    @property
    def processed(self) -> int:
        progress = ok(self.api.get(self.batch)).get("progress") or {}
        return int(progress.get("processed", 0))

    def is_under_way(self, least: int = 40) -> None:
        eventually(lambda: self.processed >= least, f"{least} objects are processed")
        assert self.processed < COUNT, "the batch was too quick to be disturbed"

    def is_whole(self) -> None:
        """Every object has its one document, can be found, and the batch says so."""
        finished(self.api, self.task_id, seconds=180)
        batch = ok(self.api.get(self.batch))
        assert (batch["progress"]["processed"], batch["failed_object_count"]) == (COUNT, 0)
        made = documents(self.api, self.collection["collection_id"])
        assert len(made) == COUNT
        assert {one["title"] for one in made} == {f"Text {n}" for n in range(COUNT)}
        listed = ok(
            self.api.post(
                f"/v1/buckets/{self.bucket_id}/objects/list",
                json={"limit": 1000, "filters": {"field": "status", "operator": "eq", "value": "COMPLETED"}},
            )
        )
        assert len(listed["results"]) == COUNT
        uri = ok(self.api.get(f"/v1/collections/{self.collection['collection_id']}"))["vector_indexes"][0]
        answer = ok(
            self.api.post(
                "/v1/retrievers/execute",
                json={
                    "collection_identifiers": [self.collection["collection_id"]],
                    "stages": [search_stage(uri["feature_uri"], "a ship at night", final_top_k=3)],
                    "inputs": {},
                },
            )
        )
        assert "lighthouse" in answer["documents"][0]["text"]


def test_a_killed_batch_finishes_after_restart(server: RunningServer) -> None:
    with server.client() as api:
        load = Load(api)
        for least in (40, 150):
            load.is_under_way(least)
            server.kill(workers=True)
            server.start()
        load.is_whole()


def test_lost_connections_do_no_harm(server: RunningServer, empty_postgres_url: str) -> None:
    with server.client() as api:
        load = Load(api)
        load.is_under_way()
        for _ in range(4):
            eventually(lambda: end_connections(empty_postgres_url) > 0, "the server is connected")
            time.sleep(0.2)
        load.is_whole()


def test_without_records_requests_are_told_to_come_again_and_work_waits(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    place = postgres_server()
    with Gate(place.host or "127.0.0.1", place.port or 5432) as gate:
        env = {**SMALL_STEPS, "LAMINA_RECORDS_URL": gate.url(empty_postgres_url)}
        with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
            load = Load(api)
            load.is_under_way()
            gate.shut()
            until = time.monotonic() + 12  # longer than any step tries again for other reasons
            while time.monotonic() < until:
                for answer in (
                    api.get("/v1/buckets/any"),
                    api.post(
                        "/v1/buckets", json={"bucket_name": "lost", "bucket_schema": {"properties": {}}}
                    ),
                ):
                    error = refused(answer, 503)
                    assert "record store is unavailable" in error["message"]
                    assert error["details"]["retryable"] is True
                    assert int(answer.headers["Retry-After"]) > 0
                ok(api.get("/v1/health"))
                time.sleep(0.5)
            gate.open()
            eventually(lambda: api.get(load.batch).is_success, "records are back", seconds=15)
            load.is_whole()


# Refusals to start


def serve(folder: Path, url: str, **env: str) -> str:
    """What `lamina serve` says when it refuses: one line."""
    server = RunningServer(folder, env={"LAMINA_RECORDS_URL": url, **env})
    with pytest.raises(ServerDied), server:
        pass
    lines = server.log.strip().splitlines()
    assert len(lines) == 1, server.log
    return lines[0]


def doctor(folder: Path, url: str) -> dict[str, Any]:
    """What `lamina doctor` finds of the record store."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "doctor", "--json", "--port", "0", "--data-dir", str(folder)],
        env={**inherited, "LAMINA_RECORDS_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    findings = {one["check"]: one for one in json.loads(done.stdout)}
    found: dict[str, Any] = findings["records"]
    assert (done.returncode != 0) is (found["level"] == "failed"), done.stdout
    return found


def test_a_database_that_cannot_be_opened_is_refused_in_one_line(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    good = sa.make_url(empty_postgres_url)

    def wrong(**changes: Any) -> str:
        return good.set(**changes).render_as_string(hide_password=False)

    for url, said, mend in (
        (wrong(port=1), "Connection refused", "start the server"),
        (wrong(database="lamina_nowhere"), 'database "lamina_nowhere" does not exist', "createdb"),
        (wrong(username="lamina_nobody", password="x"), "lamina_nobody", "user"),
    ):
        line = serve(tmp_path / "data", url)
        assert said in line
        assert mend in line
        found = doctor(tmp_path / "data", url)
        assert (found["level"], said in found["found"], mend in found["mend"]) == ("failed", True, True)


def test_a_user_who_may_make_no_tables_is_refused_by_both(tmp_path: Path, empty_postgres_url: str) -> None:
    engine = sa.create_engine(empty_postgres_url)
    name = f"lamina_reader_{secrets.token_hex(4)}"
    with engine.begin() as connection:
        connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD 'x'"))
    url = sa.make_url(empty_postgres_url).set(username=name, password="x")
    try:
        line = serve(tmp_path / "data", url.render_as_string(hide_password=False))
        found = doctor(tmp_path / "data", url.render_as_string(hide_password=False))
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP ROLE {name}"))
        engine.dispose()
    assert "permission denied" in line
    assert "permission denied" in found["found"]
    assert found["mend"] == "make the user the owner of the database"
    assert found["mend"] in line


def test_a_newer_database_is_refused_in_one_line(tmp_path: Path, empty_postgres_url: str) -> None:
    assert "no tables yet" in doctor(tmp_path / "data", empty_postgres_url)["found"]
    with RunningServer(tmp_path / "data", env={"LAMINA_RECORDS_URL": empty_postgres_url}) as server:
        assert server.stop() == 0
    found = doctor(tmp_path / "data", empty_postgres_url)
    assert found["level"] == "ok"
    assert "tables at revision" in found["found"]
    engine = sa.create_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert "Install that version or newer" in serve(tmp_path / "data", empty_postgres_url)
    assert "Install that version or newer" in doctor(tmp_path / "data", empty_postgres_url)["found"]


def test_a_url_that_is_none_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    for url, said in (
        ("mysql://u:hidden@127.0.0.1/x", "postgresql+psycopg://"),
        ("postgresql://u:hidden@127.0.0.1", "no database"),
        ("postgresql://u:hidden@127.0.0.1:port/x", "no port"),
        ("postgresql://u:hidden#1@127.0.0.1/x", "%23 for #"),
        ("postgresql://u:hidden@1@127.0.0.1/x", "%40"),
    ):
        line = serve(tmp_path / "data", url)
        assert "LAMINA_RECORDS_URL" in line
        assert said in line
        assert "hidden" not in line
