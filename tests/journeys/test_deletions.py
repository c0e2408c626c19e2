"""What is deleted takes with it all that was made from it, whatever runs meanwhile."""

import asyncio
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.s3 import keys_in
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import (
    PHOTO_SCHEMA,
    TERMINAL,
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    finished,
    ok,
    poem_with_photo,
    process,
    refused,
    text_extractor,
    unique,
)

SHIPS = [{"text": f"Ship number {number} sails.", "title": f"s{number}"} for number in range(6)]
FLEET = [{"text": "A ship sails home.", "title": "ship"}] * 100


@pytest.fixture(scope="module")
def own(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of these tests alone that may fetch from loopback; at its end nothing is left over."""
    folder = tmp_path_factory.mktemp("deletions") / "data"
    with (
        engines() as stores,
        RunningServer(folder, env={**stores, "LAMINA_FETCH_PRIVATE_ADDRESSES": "true"}) as server,
    ):
        yield server
        assert server.stop() == 0
        assert "none: " in left_over(server)


def left_over(server: RunningServer) -> str:
    """What `lamina doctor` says of it."""
    arguments = ["doctor", "--data-dir", str(server.data_dir), "--port", str(server.port), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "lamina", *arguments],
        env=server.environment(), text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return next(str(one["found"]) for one in json.loads(done.stdout) if one["check"] == "left-overs")


@pytest.fixture
def api(own: RunningServer) -> Iterator[httpx.Client]:
    """A client of that server."""
    with own.client() as client:
        yield client


def count(api: httpx.Client, collection_id: str) -> int:
    """How many documents a collection has."""
    return int(ok(api.get(f"/v1/collections/{collection_id}/documents/count"))["count"])


def two_tiers(api: httpx.Client, bucket_id: str) -> tuple[str, str]:
    """A collection that reads the bucket, and one that reads that."""
    first = create_collection(api, bucket_id)["collection_id"]
    source = {"type": "collection", "collection_ids": [first]}
    return first, create_collection(api, bucket_id, source=source)["collection_id"]


def files(own: RunningServer, *parts: str) -> list[str]:
    """Stored blobs whose paths have these parts."""
    blobs, env = own.data_dir / "blobs", own.environment()
    if "LAMINA_BLOBS_URL" in env:
        found = keys_in(env["LAMINA_BLOBS_URL"], env["AWS_ENDPOINT_URL"])
    else:
        found = [one.relative_to(blobs).as_posix() for one in blobs.rglob("*") if one.is_file()]
    return [one for one in found if set(parts) <= set(one.split("/"))]


def points(own: RunningServer, namespace_id: str) -> list[str]:
    """What the vector store keeps of a namespace: files of collections, or collections of a Qdrant server."""
    if (url := own.environment().get("LAMINA_VECTORS_URL")) is None:
        found = (own.data_dir / "vectors").glob(f"{namespace_id}/*/manifest.json")
        return [str(one) for one in found]
    named = [one["name"] for one in ok(httpx.get(f"{url}/collections"))["result"]["collections"]]
    return [name for name in named if namespace_id in name]


def begun(api: httpx.Client, bucket_id: str, object_ids: list[str], collection_id: str) -> tuple[str, str]:
    """A batch that has written some documents: its id and its task's."""
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": object_ids}))["batch_id"]
    task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
    eventually(lambda: count(api, collection_id) > 0, "the batch has begun")
    return batch_id, task_id


def test_an_object_goes_with_its_documents_in_every_tier_and_its_files(
    own: RunningServer, api: httpx.Client
) -> None:
    bucket_id = create_bucket(api, PHOTO_SCHEMA)["bucket_id"]
    tiers = two_tiers(api, bucket_id)
    ids = create_objects(api, bucket_id, SHIPS, poem_with_photo)
    process(api, bucket_id, ids)
    assert [count(api, one) for one in tiers] == [6, 6]
    assert len(files(own, ids[0])) == 1
    lost = [one["document_id"] for one in documents(api, tiers[1]) if ids[0] in str(one["_internal"])]
    ok(api.delete(f"/v1/buckets/{bucket_id}/objects/{ids[0]}"), 204)
    assert [count(api, one) for one in tiers] == [5, 5]
    assert files(own, ids[0]) == []
    refused(api.get(f"/v1/buckets/{bucket_id}/objects/{ids[0]}"), 404)
    refused(api.get(f"/v1/documents/{lost[0]}"), 404)
    refused(api.delete(f"/v1/buckets/{bucket_id}/objects/{ids[0]}"), 404)


def test_a_bucket_goes_with_everything_and_takes_nothing_more(own: RunningServer, api: httpx.Client) -> None:
    bucket_id = create_bucket(api, PHOTO_SCHEMA)["bucket_id"]
    tiers = two_tiers(api, bucket_id)
    ids = create_objects(api, bucket_id, SHIPS, poem_with_photo)
    batch_id = process(api, bucket_id, ids)
    answer = ok(api.delete(f"/v1/buckets/{bucket_id}"))
    late = {"objects": [poem_with_photo(SHIPS[0])]}
    for answered in (
        api.post(f"/v1/buckets/{bucket_id}/batches", json={"object_ids": ids}),
        api.post(f"/v1/buckets/{bucket_id}/objects/batch", json=late),
        api.delete(f"/v1/buckets/{bucket_id}"),
    ):
        assert answered.status_code in {404, 409}, answered.text
    finished(api, answer["task_id"])
    refused(api.get(f"/v1/buckets/{bucket_id}"), 404)
    refused(api.get(f"/v1/batches/{batch_id}"), 404)
    assert [count(api, one) for one in tiers] == [0, 0]
    assert files(own, bucket_id) == []


def test_a_bucket_that_is_processed_can_be_deleted(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    tiers = two_tiers(api, bucket_id)
    ids = [one for _ in range(12) for one in create_objects(api, bucket_id, FLEET)]
    batches = f"/v1/buckets/{bucket_id}/batches"
    draft = ok(api.post(batches, json={"object_ids": ids}))["batch_id"]
    _, running = begun(api, bucket_id, ids, tiers[0])
    answer = ok(api.delete(f"/v1/buckets/{bucket_id}"))
    late = api.post(f"{batches}/{draft}/submit")
    assert late.status_code in {404, 409}, late.text
    finished(api, answer["task_id"])
    assert ok(api.get(f"/v1/tasks/{running}"))["status"] == "CANCELED"
    assert [count(api, one) for one in tiers] == [0, 0]
    time.sleep(0.5)
    assert [count(api, one) for one in tiers] == [0, 0], "documents were written after the deletion"


def test_a_collection_goes_with_its_documents_and_disables_what_reads_it(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    first, second = two_tiers(api, bucket_id)
    ids = create_objects(api, bucket_id, SHIPS)
    process(api, bucket_id, ids)
    lost = documents(api, first)[0]["document_id"]
    ok(api.delete(f"/v1/collections/{first}"))
    refused(api.get(f"/v1/collections/{first}"), 404)
    refused(api.get(f"/v1/documents/{lost}"), 404)
    assert ok(api.get(f"/v1/collections/{second}"))["enabled"] is False
    assert count(api, second) == 6
    batch = ok(api.post(f"/v1/buckets/{bucket_id}/batches", json={"object_ids": ids}))["batch_id"]
    refused(api.post(f"/v1/buckets/{bucket_id}/batches/{batch}/submit"), 400)


def test_a_batch_whose_collection_is_deleted_ends_and_lists_what_it_could_not_do(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)["collection_id"]
    ids = [one for _ in range(12) for one in create_objects(api, bucket_id, FLEET)]
    batch_id, task_id = begun(api, bucket_id, ids, made)
    ok(api.delete(f"/v1/collections/{made}"))
    eventually(lambda: ok(api.get(f"/v1/tasks/{task_id}"))["status"] in TERMINAL, "the batch has ended")
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert batch["status"] == "COMPLETED_WITH_ERRORS"
    assert batch["documents_written"] + batch["failed_object_count"] == 1200
    refused(api.post(f"/v1/buckets/{bucket_id}/batches/{batch_id}/retry"), 400)


def test_a_namespace_goes_with_all_it_holds(own: RunningServer, api: httpx.Client) -> None:
    name = unique("space")
    namespace_id = ok(api.post("/v1/namespaces", json={"namespace_name": name}))["namespace_id"]
    with own.client(namespace=name) as inside:
        bucket_id = create_bucket(inside, PHOTO_SCHEMA)["bucket_id"]
        made = create_collection(inside, bucket_id)["collection_id"]
        ids = [one for _ in range(8) for one in create_objects(inside, bucket_id, FLEET, poem_with_photo)]
        begun(inside, bucket_id, ids, made)
        assert points(own, namespace_id)
        refused(api.delete(f"/v1/namespaces/{namespace_id}"), 409)
        answer = ok(api.delete(f"/v1/namespaces/{namespace_id}", params={"force": True}))
        finished(api, answer["task_id"])
        refused(inside.get(f"/v1/buckets/{bucket_id}"), 404)
    refused(api.get(f"/v1/namespaces/{namespace_id}"), 404)
    assert files(own, namespace_id) == []
    assert points(own, namespace_id) == []


@contextmanager
def slow_pages(seconds: float) -> Iterator[tuple[str, threading.Event]]:
    """A web server whose pages take their time: its URL, and an event that says it was asked."""
    asked = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"A ship sails slowly.")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/page.txt", asked
    finally:
        server.shutdown()
        server.server_close()


def linked(url: str) -> dict[str, Any]:
    """An object whose text is fetched when it is processed."""
    return {"blobs": [{"property": "text", "type": "text", "data": url, "canonicalize_source": False}]}


def test_an_object_deleted_while_it_is_extracted_leaves_no_document(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=[]))
    with slow_pages(1.5) as (url, asked):
        object_id = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=linked(url)))["object_id"]
        other = create_objects(api, bucket_id, SHIPS[:1])[0]
        body = {"object_ids": [object_id, other]}
        batch_id = ok(api.post(f"/v1/buckets/{bucket_id}/batches", json=body))["batch_id"]
        task_id = ok(api.post(f"/v1/buckets/{bucket_id}/batches/{batch_id}/submit"))["task_id"]
        assert asked.wait(30.0)
        ok(api.delete(f"/v1/buckets/{bucket_id}/objects/{object_id}"), 204)
        finished(api, task_id, status="COMPLETED_WITH_ERRORS")
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert [(one["object_id"], one["error"]) for one in batch["failed_objects"]] == [
        (object_id, "The object no longer exists.")
    ]
    (document,) = documents(api, made["collection_id"])
    assert document["_internal"]["lineage"]["root_object_id"] == other


