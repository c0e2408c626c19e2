"""Workers on the machines of a Ray cluster: actors that hold their models, the same inside as a local worker.

A slice of sources is one task of an actor. What is under way is bounded in bytes by the pool, which
sends a slice of at most some megabytes to as many actors as there are, and the next one to who has
answered; a larger file goes in pieces to a file there. An actor that is lost with its machine is
replaced by one elsewhere, and the cluster, when it is lost, by the next one at its address: Ray is
spoken to by a child process (`ray_driver`), which does not outlive its cluster.
"""

import os
import pickle
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from lamina.core.errors import ClusterUnavailableError, MissingExtraError, UnavailableError
from lamina.extractors.base import BlobValue, Source
from lamina.processing.inference import Inference
from lamina.processing.ray_driver import Cluster, Piece
from lamina.processing.worker import NICENESS, Answer, Broken, Job, Start
from lamina.processing.workers import LOOK_SECONDS, SLICE_BYTES, Needs, late, spawn

log = structlog.get_logger()

_CONNECT_SECONDS: Final = 60.0

_START_SECONDS: Final = 20.0
"""How long an actor may wait for room and for its process before it is seen whether another is free."""

_END_SECONDS: Final = 10.0

_HEAD_PORT: Final = 6379
_CLIENT_PORT: Final = 10001
"""Where a head listens unless told otherwise: for drivers, and for clients (`ray://`)."""


class RayCluster:
    """A cluster, or one of this machine alone, which is closed to everybody else."""

    def __init__(self, address: str | None, size: int, gpus: float) -> None:
        """Connect; `size` is how many actors a cluster of our own has room for, `gpus` what each gets.

        Raises `MissingExtraError` without the package, and `UnavailableError` where no cluster
        answers at the address.
        """
        if find_spec("ray") is None:
            raise MissingExtraError("LAMINA_COMPUTE=ray", "ray")
        self._address = address
        self._size = size
        self._gpus = gpus
        self._lock = threading.Lock()
        self._up: set[RayWorker] = set()
        try:
            _knock(address)
            self._driver = self._connected()
        except OSError as error:
            raise UnavailableError(
                f"No Ray cluster can be used at {self._place}: {str(error).rstrip('.')}. "
                "To mend it, start one with `ray start --head`, or correct LAMINA_RAY_ADDRESS."
            ) from error

    def _connected(self) -> "_Driver":
        """A driver that is connected. Raises `OSError`.

        A head forks a process for each client, and gRPC aborts one now and then: hence a second try.
        """
        tries = 2 if (self._address or "").startswith("ray://") else 1
        while True:
            driver = _Driver(self._address, self._size)
            tries -= 1
            try:
                driver.wait_until_connected()
            except OSError:
                if not tries:
                    raise
            else:
                return driver

    def worker(self, start: Start, needs: Needs) -> "RayWorker":
        """A new actor, on whichever machine has room for what it needs."""
        return RayWorker(self, start, replace(needs, gpus=max(needs.gpus, self._gpus)), needs)

    def connection(self) -> Connection:
        """A connection to the driver, for one actor. Raises `UnavailableError` when there is no cluster."""
        try:
            _knock(self._address)
            with self._lock:
                if not self._driver.running():  # there may be another cluster by now
                    self._driver.end()
                    self._driver = _Driver(self._address, self._size)
                return self._driver.connection()
        except ConnectionRefusedError as error:
            self._driver.kill()  # it would take the next cluster at the address for the one it knew
            raise self.lost() from error
        except OSError as error:
            raise self.lost() from error

    def came_up(self, worker: "RayWorker") -> None:
        """Note that an actor is there."""
        self._up.add(worker)

    def went(self, worker: "RayWorker") -> None:
        """Note that one is not wanted any more."""
        self._up.discard(worker)

    def doubt(self) -> None:
        """Give up a driver under which nothing comes up: its cluster may have made way for another."""
        if not self._up and self._driver.age() > _CONNECT_SECONDS:
            self._driver.kill()

    def lost(self) -> UnavailableError:
        """What is to be said when the cluster does not answer any more."""
        return ClusterUnavailableError(f"The Ray cluster at {self._place} cannot be reached at the moment.")

    def close(self) -> None:
        """Let go of the cluster, and end it where it is our own."""
        self._driver.end()

    @property
    def _place(self) -> str:
        return self._address or "this machine"


