"""A server whose blobs lie in a bucket of S3: everything a client does, and what happens when S3 is away."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.media import MODELS_DIR
from tests.s3 import S3, Process, variables
from tests.server import RunningServer, free_port
from tests.steps import (
    PHOTO_SCHEMA,
    TERMINAL,
    create_bucket,
    create_collection,
    create_objects,
    create_retriever,
    documents,
    finished,
    ok,
    poem_with_photo,
    process,
    refused,
    search_stage,
)

PICTURES: dict[str, Any] = {"properties": {"image": {"type": "image"}}}


@pytest.fixture(scope="module")
def bucket(s3: S3) -> str:
    """The bucket of this file's server."""
    return s3.bucket(f"lamina-{secrets.token_hex(6)}")


@pytest.fixture(scope="module")
def door(s3: S3) -> Process:
    """What the server reaches S3 through."""
    return s3.door()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, bucket: str, door: Process) -> Iterator[RunningServer]:
    """A server whose blobs lie there."""
    env = {
        **variables(door.url),
        "LAMINA_BLOBS_URL": f"s3://{bucket}/lamina",
        "LAMINA_CHUNK_OBJECTS": "16",
        "LAMINA_INLINE_BYTES": "0",
        "LAMINA_MAX_BLOB_BYTES": str(4 << 20),
    }
    with RunningServer(tmp_path_factory.mktemp("elsewhere") / "data", env=env) as server:
        yield server
        assert server.stop() == 0
        found = {one["check"]: one for one in doctor(server.data_dir, env)}
        assert (found["blobs"]["level"], found["left-overs"]["level"]) == ("ok", "ok"), found


def command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a `lamina` command answers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    return subprocess.run(
        [sys.executable, "-m", "lamina", *arguments],
        env={**inherited, "LAMINA_MODELS_DIR": str(MODELS_DIR), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def doctor(data_dir: Path, env: dict[str, str]) -> list[dict[str, str]]:
    """The findings of `lamina doctor`."""
    answer = command(env, "doctor", "--data-dir", str(data_dir), "--port", str(free_port()), "--json")
    findings: list[dict[str, str]] = json.loads(answer.stdout)
    return findings


@pytest.fixture
def api(own: RunningServer) -> Iterator[httpx.Client]:
    """A client of that server."""
    with own.client() as client:
        yield client


def photograph() -> bytes:
    """A JPEG of some size."""
    picture = Image.effect_mandelbrot((320, 240), (-3, -2.5, 2, 2.5), 100)
    file = BytesIO()
    picture.convert("RGB").save(file, "JPEG")
    return file.getvalue()


def failures(api: httpx.Client, bucket_id: str, batch_id: str) -> set[str]:
    """Objects that a batch lists as failed."""
    answer = ok(api.get(f"/v1/buckets/{bucket_id}/batches/{batch_id}/failed-documents?limit=500"))
    return {one["object_id"] for one in answer["results"]}


def stored(s3: S3, bucket: str, part: str = "") -> list[str]:
    """Keys in the bucket that have `part` in them."""
    return [key for key in s3.keys(bucket) if part in key]


def test_a_picture_goes_in_and_comes_out_by_urls_of_the_bucket(
    api: httpx.Client, s3: S3, bucket: str, own: RunningServer, door: Process
) -> None:
    photo = photograph()
    bucket_id = create_bucket(api, PICTURES)["bucket_id"]
    config = {
        "feature_extractor_name": "image_extractor",
        "version": "v1",
        "input_mappings": {"image": "image"},
    }
    collection_id = create_collection(api, bucket_id, feature_extractor=config)["collection_id"]
    wish = {
        "filename": "photo.jpg",
        "content_type": "image/jpeg",
        "blob_property": "image",
        "file_hash": hashlib.sha256(photo).hexdigest(),
    }
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=wish))
    assert upload["presigned_url"].startswith(f"{door.url}/{bucket}/lamina/")
    confirm = f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm"
    refused(api.post(confirm), 400)  # nothing is there yet
    put = httpx.put(upload["presigned_url"], content=photo, headers={"Content-Type": "image/jpeg"})
    assert put.status_code == 200, put.text
    confirmed = ok(api.post(confirm))
    assert ok(api.post(confirm))["object_id"] == confirmed["object_id"]
    assert ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=wish))["is_duplicate"]

    process(api, bucket_id, [confirmed["object_id"]])
    (document,) = documents(api, collection_id, return_presigned_urls=True)
    files = {file["role"]: file for file in document["document_blobs"]}
    source, thumbnail = files["source"]["presigned_url"], files["thumbnail"]["presigned_url"]
    assert source.startswith(f"{door.url}/{bucket}/lamina/")
    assert httpx.get(source).content == photo
    part = httpx.get(source, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, photo[100:200])
    assert httpx.get(thumbnail).headers["content-type"] == "image/jpeg"
    assert httpx.get(source.replace("photo.jpg", "other.jpg")).status_code in (403, 404)

    assert not (own.data_dir / "blobs").exists()
    object_id = confirmed["object_id"]
    assert stored(s3, bucket, object_id)
    assert stored(s3, bucket, document["document_id"])
    ok(api.delete(f"/v1/buckets/{bucket_id}/objects/{object_id}"), 204)
    assert stored(s3, bucket, object_id) == stored(s3, bucket, document["document_id"]) == []
    finished(api, ok(api.delete(f"/v1/buckets/{bucket_id}"))["task_id"])
    assert stored(s3, bucket, bucket_id) == []


