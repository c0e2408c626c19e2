"""`lamina backup` and `restore`: a copy serves what its original served, and half a copy never does."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lamina.transfer.progress import Progress
from tests.s3 import variables
from tests.server import RunningServer
from tests.shared import Shared, shared_stores
from tests.steps import PHOTO_SCHEMA, Corpus, documents, ingest, ok, poem_with_photo


def lamina(server: RunningServer, *arguments: str, expect: int = 0) -> str:
    """What a command says, of whatever stream; its exit code must be the one expected."""
    done = subprocess.run(
        [sys.executable, "-m", "lamina", *arguments],
        env=server.environment(), text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if expect == 0 else done.stderr


def seen(server: RunningServer, corpus: Corpus) -> dict[str, Any]:
    """What an installation answers: documents, a search by meaning and one by words, a picture's bytes."""
    with server.client() as client:
        search = {
            "collection_identifiers": [corpus.collection_id],
            "feature_uri": corpus.feature_uri,
            "query": {"input_mode": "text", "text": "bread"},
            "top_k": 3,
        }
        found = [
            ok(client.post("/v1/features/search", json={**search, **how}))["results"]
            for how in ({}, {"lexical": True})
        ]
        where = f"/v1/buckets/{corpus.bucket_id}/objects/list"
        listed = ok(client.post(where, json={"return_presigned_urls": True}))["results"]
        urls = [
            blob["presigned_url"] for one in listed for blob in one["blobs"] if blob["property"] == "photo"
        ]
        return {
            "documents": documents(client, corpus.collection_id),
            "found": [[one["document_id"] for one in some] for some in found],
            "pictures": [client.get(url).content for url in urls],
        }


@contextmanager
def about_to_move(folder: Path) -> Iterator[tuple[RunningServer, Shared, Corpus, dict[str, Any]]]:
    """A server that has stopped, stores to move it to, what it holds, and what it answered."""
    with RunningServer(folder / "data") as server, shared_stores(folder) as shared:
        with server.client() as client:
            corpus = ingest(client, poem_with_photo, PHOTO_SCHEMA)
        before = seen(server, corpus)
        server.stop()
        yield server, shared, corpus, before


def migration(server: RunningServer, shared: Shared) -> tuple[RunningServer, list[str]]:
    """Who moves a stopped server's installation to the shared stores, and the command for it."""
    command = ["migrate", "--data-dir", str(server.data_dir), "--json"]
    for name in ("records", "vectors", "blobs"):
        command += [f"--{name}-url", shared.env[f"LAMINA_{name.upper()}_URL"]]
    return RunningServer(server.data_dir, env=variables(shared.s3.url)), command


def test_a_backup_is_an_installation_and_can_be_restored(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        with server.client() as client:
            corpus = ingest(client, poem_with_photo, PHOTO_SCHEMA)
        before = seen(server, corpus)
        assert len(before["pictures"]) == len(before["documents"]) == 6
        assert all(before["found"])
        lamina(server, "backup", str(tmp_path / "copy"), "--data-dir", str(server.data_dir), expect=1)
        server.stop()
        copied = ["backup", str(tmp_path / "copy"), "--data-dir", str(server.data_dir), "--json"]
        counts = json.loads(lamina(server, *copied))
        assert counts["complete"] is True
        assert counts["points"] == 6
        assert counts["blobs"] >= 1
        assert counts["records"] > 20
        assert "completed already" in lamina(server, *copied, expect=1)
        assert (tmp_path / "copy" / "secrets.key").stat().st_mode & 0o777 == 0o600
        shutil.rmtree(server.data_dir)
        restored = ["restore", str(tmp_path / "copy"), "--data-dir", str(server.data_dir), "--json"]
        assert json.loads(lamina(server, *restored)) == counts
        server.start()
        assert seen(server, corpus) == before
        server.stop()
        assert "completed already" in lamina(server, *restored, expect=1)
        # Others have written here since: what looks like an unfinished copy removes nothing of theirs.
        told = json.loads((server.data_dir / "restoration.json").read_bytes())
        (server.data_dir / "restoration.json").write_text(json.dumps({**told, "complete": False}))
        for _ in range(2):
            assert "holds an installation already" in lamina(server, *restored, expect=1)
        (server.data_dir / "restoration.json").unlink()
        assert "holds an installation already" in lamina(server, *restored, expect=1)
        server.start()
        assert seen(server, corpus) == before
        server.stop()
        (tmp_path / "keyed").mkdir()
        (tmp_path / "keyed" / "secrets.key").write_bytes(bytes(32))
        keyed = ["restore", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "keyed")]
        assert "another key than the backup's" in lamina(server, *keyed, expect=2).replace("\n", " ")
    with RunningServer(tmp_path / "copy") as other:
        assert seen(other, corpus)["documents"] == before["documents"]


def test_an_installation_moves_to_servers_and_serves_there_what_it_served(tmp_path: Path) -> None:
    with about_to_move(tmp_path) as (server, shared, corpus, before):
        mover, moving = migration(server, shared)
        counts = json.loads(lamina(mover, *moving))
        assert counts["points"] == counts["blobs"] == 6
        assert "completed already" in lamina(mover, *moving, expect=1)
        keys = {"LAMINA_PRESIGN_KEY", "LAMINA_SECRETS_KEY"}
        env = {name: value for name, value in shared.env.items() if name not in keys}
        with RunningServer(server.data_dir, env=env, api_key=server.admin_key) as moved:
            after = seen(moved, corpus)
            assert sorted(map(str, after["documents"])) == sorted(map(str, before["documents"]))
            assert (after["found"], after["pictures"]) == (before["found"], before["pictures"])


