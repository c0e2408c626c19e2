"""A data folder that the first release wrote opens in this one, with all that it holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx

from tests.first_release import BUCKET, COLLECTION, HELD, RETRIEVER, unpacked
from tests.server import RunningServer
from tests.steps import POEMS, create_objects, documents, ok, poem_with_photo, process


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
