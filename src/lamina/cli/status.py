"""`lamina status`: what the server holds and what it is doing."""

from collections.abc import Iterator
from dataclasses import dataclass

from lamina.cli import options
from lamina.cli.answers import Batch, Health, Me, Namespace, Namespaces, Progress, Task, Tasks
from lamina.cli.connection import Api, find, segment
from lamina.cli.failures import Failure
from lamina.cli.output import put, put_fields, put_json, put_rows
from lamina.core.statuses import Status

_RUNNING = {Status.PENDING, Status.QUEUED, Status.IN_PROGRESS, Status.PROCESSING}


def status(
    url: options.Url = None,
    api_key: options.ApiKey = None,
    namespace: options.Namespace = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the server's health, its namespaces with counts, and what runs."""
    with Api(find(url, api_key, namespace, data_dir)) as api:
        health = api.get("/health", Health).status
        me = api.get("/me", Me)
        namespaces = _namespaces(api)
        running = list(_running(api, namespaces))
    if as_json:
        put_json(
            {
                "url": api.target.url,
                "health": health,
                "organization_id": me.organization_id,
                "user": me.user_email,
                "namespaces": [one.model_dump(exclude_none=True) for one in namespaces],
                "running": [one.as_json() for one in running],
            }
        )
    else:
        put_fields({"server": api.target.url, "health": health, "user": me.user_email})
        put()
        _put_namespaces(namespaces)
        put()
        _put_running(running)
    if health != "OK":
        raise Failure(f"the server reports {health}; its log and /v1/health say why")


@dataclass(frozen=True, slots=True)
class _Work:
    """A task that is not over, with the progress of the batch it runs."""

    namespace: str
    task: Task
    progress: Progress | None

    def as_json(self) -> dict[str, object]:
        progress = self.progress.model_dump(exclude_none=True) if self.progress else None
        task = self.task.model_dump(exclude_none=True, include={"task_id", "task_type", "status"})
        return {"namespace": self.namespace, **task, "progress": progress}


def _namespaces(api: Api) -> list[Namespace]:
    if api.target.namespace is not None:
        return [api.get(f"/namespaces/{segment(api.target.namespace)}", Namespace)]
    return api.post("/namespaces/list", {}, Namespaces, limit=1000).results


def _running(api: Api, namespaces: list[Namespace]) -> Iterator[_Work]:
    for namespace in namespaces:
        here = namespace.namespace_id
        for task in api.post("/tasks/list", {}, Tasks, limit=100, namespace=here).results:
            if task.status not in _RUNNING:
                continue
            batch_id = (task.additional_data or {}).get("batch_id")
            batch = api.get(f"/batches/{batch_id}", Batch, namespace=here) if batch_id else None
            yield _Work(namespace.namespace_name, task, batch.progress if batch else None)


def _put_namespaces(namespaces: list[Namespace]) -> None:
    put_rows(
        ["namespace", "id", "buckets", "collections", "objects", "documents"],
        [
            [
                one.namespace_name,
                one.namespace_id,
                one.bucket_count,
                one.collection_count,
                one.object_count,
                one.document_count,
            ]
            for one in namespaces
        ],
    )


def _put_running(running: list[_Work]) -> None:
    if not running:
        put("nothing runs")
        return
    put_rows(
        ["running", "namespace", "status", "done", "of", "failed"],
        [
            [
                work.task.task_id,
                work.namespace,
                work.task.status,
                work.progress.done if work.progress else None,
                work.progress.total if work.progress else None,
                work.progress.errors if work.progress else None,
            ]
            for work in running
        ],
    )