class _Driver:
    """The process that leads the actors (`ray_driver`), as this one sees it."""

    def __init__(self, address: str | None, size: int) -> None:
        self._folder = _folder()
        self._control, theirs = Pipe()
        with theirs:
            self._process = spawn("lamina.processing.ray_driver", theirs.fileno(), _environment(address))
        self._control.send(Cluster(address, size, self._folder.name))
        self._began = time.monotonic()

    def age(self) -> float:
        """For how many seconds it has been there."""
        return time.monotonic() - self._began

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait_until_connected(self) -> None:
        """Raise `OSError`, after the driver's end, when it cannot connect."""
        try:
            why = self._control.recv() if self._control.poll(_CONNECT_SECONDS) else "it does not answer"
        except EOFError:
            why = "the process that was to connect ended"
        if why is not None:
            self.end()
            raise OSError(why)

    def connection(self) -> Connection:
        """A connection for one actor, usable as soon as the driver is connected. Raises `OSError`."""
        ours, theirs = Pipe()
        with theirs:
            send_handle(self._control, theirs.fileno(), self._process.pid)
        return ours

    def end(self) -> None:
        """End it, and with it a cluster of our own."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._folder.cleanup()

    def kill(self) -> None:
        """End it at once. A cluster of our own sees it gone, and follows."""
        self._process.kill()
        self._process.wait()


class RayWorker:
    """An actor as the pool sees it: a `Worker`."""

    def __init__(self, cluster: RayCluster, start: Start, given: Needs, needs: Needs) -> None:
        self.needs = needs
        self.alive = True
        self.idle_since = time.monotonic()
        self.pid = 0
        self._cluster = cluster
        self._start = start
        self._given = given
        self._here = False
        self._connection: Connection | None = None

    def running(self) -> bool:
        """Whether the driver still holds it; a call tells whether the actor is still there."""
        return self.alive and self._connection is not None and not self._connection.poll()

    def wait_until_ready(self) -> bool:
        """Whether it has come up, within the time that a start may take.

        Raises `UnavailableError` when the cluster is lost.
        """
        if self.pid:
            return True
        self._connection = self._cluster.connection()
        try:
            self._connection.send((self._start, self._given))
            if not self._heard(_START_SECONDS):
                if self.alive:
                    log.warning("no_room_on_the_cluster", cpus=self._given.cpus, gpus=self._given.gpus)
                    self._cluster.doubt()
                return False
            told = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._cluster.lost() from error
        if isinstance(told, str):
            log.warning("worker_ended_while_it_started", error=told[:500])
            return False
        self.pid, self._here = told
        self._cluster.came_up(self)
        return True

    def ask(self, job: Job | Inference, timeout: float, memory: int | None) -> Answer:
        """Its answer; `Broken` when it died over the job, took too long or too much memory.

        Raises `UnavailableError` when the cluster is lost.
        """
        there: dict[Path, Path] = {}
        if isinstance(job, Job) and not self._here:
            for number, path in enumerate(_too_large(job)):
                kept = self._sent_in_pieces(number, path, timeout)
                if isinstance(kept, Broken):
                    return kept
                there[path] = kept
            job = replace(job, sources=[_sent(source, there) for source in job.sources])
        answer: Answer = self._told((pickle.dumps(job), memory), timeout)
        return answer

    def kill(self) -> None:
        """Let nobody ask it again. Who waits for its answer sees it die."""
        self.alive = False

    def discard(self) -> None:
        """End it. For the thread that uses the worker."""
        self.kill()
        self._cluster.went(self)
        if self._connection is not None:
            self._connection.close()  # its driver ends the actor then

    def _heard(self, seconds: float) -> bool:
        """Whether the driver says something in time, or ends, while the worker is wanted."""
        assert self._connection is not None
        until = time.monotonic() + seconds
        while self.alive and time.monotonic() < until:
            if self._connection.poll(LOOK_SECONDS):
                return True
        return False

    def _sent_in_pieces(self, number: int, path: Path, timeout: float) -> Path | Broken:
        """Where a file lies on the actor's machine, once all of it is there."""
        with path.open("rb") as file:
            content, first = file.read(SLICE_BYTES), True
            while True:
                kept: Path | Broken = self._told(Piece(number, content, first), timeout)
                content, first = file.read(SLICE_BYTES), False
                if isinstance(kept, Broken) or not content:
                    return kept

    def _told(self, message: Any, timeout: float) -> Any:
        """What the actor answers, or `Broken`. Raises `UnavailableError` when the cluster is lost."""
        assert self._connection is not None
        try:
            self._connection.send(message)
            if not self._heard(timeout):
                stopped = not self.alive
                self.kill()
                return Broken("the worker was stopped", died=True) if stopped else late(timeout)
            told, usable = self._connection.recv()
        except (EOFError, OSError) as error:
            self.kill()
            raise self._cluster.lost() from error
        if not usable:
            self.kill()
        return pickle.loads(told)


def _environment(address: str | None) -> dict[str, str]:
    """What the driver's environment says besides ours. Ray's processes of a cluster of our own inherit it.

    Ray puts the machine's address in the network in place of a loopback address that it is given,
    and then listens on every interface, except where it deems clusters of several machines
    impossible: that is what the setting with the odd name says.
    """
    shared = {
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        "RAY_ENABLE_AUTO_CONNECT": "0",  # a client that lost its cluster would join any that it finds here
    }
    if address:
        return shared
    return {
        **shared,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        "RAY_worker_niceness": str(NICENESS),
    }


def _folder() -> "TemporaryDirectory[str]":
    """For the sockets and logs of a cluster of our own. Nobody else can enter it: Ray opens its own to all.

    Where Ray has its folders, because the names of sockets are short of room.
    """
    place = os.environ.get("RAY_TMPDIR", "/tmp")
    return TemporaryDirectory(prefix="lamina-ray-", dir=place, ignore_cleanup_errors=True)


def _knock(address: str | None) -> None:
    """Raise `OSError` when nobody listens at an address; the library would try for minutes."""
    if not address or address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or (_CLIENT_PORT if parts.scheme == "ray" else _HEAD_PORT)
    except ValueError as error:
        raise OSError(str(error)) from error
    if not parts.hostname:
        raise OSError("it names no host")
    socket.create_connection((parts.hostname, port), timeout=5).close()


def _too_large(job: Job) -> list[Path]:
    """Files of a job that are too many bytes to travel within it."""
    if sum(source.size for source in job.sources) <= SLICE_BYTES:
        return []
    given = [one for source in job.sources for one in source.values]
    paths = [one.content for one in given if isinstance(one, BlobValue) and isinstance(one.content, Path)]
    return list(dict.fromkeys(paths))


def _sent(source: Source, there: Mapping[Path, Path]) -> Source:
    """A source for another machine: its files are `there`, or travel with it."""

    def sent(value: Any) -> Any:
        if isinstance(value, list):
            return [sent(one) for one in value]
        if isinstance(value, BlobValue) and isinstance(value.content, Path):
            return replace(value, content=there.get(value.content) or value.data)
        return value

    return replace(source, inputs={name: sent(value) for name, value in source.inputs.items()})
