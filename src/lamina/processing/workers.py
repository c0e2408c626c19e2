"""The pool of worker processes in which extraction runs.

Workers are plain child processes, started by `subprocess`: `multiprocessing` and the pools built on
it import the server's main module into every child, and tell neither which job killed a worker nor
stop one that hangs. (`pebble`, which does, is under the LGPL; `loky` breaks the whole pool.)
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import psutil

from lamina.core.errors import ExtractionError, UnavailableError, ValidationError
from lamina.core.types import JsonObject
from lamina.extractors.base import Part, Source
from lamina.extractors.registry import extractor
from lamina.inference.settings import ModelSettings
from lamina.ingest.fetch_settings import FetchSettings
from lamina.processing.inference import Inference, Inferred
from lamina.processing.worker import Answer, Broken, Done, Job, Made, Refused, Start, put_vectors

log = logging.getLogger(__name__)

Outcome: TypeAlias = list[Part] | ExtractionError

LARGEST_SLICE: Final = 128
"""Sources sent to a worker at once. Large enough that batches by length fill up, small enough
that the workers end together: see `bench/embedding.py`."""

SMALLEST_SLICE: Final = 8

SLICE_BYTES: Final = 8 << 20
"""Bytes of blobs in a slice; a larger source goes alone, so that it has the whole time limit."""

LOOK_SECONDS: Final = 0.1
"""How often a busy worker's memory is looked at."""

ROOM_SECONDS: Final = 30.0
"""After how long it is tried again whether there is room for one more worker."""

START_TIMEOUT: Final = 60.0