def test_an_upload_over_the_limit_is_refused_when_it_is_confirmed(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    wish = {"filename": "note.txt", "content_type": "text/plain", "blob_property": "text"}
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=wish))
    assert httpx.put(upload["presigned_url"], content=b"x" * (5 << 20)).is_success
    refused(api.post(f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm"), 413)


def test_a_large_file_is_read_by_workers_from_a_copy(api: httpx.Client, own: RunningServer) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    collection_id = create_collection(api, bucket_id)["collection_id"]
    text = "The lighthouse keeper counts ships. " * 60_000  # 2 MB: more than is sent to a worker
    (object_id,) = create_objects(api, bucket_id, [{"title": "long", "text": text}])
    process(api, bucket_id, [object_id])
    assert len(documents(api, collection_id)) == 1
    assert [file.stat().st_size for file in (own.data_dir / "blob-copies").iterdir()] == [len(text)]


def test_s3_may_go_away_and_come_back_while_a_batch_runs(
    api: httpx.Client, own: RunningServer, door: Process
) -> None:
    bucket_id = create_bucket(api, PHOTO_SCHEMA)["bucket_id"]
    collection_id = create_collection(api, bucket_id)["collection_id"]
    poems = [{"title": f"p{number}", "text": f"Ship {number} sails at night."} for number in range(160)]
    halves = (poems[:80], poems[80:])
    object_ids = [one for half in halves for one in create_objects(api, bucket_id, half, poem_with_photo)]
    uri = ok(api.get(f"/v1/collections/{collection_id}"))["vector_indexes"][0]["feature_uri"]
    process(api, bucket_id, object_ids[:8])
    retriever_id = create_retriever(api, collection_id, search_stage(uri))["retriever"]["retriever_id"]

    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": object_ids}))["batch_id"]
    task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
    time.sleep(0.3)
    door.kill()
    assert ok(api.get(f"/v1/tasks/{task_id}"))["status"] not in TERMINAL
    began = time.monotonic()
    answer = api.post(f"/v1/buckets/{bucket_id}/objects", json=poem_with_photo(poems[0]))
    error = refused(answer, 503)
    assert "blob store" in error["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert time.monotonic() - began < 10
    found = ok(api.post(f"/v1/retrievers/{retriever_id}/execute", json={"inputs": {"query": "a ship"}}))
    assert found["documents"]
    time.sleep(2)
    door.start()

    deadline = time.monotonic() + 120
    while ok(api.get(f"/v1/tasks/{task_id}"))["status"] not in TERMINAL:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "step_failed" in own.log, "the batch did not notice"
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    made = [one["_internal"]["lineage"]["root_object_id"] for one in documents(api, collection_id)]
    assert len(made) == len(set(made)), "an object was documented twice"
    failed = failures(api, bucket_id, batch_id)
    assert set(made) | failed == set(object_ids)
    assert batch["failed_object_count"] == len(failed)
    if failed:
        process(api, bucket_id, sorted(failed))
    assert len(documents(api, collection_id)) == len(object_ids)
    ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=poem_with_photo(poems[0])))


# A bucket that cannot be used


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 with a bucket, that from then on looks at who asks."""
    env = {"INITIAL_NO_AUTH_ACTION_COUNT": "2"}
    with S3(tmp_path_factory.mktemp("strict"), env) as running:
        running.bucket("guarded")
        yield running


@pytest.mark.parametrize(
    ("wrong", "said", "mend"),
    [
        ("bucket", "s3://no-such-bucket/x cannot be written to: its bucket does not exist", "create it"),
        ("endpoint", "cannot be written to: it cannot be reached", "AWS_ENDPOINT_URL"),
        ("credentials", "it does not accept the credentials", "access key"),
        ("url", "'ftp://bucket' is no URL of a bucket", "s3://bucket/prefix"),
    ],
)
def test_a_server_does_not_start_on_a_bucket_that_it_cannot_use(
    wrong: str, said: str, mend: str, s3: S3, bucket: str, strict: S3, tmp_path: Path
) -> None:
    env = {**variables(s3.url), "LAMINA_BLOBS_URL": f"s3://{bucket}/x"}
    match wrong:
        case "bucket":
            env["LAMINA_BLOBS_URL"] = "s3://no-such-bucket/x"
        case "endpoint":
            env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
        case "credentials":
            env |= {**variables(strict.url), "LAMINA_BLOBS_URL": "s3://guarded/x"}
        case _:
            env["LAMINA_BLOBS_URL"] = "ftp://bucket"
    answer = command(env, "serve", "--data-dir", str(tmp_path / "data"), "--port", "0")
    assert answer.returncode != 0
    assert said in answer.stderr
    assert mend in answer.stderr
    assert "Traceback" not in answer.stderr
    finding = next(one for one in doctor(tmp_path / "data", env) if one["check"] == "blobs")
    assert finding["level"] == "failed"
    assert said in finding["found"]
    assert mend in finding["found"] + finding["mend"]
