"""Package registries on loopback: an index of PyPI's kind (PEP 691), and npm's tarballs."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

from lamina.inference.packages import Archive, PackageFile


@dataclass
class Registries:
    """What the server has. `cuts` are lengths after which the next answers break off.

    `ranges` says whether it gives parts of files; `requests` are the paths and `Range` headers that it got.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which pip and npm, and Lamina like them, find these registries."""
        return {"PIP_INDEX_URL": f"{self.url}/simple", "NPM_CONFIG_REGISTRY": f"{self.url}/npm/"}

    def release(
        self,
        registry: Literal["pypi", "npm"],
        members: Mapping[str, bytes],
        *,
        package: str = "acme-weights",
        version: str = "1.2.3",
    ) -> Archive:
        """Put a package into the registry; the archive as a catalogue names it."""
        content = wheel(members) if registry == "pypi" else tarball(members)
        filename = f"{package.rpartition('/')[2]}-{version}" + (".whl" if registry == "pypi" else ".tgz")
        if registry == "pypi":
            self.files[f"/files/{filename}"] = content
            self.listed.setdefault(package, []).append(filename)
        else:
            self.files[f"/npm/{package}/-/{filename}"] = content
        sha256 = hashlib.sha256(content).hexdigest()
        return Archive(registry, package, version, filename, sha256, len(content))

    def downloads(self) -> list[str | None]:
        """The `Range` headers of the requests for archives."""
        return [range for path, range in self.requests if not path.startswith("/simple")]


def packed(archive: Archive, path: str, content: bytes) -> PackageFile:
    """A file of an archive as a catalogue names it."""
    return PackageFile(archive, path, hashlib.sha256(content).hexdigest())


def wheel(members: Mapping[str, bytes]) -> bytes:
    """A zip with these members, stored."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def tarball(members: Mapping[str, bytes]) -> bytes:
    """A `.tgz` with these members."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(target.getvalue(), mtime=0)


@contextmanager
def registries() -> Iterator[Registries]:
    """The server, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append((self.path, self.headers.get("Range")))
            listing = re.fullmatch(r"/simple/([^/]+)/", self.path)
            if listing:
                self.index(listing[1])
            elif (content := state.files.get(self.path.replace("%40", "@"))) is not None:
                self.file(content)
            else:
                self.send_error(404)

        def index(self, package: str) -> None:
            if package not in state.listed:
                self.send_error(404)
                return
            assert "application/vnd.pypi.simple.v1+json" in self.headers["Accept"]
            files = [{"filename": one, "url": f"../../files/{one}"} for one in state.listed[package]]
            self.answer(200, json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode())

        def file(self, content: bytes) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and state.ranges:
                start = int(asked[1])
                where = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
                self.answer(206, content[start:], where)
            else:
                self.answer(200, content)

        def answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if state.cuts and not self.path.startswith("/simple"):
                content = content[: state.cuts.pop(0)]
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Registries(f"http://127.0.0.1:{server.server_address[1]}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
