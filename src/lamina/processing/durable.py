"""Durable workflows, on DBOS: what was begun is finished, whatever happens to the process.

A workflow is a plain function whose steps are remembered as they end; after a crash it runs again
and takes the remembered answers. Its steps reach the server's event loop, because that is where
the stores live.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID, _sys_db
from dbos import error as library_errors

from lamina.core.errors import (
    ClusterUnavailableError,
    LaminaError,
    RecordsUnavailableError,
    UnavailableError,
)
from lamina.core.types import Json
from lamina.stores.records.database import connect_arguments

log = structlog.get_logger()

T = TypeVar("T")

_VERSION: Final = "lamina-3"
"""Changes when running workflows of an older release can no longer be gone on with step by step."""

_OLDER: Final = ("lamina-1", "lamina-2")
"""Those whose running workflows are begun anew."""

_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_FORGOTTEN_AT_ONCE: Final = 100

_QUEUE: Final = "work"
_SHARES: Final = "shares"
_APART: Final = "apart"
_AFTER: Final = "after"

_AT_ONCE: Final = 4
"""Workflows of the queue apart that a process runs, and of that of what comes after."""
_POLL_SECONDS: Final = 0.25
"""How often an idle process looks into a queue, which takes a dozen ways to the database and back."""

_POLL_APART_SECONDS: Final = 1.0
_POLL_AFTER_SECONDS: Final = 3.0
_WAIT_SECONDS: Final = 0.1
"""How often a workflow looks whether its shares have ended."""

_NOTIFY_SECONDS: Final = 5.0
"""How often the library looks for events to send, of which there are none: else a hundred times a second."""

_CONNECTIONS: Final = 10
"""Most connections to PostgreSQL. Workflows need one for the moment in which a step ends."""

_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts at a step that fails for a reason that may pass."""

_PATIENCE: Final = 5.0
"""The same for a step that has to succeed some time."""

_BEGIN_SECONDS: Final = 5.0
"""How long a request waits for a workflow to be begun, before it leaves that to a thread."""

Workflow = Callable[..., Any]
"""A function of JSON arguments, with a JSON answer. It must decide the same way each time it runs."""

Work = Callable[[], Coroutine[Any, Any, T]]


