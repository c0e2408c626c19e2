"""What the figures of many machines share: PostgreSQL, Qdrant and a bucket, and who works on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench.harness import Record, Server, answered, cpu_seconds, wait_until
from tests.s3 import variables
from tests.shared import Shared, shared_stores

READY = 900.0
"""Seconds in which Qdrant builds its graphs."""


@contextmanager
def servers(folder: Path) -> Iterator[Shared]:
    """A new database, a Qdrant server and an S3, all on loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    with shared_stores(folder) as shared:
        yield shared


def urls(shared: Shared) -> dict[str, str]:
    """Where the stores are, by part."""
    return {name: shared.env[f"LAMINA_{name.upper()}_URL"] for name in ("records", "vectors", "blobs")}


def migrate(data_dir: Path, shared: Shared) -> tuple[float, float]:
    """Seconds of `lamina migrate`, by the clock and of its own work."""
    whereto = [f"--{name}-url={url}" for name, url in urls(shared).items()]
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lamina", "migrate", f"--data-dir={data_dir}", *whereto, "--json"],
        env={**os.environ, **variables(shared.s3.url)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds, after = time.perf_counter() - began, os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])


def wait_for_graphs(shared: Shared) -> None:
    """Until Qdrant has nothing left to optimize."""
    with httpx.Client(base_url=shared.qdrant.url, timeout=60) as client:

        def quiet() -> bool:
            listed: Record = answered(client.get("/collections"))["result"]
            told = [
                answered(client.get(f"/collections/{one['name']}"))["result"]["status"]
                for one in listed["collections"]
            ]
            return set(told) <= {"green"}

        wait_until(quiet, READY, "Qdrant does not finish its graphs", pause=0.5)


class Worker(Server):
    """`lamina worker` as a process of its own; its port answers probes."""

    def command(self) -> list[str]:
        """The command line that starts it."""
        return [sys.executable, "-m", "lamina", "worker", "--health-port", str(self.port)]

    def healthy(self) -> bool:
        """Whether it is at work."""
        return httpx.get(f"{self.url}/v1/liveness").status_code == 200


def tree(*servers: Server) -> list[psutil.Process]:
    """The processes of servers, with all that these have started."""
    return [one for server in servers for one in (server.seen, *server.seen.children(recursive=True))]


def named(name: str) -> list[psutil.Process]:
    """Every process of a program that runs on this machine, such as `postgres`."""
    return [one for one in psutil.process_iter(["name"]) if one.info["name"] == name]


class Work:
    """CPU seconds that groups of processes have spent since it was made."""

    def __init__(self, groups: Mapping[str, Callable[[], list[psutil.Process]]]) -> None:
        self._groups = groups
        self._before = self._read()

    def spent(self) -> dict[str, float]:
        """By group. What ended meanwhile is not counted."""
        return {
            name: sum(seconds - self._before[name].get(pid, 0.0) for pid, seconds in now.items())
            for name, now in self._read().items()
        }

    def _read(self) -> dict[str, dict[int, float]]:
        return {
            name: {one.pid: cpu_seconds([one]) for one in processes() if one.is_running()}
            for name, processes in self._groups.items()
        }
