"""Workers on the machines of a Ray cluster: actors that hold their models, the same inside as a local worker.

A slice of sources is one task of an actor. What is under way is bounded in bytes by the pool,
which sends a slice of at most some megabytes to as many actors as there are, and the next one to
who has answered. An actor that is lost with its machine is replaced by one elsewhere.
"""

import logging
import os
import socket
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
import structlog

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.extractors.base import BlobValue, Source
from lamina.processing.inference import Inference
from lamina.processing.worker import Answer, Broken, Inside, Job, Start
from lamina.processing.workers import LOOK_SECONDS, Needs

log = structlog.get_logger()

_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 20.0
"""How long an actor may wait for room and for its process before it is seen whether another is free."""

_PORT: Final = 6379
"""Where a head listens unless told otherwise."""


class RayCluster:
    """A connection to a cluster, or a cluster of this machine alone."""

    def __init__(self, address: str | None, size: int, gpus: float) -> None:
        """Connect; `size` is how many actors a cluster of our own has room for, `gpus` what each gets.

        Raises `MissingExtraError` without the package, and `UnavailableError` where no cluster
        answers at the address.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as missing:
            raise MissingExtraError("LAMINA_COMPUTE=ray", "ray") from missing
        self._ray = ray
        self._gpus = gpus
        own: dict[str, Any] = {"num_cpus": size, "include_dashboard": False, "_node_ip_address": _LOOPBACK}
        try:
            if address and address != "auto":
                _knock(address)
            ray.init(
                address=address or "local",
                namespace="lamina",
                log_to_driver=False,
                logging_level=logging.WARNING,
                **({} if address else own),
            )
        except Exception as error:  # the library has no common error of its own
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnavailableError(
                f"No Ray cluster can be used at {address or 'this machine'}: {said.rstrip('.')}. "
                "To mend it, start one with `ray start --head`, or correct LAMINA_RAY_ADDRESS."
            ) from error

    def worker(self, start: Start, needs: Needs) -> "RayWorker":
        """A new actor, on whichever machine has room for what it needs."""
        return RayWorker(start, replace(needs, gpus=max(needs.gpus, self._gpus)), needs)

    def close(self) -> None:
        """Let go of the cluster, and end it where it is our own."""
        self._ray.shutdown()


class RayWorker:
    """An actor as the pool sees it: a `Worker`."""

    def __init__(self, start: Start, given: Needs, needs: Needs) -> None:
        self.needs = needs
        self.alive = True
        self.idle_since = time.monotonic()
        self.pid = 0
        self._node = ""
        self._actor = _actor().options(num_cpus=given.cpus, num_gpus=given.gpus).remote(start)

    def running(self) -> bool:
        """Whether it was there when last heard of; a call tells whether it still is."""
        return self.alive

    def wait_until_ready(self) -> bool:
        """Whether it has come up, within the time that a start may take."""
        import ray

        if self.pid:
            return True
        try:
            self.pid, self._node = ray.get(self._actor.where.remote(), timeout=_START_SECONDS)
        except ray.exceptions.GetTimeoutError:
            log.warning("no_room_on_the_cluster", cpus=self.needs.cpus, gpus=self.needs.gpus)
        except ray.exceptions.RayError as error:
            log.warning("worker_ended_while_it_started", error=str(error)[:500])
        return bool(self.pid)

    def ask(self, job: Job | Inference, timeout: float, memory: int | None) -> Answer:
        """Its answer; `Broken` when it died over the job, took too long or too much memory."""
        import ray

        try:
            waiting = self._actor.answer.remote(self._whole(job), memory)
            deadline = time.monotonic() + timeout
            while not ray.wait([waiting], timeout=LOOK_SECONDS)[0]:
                if time.monotonic() > deadline:
                    self.kill()
                    return Broken(f"it took longer than {timeout:g} s and was stopped")
                if not self.alive:
                    return Broken("the worker was stopped", died=True)
            answer: Answer = ray.get(waiting)
            return answer
        except ray.exceptions.RayActorError:
            self.kill()
            return Broken("the worker process died, or its machine did", died=True)

    def kill(self) -> None:
        """End it now."""
        import ray

        self.alive = False
        ray.kill(self._actor)

    def discard(self) -> None:
        """End it."""
        if self.alive:
            self.kill()

    def _whole(self, job: Job | Inference) -> Job | Inference:
        """The job with the bytes of its files, where the actor is on a machine that has not got them."""
        import ray

        if not isinstance(job, Job) or self._node == ray.get_runtime_context().get_node_id():
            return job
        return replace(job, sources=[_sent(source) for source in job.sources])


def _knock(address: str) -> None:
    """Raise `OSError` when nobody listens at an address; the library would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname:
        raise OSError("it names no host")
    socket.create_connection((parts.hostname, parts.port or _PORT), timeout=5).close()


def _sent(source: Source) -> Source:
    def sent(value: Any) -> Any:
        if isinstance(value, list):
            return [sent(one) for one in value]
        if isinstance(value, BlobValue) and isinstance(value.content, Path):
            return replace(value, content=value.data)
        return value

    return replace(source, inputs={name: sent(value) for name, value in source.inputs.items()})


@cache
def _actor() -> Any:
    """The actor's class, made once the package is there."""
    import ray

    return ray.remote(max_restarts=0, max_task_retries=0)(_Actor)


class _Actor:
    """The inside of a worker, in a process of the cluster."""

    def __init__(self, start: Start) -> None:
        self._inside = Inside(start)
        self._most: int | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def where(self) -> tuple[int, str]:
        """The process's id, and that of the machine."""
        import ray

        return os.getpid(), ray.get_runtime_context().get_node_id()

    def answer(self, job: Job | Inference, memory: int | None) -> Answer:
        """Do a job, within so much memory."""
        self._most = memory
        try:
            return self._inside.answer(job)
        finally:
            self._most = None

    def _watch(self) -> None:
        """End the process when a job takes more memory than it may: nobody else on the machine sees it."""
        process = psutil.Process()
        while True:
            time.sleep(LOOK_SECONDS)
            if self._most is not None and process.memory_info().rss > self._most:
                os._exit(1)
