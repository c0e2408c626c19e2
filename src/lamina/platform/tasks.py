"""Tasks: how long-running work is watched."""

from contextlib import suppress
from enum import StrEnum

from pydantic import Field

from lamina.core.errors import NotFoundError
from lamina.core.filters import And, Condition, Filter, Not, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Sort, Timestamp, now
from lamina.core.paging import Listing, PageRequest, Slice
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json, JsonObject
from lamina.stores.records.base import Kind, Repository


class TaskType(StrEnum):
    """The kinds of work that run behind an answer."""

    NAMESPACE_DELETE = "api_namespaces_delete"
    BUCKET_DELETE = "api_buckets_delete"
    BATCH_PROCESS = "api_buckets_batches_process"
    COLLECTION_TRIGGER = "api_collections_trigger"
    UPLOAD_CONFIRM = "api_buckets_uploads_confirm"
    DOCUMENTS_UPDATE = "api_collections_documents_bulk_update"
    DOCUMENTS_DELETE = "api_collections_documents_bulk_delete"


class Task(Model):
    """`TaskResponse` of the contract, with its times."""

    task_id: str = Field(default_factory=lambda: new_id("task"))
    task_type: TaskType
    status: Status = Status.PENDING
    inputs: list[str | JsonObject] | None = None
    outputs: list[str | JsonObject] | None = None
    additional_data: JsonObject | None = None
    error: str | None = None
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class TaskList(Listing):
    """Body of the list of tasks."""

    status: Status | None = None
    task_type: str | None = None
    filters: Json = None
    sort: Sort | None = None
    search: str | None = None


TASKS = Kind("tasks", Task, "task_id", columns=("task_type",), search=("status",))


class TaskService:
    """Starts, follows and lists tasks."""

    def __init__(self, tasks: Repository[Task]) -> None:
        self.tasks = tasks

    async def start(self, scope: Scope, type: TaskType, **about: Json) -> Task:
        """A new task. `about` is kept in `additional_data`."""
        task = Task(task_type=type, additional_data=dict(about))
        await self.tasks.add(scope.of_namespace(), task)
        return task

    async def get(self, scope: Scope, task_id: str) -> Task:
        """A task by id, of the scope's namespace or, where it names none, of the organization."""
        return await self.tasks.get(scope.of_namespace(), task_id)

    async def deletes_namespace(self, namespace_id: str) -> bool:
        """Whether a deletion of that namespace has not ended, in whatever organization it was."""
        running = And(
            (
                equals("task_type", TaskType.NAMESPACE_DELETE.value),
                equals("additional_data.namespace_id", namespace_id),
                Not(Condition("status", "in", [status.value for status in TERMINAL], case_sensitive=True)),
            )
        )
        return await self.tasks.first(EVERYWHERE, running) is not None

    async def move(
        self, scope: Scope, task_id: str, status: Status, *, error: str | None = None, **about: Json
    ) -> None:
        """Set a task's status; `about` is added to `additional_data`. An ended one does not begin again."""

        def moved(task: Task) -> Task:
            if task.status in TERMINAL and status not in TERMINAL:
                return task
            known = {**(task.additional_data or {}), **about}
            changed = {"status": status, "error": error, "additional_data": known, "updated_at": now()}
            return task.model_copy(update=changed)

        with suppress(NotFoundError):
            await self.tasks.change(scope.of_namespace(), task_id, moved)

    async def list_page(self, scope: Scope, page: PageRequest, asked: TaskList, where: Filter) -> Slice[Task]:
        """Tasks of the namespace, newest first unless asked otherwise."""
        conditions: list[Filter] = [where]
        if asked.status is not None:
            conditions.append(equals("status", asked.status.value))
        if asked.task_type is not None:
            conditions.append(equals("task_type", asked.task_type.lower()))
        return await self.tasks.list_page(
            scope.of_namespace(),
            page,
            where=And(conditions),
            sort=asked.sort or Sort(field="created_at", direction="desc"),
            search=asked.search,
        )
