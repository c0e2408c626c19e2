"""A server on loopback that speaks OpenAI's chat protocol, and the two protocols of rerankers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Reply = Callable[[dict[str, Any]], Any]
"""Makes the answer of a request: a text, an object to be written as JSON, or (status, body) for an error."""


@dataclass
class LanguageServer:
    """What it answers, and what it was asked. `structured` says whether it knows `response_format`.

    `reranker` is `tei`, `cohere` (under `/v1`) or none.
    """

    url: str
    reply: Reply = lambda body: "yes"
    structured: bool = True
    reranker: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which a server's models are found here."""
        return {"LAMINA_CHAT_ENDPOINT": self.url, "LAMINA_CHAT_KEY": "sk-of-the-installation"}


def asked(body: dict[str, Any]) -> str:
    """The last message of a request."""
    return str(body["messages"][-1]["content"])


@contextmanager
def language_server() -> Iterator[LanguageServer]:
    """The server, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self.answer(200, {"object": "list", "data": [{"id": "tiny-chat", "object": "model"}]})
            elif self.path == "/info" and state.reranker == "tei":
                self.answer(200, {"model_id": "acme/reranker"})
            else:
                self.answer(404, {"error": "not found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.keys.append(self.headers["Authorization"])
            if self.path == "/v1/chat/completions":
                state.requests.append(body)
                self.chat(body)
            elif self.path in {"tei": ["/rerank"], "cohere": ["/v1/rerank"]}.get(state.reranker or "", []):
                state.requests.append(body)
                self.rerank(body)
            else:
                self.answer(404, {"error": "not found"})

        def chat(self, body: dict[str, Any]) -> None:
            if "response_format" in body and not state.structured:
                self.answer(400, {"error": {"message": "response_format is not supported"}})
                return
            made = state.reply(body)
            if isinstance(made, tuple):
                self.answer(*made)
                return
            text = made if isinstance(made, str) else json.dumps(made)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            self.answer(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

        def rerank(self, body: dict[str, Any]) -> None:
            texts = body.get("texts") or body["documents"]
            words = set(body["query"].lower().split())
            scores = [len(words & set(text.lower().split())) / len(words) for text in texts]
            order = sorted(range(len(texts)), key=lambda at: -scores[at])
            if state.reranker == "tei":
                self.answer(200, [{"index": at, "score": scores[at]} for at in order])
            else:
                self.answer(200, {"results": [{"index": at, "relevance_score": scores[at]} for at in order]})

        def answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = LanguageServer(f"http://127.0.0.1:{server.server_address[1]}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
