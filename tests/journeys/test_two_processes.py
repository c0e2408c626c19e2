"""Two servers that share their stores: each knows what the other did, and nothing is made twice."""

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.server import RunningServer
from tests.shared import shared_stores
from tests.steps import (
    POEM_SCHEMA,
    POEMS,
    create_bucket,
    create_collection,
    create_objects,
    eventually,
    finished,
    ok,
    poem_object,
    refused,
    unique,
)
from tests.unit.served import serving

ROUNDS = 15

Pair = tuple[httpx.Client, httpx.Client]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Both make their first start at the same time."""
    key = f"sk_{secrets.token_hex(24)}"
    folder: Path = tmp_path_factory.mktemp("pair")
    with shared_stores(folder) as shared:
        env = {**shared.env, "LAMINA_FETCH_PRIVATE_ADDRESSES": "true"}
        one, two = (RunningServer(folder / name, api_key=key, env=env) for name in ("one", "two"))
        starting = threading.Thread(target=one.start)
        starting.start()
        with two:
            starting.join()
            try:
                yield one, two
            finally:
                one.stop()


@pytest.fixture
def pair(servers: tuple[RunningServer, RunningServer]) -> Iterator[Pair]:
    key = next(one.admin_key for one in servers if (one.data_dir / "admin.key").exists())
    with servers[0].client(api_key=key) as one, servers[1].client(api_key=key) as two:
        yield one, two


def post_at_once(pair: Pair, path: str, body: dict[str, Any]) -> list[httpx.Response]:
    """The same request, twice to each server, all at the same time."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda api: api.post(path, json=body), [*pair, *pair]))


def test_the_first_start_was_made_once(pair: Pair) -> None:
    for api in pair:
        namespaces = ok(api.post("/v1/namespaces/list", json={}))["results"]
        assert [one["namespace_name"] for one in namespaces] == ["default"]
        assert ok(api.get("/v1/me"))["user_email"] == "admin@lamina.local"


def test_what_one_acknowledged_the_other_reads(pair: Pair) -> None:
    here, there = pair
    bucket_id = create_bucket(here)["bucket_id"]
    for number in range(ROUNDS):
        name = unique("renamed")
        ok(here.patch(f"/v1/buckets/{bucket_id}", json={"bucket_name": name}))
        assert ok(there.get(f"/v1/buckets/{bucket_id}"))["bucket_name"] == name, number
        here, there = there, here
    made = ok(here.post(f"/v1/buckets/{bucket_id}/objects", json=poem_object(POEMS[0])))
    assert ok(there.get(f"/v1/buckets/{bucket_id}/objects/{made['object_id']}"))["title"] == "Lighthouse"


def test_a_key_that_one_revoked_the_other_refuses(
    servers: tuple[RunningServer, RunningServer], pair: Pair
) -> None:
    here, _ = pair
    mail = ok(here.get("/v1/me"))["user_email"]
    keys = f"/v1/organizations/users/{mail}/api-keys"
    made = ok(here.post(keys, json={"name": unique("key"), "permissions": ["read"]}))
    with servers[1].client(api_key=made["key"]) as guest:
        ok(guest.post("/v1/buckets/list", json={}))
        here.delete(f"{keys}/{made['name']}").raise_for_status()
        refused(guest.post("/v1/buckets/list", json={}), 401)


def test_one_idempotency_key_is_one_object(pair: Pair) -> None:
    bucket_id = create_bucket(pair[0])["bucket_id"]
    for _ in range(ROUNDS):
        body = {**poem_object(POEMS[1]), "idempotency_key": unique("k")}
        answers = post_at_once(pair, f"/v1/buckets/{bucket_id}/objects", body)
        assert len({ok(one)["object_id"] for one in answers}) == 1
    assert count(pair[1], bucket_id) == ROUNDS


def test_one_content_is_one_object(pair: Pair) -> None:
    bucket_id = create_bucket(pair[0])["bucket_id"]
    for number in range(ROUNDS):
        body = {**poem_object({**POEMS[1], "year": number}), "skip_duplicates": True}
        answers = post_at_once(pair, f"/v1/buckets/{bucket_id}/objects", body)
        assert len({ok(one)["object_id"] for one in answers}) == 1
    assert count(pair[1], bucket_id) == ROUNDS


@pytest.mark.parametrize("policy", ["upsert", "insert"])
def test_one_unique_key_is_one_object(policy: str, pair: Pair) -> None:
    key = {"unique_key": {"fields": ["title"], "default_policy": policy}}
    bucket_id = create_bucket(pair[0], POEM_SCHEMA, **key)["bucket_id"]
    for number in range(ROUNDS):
        body = poem_object({**POEMS[2], "title": f"Title {number}"})
        answers = post_at_once(pair, f"/v1/buckets/{bucket_id}/objects", body)
        stored = [one for one in answers if one.is_success]
        for one in answers:
            if not one.is_success:
                refused(one, 409)
        assert len(stored) == (4 if policy == "upsert" else 1)
        assert len({one.json()["object_id"] for one in stored}) == 1
    assert count(pair[1], bucket_id) == ROUNDS