class _Connection(sqlite3.Connection):
    """A connection whose commits survive the process's death, not the power's, as those of records do.

    The library's own wait for the disk several times in each commit.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


class StepFailedError(Exception):
    """A step failed for good. Its one argument is the reason, in words for the user."""

    @property
    def reason(self) -> str:
        """Why."""
        return str(self.args[0])


class StoppedError(BaseException):
    """The process is about to end. Passes every handler: what did not end is done at the next start."""


@dataclass(frozen=True, slots=True)
class Queueing:
    """How several processes share workflows: any that `works` takes them, oldest first.

    At most `per_process` run in a process at once, and `per_partition` of one partition (a namespace)
    in all of them, so that one that asks for much leaves room for others. `shares` of workflows run in a
    process at once, beside them; whichever partition they are of is left to chance.
    """

    works: bool = True
    per_process: int = 8
    per_partition: int = 4
    shares: int = 2


class Durable:
    """Registers, starts, stops and recovers workflows. One per process, because DBOS is."""

    def __init__(self, url: str, executor_id: str = "local", queueing: Queueing | None = None) -> None:
        """`url` names the database that remembers: SQLite or PostgreSQL.

        A start goes on with the workflows of its own `executor_id`, so every data folder has its own
        where several share a database. Without `queueing` a workflow runs where it was begun.
        """
        self.executor_id = executor_id
        self._queueing = queueing
        self._loop = asyncio.get_running_loop()
        self._on_server = url.startswith("postgresql")
        self._functions: dict[str, Workflow] = {}
        self._workflows: dict[str, Workflow] = {}
        self._stopping = threading.Event()
        self._under_way = 0
        # Threads of its own: while the database is away each waits until it is back.
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="durable")
        _wait_for_room()
        DBOS(
            config={
                "name": "lamina",
                "system_database_url": url,
                "application_version": _VERSION,
                "executor_id": executor_id,
                "sys_db_pool_size": _CONNECTIONS,
                "db_engine_kwargs": {
                    "connect_args": connect_arguments(url) if self._on_server else {"factory": _Connection}
                },
                "notification_coalesce_sec": _NOTIFY_SECONDS,
                "enable_otlp": False,
                "log_level": "WARNING",
                "max_executor_threads": 64
                if queueing is None
                else 64 + queueing.per_process + queueing.shares,
            }
        )

    @property
    def shared(self) -> bool:
        """Whether other processes may take part in a workflow."""
        return self._queueing is not None

    @property
    def stopping(self) -> bool:
        """Whether the process is about to end: what takes long should leave off."""
        return self._stopping.is_set()

    def register(self, name: str, workflow: Workflow) -> None:
        """Make a workflow known under a name that stays the same over releases."""

        def function(*arguments: Json) -> Any:
            return workflow(*arguments)

        self._functions[name] = workflow
        self._workflows[name] = DBOS.workflow(name=name, max_recovery_attempts=1000)(function)

    async def launch(self) -> None:
        """Go on with every workflow that the last process left unfinished.

        Raises `UnavailableError` when the database does not let it keep its tables.
        """
        try:
            await asyncio.to_thread(self._launch)
        except Exception as error:
            said = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
            raise UnavailableError(
                f"Durable work cannot keep its tables in the database: {said}. To mend it, let the user "
                "create a schema there, or make it the owner of the database."
                if self._on_server
                else f"Durable work cannot open its database: {said}."
            ) from error

    def _launch(self) -> None:
        if self._queueing is not None:
            DBOS.listen_queues([_QUEUE, _SHARES, _APART, _AFTER] if self._queueing.works else [])
        DBOS.launch()
        older = DBOS.list_workflows(
            status=["PENDING", "ENQUEUED"], app_version=list(_OLDER), load_input=False, load_output=False
        )
        if older:  # what they were to do is stored as due, and is begun again
            DBOS.delete_workflows([one.workflow_id for one in older])
        if self._queueing is None:
            return
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._queueing.per_process,
            partition_concurrency=self._queueing.per_partition,
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update",
        )
        for name, seconds in ((_APART, _POLL_APART_SECONDS), (_AFTER, _POLL_AFTER_SECONDS)):
            DBOS.register_queue(
                name,
                worker_concurrency=_AT_ONCE,
                polling_interval_sec=seconds,
                on_conflict="always_update",
            )
        DBOS.register_queue(
            _SHARES,
            worker_concurrency=self._queueing.shares,
            partition_worker_concurrency=self._queueing.shares,
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update",
        )

    async def start(self, name: str, workflow_id: str, *arguments: Json, partition: str | None) -> None:
        """Begin a workflow, or have one of several processes begin it.

        Beginning one with the same id again changes nothing. `partition` is whose work it is; None for
        what waits for other work to end, which must not take its places. While the database cannot
        take it, it is tried again after the return.
        """

        def begin() -> None:
            with SetWorkflowID(workflow_id):
                if self._queueing is None:
                    DBOS.start_workflow(self._workflows[name], *arguments)
                elif partition is None:
                    DBOS.enqueue_workflow(_APART, self._workflows[name], *arguments)
                else:
                    with SetEnqueueOptions(queue_partition_key=partition):
                        DBOS.enqueue_workflow(_QUEUE, self._workflows[name], *arguments)

        beginning = self._loop.run_in_executor(self._threads, begin)
        await asyncio.wait([beginning], timeout=_BEGIN_SECONDS)
        if beginning.done():
            beginning.result()
        else:
            log.warning("workflow_not_begun_yet", workflow=name, workflow_id=workflow_id)

    def spread(self, name: str, shares: Sequence[Sequence[Json]], *, partition: str) -> list[Any]:
        """Run a workflow for the arguments of each share, and wait; their answers, in order.

        From within a workflow. Any process that works takes them; a single one is run at once, here.
        Raises `StepFailedError` for one that the library has given up.
        """
        if len(shares) == 1:
            return [self._functions[name](*shares[0])]
        with SetEnqueueOptions(queue_partition_key=partition):
            handles = [
                DBOS.enqueue_workflow(_SHARES, self._workflows[name], *arguments) for arguments in shares
            ]
        try:
            return [handle.get_result(polling_interval_sec=_WAIT_SECONDS) for handle in handles]
        except library_errors.DBOSException as error:
            raise StepFailedError(f"A share of the work was lost: {error}") from error

    def afterwards(self, name: str, *arguments: Json) -> None:
        """From within a workflow, begin another one, and wait for nothing of it."""
        if self._queueing is None:
            DBOS.start_workflow(self._workflows[name], *arguments)
        else:
            DBOS.enqueue_workflow(_AFTER, self._workflows[name], *arguments)

    async def begun(self, workflow_ids: Collection[str]) -> set[str]:
        """Those of the workflows that were begun, here or by another process, and may have ended."""

        def known() -> set[str]:
            found = DBOS.list_workflows(workflow_ids=list(workflow_ids), load_input=False, load_output=False)
            return {one.workflow_id for one in found}

        return await self._loop.run_in_executor(self._threads, known) if workflow_ids else set()

    async def executors(self) -> set[str]:
        """Who runs workflows now, or did when it died."""

        def running() -> set[str]:
            found = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            return {one.executor_id for one in found if one.executor_id}

        return await self._loop.run_in_executor(self._threads, running)

    async def take_over(self, executor_id: str) -> int:
        """Give the workflows of a process that died back to the queue; how many there were."""
        # The library keeps this to itself and its paid service; the queue hands each out once.
        recover = DBOS._recover_pending_workflows
        return len(await self._loop.run_in_executor(self._threads, recover, [executor_id]))

    async def forget(self, before: datetime) -> int:
        """Remove what is remembered of workflows that ended before a moment; how many there were."""

        def ended() -> list[str]:
            found = DBOS.list_workflows(
                status=_ENDED,
                completed_before=before.isoformat(),
                has_parent=False,
                limit=_FORGOTTEN_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            return [one.workflow_id for one in found]

        def forget() -> int:
            count = 0
            while not self.stopping and (ids := ended()):
                DBOS.delete_workflows(ids, delete_children=True)
                count += len(ids)
            return count

        return await self._loop.run_in_executor(self._threads, forget)

    async def stop(self, seconds: float) -> bool:
        """Begin no further step, and wait for those under way; whether all of them ended in time."""
        self._stopping.set()
        until = self._loop.time() + seconds
        while self._under_way and self._loop.time() < until:  # noqa: ASYNC110 counted from many threads
            await asyncio.sleep(0.02)
        return not self._under_way

    def step(self, name: str, work: Work[T], *, patient: bool = False) -> T:
        """Run a coroutine on the server's loop as one remembered step.

        What may pass (a lost connection, a full disk) is tried again: a few times, or until it
        succeeds when `patient` or while the records are away. Raises `StepFailedError`, which is
        remembered too.
        """
        return DBOS.run_step({"name": name}, lambda: self._attempt(name, work, patient))

    def _attempt(self, name: str, work: Work[T], patient: bool) -> T:
        attempts = failures = 0
        while True:
            attempts += 1
            try:
                return self._call(work)
            except Exception as error:
                if self.stopping:
                    raise StoppedError from error
                reason, may_pass, must_pass = _explained(name, error)
                waits = patient or must_pass
                if not waits and (not may_pass or failures == len(_PAUSES)):
                    raise StepFailedError(reason) from error
                log.warning("step_failed", step=name, attempt=attempts, error=reason)
                self._pause(_PATIENCE if waits else _PAUSES[failures])
                failures += not waits

    def _call(self, work: Work[T]) -> T:
        """Run a coroutine on the server's loop and wait for it, from a workflow's thread."""

        async def counted() -> T:
            self._under_way += 1
            try:
                if self.stopping:
                    raise StoppedError
                return await work()
            finally:
                self._under_way -= 1

        if self.stopping:
            raise StoppedError
        return asyncio.run_coroutine_threadsafe(counted(), self._loop).result()

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppedError


def _wait_for_room() -> None:
    """Have the library wait for a full disk or a read-only database as it does for one that is away.

    It would take the failure to remember a step for the end of the workflow. It has no setting for
    that, and keeps what it waits for in two functions of its own.
    """
    library: Any = _sys_db
    if getattr(library, "lamina_waits", False):
        return
    on_postgres, on_sqlite = library.retriable_postgres_exception, library.retriable_sqlite_exception

    def postgres(error: Exception) -> bool:
        return on_postgres(error) or getattr(getattr(error, "orig", None), "sqlstate", None) == _READ_ONLY

    def sqlite(error: Exception) -> bool:
        said = str(getattr(error, "orig", None) or error)
        return on_sqlite(error) or any(one in said for one in _FULL)

    library.retriable_postgres_exception, library.retriable_sqlite_exception = postgres, sqlite
    library.lamina_waits = True


_READ_ONLY: Final = "25006"
_FULL: Final = ("database or disk is full", "attempt to write a readonly database", "disk I/O error")


def _explained(step: str, error: BaseException) -> tuple[str, bool, bool]:
    """What a failure says to the user, whether another attempt may succeed, and whether it must be made.

    Without records not even a failure can be remembered: a step waits until they are back. It waits
    for a cluster, too: without one a batch is where it would be before the first worker is started.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, LaminaError):
        awaited = isinstance(error, RecordsUnavailableError | ClusterUnavailableError)
        return error.message, error.retryable, awaited
    # A defect of ours: the log gets all of it, the batch ends and says so.
    log.error("step_broke", step=step, exc_info=error)
    return f"Internal error: {type(error).__name__}", True, False
