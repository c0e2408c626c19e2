"""A way to an HTTP server on which some requests are refused."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

_HOP = {"connection", "transfer-encoding", "content-encoding", "content-length", "date", "server"}


class RefusingProxy:
    """Passes requests on, but for those of a method that is to be refused."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._refused: tuple[str, int, str] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def refuse(self, method: str | None, status: int = 0, body: str = "") -> None:
        """Answer a method's requests with this from now on; without a method refuse none."""
        self._refused = (method, status, body) if method else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                refused = proxy._refused
                if refused is not None and self.command == refused[0]:
                    self.reply(refused[1], {"Content-Type": "application/xml"}, refused[2].encode())
                    return
                headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP]
                answer = httpx.request(
                    self.command, f"{proxy._target}{self.path}", headers=headers, content=body, timeout=30
                )
                kept = {name: value for name, value in answer.headers.items() if name not in _HOP}
                if self.command == "HEAD":
                    kept["Content-Length"] = answer.headers.get("content-length", "0")
                self.reply(answer.status_code, kept, answer.content)

            def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        return Handler
