"""Models behind an endpoint, against a server on loopback that speaks the real protocols."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from lamina.core.errors import UnavailableError
from lamina.inference import http
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.remote import RemoteTextEmbedder
from lamina.inference.remote_entries import REMOTE_CARDS

CARDS = {card.name: card for card in REMOTE_CARDS}


def vector_of(text: str, dimension: int) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [1.0 + byte for byte in (digest * (dimension // 32 + 1))[:dimension]]


class Server(ThreadingHTTPServer):
    """`protocol` is `openai` or `tei`; `failures` are statuses to answer first, in order."""

    daemon_threads = True

    def __init__(self, protocol: str, dimension: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.protocol = protocol
        self.dimension = dimension
        self.failures: list[int] = []
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        known = {
            ("tei", "/info"): {"model_id": "acme/tei-model", "max_input_length": 512},
            ("openai", "/v1/models"): {"object": "list", "data": [{"id": "acme-model", "object": "model"}]},
        }
        answer = known.get((self.server.protocol, self.path))
        self.answer(200 if answer else 404, answer or {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, self.headers["Authorization"]))
        if self.server.failures:
            self.answer(self.server.failures.pop(0), {"error": {"message": "no"}})
        elif (self.server.protocol, self.path) == ("openai", "/v1/embeddings"):
            items = [
                {"object": "embedding", "index": at, "embedding": vector_of(text, self.server.dimension)}
                for at, text in enumerate(body["input"])
            ]
            self.answer(200, {"object": "list", "model": body["model"], "data": items[::-1]})
        elif (self.server.protocol, self.path) == ("tei", "/embed"):
            self.answer(200, [vector_of(text, self.server.dimension) for text in body["inputs"]])
        else:
            self.answer(404, {"error": "not found"})

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    running: list[Server] = []

    def start(protocol: str, dimension: int) -> Server:
        running.append(Server(protocol, dimension))
        Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def embedder(server: Server, name: str = "text-embedding-3-small", path: str = "") -> RemoteTextEmbedder:
    return RemoteTextEmbedder(CARDS[name], server.url + path, "secret", longest_wait=0.01)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_an_openai_endpoint_gives_vectors_in_the_order_of_the_texts(serve: Any, path: str) -> None:
    server = serve("openai", 1536)
    texts = [f"text {number}" for number in range(70)]
    vectors = embedder(server, path=path).embed_documents(texts)
    expected = np.array([vector_of(text, 1536) for text in texts], dtype=np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(vectors, expected, atol=1e-6)
    assert [len(body["input"]) for _, body, _ in server.requests] == [32, 32, 6]
    path_asked, body, key = server.requests[0]
    assert (path_asked, body["model"], key) == ("/v1/embeddings", "text-embedding-3-small", "Bearer secret")


@pytest.mark.parametrize(("protocol", "path"), [("openai", "/v1/embeddings"), ("tei", "/embed")])
def test_the_remote_entry_finds_out_protocol_model_and_dimension(
    serve: Any, protocol: str, path: str, tmp_path: Path
) -> None:
    server = serve(protocol, 48)
    models = Models(ModelSettings(models_dir=tmp_path, endpoint=server.url, choices={"embed_text": "remote"}))
    assert models.card("remote").dimension == 48
    assert models.text_embedder().embed_queries(["wing"]).shape == (1, 48)
    assert {asked for asked, _, _ in server.requests} == {path}
    ready, why = models.available("remote")
    assert ready
    assert "48 dimensions" in why


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again(serve: Any, status: int) -> None:
    server = serve("openai", 1536)
    server.failures = [status, status]
    assert embedder(server).embed_documents(["wing"]).shape == (1, 1536)
    assert len(server.requests) == 3


def test_a_lasting_failure_is_an_unavailable_endpoint(serve: Any) -> None:
    server = serve("openai", 1536)
    server.failures = [503] * 10
    with pytest.raises(UnavailableError, match="failed 4 times: it answered 503"):
        embedder(server).embed_documents(["wing"])
    assert len(server.requests) == http.ATTEMPTS


def test_a_refusal_is_not_tried_again(serve: Any) -> None:
    server = serve("openai", 1536)
    server.failures = [401]
    with pytest.raises(UnavailableError, match="answered 401") as caught:
        embedder(server).embed_documents(["wing"])
    assert len(server.requests) == 1
    assert "secret" not in caught.value.message


def test_vectors_of_another_length_are_refused(serve: Any) -> None:
    with pytest.raises(UnavailableError, match=r"48 numbers.*has 1536"):
        embedder(serve("openai", 48)).embed_documents(["wing"])


def test_nothing_listening_is_an_unavailable_endpoint(serve: Any) -> None:
    server = serve("openai", 8)
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(UnavailableError, match="failed 4 times: Connect"):
        RemoteTextEmbedder(CARDS["text-embedding-3-large"], url, None, longest_wait=0.01).embed_queries(
            ["wing"]
        )


def test_without_an_endpoint_the_setting_is_named(tmp_path: Path) -> None:
    models = Models(ModelSettings(models_dir=tmp_path))
    with pytest.raises(UnavailableError, match="LAMINA_EMBEDDING_ENDPOINT"):
        models.text_embedder("text-embedding-3-small")
    assert models.available("text-embedding-3-small")[0] is False
