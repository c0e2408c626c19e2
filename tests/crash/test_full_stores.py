"""Stores that take no more: writes are refused with a 503 that says why, reads go on, nothing is lost."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.crash.orphans import assert_no_orphans
from tests.databases import PostgresServer, end_connections, postgres_server
from tests.qdrant import QdrantServer
from tests.refusing import RefusingProxy
from tests.s3 import variables
from tests.server import RunningServer, ServerDied
from tests.shared import shared_stores
from tests.steps import (
    PHOTO_SCHEMA,
    POEMS,
    Corpus,
    create_objects,
    documents,
    eventually,
    finished,
    ingest,
    ok,
    poem_object,
    poem_with_photo,
    refused,
    search_stage,
)


def reads_go_on(api: httpx.Client, corpus: Corpus) -> None:
    """Records, points and vectors are read as before."""
    assert len(documents(api, corpus.collection_id)) >= len(POEMS)
    ok(api.get(f"/v1/buckets/{corpus.bucket_id}/objects/{corpus.object()}"))
    assert ok(search(api, corpus))["documents"][0]["title"] == "Railway"


def search(api: httpx.Client, corpus: Corpus) -> httpx.Response:
    """A search whose best document is known."""
    stage = search_stage(corpus.feature_uri, "a train at the station", final_top_k=3)
    body = {"collection_identifiers": [corpus.collection_id], "stages": [stage], "inputs": {}}
    return api.post("/v1/retrievers/execute", json=body)


def unavailable(answer: httpx.Response, *words: str) -> None:
    """A 503 that says what is wrong, in one of these words, and when to come again."""
    error = refused(answer, 503)
    assert any(one in error["message"] for one in words), error
    assert error["details"]["retryable"] is True
    assert int(answer.headers["Retry-After"]) > 0


def write_document(api: httpx.Client, corpus: Corpus, title: str) -> httpx.Response:
    """A document that a client writes."""
    body = {"collection_id": corpus.collection_id, "title": title}
    return api.post(f"/v1/collections/{corpus.collection_id}/documents", json=body)


def write_object(api: httpx.Client, corpus: Corpus, **fields: Any) -> httpx.Response:
    """An object, whose text lies in its record."""
    body = {**poem_object(POEMS[0]), **fields}
    return api.post(f"/v1/buckets/{corpus.bucket_id}/objects", json=body)


def write_picture(api: httpx.Client, corpus: Corpus) -> httpx.Response:
    """An object with a file."""
    return api.post(f"/v1/buckets/{corpus.bucket_id}/objects", json=poem_with_photo(POEMS[0]))


def submitted(api: httpx.Client, corpus: Corpus, count: int = 100) -> str:
    """A batch that runs; its task."""
    poems = [{**POEMS[n % len(POEMS)], "year": n} for n in range(count)]
    object_ids = create_objects(api, corpus.bucket_id, poems)
    batches = f"/v1/buckets/{corpus.bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": object_ids}))["batch_id"]
    task_id: str = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
    return task_id


# A disk


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of its own, in memory; without the right to mount one the test is skipped."""
    folder.mkdir(exist_ok=True)
    options = f"size={mebibytes}m,mode=1777"
    command = ["mount", "-t", "tmpfs", "-o", options, "lamina-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("Mounting a small disk is not allowed here.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def test_a_full_disk_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 600) as disk:
        with RunningServer(disk / "data", env={"LAMINA_CHUNK_OBJECTS": "32"}) as server:
            with server.client() as api:
                corpus = ingest(api, poem_with_photo, PHOTO_SCHEMA)
                task_id = submitted(api, corpus)
                filler = fill(disk)
                unavailable(write_document(api, corpus, "none"), "vector store")
                unavailable(write_picture(api, corpus), "blob store", "record store")
                taken = records_refuse(api, corpus)
                reads_go_on(api, corpus)
                filler.unlink()
                finished(api, task_id, seconds=120)
            filler = fill(disk)
            server.log_path = tmp_path / "log"  # until now it was on the same disk
            restarted_on_a_full_disk(server)
            filler.unlink()
            server.start()
            with server.client() as api:
                assert len(documents(api, corpus.collection_id)) == len(POEMS) + 100
                for object_id in taken:
                    ok(api.get(f"/v1/buckets/{corpus.bucket_id}/objects/{object_id}"))
                ok(write_document(api, corpus, "some"))
                ok(write_picture(api, corpus))
                reads_go_on(api, corpus)
            assert server.stop() == 0
        assert_no_orphans(server.data_dir)


def records_refuse(api: httpx.Client, corpus: Corpus) -> list[str]:
    """Write until there is no room for records either; the objects that were taken."""
    taken: list[str] = []
    for number in range(400):
        answer = write_object(api, corpus, title=f"{number} " + "x" * 60_000)
        if answer.status_code != 200:
            unavailable(answer, "record store")
            return taken
        taken.append(answer.json()["object_id"])
    raise AssertionError("a full disk took everything")


def restarted_on_a_full_disk(server: RunningServer) -> None:
    """It is killed; it starts, or says in a line why not."""
    server.kill(workers=True)
    try:
        server.start()
    except ServerDied:
        said = server.log.strip().splitlines()
        assert len(said) == 1, said
    else:
        server.stop()
    assert "Traceback" not in server.log


