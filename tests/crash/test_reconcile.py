"""The reconciler finds what belongs to nothing, removes that, and touches nothing else."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lamina.app import open_reconciler
from lamina.core.errors import UnavailableError
from lamina.core.settings import Settings
from lamina.stores.vectors.base import CollectionRef, Point
from tests.crash.orphans import assert_no_orphans, orphans_in
from tests.server import RunningServer
from tests.steps import (
    PHOTO_SCHEMA,
    create_bucket,
    create_collection,
    create_objects,
    documents,
    eventually,
    ok,
    poem_with_photo,
    process,
)

SHIPS = [{"text": f"Ship number {number} sails.", "title": f"s{number}"} for number in range(4)]


def populated(server: RunningServer) -> dict[str, Any]:
    """Two buckets of processed objects with files, an upload, and documents that clients wrote."""
    with server.client() as api:
        held: dict[str, Any] = {"namespace": ok(api.get("/v1/namespaces/default"))["namespace_id"]}
        for name in ("kept", "lost"):
            bucket_id = create_bucket(api, PHOTO_SCHEMA)["bucket_id"]
            first = create_collection(api, bucket_id)["collection_id"]
            below = {"type": "collection", "collection_ids": [first]}
            second = create_collection(api, bucket_id, source=below)["collection_id"]
            ids = create_objects(api, bucket_id, SHIPS, poem_with_photo)
            process(api, bucket_id, ids)
            held[name] = {"bucket": bucket_id, "collections": [first, second], "objects": ids}
        kept = held["kept"]
        wish = {"filename": "note.txt", "content_type": "text/plain", "blob_property": "text"}
        ok(api.post(f"/v1/buckets/{kept['bucket']}/uploads", json=wish))
        # A client may say of its own document what it likes.
        claim = {"root_object_id": "obj_nowhere", "source_type": "bucket", "root_bucket_id": "bkt_nowhere"}
        at = kept["collections"][0]
        ok(api.post(f"/v1/collections/{at}/documents", json={"collection_id": at, **claim, "title": "mine"}))
    return held


async def damage(data_dir: Path, held: dict[str, Any]) -> None:
    """What no server should leave behind, done by hand."""
    async with open_reconciler(Settings(data_dir=data_dir)) as (reconciler, (scope, *_)):
        kept, lost = held["kept"], held["lost"]
        await reconciler.objects.delete(scope.within(kept["bucket"]), kept["objects"][0])
        await reconciler.buckets.delete(scope, lost["bucket"])
        gone = CollectionRef(scope.namespace, "col_gone")
        await reconciler.vectors.create(gone, [])
        await reconciler.vectors.upsert(gone, [Point("doc_x", {"document_id": "doc_x"})])
        for key in (
            f"{scope.namespace}/{kept['bucket']}/obj_never/blob_1/photo.png",
            f"{scope.namespace}/{kept['bucket']}/uploads/upl_never/note.txt",
            f"{scope.namespace}/documents/{kept['collections'][0]}/doc_never/page.png",
        ):
            await reconciler.blobs.put(key, b"left over")


def doctor(server: RunningServer, *options: str) -> str:
    """What `lamina doctor` says of a server's folder."""
    command = [sys.executable, "-m", "lamina", "doctor", "--data-dir", str(server.data_dir), "--port", "0"]
    told = subprocess.run(
        [*command, *options], env=server.environment(), capture_output=True, text=True, timeout=60, check=True
    )
    return told.stdout


def test_orphans_are_found_and_removed_and_nothing_else(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        held = populated(server)
        server.stop()
        assert_no_orphans(server.data_dir)
        asyncio.run(damage(server.data_dir, held))

        kept, lost = held["kept"], held["lost"]
        (found,) = asyncio.run(orphans_in(server.data_dir)).values()
        assert found.collections == ["col_gone"]
        assert found.buckets == [lost["bucket"]]
        assert {one: len(ids) for one, ids in found.documents.items()} == dict.fromkeys(
            kept["collections"], 1
        )
        assert sorted(key.split("/")[2] for key in found.blobs) == sorted(
            [kept["objects"][0], "obj_never", "uploads", kept["collections"][0]]
        )
        assert found.counts == {"documents": 2, "collections": 1, "buckets": 1, "blobs": 4}

        assert "2 documents, 1 collections, 1 buckets, 4 blobs belong to nothing" in doctor(server)
        assert "removed 2 documents" in doctor(server, "--repair")
        assert "every document and blob belongs to something" in doctor(server)
        assert_no_orphans(server.data_dir)
        server.start()
        with server.client() as api:
            first, second = kept["collections"]
            titles = sorted(one["title"] for one in documents(api, first))
            assert titles == ["mine", "s1", "s2", "s3"]
            assert len(documents(api, second)) == 3
            assert [len(documents(api, one)) for one in lost["collections"]] == [0, 0]
            for object_id in kept["objects"][1:]:
                url = f"/v1/buckets/{kept['bucket']}/objects/{object_id}"
                shown = ok(api.get(url, params={"return_presigned_urls": True}))
                photo = next(one for one in shown["blobs"] if one["property"] == "photo")
                assert api.get(photo["presigned_url"]).status_code == 200


def test_nobody_reconciles_under_a_running_server(tmp_path: Path) -> None:
    with (
        RunningServer(tmp_path / "data") as server,
        pytest.raises(UnavailableError, match="Another Lamina process"),
    ):
        asyncio.run(orphans_in(server.data_dir))


def test_a_start_after_a_crash_sweeps_what_the_crash_left(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        held = populated(server)
        server.kill()
        left = server.data_dir / "blobs" / held["namespace"] / held["kept"]["bucket"] / "obj_never" / "blob_1"
        left.mkdir(parents=True)
        (left / "photo.png").write_bytes(b"stored, and then the server was killed")
        server.start()
        eventually(lambda: not left.exists(), "the file of an object that was never stored is gone")
        assert server.stop() == 0
        assert_no_orphans(server.data_dir)
