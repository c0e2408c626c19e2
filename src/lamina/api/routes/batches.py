"""Batches of a bucket, and the tasks that show how far they are."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Response

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import Page
from lamina.core.errors import NotFoundError
from lamina.core.filters import parse_filter
from lamina.core.models import Deleted
from lamina.core.paging import PageRequest
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.platform.access import Permission, ResourceType, operations_of
from lamina.platform.tasks import Task, TaskList, TaskType
from lamina.processing.batches import Batch, BatchCreate, BatchList, BatchObjects, BatchSubmit, FailedObject

router = APIRouter(prefix="/v1", tags=["Batches"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.BUCKET)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.BUCKET)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.BUCKET)]

_OF_BUCKET = "/buckets/{bucket_identifier}/batches"


async def _batch(call: Call, bucket_identifier: str, batch_id: str) -> Batch:
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    return await call.services.batches.get(call.scope.within(bucket.bucket_id), batch_id)


async def _shown(call: Call, batch: Batch) -> Response:
    return answer(await call.services.batches.described(call.scope, batch), call, hide={"object_count"})


@router.post(_OF_BUCKET, **operation("create_batch_buckets_batches", Batch))
async def create_batch(
    bucket_identifier: str,
    body: BatchCreate,
    call: Writes,
    skip_validation: bool = False,
    auto_submit: bool | None = None,
    trigger_processing: bool | None = None,
) -> Response:
    """A draft of objects to process, or with `auto_submit` a batch that runs at once."""
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    for collection in body.collection_ids or ():
        await call.services.collections.get(call.scope, collection)
    batch = await call.services.batches.create(call.scope, bucket, body, skip_validation=skip_validation)
    wishes = (auto_submit, trigger_processing, body.auto_submit, body.trigger_processing)
    if next((wish for wish in wishes if wish is not None), False):
        await call.services.processing.submit(call.scope, batch)
        batch = await call.services.batches.get(call.scope, batch.batch_id)
    return await _shown(call, batch)


@router.post(f"{_OF_BUCKET}/list", **operation("list_batches_buckets", Page[Batch]))
async def list_batches(
    bucket_identifier: str, call: Reads, query: Paging, body: BatchList | None = None
) -> Response:
    """Batches of the bucket, newest first."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    return await _list(call, call.scope.within(bucket.bucket_id), query, body)


@router.post("/batches/list", **operation("list_all_batches", Page[Batch]))
async def list_all_batches(
    call: Annotated[Call, needs(Permission.READ, ResourceType.BUCKET, listing=True)],
    query: Paging,
    body: BatchList | None = None,
) -> Response:
    """Batches of the namespace, newest first."""
    return await _list(call, call.scope, query, body)


async def _list(call: Call, scope: Scope, query: Paging, body: BatchList | None) -> Response:
    note_unknown(call, body)
    body = body or BatchList()
    if body.bucket_id is not None and scope.parent_id is None:
        scope = scope.within(body.bucket_id)
    page = query.merged(body, default=100)
    found = await call.services.batches.list_page(scope, replace(page, include_total=True), body)
    return listed(page, found, lambda one: plain(one, {"object_count"}), call, total_count=found.total)


@router.get(_OF_BUCKET + "/{batch_id}", **operation("get_batch_buckets_batches", Batch))
async def get_bucket_batch(bucket_identifier: str, batch_id: str, call: Reads) -> Response:
    """A batch with its progress."""
    return await _shown(call, await _batch(call, bucket_identifier, batch_id))


@router.get("/batches/{batch_id}", **operation("get_batch_by_id_batches", Batch))
async def get_batch(batch_id: str, call: Reads) -> Response:
    """A batch with its progress, without naming its bucket."""
    return await _shown(call, await call.services.batches.get(call.scope, batch_id))


@router.post(_OF_BUCKET + "/{batch_id}/objects", **operation("add_objects_to_batch_buckets_batches", Batch))
async def add_objects(
    bucket_identifier: str, batch_id: str, body: BatchObjects, call: Writes, skip_validation: bool = False
) -> Response:
    """Put more objects into a draft."""
    note_unknown(call, body)
    batch = await _batch(call, bucket_identifier, batch_id)
    changed = await call.services.batches.add_objects(
        call.scope, batch, body.object_ids, skip_validation=skip_validation
    )
    return await _shown(call, changed)


@router.post(_OF_BUCKET + "/{batch_id}/submit", **operation("submit_batch_buckets_batches", Task))
async def submit_batch(
    bucket_identifier: str, batch_id: str, call: Writes, body: BatchSubmit | None = None, force: bool = False
) -> Response:
    """Process a draft's objects through every collection that reads the bucket."""
    del force  # Batches never exclude each other here.
    note_unknown(call, body)
    body = body or BatchSubmit()
    batch = await _batch(call, bucket_identifier, batch_id)
    task = await call.services.processing.submit(
        call.scope, batch, collection_ids=body.collection_ids, webhook_url=body.webhook_url
    )
    return answer(task, call)


