"""Lamina with its documents on a Qdrant server, over HTTP: at work, without it, and refused."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.qdrant import QdrantServer
from tests.server import RunningServer, free_port
from tests.steps import (
    POEMS,
    Corpus,
    create_retriever,
    documents,
    eventually,
    ingest,
    ok,
    refused,
    search_stage,
)


def lamina(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of Lamina, to its end."""
    given = RunningServer(folder, env=variables).environment()
    command = [sys.executable, "-m", "lamina", *words, "--data-dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=120, check=False)


def best_title(api: httpx.Client, made: Corpus, query: str) -> Any:
    """The title of the best document of a search."""
    retriever = create_retriever(api, made.collection_id, search_stage(made.feature_uri))
    url = f"/v1/retrievers/{retriever['retriever_id']}/execute"
    return ok(api.post(url, json={"inputs": {"query": query}}))["documents"][0]["title"]


def test_a_server_lost_while_running_gives_503_until_it_is_back(tmp_path: Path) -> None:
    with QdrantServer(tmp_path / "qdrant") as qdrant:
        with RunningServer(tmp_path / "data", env={"LAMINA_VECTORS_URL": qdrant.url}) as server:
            api = server.client()
            made = ingest(api)
            assert best_title(api, made, "a train at the station") == "Railway"
            assert len(documents(api, made.collection_id)) == len(POEMS)
            listing = f"/v1/collections/{made.collection_id}/documents/list"
            qdrant.kill()
            lost = api.post(listing, json={})
            error = refused(lost, 503)
            assert "Qdrant server" in error["message"]
            assert int(lost.headers["Retry-After"]) > 0
            assert api.get("/v1/health").status_code == 200
            qdrant.start()
            eventually(lambda: api.post(listing, json={}).status_code == 200, "the server is found again")
            assert best_title(api, made, "a train at the station") == "Railway"
            server.restart()
            assert len(documents(server.client(), made.collection_id)) == len(POEMS)
        assert not (tmp_path / "data" / "vectors").exists()


def test_serve_refuses_and_doctor_tells_what_is_wrong_with_the_server(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with QdrantServer(tmp_path / "qdrant", {"QDRANT__SERVICE__API_KEY": "sesame"}) as qdrant:
        for url, key, words in (
            (nowhere, "sesame", ["cannot be reached", "LAMINA_VECTORS_URL"]),
            ("nonsense", "sesame", ["LAMINA_VECTORS_URL"]),
            (f"{qdrant.url}/below", "sesame", ["is no Qdrant server", "LAMINA_VECTORS_URL"]),
            (qdrant.url, "wrong", ["LAMINA_VECTORS_API_KEY"]),
        ):
            given = {"LAMINA_VECTORS_URL": url, "LAMINA_VECTORS_API_KEY": key}
            served = lamina("serve", "--port", "0", folder=tmp_path / "data", **given)
            assert served.returncode == 1
            assert "Traceback" not in served.stderr
            told = lamina("doctor", "--json", "--port", "0", folder=tmp_path / "data", **given)
            assert told.returncode == 1
            [finding] = [one for one in json.loads(told.stdout) if one["check"] == "vectors"]
            assert finding["level"] == "failed"
            for word in words:
                assert word in served.stderr
                assert word in finding["found"]
        given = {"LAMINA_VECTORS_URL": qdrant.url, "LAMINA_VECTORS_API_KEY": "sesame"}
        told = lamina("doctor", "--json", "--port", "0", folder=tmp_path / "data", **given)
        [finding] = [one for one in json.loads(told.stdout) if one["check"] == "vectors"]
        assert finding["level"] == "ok"


def test_a_server_that_says_nothing_does_not_hold_up_the_start_for_long(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        served = lamina("serve", "--port", "0", folder=tmp_path / "data", LAMINA_VECTORS_URL=url)
        assert time.monotonic() - began < 40  # of which it waits for 10
    assert "did not answer in 10 s" in served.stderr
    assert "LAMINA_VECTORS_URL" in served.stderr


async def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lamina.core.errors import MissingExtraError
    from lamina.core.settings import Settings
    from lamina.engines import check_vectors

    monkeypatch.setattr("lamina.engines.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lamina\[qdrant\]'"):
        await check_vectors(Settings(data_dir=tmp_path, vectors_url="http://127.0.0.1:6333"))
