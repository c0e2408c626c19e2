"""An HTTP server whose answers a test chooses, for the commands to talk to."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, dict[str, str], Any]

NOT_FOUND = {
    "success": False,
    "status": 404,
    "error": {"message": "Collection 'nothing' was not found.", "type": "NotFoundError"},
}

Run = Callable[..., Any]
"""Runs a command: its words, and variables as keywords; what `CliRunner` says of it."""


@dataclass
class Served:
    """A scripted HTTP server: answers by method and path, and the requests that it got."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""

    def will(self, call: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer a call (`GET /v1/me`); several answers to a call are given in turn, the last for good."""
        self.answers.setdefault(call, []).append((status, headers, body))

    def keys(self) -> list[str | None]:
        """The Authorization headers it got."""
        return [headers.get("authorization") for _, headers, _ in self.requests]


@contextmanager
def serving() -> Iterator[Served]:
    """A scripted server on a free port."""
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            call = f"{self.command} {self.path.partition('?')[0]}"
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((call, headers, json.loads(sent) if sent else None))
            given = state.answers.get(call) or [(404, {}, NOT_FOUND)]
            status, extra, body = given.pop(0) if len(given) > 1 else given[0]
            payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **extra}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
