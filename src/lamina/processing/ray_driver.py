"""The driver of the actors on a Ray cluster: a process of its own, as Ray ends a driver with its cluster.

It is told which cluster, says whether it is connected, and is then handed a connection for each
worker that the server wants. An actor lives for as long as its connection, and the driver, with a
cluster of its own, for as long as the server. Jobs and answers pass through as the pickles they are.
"""

import fcntl
import logging
import os
import pickle
import shutil
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, Final

import psutil

from lamina.processing.worker import Broken, Inside, Start
from lamina.processing.workers import LOOK_SECONDS, over

log = logging.getLogger(__name__)

Told = tuple[bytes, bool]
"""A pickled answer, and whether the actor can be asked again."""

_LOCK: Final = "lock"

_END_SECONDS: Final = 8.0
"""How long the cluster may take to end, or the connection to it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file that is too large for one message. The answer is where the file lies there."""

    number: int
    content: bytes
    first: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """The first message: the cluster at an address, or else one of this machine for so many actors.

    What the latter needs of files is in `folder`, which is gone with the driver.
    """

    address: str | None
    size: int
    folder: str

    @property
    def by_client(self) -> bool:
        """Whether a server of Ray's speaks for the driver: it may be on another machine."""
        return self.address is not None and self.address.startswith("ray://")


def serve(descriptor: int, _parent: int) -> None:
    """Lead actors until the server closes the connection or is gone. The body of the process."""
    with Connection(descriptor) as control:
        cluster: Cluster = control.recv()
        try:
            _connect(cluster)
        except Exception as error:  # the library has no common error of its own
            said = str(error).strip().replace(":\n", ": ").splitlines()
            why = said[0] if said else type(error).__name__
            log.warning("no Ray cluster can be used: %s", why)
            with suppress(OSError):
                control.send(why)
            _end(cluster)
        # The server drains before it ends. A function, unlike SIG_IGN, is not inherited by Ray's processes.
        for sign in signal.SIGINT, signal.SIGTERM:
            signal.signal(sign, lambda *_: None)
        with suppress(EOFError, OSError):
            control.send(None)
            while True:
                handed = recv_handle(control)
                os.set_inheritable(handed, False)
                threading.Thread(target=_lead, args=(cluster, Connection(handed)), daemon=True).start()
        _end(cluster)


def _connect(cluster: Cluster) -> None:
    import ray

    own: dict[str, Any] = {
        "num_cpus": cluster.size,
        "include_dashboard": False,
        "_temp_dir": f"{cluster.folder}/ray",  # Ray opens it to everybody; the one around it is closed
    }
    ray.init(
        address=cluster.address or "local",
        namespace="lamina",
        log_to_driver=False,
        logging_level=logging.WARNING,
        **({} if cluster.address else own),
    )


def _end(cluster: Cluster) -> None:
    """Let go of the cluster, and end it where it is our own; then end."""
    import ray

    late = threading.Timer(_END_SECONDS, os._exit, (1,))
    late.daemon = True
    late.start()
    ray.shutdown(wait_for_processes=True)
    shutil.rmtree(cluster.folder, ignore_errors=True)
    os._exit(0)


def _lead(cluster: Cluster, connection: Connection) -> None:
    """Start an actor and hand it jobs, until the server lets go of it."""
    import ray

    with connection, suppress(EOFError, OSError, _LetGoError):
        start, given = connection.recv()
        try:
            actor = _actor().options(num_cpus=given.cpus, num_gpus=given.gpus).remote(start)
            try:
                pid, node = _result(actor.where.remote(), connection)
                connection.send((pid, not cluster.by_client and node == _node()))
                while True:
                    asked = connection.recv()
                    if isinstance(asked, Piece):
                        answer = actor.keep.remote(asked.number, asked.content, asked.first)
                    else:
                        answer = actor.answer.remote(*asked)
                    connection.send(_answer(answer, connection))
            finally:
                ray.kill(actor)
        except ray.exceptions.RayError as error:
            connection.send(str(error))
        finally:
            if cluster.by_client and not ray.is_initialized():
                os._exit(1)  # Ray ends other drivers with their cluster; the next one finds the next


def _node() -> str:
    """The id of this machine."""
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


def _answer(reference: Any, connection: Connection) -> Told:
    """An actor's answer. What fails on the way is the cluster's doing; `Inside` answers for the job."""
    try:
        told: Told = _result(reference, connection)
        return told
    except _LetGoError:
        raise
    except Exception as error:
        log.warning("an actor was lost: %s", error)
        return pickle.dumps(Broken("the worker process died, or its machine did", died=True)), False


class _LetGoError(Exception):
    """The server does not want an actor any more."""


def _result(reference: Any, connection: Connection) -> Any:
    """What an actor made. Raises `_LetGoError`, and whatever the library does."""
    import ray

    while not ray.wait([reference], timeout=LOOK_SECONDS)[0]:
        if connection.poll():  # nothing is sent while an answer is awaited, so this is the end
            raise _LetGoError
    return ray.get(reference)


@cache
def _actor() -> Any:
    """The actor's class, made once the package is there."""
    import ray

    return ray.remote(max_restarts=0, max_task_retries=0)(_Actor)


class _Actor:
    """The inside of a worker, in a process of the cluster."""

    def __init__(self, start: Start) -> None:
        self._inside = Inside(start)
        self._work = ThreadPoolExecutor(1)
        self._process = psutil.Process()
        self._files = _Files()

    def where(self) -> tuple[int, str]:
        """The process's id, and that of the machine."""
        import ray

        return os.getpid(), ray.get_runtime_context().get_node_id()

    def keep(self, number: int, content: bytes, first: bool) -> Told:
        """Add to a file of the next job."""
        path = self._files.path / str(number)
        try:
            with path.open("wb" if first else "ab") as file:
                file.write(content)
        except OSError as error:
            return pickle.dumps(Broken(f"its machine cannot keep the file: {error.strerror}")), True
        return pickle.dumps(path), True

    def answer(self, job: bytes, memory: int | None) -> Told:
        """Do a job within so much memory, which nobody else on the machine looks at."""
        done = self._work.submit(self._answer, job)
        try:
            while not wait([done], LOOK_SECONDS).done:
                if memory is not None and self._process.memory_info().rss > memory:
                    return pickle.dumps(over(memory)), False
            return done.result(), True
        finally:
            self._files.clear()

    def _answer(self, job: bytes) -> bytes:
        return pickle.dumps(self._inside.answer(pickle.loads(job)))


class _Files:
    """A folder for this process's files, under a lock that ends with it. Those of the dead are removed."""

    def __init__(self) -> None:
        place = Path(tempfile.gettempdir())
        for folder in place.glob("lamina-actor-*"):
            with suppress(OSError), (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix="lamina-actor-", dir=place))
        self._lock = (self.path / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def clear(self) -> None:
        """Remove the files."""
        for file in self.path.iterdir():
            if file.name != _LOCK:
                file.unlink()
