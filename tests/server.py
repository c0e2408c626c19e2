"""A Lamina server as a test sees it: a process on a free loopback port with its own data folder."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.media import MODELS_DIR

START_SECONDS = 180.0
"""Longest wait for the first healthy answer. Start-up itself is measured by the benchmarks, not here.

A start reads some thousand files and works for three seconds; beside a dozen other processes on two cores,
with a disk that has to be waited for, that has taken more than a minute.
"""

STOP_SECONDS = 20.0
"""Longest wait for a clean stop before the processes are killed."""


class ServerDied(AssertionError):
    """The server ended, or never became healthy. Carries the end of its log."""


class RunningServer:
    """`lamina serve` in a subprocess. Keeps port and data folder over any number of restarts.

    >>> with RunningServer(tmp_path) as server:
    ...     server.client().get("/v1/health")

    `kill()` is `kill -9`; `stop()` is SIGTERM; `start()` brings the server back on the same data.
    Leaving the block ends every process that was started.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        api_key: str | None = None,
        generated_key: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`api_key` bootstraps the admin key; with `generated_key` the server makes one up itself."""
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir.parent / f"{data_dir.name}-{self.port}.log"
        self._bootstrap_key = None if generated_key else (api_key or f"sk_{secrets.token_hex(24)}")
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    @property
    def admin_key(self) -> str:
        """The key that the server wrote to its data folder at first start."""
        return (self.data_dir / "admin.key").read_text().strip()

    @property
    def files_url(self) -> str:
        """Where its presigned URLs lead: to itself, or to the bucket that holds the blobs."""
        return self._env["AWS_ENDPOINT_URL"] if "LAMINA_BLOBS_URL" in self._env else self.url

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    @property
    def log(self) -> str:
        """All that the server has written so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> Self:
        """Start the server and wait until it answers `/v1/health`."""
        if self._process is not None:
            raise RuntimeError("the server is already running")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
            )
        self._groups.append(self._process.pid)
        self._wait_until_healthy(time.monotonic() + START_SECONDS)
        return self

    def command(self) -> list[str]:
        """The command line that starts it."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "lamina", "serve", *address, "--data-dir", str(self.data_dir)]

    def environment(self) -> dict[str, str]:
        """The variables it runs with: this process's, without its `LAMINA_…`, plus the test's own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
        key = {} if self._bootstrap_key is None else {"LAMINA_BOOTSTRAP_API_KEY": self._bootstrap_key}
        models = {"LAMINA_MODELS_DIR": str(MODELS_DIR)}
        return {**inherited, "PYTHONFAULTHANDLER": "1", **models, **key, **self._env}

    def kill(self, *, workers: bool = False) -> None:
        """SIGKILL the server, and its workers too when asked: nothing gets a chance to clean up."""
        process = self._running()
        if workers:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        self._process = None

    def stop(self) -> int:
        """SIGTERM, then wait for the end. Returns the exit status."""
        process = self._running()
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ServerDied(f"the server did not stop within {STOP_SECONDS} s\n{self.log_tail()}") from None
        finally:
            self._process = None

    def restart(self) -> Self:
        """Kill it and start it again on the same data and port."""
        self.kill()
        return self.start()

    def client(
        self,
        *,
        api_key: str | None = None,
        namespace: str | None = "default",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> httpx.Client:
        """An HTTP client with the admin key and a namespace, unless told otherwise."""
        sent = {"Authorization": f"Bearer {api_key or self.admin_key}"}
        if namespace is not None:
            sent["X-Namespace"] = namespace
        # Idle connections are given up before the server closes them, which it may do as a request arrives.
        limits = httpx.Limits(keepalive_expiry=2.0)
        return httpx.Client(
            base_url=self.url, headers={**sent, **(headers or {})}, timeout=timeout, limits=limits
        )

    def anonymous(self, *, headers: Mapping[str, str] | None = None) -> httpx.Client:
        """An HTTP client that sends no key."""
        return httpx.Client(base_url=self.url, headers=dict(headers or {}), timeout=60.0)

    def log_tail(self, lines: int = 80) -> str:
        """The end of the log, for the message of a failure."""
        return "\n".join(self.log.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(f"--- log of the server on port {self.port} ---\n{self.log_tail()}", file=sys.stderr)
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        for group in self._groups:  # workers outlive a server that was killed, for a moment
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if process is not None:
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _wait_until_healthy(self, deadline: float) -> None:
        process = self._running()
        while time.monotonic() < deadline:
            if (status := process.poll()) is not None:
                self._process = None
                raise ServerDied(f"the server ended with status {status}\n{self.log_tail()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/v1/health", timeout=5.0).status_code == httpx.codes.OK:
                    return
            time.sleep(0.05)
        process.send_signal(signal.SIGABRT)  # the log gets what every thread was at
        time.sleep(1.0)
        self.kill(workers=True)
        raise ServerDied(f"the server was not healthy within {START_SECONDS} s\n{self.log_tail()}")


def free_port() -> int:
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