def test_half_a_migration_is_not_served_from_another_folder(tmp_path: Path) -> None:
    with about_to_move(tmp_path) as (server, shared, corpus, before):
        mover, moving = migration(server, shared)
        with sa.create_engine(shared.database).connect() as records:
            copying = subprocess.Popen(
                [sys.executable, "-m", "lamina", *moving], env=mover.environment(), stderr=subprocess.DEVNULL
            )
            deadline = time.monotonic() + 60
            for question in ("to_regclass('unfinished_copy') IS NOT NULL", "EXISTS (TABLE unfinished_copy)"):
                while not records.execute(sa.text(f"SELECT {question}")).scalar_one():
                    assert time.monotonic() < deadline
                    records.rollback()
            copying.kill()
            copying.wait()
        elsewhere = RunningServer(tmp_path / "elsewhere", env=shared.env, api_key=server.admin_key)
        with pytest.raises(AssertionError, match="half a copy"):
            elsewhere.start()
        looked = ["doctor", "--data-dir", str(elsewhere.data_dir), "--port", "0"]
        assert "failed: copy" in lamina(elsewhere, *looked, expect=1)
        lamina(mover, *moving)
        shutil.copy(server.data_dir / "admin.key", elsewhere.data_dir)
        with RunningServer(elsewhere.data_dir, env=shared.env, api_key=server.admin_key) as moved:
            assert sorted(map(str, seen(moved, corpus)["documents"])) == sorted(map(str, before["documents"]))


def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    server = RunningServer(tmp_path / "data")
    said = lamina(server, "backup", str(tmp_path / "other"), "--data-dir", str(tmp_path / "data"), expect=2)
    assert "not empty" in said
    said = lamina(server, "restore", str(tmp_path / "other"), "--data-dir", str(tmp_path / "data"), expect=2)
    assert "holds no backup" in said
    said = lamina(server, "migrate", "--data-dir", str(tmp_path / "data"), expect=2)
    assert "name where to" in said


def test_a_store_is_not_copied_onto_itself(tmp_path: Path) -> None:
    url = "postgresql+psycopg://127.0.0.1:1/lamina"
    server = RunningServer(tmp_path / "data", env={"LAMINA_RECORDS_URL": url})
    said = lamina(server, "migrate", "--data-dir", str(tmp_path / "data"), "--records-url", url, expect=2)
    assert "LAMINA_RECORDS_URL names that store already" in said.replace("\n", " ")


def test_half_a_restoration_is_not_served(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data")
    server.data_dir.mkdir()
    Progress.at(server.data_dir / "restoration.json", "copy").write()
    with pytest.raises(AssertionError, match="half a copy"):
        server.start()


def test_a_backup_that_was_damaged_since_is_not_called_restored(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        with server.client() as client:
            ingest(client, poem_with_photo, PHOTO_SCHEMA)
        server.stop()
    backup = ["backup", str(tmp_path / "copy"), "--data-dir", str(server.data_dir)]
    lamina(server, *backup)
    assert "name another one" in lamina(server, "backup", str(server.data_dir / "in"), *backup[2:], expect=2)

    def restored(damage: Callable[[Path], object], number: int, *, expect: int = 1) -> str:
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "copy", copy)
        damage(copy)
        return lamina(
            server, "restore", str(copy), "--data-dir", str(tmp_path / f"restored{number}"), expect=expect
        ).replace("\n", " ")

    def blob(copy: Path) -> Path:
        return next(file for file in sorted((copy / "blobs").rglob("*")) if file.is_file())

    def flipped(copy: Path) -> None:
        data = bytearray(blob(copy).read_bytes())
        data[len(data) // 2] ^= 1
        blob(copy).write_bytes(data)

    said = "is not what it was"
    assert said in restored(lambda copy: blob(copy).unlink(), 1)
    assert said in restored(flipped, 2)
    assert said in restored(lambda copy: shutil.rmtree(copy / "vectors"), 3)
    key = "secrets.key is another key than the backup's"
    assert key in restored(lambda copy: (copy / "secrets.key").write_bytes(bytes(32)), 5, expect=2)
    key = "secrets.key is missing"
    assert key in restored(lambda copy: (copy / "secrets.key").unlink(), 6, expect=2)
    (tmp_path / "restored7").mkdir()  # where the two are kept apart
    shutil.copy(tmp_path / "copy" / "secrets.key", tmp_path / "restored7")
    assert restored(lambda copy: (copy / "secrets.key").unlink(), 7, expect=0)
    assert "holds no installation" in restored(lambda copy: (copy / "records.sqlite").unlink(), 4)
    with pytest.raises(AssertionError, match="half a copy"):
        RunningServer(tmp_path / "restored2").start()


def test_what_cannot_be_copied_is_told_in_one_line(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data")
    nothing = ["--data-dir", str(tmp_path / "nothing")]
    said = lamina(server, "backup", str(tmp_path / "copy"), *nothing, expect=1)
    assert "holds no installation" in said.replace("\n", " ")
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "file").write_text("mine")
    said = lamina(server, "backup", str(tmp_path / "file"), *nothing, expect=2)
    assert "cannot be written to" in said.replace("\n", " ")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "backup.json").write_text('{"compl')
    assert "is damaged" in lamina(server, "restore", str(tmp_path / "broken"), *nothing, expect=2)
