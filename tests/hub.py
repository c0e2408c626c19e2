"""A server on loopback that speaks the protocol by which `huggingface_hub` downloads a repository."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repositories: Mapping[str, Path], patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves folders as repositories by name, while the block lasts; the files that were fetched of them."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            for name, folder in repositories.items():
                if path == f"/api/models/{name}/revision/main":
                    told = json.dumps({"id": name, "sha": REVISION})
                    return self.answer(200, told.encode(), "application/json")
                if path == f"/api/models/{name}/tree/{REVISION}":
                    files = json.dumps([_entry(one, folder) for one in _files(folder)])
                    return self.answer(200, files.encode(), "application/json")
                file = folder / path.removeprefix(f"/{name}/resolve/{REVISION}/")
                if path.startswith(f"/{name}/resolve/") and file.is_file():
                    if self.command == "GET":
                        fetched.append(file.relative_to(folder).as_posix())
                    return self.answer(200, file.read_bytes(), "application/octet-stream")
            return self.answer(404, b"{}", "application/json")

        def answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{_hash(content)}"')
            self.send_header("X-Repo-Commit", REVISION)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    place = f"http://127.0.0.1:{server.server_address[1]}"
    patch.setattr("huggingface_hub.constants.ENDPOINT", place)
    template = f"{place}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield fetched
    finally:
        server.shutdown()
        server.server_close()


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


def _entry(file: Path, folder: Path) -> dict[str, object]:
    content = file.read_bytes()
    path = file.relative_to(folder).as_posix()
    return {"type": "file", "path": path, "size": len(content), "oid": _hash(content)}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
