"""The commands against a real server, as a user and as a script run them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.media import MODELS_DIR
from tests.server import RunningServer
from tests.steps import POEMS, unique


def lamina(server: RunningServer, *arguments: str, expect: int = 0) -> str:
    """What a command writes to stdout; its exit code must be the one expected."""
    env = server.environment() | {"LAMINA_URL": server.url, "LAMINA_API_KEY": server.admin_key}
    done = subprocess.run(
        [sys.executable, "-m", "lamina", *arguments],
        env=env, text=True, capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def as_json(server: RunningServer, *arguments: str, expect: int = 0) -> Any:
    """What a command writes with `--json`."""
    return json.loads(lamina(server, *arguments, "--json", expect=expect))


@pytest.fixture(scope="module")
def poems(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six poems as a `.jsonl` file whose name is the bucket's, loaded."""
    file = tmp_path_factory.mktemp("rows") / f"{unique('poems')}.jsonl"
    file.write_text("".join(json.dumps(poem) + "\n" for poem in POEMS))
    loaded = as_json(server, "ingest", str(file))
    assert loaded["objects"] == {"created": 6, "found": 0, "failed": 0}
    assert loaded["documents"] == 6
    assert [one["status"] for one in loaded["batches"]] == ["COMPLETED"]
    return file


@pytest.mark.parametrize("way", [[], ["--lexical"], ["--hybrid"]])
def test_what_is_loaded_is_found_in_every_way(server: RunningServer, poems: Path, way: list[str]) -> None:
    found = as_json(server, "search", "fresh bread on the counter", "-c", poems.stem, "-k", "2", *way)
    best = found["documents"][0]
    assert best["title"] == "Bakery"
    assert best["year"] == 1947
    assert best["score"] > 0


def test_loading_the_same_again_creates_nothing(server: RunningServer, poems: Path) -> None:
    again = as_json(server, "ingest", str(poems))
    assert again["objects"] == {"created": 0, "found": 6, "failed": 0}
    assert again["documents"] == 0
    assert "0 created, 6 found again, 0 failed" in lamina(server, "ingest", str(poems))
    listed = as_json(server, "search", "slow", "-c", poems.stem, "-k", "50")
    assert len(listed["documents"]) == 6


