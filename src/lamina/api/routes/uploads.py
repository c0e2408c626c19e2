"""Uploads to a bucket, through presigned URLs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.routes.objects import process
from lamina.api.shapes import Page
from lamina.core.filters import parse_filter
from lamina.core.statuses import Status
from lamina.core.types import JsonObject
from lamina.ingest.uploads import Confirmed, Upload, UploadConfirm, UploadCreate, UploadList, UploadsCreate
from lamina.platform.access import Permission, ResourceType
from lamina.platform.tasks import TaskType

router = APIRouter(
    prefix="/v1/buckets/{bucket_identifier}/uploads", tags=["Bucket Uploads"], route_class=GuardedRoute
)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.BUCKET)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.BUCKET)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.BUCKET)]


@router.post("", **operation("create_upload_buckets", Upload))
async def create_upload(bucket_identifier: str, body: UploadCreate, call: Writes) -> Response:
    """A presigned URL to PUT a file to, or the upload that already brought the same bytes."""
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    return answer(await call.services.uploads.create(call.scope, bucket, body, call.base_url), call)


@router.post("/batch", **operation("create_uploads_batch_buckets", JsonObject))
async def create_uploads(bucket_identifier: str, body: UploadsCreate, call: Writes) -> Response:
    """Presigned URLs for up to 100 files."""
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    made = await call.services.uploads.create_all(call.scope, bucket, body, call.base_url)
    return answer({"uploads": [plain(one) for one in made], "total": len(made)}, call)


@router.post("/list", **operation("list_uploads_buckets", Page[Upload]))
async def list_uploads(
    bucket_identifier: str, call: Reads, query: Paging, body: UploadList | None = None
) -> Response:
    """Uploads of the bucket, filtered, sorted and searched."""
    note_unknown(call, body)
    body = body or UploadList()
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    page = query.merged(body, default=20)
    found = await call.services.uploads.list_page(call.scope, bucket, page, body, parse_filter(body.filters))
    items = found.items
    if body.return_presigned_urls:
        items = call.services.uploads.presigned(call.scope, items, call.base_url)
    by_id = {one.upload_id: plain(one) for one in items}
    stats = await call.services.uploads.statistics(call.scope, bucket)
    return listed(page, found, lambda one: by_id[one.upload_id], call, stats=stats)


@router.get("/{upload_id}", **operation("get_upload_buckets", Upload))
async def get_upload(
    bucket_identifier: str, upload_id: str, call: Reads, return_presigned_urls: bool = False
) -> Response:
    """An upload: whether it is there, and the object it became."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    upload = await call.services.uploads.get(call.scope, bucket, upload_id)
    if return_presigned_urls:
        upload = call.services.uploads.presigned(call.scope, [upload], call.base_url)[0]
    return answer(upload, call)


@router.post("/{upload_id}/confirm", **operation("confirm_upload_buckets", Confirmed, errors=(409,)))
async def confirm_upload(
    bucket_identifier: str,
    upload_id: str,
    call: Writes,
    body: UploadConfirm | None = None,
    asynchronous: Annotated[bool, Query(alias="async")] = False,
    policy: Literal["insert", "update", "upsert"] | None = None,
) -> Response:
    """Check the file that was PUT, and make its object. Confirming again is harmless."""
    note_unknown(call, body)
    body = body or UploadConfirm()
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    confirmed = await call.services.uploads.confirm(call.scope, bucket, upload_id, body, policy)
    if asynchronous:
        # The file has been read by now; the task is there for clients that want one to wait for.
        task = await call.services.tasks.start(call.scope, TaskType.UPLOAD_CONFIRM, upload_id=upload_id)
        await call.services.tasks.move(
            call.scope, task.task_id, Status.COMPLETED, object_id=confirmed.object_id
        )
        confirmed.task_id = task.task_id
    if body.auto_submit_batch and confirmed.object_id:
        await process(call, bucket, [confirmed.object_id])
    return answer(confirmed, call)


@router.delete("/{upload_id}", **operation("delete_upload_buckets", status=204))
async def delete_upload(
    bucket_identifier: str, upload_id: str, call: Deletes, delete_s3_object: bool = True
) -> Response:
    """Cancel an upload that is not completed."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    await call.services.uploads.delete(call.scope, bucket, upload_id, delete_bytes=delete_s3_object)
    return Response(status_code=204)
