"""A data folder that the first release wrote opens in this one, with all that it holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx

from tests.first_release import BUCKET, COLLECTION, HELD, RETRIEVER, unpacked
from tests.server import RunningServer
from tests.steps import (
    POEMS,
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    ok,
    poem_with_photo,
    process,
)


def revision(data_dir: Path) -> str:
    """The revision of a folder's tables."""
    with closing(sqlite3.connect(data_dir / "records.sqlite")) as records:
        (found,) = records.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found)


def found(api: httpx.Client, words: str) -> str:
    """The title of the best answer of the retriever."""
    answer = ok(api.post(f"/v1/retrievers/{RETRIEVER}/execute", json={"inputs": {"query": words}}))
    title: str = answer["documents"][0]["title"]
    return title


def test_a_folder_of_the_first_release_opens_with_all_that_it_holds(tmp_path: Path) -> None:
    data_dir = unpacked(tmp_path)
    assert revision(data_dir) == "0001"
    with RunningServer(data_dir, generated_key=True) as server:
        for _ in range(2):
            with server.client() as api:
                bucket = ok(api.get(f"/v1/buckets/{BUCKET}"))
                objects = ok(api.post(f"/v1/buckets/{BUCKET}/objects/list", json={"limit": 100}))["results"]
                assert {one["title"] for one in objects} >= {one["title"] for one in HELD}
                assert {one["status"] for one in objects} == {"COMPLETED"}
                collection_id = ok(api.get(f"/v1/collections/{COLLECTION}"))["collection_id"]
                texts = {one["title"]: one["text"] for one in documents(api, collection_id)}
                for poem in HELD:
                    assert texts[poem["title"]] == poem["text"]
                    assert found(api, poem["text"].split()[-1]) == poem["title"]
                url = f"/v1/buckets/{BUCKET}/objects/{objects[0]['object_id']}"
                shown = ok(api.get(url, params={"return_presigned_urls": True}))
                photo = next(one for one in shown["blobs"] if one["property"] == "photo")
                assert httpx.get(photo["presigned_url"]).headers["content-type"] == "image/png"
                batches = ok(api.post("/v1/batches/list", json={}))["results"]
                assert {one["status"] for one in batches} == {"COMPLETED"}
                if len(objects) == len(HELD):
                    more = create_objects(api, bucket["bucket_id"], POEMS[2:3], poem_with_photo)
                    process(api, bucket["bucket_id"], more)
                assert found(api, "a steam train before dawn") == "Railway"
            server.restart()
        assert server.stop() == 0
    assert revision(data_dir) > "0001"


def test_a_batch_that_an_older_release_left_half_done_is_ended(tmp_path: Path) -> None:
    """Its steps were others, so its workflow is begun anew; what has an outcome stays done."""
    data_dir = tmp_path / "data"
    with RunningServer(data_dir, env={"LAMINA_CHUNK_OBJECTS": "16", "LAMINA_WORKERS": "1"}) as server:
        with server.client() as api:
            bucket_id = create_bucket(api)["bucket_id"]
            collection_id = create_collection(api, bucket_id)["collection_id"]
            texts = [f"{POEMS[0]['text']} No. {number}" for number in range(300)]
            ids = [
                object_id
                for start in range(0, len(texts), 100)
                for object_id in create_objects(
                    api, bucket_id, [{**POEMS[0], "text": text} for text in texts[start : start + 100]]
                )
            ]
            made = ok(api.post(f"/v1/buckets/{bucket_id}/batches", json={"object_ids": ids}))
            url = f"/v1/buckets/{bucket_id}/batches/{made['batch_id']}"
            ok(api.post(f"{url}/submit"))
            eventually(lambda: documents(api, collection_id, limit=1) != [], "it has begun")
            server.kill()
        with closing(sqlite3.connect(data_dir / "workflows.sqlite")) as workflows:
            older = "UPDATE workflow_status SET application_version = 'lamina-2' WHERE status = 'PENDING'"
            assert workflows.execute(older).rowcount == 1
            workflows.execute("UPDATE operation_outputs SET function_name = 'a step of the past'")
            workflows.commit()
        server.start()
        with server.client() as api:
            eventually(lambda: ok(api.get(url))["status"] == "COMPLETED", "it is gone on with")
            assert len(documents(api, collection_id)) == len(ids)
            assert ok(api.get(url))["progress"]["processed"] == len(ids)