def test_an_object_changed_while_it_is_extracted_is_extracted_again(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=["title"]))
    with slow_pages(1.0) as (url, asked):
        body = {**linked(url), "title": "before"}
        object_id = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=body))["object_id"]
        batches = f"/v1/buckets/{bucket_id}/batches"
        batch_id = ok(api.post(batches, json={"object_ids": [object_id]}))["batch_id"]
        task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
        assert asked.wait(30.0)
        ok(api.patch(f"/v1/buckets/{bucket_id}/objects/{object_id}", json={"title": "after"}))
        finished(api, task_id)
    (document,) = documents(api, made["collection_id"])
    assert document["title"] == "after"


def test_patches_of_a_document_at_the_same_time_are_all_kept(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)["collection_id"]
    url = f"/v1/collections/{made}/documents"
    identifier = ok(api.post(url, json={"collection_id": made, "title": "Ship"}))["document_id"]

    async def patch_all() -> None:
        headers = dict(api.headers)
        async with httpx.AsyncClient(base_url=api.base_url, headers=headers, timeout=30.0) as client:
            answers = await asyncio.gather(
                *(client.patch(f"/v1/documents/{identifier}", json={f"field_{n}": n}) for n in range(20))
            )
        assert [one.status_code for one in answers] == [200] * 20

    asyncio.run(patch_all())
    found = ok(api.get(f"/v1/documents/{identifier}"))
    assert {name: value for name, value in found.items() if name.startswith("field_")} == {
        f"field_{n}": n for n in range(20)
    }