START_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker takes of the machine that it runs on. Only clusters look at it."""

    cpus: float = 1.0
    gpus: float = 0.0


class Worker(Protocol):
    """Someone who does jobs one after the other: a child process, or an actor of a cluster.

    Used by one thread at a time, but for `kill`.
    """

    needs: Needs
    alive: bool
    idle_since: float

    @property
    def pid(self) -> int:
        """The id of its process, wherever that is."""

    def running(self) -> bool:
        """Whether it is still there."""

    def wait_until_ready(self) -> bool:
        """Whether it has come up. Raises `UnavailableError` when it cannot at the moment."""

    def ask(self, job: Job | Inference, timeout: float, memory: int | None) -> Answer:
        """Its answer; `Broken` when it died over the job, took too long or too much memory."""

    def kill(self) -> None:
        """End it now. Who waits for its answer sees it die."""

    def discard(self) -> None:
        """End it, and let go of what leads to it."""


class WorkerPool:
    """Extracts in up to `size` processes, started when there is work, ended after `idle_seconds`.

    A call is cut into slices, so that one call keeps all workers busy. A slice that kills its
    worker, breaks the extractor, takes longer than `timeout` seconds or makes the worker use more
    than `memory` bytes is halved until the source that does it is alone: only that one fails. May be
    used from any event loop and thread.
    """

    def __init__(
        self,
        size: int,
        settings: ModelSettings,
        *,
        fetching: FetchSettings | None = None,
        extractors: Path | None = None,
        idle_seconds: float = 60.0,
        timeout: float = 600.0,
        memory: int | None = None,
        make: Callable[[Start, Needs], Worker] | None = None,
    ) -> None:
        """`make` starts a worker: a child process unless told otherwise."""
        self._size = size
        self._make = make or LocalWorker
        self._needs = _needs if make else lambda _: Needs()
        self._start = Start(settings, fetching or FetchSettings(), extractors)
        self._idle_seconds = idle_seconds
        self._timeout = timeout
        self._memory = memory
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="extraction")
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._room = size
        """How many workers there may be: fewer than `size` once there was seen to be no room."""
        self._room_again = 0.0
        """When it is tried again whether there is room for one more."""
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._closed = threading.Event()
        self._reaper: threading.Thread | None = None

    async def run(
        self, extractor_name: str, version: str, parameters: JsonObject, sources: Sequence[Source]
    ) -> list[Outcome]:
        """The parts of each source or its error, in order.

        Raises what concerns the call as a whole: `ValidationError` (unknown extractor),
        `MissingExtraError`, `UnavailableError` (a model or the workers themselves; try again later).
        """
        # Like sizes together, because a batch of a model is as long as its longest; the largest first.
        order = sorted(range(len(sources)), key=lambda place: sources[place].size, reverse=True)
        job = Job(extractor_name, version, parameters, [sources[place] for place in order])
        futures = [self._submit(slice_) for slice_ in self._slices(job)]
        waiting = [asyncio.wrap_future(future) for future in futures]
        try:
            outcomes = await asyncio.gather(*waiting)
        finally:
            for future in futures:  # those not begun, when another failed or the caller is gone
                future.cancel()
        by_place = dict(zip(order, (one for slice_ in outcomes for one in slice_), strict=True))
        return [by_place[place] for place in range(len(sources))]

    async def infer(self, asked: Inference) -> Inferred:
        """A model's answer. Raises what the model does, and `ValidationError` for what breaks a worker."""
        if self._closed.is_set():
            raise UnavailableError("The worker processes are stopped.")
        return await asyncio.wrap_future(self._threads.submit(self._infer, asked))

    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        with self._lock:
            return sorted(worker.pid for worker in self._workers)

    async def close(self) -> None:
        """End all workers, at once: work that must be finished is awaited before."""
        self._closed.set()
        with self._freed:
            workers = list(self._workers)
            self._freed.notify_all()
        for worker in workers:
            worker.kill()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        for worker in workers:
            worker.discard()
        self._workers.clear()
        self._idle.clear()

    def _submit(self, job: Job) -> "Future[list[Outcome]]":
        if self._closed.is_set():
            raise UnavailableError("The worker processes are stopped.")
        return self._threads.submit(self._extract, job)

    def _slices(self, job: Job) -> list[Job]:
        largest = min(LARGEST_SLICE, extractor(job.extractor, job.version).most_at_once)
        most = min(max(-(-len(job.sources) // self._size), SMALLEST_SLICE), largest)
        slices: list[list[Source]] = []
        size = 0
        for source in job.sources:
            size += source.size
            if not slices or len(slices[-1]) == most or size > SLICE_BYTES:
                slices.append([])
                size = source.size
            slices[-1].append(source)
        return [replace(job, sources=sources) for sources in slices]

    def _extract(self, job: Job, *, again: bool = False) -> list[Outcome]:
        """The outcomes of a slice; halves it when a source in it brings the worker down."""
        answer = self._ask(job)
        if isinstance(answer, Done):
            return list(put_vectors(answer))
        if isinstance(answer, Refused):
            raise answer.error()
        if not isinstance(answer, Broken):
            raise TypeError(f"a worker answered {type(answer).__name__} to a job")
        if len(job.sources) == 1 and answer.died and not again:
            return self._extract(job, again=True)  # it may be that the system chose to kill the worker
        if len(job.sources) == 1:
            log.warning("source %s: %s", job.sources[0].source_id, answer.reason)
            return [ExtractionError(f"{job.extractor} failed: {answer.reason}", code="extraction_failed")]
        middle = len(job.sources) // 2
        first, second = job.sources[:middle], job.sources[middle:]
        return self._extract(replace(job, sources=first)) + self._extract(replace(job, sources=second))

    def _infer(self, asked: Inference) -> Inferred:
        answer = self._ask(asked)
        if isinstance(answer, Made):
            return answer.inferred
        if isinstance(answer, Refused):
            raise answer.error()
        reason = answer.reason if isinstance(answer, Broken) else "it answered something else"
        log.warning("inference with %s: %s", asked.model, reason)
        raise ValidationError(
            f"'{asked.model}' failed over this input: {reason}", field="inputs", code="inference_failed"
        )

    def _ask(self, job: Job | Inference) -> Answer:
        worker = self._ready_worker(self._needs(job))
        try:
            answer = worker.ask(job, self._timeout, self._memory)
        except BaseException:
            self._drop(worker)
            raise
        if worker.alive:
            self._give_back(worker)
        else:
            self._drop(worker)
            if self._closed.is_set():
                raise UnavailableError("The worker processes are stopped.")
        return answer

    def _ready_worker(self, needs: Needs) -> Worker:
        """A worker that has come up; `UnavailableError` when none does."""
        failures = 0
        while failures < START_ATTEMPTS:
            worker = self._take(needs)
            ready = False
            try:
                ready = worker.wait_until_ready()
            finally:
                if not ready:
                    self._drop(worker)
            if ready:
                return worker
            with self._lock:
                if self._workers:  # there is no room for one more: a cluster lost a machine, say
                    self._room = len(self._workers)
                    self._room_again = time.monotonic() + ROOM_SECONDS
                else:
                    failures += 1
        raise UnavailableError("The worker processes do not start; their log says why.")

    def _take(self, needs: Needs) -> Worker:
        """An idle worker that is still there and has what is needed, or a new one where there is room."""
        ended: list[Worker] = []
        try:
            with self._freed:
                while True:
                    if self._closed.is_set():
                        raise UnavailableError("The worker processes are stopped.")
                    if self._room < self._size and time.monotonic() >= self._room_again:
                        self._room += 1
                        self._room_again = time.monotonic() + ROOM_SECONDS
                    for worker in reversed(self._idle):
                        if worker.needs == needs and worker.running():
                            self._idle.remove(worker)
                            return worker
                    if self._idle and len(self._workers) >= self._room:  # another kind is wanted
                        ended.append(self._idle.pop(0))
                    if len(self._workers) - len(ended) < self._room:
                        break
                    self._freed.wait(ROOM_SECONDS)
                worker = self._make(self._start, needs)
                self._workers.add(worker)
                self._reap_from_now_on()
            return worker
        finally:
            for one in ended:
                self._drop(one)

    def _reap_from_now_on(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="extraction-idle", daemon=True)
            self._reaper.start()

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            worker.idle_since = time.monotonic()
            self._idle.append(worker)
            self._freed.notify()

    def _drop(self, worker: Worker) -> None:
        worker.discard()
        with self._lock:
            self._workers.discard(worker)
            self._freed.notify()

    def _reap(self) -> None:
        """End workers that were idle for long, and those that died while they were."""
        while not self._closed.wait(min(self._idle_seconds / 4, 5.0)):
            limit = time.monotonic() - self._idle_seconds
            with self._lock:
                ended = [each for each in self._idle if each.idle_since < limit or not each.running()]
                self._idle = [each for each in self._idle if each not in ended]
            for worker in ended:
                self._drop(worker)


def _needs(job: Job | Inference) -> Needs:
    if not isinstance(job, Job):
        return Needs()
    kind = extractor(job.extractor, job.version)
    return Needs(kind.cpus, kind.gpus)


class LocalWorker:
    """A child process as its parent sees it: a `Worker` that has this machine, whatever it needs."""

    def __init__(self, start: Start, needs: Needs) -> None:
        self.needs = needs
        ours, theirs = Pipe()
        self._connection: Connection = ours
        self._ready = False
        self.alive = True
        self.idle_since = time.monotonic()
        try:
            self._process = spawn("lamina.processing.worker", theirs.fileno())
        except OSError as error:
            ours.close()
            raise UnavailableError(f"A worker process could not be started: {error}") from error
        finally:
            theirs.close()
        self._start = start
        self._seen = psutil.Process(self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        try:
            return int(self._seen.memory_info().rss)
        except psutil.Error:  # it is gone, which shows soon
            return 0

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def ask(self, job: Job | Inference, timeout: float, memory: int | None) -> Answer:
        """The worker's answer; `Broken` when it died over the job, took too long or too much memory."""
        try:
            self._connection.send(job)
            deadline = time.monotonic() + timeout
            while not self._connection.poll(LOOK_SECONDS):
                if time.monotonic() > deadline:
                    self.kill()
                    return late(timeout)
                if memory is not None and self.resident() > memory:
                    self.kill()
                    return over(memory)
            answer: Answer = self._connection.recv()
            return answer
        except (EOFError, OSError):
            self.kill()
            return Broken(f"the worker process died ({_how(self._process.wait())})", died=True)

    def wait_until_ready(self) -> bool:
        """Whether the process has come up."""
        if self._ready:
            return True
        try:
            self._connection.send(self._start)
            if self._connection.poll(START_TIMEOUT):
                self._connection.recv()
                self._ready = True
        except (EOFError, OSError):
            log.warning("worker %d ended while it started", self.pid)
        return self._ready

    def kill(self) -> None:
        """End the process now. Who waits for its answer sees it die."""
        self.alive = False
        self._process.kill()
        self._process.wait()

    def discard(self) -> None:
        """End the process and close the connection. For the thread that uses the worker."""
        self.kill()
        self._connection.close()


def late(timeout: float) -> Broken:
    """What is said of a job that took longer than it may."""
    return Broken(f"it took longer than {timeout:g} s and was stopped")


def over(memory: int) -> Broken:
    """What is said of a job that took more memory than it may."""
    return Broken(f"it used more than {memory >> 20} MiB of memory and was stopped")


def spawn(module: str, descriptor: int, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a child that runs a module's `serve` and finds modules where this process finds them.

    In a session of its own, Ctrl-C on the server's terminal does not reach it.
    """
    code = f"from {module} import serve; serve({descriptor}, {os.getpid()})"
    found_in = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what a library prints must not mix with the output of a command
        pass_fds=[descriptor],
        start_new_session=True,
        # the workers are the parallelism; threads of these libraries would only take cores from them
        env={
            **os.environ,
            "PYTHONPATH": found_in,
            "TOKENIZERS_PARALLELISM": "false",
            "OPENBLAS_NUM_THREADS": "1",
            "OPENCV_FOR_THREADS_NUM": "1",
            **(env or {}),
        },
    )


def _how(returncode: int) -> str:
    """How a process ended, in words."""
    return f"by {signal.Signals(-returncode).name}" if returncode < 0 else f"with exit status {returncode}"
