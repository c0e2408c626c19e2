"""An S3 on loopback: a server that speaks the protocol, in a process of its own, and a door to it.

The server is moto's, in an environment of its own under `.cache`, which `make test` makes from
`requirements/s3.txt`. It keeps its buckets in memory. So that it can be "killed" and come back with what it
had acknowledged, as a real store does, tests reach it through `Door`: a process that passes bytes
on, and is what gets killed.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import httpx
from obstore.store import S3Store

from tests.server import START_SECONDS, free_port

ACCESS_KEY = "AKIDLAMINATEST"
SECRET_KEY = "secret-of-the-tests"
REGION = "us-east-1"
ROOT = Path(__file__).parents[1]


def server_python() -> Path:
    """The interpreter that has the server; its environment is made when there is none of this lock."""
    lock = ROOT / "requirements" / "s3.txt"
    home = (
        ROOT / ".cache" / f"s3-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}-{sys.version_info.minor}"
    )
    home.parent.mkdir(exist_ok=True)
    with home.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # test processes that run side by side need it at once
        python = home / "bin" / "python"
        if not (home / "complete").exists():
            uv = [sys.executable, "-m", "uv"]
            subprocess.run(
                [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True
            )
            install = ["pip", "install", "--quiet", "--python", str(python), "-r", str(lock)]
            subprocess.run([*uv, *install], check=True)
            (home / "complete").touch()
    return python


class Process:
    """A Python program that listens on a loopback port; starts again on the same one."""

    def __init__(self, python: Path, log: Path, *command: str, env: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [str(python), *(one.replace("PORT", str(self.port)) for one in command)]
        self._log = log
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(self.url, timeout=5)
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no server on {self.url}:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and says nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class S3:
    """moto's server with a bucket."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        command = ("-m", "moto.server", "-H", "127.0.0.1", "-p", "PORT")
        alone = {"PYTHONPATH": "", **(env or {})}
        self._server = Process(server_python(), folder / "s3.log", *command, env=alone)
        self.url = self._server.url
        self._folder = folder
        self._doors: list[Process] = []

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for door in self._doors:
            door.kill()
        self._server.kill()

    def bucket(self, name: str) -> str:
        """A new bucket; its name."""
        answer = httpx.put(f"{self.url}/{name}", headers={"Authorization": AUTHORIZATION})
        assert answer.status_code == 200, answer.text
        return name

    def put(self, bucket: str, key: str, content: bytes, content_type: str) -> None:
        """Store an object."""
        headers = {"Authorization": AUTHORIZATION, "Content-Type": content_type}
        answer = httpx.put(f"{self.url}/{bucket}/{quote(key)}", content=content, headers=headers)
        assert answer.status_code == 200, answer.text

    def keys(self, bucket: str) -> list[str]:
        """Keys of the first thousand objects of a bucket."""
        answer = httpx.get(f"{self.url}/{bucket}?list-type=2", headers={"Authorization": AUTHORIZATION})
        assert answer.status_code == 200, answer.text
        return list(re.findall("<Key>(.*?)</Key>", answer.text))

    def uploads_under_way(self, bucket: str) -> int:
        """Multipart uploads that were neither completed nor given up."""
        answer = httpx.get(f"{self.url}/{bucket}?uploads", headers={"Authorization": AUTHORIZATION})
        assert answer.status_code == 200, answer.text
        return answer.text.count("<UploadId>")

    def door(self) -> Process:
        """A way to the server that can be killed and started again."""
        log = self._folder / f"door-{len(self._doors)}.log"
        door = Process(Path(sys.executable), log, "-m", "tests.s3", "PORT", self.url.rpartition(":")[2])
        self._doors.append(door)
        return door.start()


AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/{REGION}/s3/aws4_request"


def variables(endpoint: str) -> dict[str, str]:
    """What a process needs in its environment to use it."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
    }


def keys_in(url: str, endpoint: str) -> list[str]:
    """Keys of all objects below a URL like `s3://bucket/prefix`, without the prefix."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    store = S3Store(
        bucket,
        prefix=prefix,
        endpoint=endpoint,
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True},
    )
    return [one["path"] for page in store.list() for one in page]


async def _pass_on(port: int, behind: int) -> None:
    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(one_way(reader, back_writer), one_way(back_reader, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        server_python()
    else:
        asyncio.run(_pass_on(int(sys.argv[1]), int(sys.argv[2])))