def test_a_folder_becomes_documents_with_paths(server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / unique("notes")
    folder.mkdir()
    (folder / "tides.txt").write_text("The moon pulls the sea, and the tides follow it.")
    (folder / "long.md").write_text("Volcanoes build islands out of lava. " * 200)
    loaded = as_json(server, "ingest", str(folder), "--collection", f"{folder.name}-parts")
    assert loaded["objects"]["created"] == 2
    assert loaded["documents"] > 2
    found = as_json(server, "search", "why does the water rise and fall", "-c", f"{folder.name}-parts")
    assert found["documents"][0]["path"] == f"{folder.name}/tides.txt"


def test_files_that_nothing_takes_apart_go_into_a_collection_of_their_own(
    server: RunningServer, tmp_path: Path
) -> None:
    folder = tmp_path / unique("mixed")
    folder.mkdir()
    (folder / "note.txt").write_text("A red square.")
    (folder / "blob.bin").write_bytes(b"\0\1\2\3")
    with ZipFile(folder / "table.xlsx", "w") as sheet:
        sheet.writestr("xl/workbook.xml", "<workbook/>")
    for created, found, documents in ((2, 0, 2), (0, 2, 0)):
        loaded = as_json(server, "ingest", str(folder), expect=1)
        assert loaded["objects"] == {"created": created, "found": found, "failed": 1}
        assert [one["source"] for one in loaded["failures"]] == [f"{folder.name}/blob.bin"]
        names = [one["collection_name"] for one in loaded["collections"]]
        assert names == [folder.name, f"{folder.name}-files"]
        assert loaded["documents"] == documents


def test_a_picture_goes_to_the_image_extractor_where_the_server_has_one(
    server: RunningServer, tmp_path: Path
) -> None:
    picture = tmp_path / f"{unique('square')}.mp4"  # what its bytes are counts
    picture.write_bytes(PNG)
    with server.client() as api:
        extractors = api.get("/v1/collections/features/extractors").json()
    loaded = as_json(server, "ingest", str(picture))
    assert loaded["objects"] == {"created": 1, "found": 0, "failed": 0}
    assert loaded["documents"] == 1
    (collection,) = loaded["collections"]
    if any(one["feature_extractor_name"] == "image_extractor" for one in extractors):
        assert collection["collection_name"] == f"{picture.stem}-images"
        found = as_json(server, "search", "red", "-c", picture.stem)
        assert [one["path"] for one in found["documents"]] == [picture.name]
    else:
        assert collection["collection_name"] == f"{picture.stem}-files"
        assert "image" in loaded["notes"][0]


def test_bad_rows_fail_alone_and_are_named_by_their_lines(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / f"{unique('rows')}.jsonl"
    rows = [
        '{"text": "good"}',
        '{"text": ',
        '{"text": 5}',
        '{"text": "nul\\u0000"}',
        '{"text": " "}',
        f'{{"text": "deep", "deep": {"[" * 150 + "]" * 150}}}',
        '{"text": "good too"}',
    ]
    file.write_text("\n".join(rows))
    loaded = as_json(server, "ingest", str(file), expect=1)
    assert loaded["objects"] == {"created": 3, "found": 0, "failed": 5}
    assert loaded["documents"] == 2
    reasons = {one["source"]: one["error"] for one in loaded["failures"]}
    assert sorted(reasons) == [f"{file.name}:{line}" for line in (2, 3, 4, 5, 6)]
    assert "holds no text" in reasons[f"{file.name}:5"]  # found out in processing
    found = as_json(server, "search", "good", "-c", file.stem, "--lexical")
    assert len(found["documents"]) == 2


def test_a_path_of_few_letters_is_found_under_them(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text("text,text,\nfirst,second,third\n")
    loaded = as_json(server, "ingest", str(file))
    assert [one["collection_name"] for one in loaded["collections"]] == ["q-data"]
    assert len(loaded["notes"]) == 2
    (document,) = as_json(server, "search", "first", "-c", "q")["documents"]
    assert [document[name] for name in ("text", "text_2", "column_3")] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("folder", "key"), [("file/below", None), ("fresh", "no-key")], ids=["folder", "key"]
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, folder: str, key: str | None
) -> None:
    (tmp_path / "file").write_text("in the way")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "serve", "--port", "0", "--data-dir", folder],
        cwd=tmp_path, env=env | ({"LAMINA_BOOTSTRAP_API_KEY": key} if key else {}),
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_key_works_from_its_creation_to_its_revocation(server: RunningServer) -> None:
    name = unique("key")
    secret = lamina(server, "keys", "create", name, "-p", "read").strip()
    assert secret.startswith("sk_")
    listed = {one["name"]: one for one in as_json(server, "keys", "list")}
    assert listed[name]["permissions"] == ["read"]
    assert secret not in json.dumps(listed)
    assert as_json(server, "status", "--api-key", secret)["health"] == "OK"
    lamina(server, "keys", "create", "another", "--api-key", secret, expect=4)
    lamina(server, "keys", "revoke", name)
    lamina(server, "status", "--api-key", secret, expect=4)


def test_status_counts_what_the_namespace_holds(server: RunningServer, poems: Path) -> None:
    told = as_json(server, "status")
    assert told["health"] == "OK"
    default = next(one for one in told["namespaces"] if one["namespace_name"] == "default")
    assert default["collection_count"] >= 1
    assert default["document_count"] >= 6


def test_the_doctor_sees_a_running_server_at_its_port(server: RunningServer) -> None:
    found = as_json(server, "doctor", "--port", str(server.port), "--data-dir", str(server.data_dir))
    port = next(one for one in found if one["check"] == f"port {server.port}")
    assert port["found"] == "a Lamina server is running here"


def test_the_demo_runs_and_runs_again_from_what_it_kept(tmp_path: Path) -> None:
    arguments = ["demo", "--data-dir", str(tmp_path / "demo"), "--objects", "60", "--json"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    env["LAMINA_MODELS_DIR"] = str(MODELS_DIR)
    for created in (60, 0):
        done = subprocess.run(
            [sys.executable, "-m", "lamina", *arguments],
            cwd=tmp_path, env=env, text=True, capture_output=True, timeout=500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        modes = [one["mode"] for one in told["searches"] if "mode" in one]
        assert modes == ["dense", "lexical", "hybrid"]
        assert told["media"]["failures"] == []
        found = {
            one["query"]: [str(each["path"]) for each in one["documents"]] for one in told["searches"][3:]
        }
        assert found["«a cat looking at you»"][0] == "chelsea.png"
        assert found["«people riding bicycles»"][0] == "bikes.mp4"  # and not what is said in a recording
        assert any(path.endswith("0870.wav") for path in found["«how much he could do for his family»"])
        assert found["the face in obama.jpg"][0] == "obama2.jpg"
        assert all(one["documents"] for one in told["searches"])
        assert told["loaded"]["failures"] == []
        assert told["loaded"]["objects"] == {"created": created, "found": 60 - created, "failed": 0}
        assert told["loaded"]["documents"] == (60 if created else 0)


def test_the_first_start_prints_the_key_once_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", generated_key=True) as server:
        key_file = tmp_path / "data" / "admin.key"
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert server.admin_key in server.log
        assert server.url in server.log
        assert server.stop() in {0, -signal.SIGTERM}
        server.start()
        assert server.log.count(server.admin_key) == 1


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de000"
    "0000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""One red pixel."""