def test_a_read_only_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 600) as disk, RunningServer(disk / "data") as server:
        assert server.stop() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        server.log_path = tmp_path / "log"
        with pytest.raises(ServerDied):
            server.start()
        (said,) = server.log.strip().splitlines()
        assert "cannot be written: Read-only file system" in said


# Servers


@pytest.mark.timeout(300)
def test_servers_that_take_no_writes_are_named_and_read_from(tmp_path: Path) -> None:
    with shared_stores(tmp_path) as shared, RefusingProxy(shared.s3.url) as s3:
        qdrant = shared.qdrant
        qdrant.settings["QDRANT__SERVICE__API_KEY"] = "sesame"
        again(qdrant)
        env = {**shared.env, **variables(s3.url), "LAMINA_VECTORS_API_KEY": "sesame"}
        with (
            RunningServer(tmp_path / "data", env={**env, "LAMINA_CHUNK_OBJECTS": "32"}) as server,
            server.client() as api,
        ):
            corpus = ingest(api, poem_with_photo, PHOTO_SCHEMA)

            for status, code in ((403, "AccessDenied"), (507, "XMinioStorageFull")):
                s3.refuse("PUT", status, f"<Error><Code>{code}</Code></Error>")
                unavailable(write_picture(api, corpus), "blob store")
                reads_go_on(api, corpus)
            s3.refuse(None)
            ok(write_picture(api, corpus))

            task_id = submitted(api, corpus)
            keys = {"QDRANT__SERVICE__API_KEY": "other", "QDRANT__SERVICE__READ_ONLY_API_KEY": "sesame"}
            qdrant.settings.update(keys)
            again(qdrant)
            unavailable(write_document(api, corpus, "none"), "Qdrant server")
            reads_go_on(api, corpus)
            qdrant.settings["QDRANT__SERVICE__API_KEY"] = "sesame"
            del qdrant.settings["QDRANT__SERVICE__READ_ONLY_API_KEY"]
            again(qdrant)
            finished(api, task_id, seconds=120)
            ok(write_document(api, corpus, "some"))

            task_id = submitted(api, corpus)
            read_only(shared.database, "on")
            bucket = f"/v1/buckets/{corpus.bucket_id}"
            eventually(lambda: api.get(bucket).is_success, "it is connected anew")
            unavailable(write_object(api, corpus), "record store")
            reads_go_on(api, corpus)
            eventually(lambda: "read-only transaction" in server.log, "its work meets that")
            read_only(shared.database, "off")
            eventually(lambda: api.get(bucket).is_success, "it is connected anew")
            finished(api, task_id, seconds=120)
            ok(write_object(api, corpus))
            assert len(documents(api, corpus.collection_id)) == len(POEMS) + 201


@pytest.mark.timeout(300)
def test_servers_whose_disks_are_full_are_named_and_lose_nothing(tmp_path: Path) -> None:
    postgres = PostgresServer()
    with (
        small_disk(tmp_path / "qdrant", 700) as points,
        small_disk(postgres.home, 300) as records,
        postgres,
        shared_stores(tmp_path, postgres.url) as shared,
    ):
        env = {**shared.env, "LAMINA_CHUNK_OBJECTS": "32", "LAMINA_SHARE_OBJECTS": "8"}
        with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
            corpus = ingest(api)
            kept: list[str] = []

            task_id = submitted(api, corpus)
            filler = fill(points)
            unavailable(write_until_refused(api, corpus, kept), "Qdrant server")
            answer = search(api, corpus)
            if answer.status_code != 200:  # Qdrant may have been killed by what it could not write
                unavailable(answer, "Qdrant server")
            filler.unlink()
            again(shared.qdrant)
            finished(api, task_id, seconds=120)
            ok(write_document(api, corpus, "some"))

            task_id = submitted(api, corpus)
            filler = fill(records)
            taken = records_refuse(api, corpus)
            reads_go_on(api, corpus)
            filler.unlink()
            eventually(lambda: write_object(api, corpus).is_success, "there is room again")
            finished(api, task_id, seconds=120)
            for object_id in taken:
                ok(api.get(f"/v1/buckets/{corpus.bucket_id}/objects/{object_id}"))
            found = {one["document_id"] for one in documents(api, corpus.collection_id)}
            assert found >= set(kept)
            assert len(found) == len(POEMS) + 201 + len(kept)


def write_until_refused(api: httpx.Client, corpus: Corpus, kept: list[str]) -> httpx.Response:
    """Write documents, whose ids are kept, until one is refused: a log that has room left takes some more."""
    for number in range(2000):
        answer = write_document(api, corpus, f"{number} " + "x" * 60_000)
        if not answer.is_success:
            return answer
        kept.append(answer.json()["document_id"])
    raise AssertionError("a full disk took everything")


def again(qdrant: QdrantServer) -> None:
    """Start it anew with its settings."""
    qdrant.stop()
    qdrant.start()


def read_only(database: str, state: str) -> None:
    """Have a database take no writes, as a standby does, or take them again."""
    engine = sa.create_engine(postgres_server(), isolation_level="AUTOCOMMIT")
    name = sa.make_url(database).database
    with engine.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}"))
    engine.dispose()
    end_connections(database)