def test_names_are_given_once(pair: Pair) -> None:
    for _ in range(ROUNDS):
        name = unique("ns")
        for path, body in (
            ("/v1/buckets", {"bucket_name": name, "bucket_schema": POEM_SCHEMA}),
            ("/v1/namespaces", {"namespace_name": name}),
        ):
            answers = post_at_once(pair, path, body)
            assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]


def test_a_draft_takes_all_objects_that_both_add(pair: Pair) -> None:
    bucket_id = create_bucket(pair[0])["bucket_id"]
    objects = [
        ok(pair[0].post(f"/v1/buckets/{bucket_id}/objects", json=poem_object(POEMS[number % 6])))["object_id"]
        for number in range(2 * ROUNDS)
    ]
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(pair[0].post(batches, json={"object_ids": objects[:1]}))["batch_id"]

    def add(number: int) -> httpx.Response:
        return pair[number % 2].post(f"{batches}/{batch_id}/objects", json={"object_ids": [objects[number]]})

    with ThreadPoolExecutor(6) as threads:
        for answer in threads.map(add, range(1, len(objects))):
            ok(answer)
    assert set(ok(pair[1].get(f"{batches}/{batch_id}"))["object_ids"]) == set(objects)


def test_the_end_of_a_batch_is_told_once(pair: Pair) -> None:
    bucket_id = create_bucket(pair[0])["bucket_id"]
    create_collection(pair[0], bucket_id)
    ids = create_objects(pair[0], bucket_id)
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(pair[0].post(batches, json={"object_ids": ids}))["batch_id"]
    submit = f"{batches}/{batch_id}/submit"
    refused(pair[0].post(submit, json={"webhook_url": "ftp://127.0.0.1/hook"}), 422)
    with serving() as receiver:
        receiver.will("POST /hook", {}, status=503)  # it is told again
        receiver.will("POST /hook", {})
        task = ok(pair[1].post(submit, json={"webhook_url": f"{receiver.url}/hook"}))
        finished(pair[0], task["task_id"])
        eventually(lambda: len(receiver.requests) == 2, "it is told")
        time.sleep(3)
        assert len(receiver.requests) == 2
    (_, headers, first), (_, _, told) = receiver.requests
    assert first == told
    assert headers["content-type"] == "application/json"
    assert (told["batch_id"], told["status"], told["documents_written"]) == (batch_id, "COMPLETED", 6)
    assert (told["failure_reason"], told["progress"]["percent"]) == (None, 100.0)
    assert told["completed_at"] >= task["created_at"]


def test_a_namespace_whose_time_is_over_is_deleted_once(
    pair: Pair, servers: tuple[RunningServer, RunningServer]
) -> None:
    namespace = ok(pair[0].post("/v1/namespaces", json={"namespace_name": unique("ns"), "ttl_seconds": 60}))
    path = f"/v1/namespaces/{namespace['namespace_id']}"
    bucket = {"bucket_name": unique("bucket"), "bucket_schema": POEM_SCHEMA}
    ok(pair[0].post("/v1/buckets", json=bucket, headers={"X-Namespace": namespace["namespace_id"]}))
    assert ok(pair[0].patch(path, json={"expires_at": None})).get("expires_at") is None
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    refused(pair[1].patch(path, json={"expires_at": soon, "ttl_seconds": 60}), 422)
    ok(pair[1].patch(path, json={"expires_at": soon}))
    eventually(lambda: pair[0].get(path).status_code == 404, "it reads as missing")

    def left() -> list[str]:
        return [one["namespace_id"] for one in ok(pair[1].post("/v1/namespaces/list", json={}))["results"]]

    eventually(lambda: namespace["namespace_id"] not in left(), "it is gone")
    engine = sa.create_engine(servers[0].environment()["LAMINA_RECORDS_URL"])
    begun = sa.text("SELECT count(*) FROM tasks WHERE body::text LIKE :id")
    kept = sa.text("SELECT count(*) FROM buckets WHERE namespace_id = :id")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as records:
        ids = {"id": namespace["namespace_id"]}
        eventually(lambda: records.execute(kept, ids).scalar_one() == 0, "so is what it held")
        assert records.execute(begun, {"id": f"%{namespace['namespace_id']}%"}).scalar_one() == 1
    engine.dispose()


def count(api: httpx.Client, bucket_id: str) -> int:
    answer = ok(api.post(f"/v1/buckets/{bucket_id}/objects/list", json={"limit": 1000}))
    return len(answer["results"])
