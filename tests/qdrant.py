"""Qdrant servers for tests, on free loopback ports: one, or a cluster."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import httpx
import pytest

from bench.harness import ends_with_us
from lamina.core.errors import UnavailableError
from lamina.stores.vectors.base import VectorStore
from lamina.stores.vectors.server import QdrantVectorStore
from lamina.stores.vectors.server_client import ServerOptions
from tests.media import located
from tests.media.servers import QDRANT
from tests.server import free_port

_SECONDS: Final = 60.0


def program() -> Path:
    """The server's program: `LAMINA_TEST_QDRANT`, or what `make test` has fetched.

    Without one the test fails in CI and is skipped elsewhere.
    """
    given = os.environ.get("LAMINA_TEST_QDRANT") or shutil.which("qdrant")
    if given:
        return Path(given)
    try:
        fetched = located(QDRANT)
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs a Qdrant server: {error.message}")
        pytest.skip("No Qdrant server: run `make test`, or set LAMINA_TEST_QDRANT to its program.")
    if (os.uname().sysname, os.uname().machine) != ("Linux", "x86_64"):
        pytest.skip("The Qdrant server that is fetched is for Linux on x86-64: set LAMINA_TEST_QDRANT.")
    fetched.chmod(0o755)
    return fetched


class QdrantServer:
    """A server that keeps its points in a folder, and can be killed and started again."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.scheme = "http"
        self.settings = {"QDRANT__SERVICE__GRPC_PORT": str(free_port()), **(settings or {})}
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Run the server until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "--disable-telemetry", *self._arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "QDRANT__SERVICE__HOST": "127.0.0.1",
                    "QDRANT__SERVICE__HTTP_PORT": str(self.port),
                    **self.settings,
                },
                preexec_fn=ends_with_us,
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + _SECONDS
        while not self._ready():
            assert self._process is not None
            ended = self._process.poll() is not None
            if ended or time.monotonic() > until:
                log = (self.folder / "server.log").read_text(errors="replace")
                raise AssertionError(f"The Qdrant server does not start:\n{log[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(_SECONDS)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", verify=False).status_code == 200
        except httpx.TransportError:
            return False


def qdrant_store(path: Path, url: str, *, index_from: int = 2_000) -> VectorStore:
    """A store on a server whose Qdrant collections are named after the folder."""
    prefix = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return QdrantVectorStore(ServerOptions(url), prefix=prefix, index_from=index_from)


class QdrantCluster:
    """Three servers that are one. The first is the one to ask."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        first = f"http://127.0.0.1:{ports[0]}"
        self.nodes = [
            QdrantServer(
                folder / f"node{number}",
                {"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": str(port)},
                ["--uri", f"http://127.0.0.1:{port}", *(["--bootstrap", first] if number else [])],
            )
            for number, port in enumerate(ports)
        ]

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    def wait_until_whole(self, collection: str) -> None:
        """Until every replica of a Qdrant collection is up to date."""
        until = time.monotonic() + _SECONDS
        while not all(state == "Active" for state in self._states(collection)):
            assert time.monotonic() < until, self._states(collection)
            time.sleep(0.1)

    def _states(self, collection: str) -> list[str]:
        try:
            answer = httpx.get(f"{self.nodes[0].url}/collections/{collection}/cluster").json()["result"]
        except (httpx.TransportError, KeyError):
            return ["unknown"]
        shards = [*answer["local_shards"], *answer["remote_shards"]]
        return [shard["state"] for shard in shards] or ["unknown"]