@router.post(_OF_BUCKET + "/{batch_id}/cancel", **operation("cancel_batch_buckets_batches", Task))
async def cancel_bucket_batch(
    bucket_identifier: str,
    batch_id: str,
    call: Writes,
    reason: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """Stop a batch at its next group of objects."""
    batch = await _batch(call, bucket_identifier, batch_id)
    return answer(await call.services.processing.cancel(call.scope, batch, reason), call)


@router.post("/batches/{batch_id}/cancel", **operation("cancel_batch_batches", Task))
async def cancel_batch(
    batch_id: str, call: Writes, reason: Annotated[str | None, Query(max_length=1000)] = None
) -> Response:
    """Stop a batch, without naming its bucket."""
    batch = await call.services.batches.get(call.scope, batch_id)
    return answer(await call.services.processing.cancel(call.scope, batch, reason), call)


@router.post(_OF_BUCKET + "/{batch_id}/retry", **operation("retry_batch_buckets_batches", Task))
async def retry_batch(bucket_identifier: str, batch_id: str, call: Writes) -> Response:
    """Process the failed objects of an ended batch again, and only those."""
    batch = await _batch(call, bucket_identifier, batch_id)
    return answer(await call.services.processing.retry(call.scope, batch), call)


@router.get(
    _OF_BUCKET + "/{batch_id}/failed-documents",
    **operation("get_failed_documents_buckets", Page[FailedObject]),
)
async def failed_objects(
    bucket_identifier: str,
    batch_id: str,
    call: Reads,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:
    """The objects that could not be processed, with the reasons."""
    batch = await _batch(call, bucket_identifier, batch_id)
    page = PageRequest(limit=limit, offset=offset, include_total=True)
    found = await call.services.batches.failures(call.scope, batch, page)
    return listed(page, found, plain, call, total_count=found.total, batch_id=batch_id)


@router.delete(
    _OF_BUCKET + "/{batch_id}", **operation("delete_batch_buckets_batches", Deleted, errors=(409,))
)
async def delete_batch(bucket_identifier: str, batch_id: str, call: Deletes) -> Response:
    """Remove a batch that does not run; its documents stay."""
    batch = await _batch(call, bucket_identifier, batch_id)
    await call.services.batches.delete(call.scope, batch)
    return answer(Deleted(), call)


Tasks = Annotated[Call, needs(Permission.READ, ResourceType.NAMESPACE)]


async def _task(call: Call, task_id: str) -> Task:
    """A task by id. Clients poll without naming the namespace again, so a key without scopes finds
    every task of its organization; a scoped one those of its namespace, and that namespace's deletion."""
    if not call.principal.limited:
        return await call.services.tasks.get(Scope(call.scope.organization_id), task_id)
    try:
        return await call.services.tasks.get(call.scope, task_id)
    except NotFoundError:
        task = await call.services.tasks.get(Scope(call.scope.organization_id, ""), task_id)
        named = str((task.additional_data or {}).get("namespace_id"))
        reading = operations_of(Permission.READ, ResourceType.NAMESPACE)
        if not call.principal.may_use(ResourceType.NAMESPACE, frozenset({named}), reading):
            raise
        return task


@router.get("/tasks/{task_id}", **operation("get_task", Task), tags=["Tasks"])
async def get_task(
    task_id: str,
    call: Annotated[Call, needs(Permission.READ, ResourceType.NAMESPACE, lost_namespace=True)],
) -> Response:
    """A task's status, progress and error."""
    return answer(await _task(call, task_id), call)


@router.post("/tasks/list", **operation("list_tasks", Page[Task]), tags=["Tasks"])
async def list_tasks(
    call: Annotated[Call, needs(Permission.READ, ResourceType.NAMESPACE, listing=True)],
    query: Paging,
    body: TaskList | None = None,
) -> Response:
    """Tasks of the namespace, newest first."""
    note_unknown(call, body)
    body = body or TaskList()
    page = query.merged(body, default=100)
    found = await call.services.tasks.list_page(call.scope, page, body, parse_filter(body.filters))
    return listed(page, found, plain, call)


@router.delete("/tasks/{task_id}", **operation("kill_task", Deleted), tags=["Tasks"])
async def kill_task(
    task_id: str, call: Annotated[Call, needs(Permission.DELETE, ResourceType.NAMESPACE)]
) -> Response:
    """Stop a task. Stopping one that ended, or that does not exist, changes nothing."""
    try:
        task = await call.services.tasks.get(call.scope, task_id)
    except NotFoundError:
        return answer(Deleted(message=f"There is no task {task_id} in this namespace."), call)
    batch_id = (task.additional_data or {}).get("batch_id")
    if task.task_type is TaskType.BATCH_PROCESS and isinstance(batch_id, str):
        batch = await call.services.batches.get(call.scope, batch_id)
        await call.services.processing.cancel(call.scope, batch, "The task was killed.")
    elif task.status not in TERMINAL:
        await call.services.tasks.move(call.scope, task_id, Status.CANCELED)
    return answer(Deleted(message=f"Task {task_id} is stopped."), call)
