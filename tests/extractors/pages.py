"""A small site on loopback for the tests of crawling, and what it was asked."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Handler = Callable[[Mapping[str, str]], "Reply"]


@dataclass(frozen=True)
class Reply:
    """An answer of the site; `seconds` is how long it takes."""

    body: bytes | str = b""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def page(title: str, *body: str, head: str = "") -> Reply:
    """A page between a menu and a footer, as sites have them."""
    menu = '<nav><a href="/">Home</a> <a href="/imprint">Imprint of the site</a></nav>'
    foot = "<footer>All rights reserved by nobody</footer>"
    inside = "\n".join(body)
    return Reply(
        f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{menu}"
        f"<main><article><h1>{title}</h1>{inside}</article></main>{foot}</body></html>"
    )


def redirect(location: str) -> Reply:
    return Reply(status=302, headers={"Location": location})


class Site:
    """Replies by path; those not named are 404. `asked` lists the paths with the headers they came with."""

    def __init__(self, replies: Mapping[str, Reply | Handler]) -> None:
        self.replies = dict(replies)
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.times: list[float] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, but for robots.txt."""
        return [path for path, _ in self.asked if path != "/robots.txt"]

    def reply(self, path: str, headers: Mapping[str, str]) -> Reply:
        self.asked.append((path, headers))
        self.times.append(time.monotonic())
        found = self.replies.get(path) or self.replies.get("*") or Reply("gone", status=404)
        return found if isinstance(found, Reply) else found({**headers, "path": path})


@contextmanager
def serving(replies: Mapping[str, Reply | Handler]) -> Iterator[Site]:
    """The site, until the block ends."""
    site = Site(replies)

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = site.reply(self.path, {name.lower(): value for name, value in self.headers.items()})
            time.sleep(reply.seconds)
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.type, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
