"""Objects of a bucket."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import ObjectsBatch, Page
from lamina.core.errors import ValidationError
from lamina.core.filters import parse_filter
from lamina.core.types import Json, JsonObject
from lamina.documents.forms import selected
from lamina.ingest.buckets import Bucket
from lamina.ingest.objects import (
    INTERNAL_FIELDS,
    KeptObject,
    ObjectCreate,
    ObjectList,
    ObjectPatch,
    ObjectsCreate,
    ObjectsCreated,
    ObjectUpdate,
    StoredObject,
)
from lamina.platform.access import Permission, ResourceType
from lamina.processing.batches import BatchCreate

router = APIRouter(
    prefix="/v1/buckets/{bucket_identifier}/objects", tags=["Bucket Objects"], route_class=GuardedRoute
)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.BUCKET)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.BUCKET)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.BUCKET)]


async def shown_object(call: Call, stored: StoredObject, *, presign: bool = False) -> JsonObject:
    """An object as clients see it."""
    if presign:
        blobs = [
            await call.services.blobs.presigned(
                blob, call.scope, stored.bucket_id, stored.object_id, call.base_url
            )
            for blob in stored.blobs
        ]
        stored = stored.model_copy(update={"blobs": blobs})
    return plain(stored, INTERNAL_FIELDS)


async def process(call: Call, bucket: Bucket, objects: list[str]) -> None:
    """Put new objects into a batch and submit it: `?auto_process=true`."""
    batch = await call.services.batches.create(call.scope, bucket, BatchCreate(object_ids=objects))
    await call.services.processing.submit(call.scope, batch)


@router.post("", **operation("create_object_buckets", StoredObject, errors=(409, 413)))
async def create_object(
    bucket_identifier: str,
    body: ObjectCreate,
    call: Writes,
    policy: Literal["insert", "update", "upsert"] | None = None,
    auto_process: bool = False,
) -> Response:
    """Store an object that fits the bucket's schema. It is processed by a batch, or with `auto_process`."""
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    made = await call.services.objects.create(call.scope, bucket, body, policy=policy)
    if auto_process:
        await process(call, bucket, [made.object_id])
    return answer(await shown_object(call, made), call)


@router.post(
    "/batch",
    **operation(
        "create_objects_batch_buckets",
        list[StoredObject] | ObjectsBatch,
        errors=(409, 413),
        refusal=ObjectsBatch,
    ),
)
async def create_objects(
    bucket_identifier: str,
    body: ObjectsCreate,
    call: Writes,
    auto_process: bool = False,
    response: Annotated[Literal["array", "envelope"] | None, Query()] = None,
) -> Response:
    """Store up to 100 objects.

    All or none, answered as an array; or as many as are good, answered with those that failed, for
    the official SDK and for `?response=envelope`.
    """
    del response
    if "auto_process" in (body.model_extra or {}):
        raise ValidationError(
            "Pass auto_process as ?auto_process=true, not in the body.", field="auto_process"
        )
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    if call.envelope:
        return await _create_each(bucket, body, call, auto_process)
    if body.unread:
        raise RequestValidationError(
            [
                {**problem, "loc": ("body", "objects", place, *problem["loc"])}
                for place, one in body.unread.items()
                for problem in one.problems
            ]
        )
    made = await call.services.objects.create_all(call.scope, bucket, body)
    if auto_process and made:
        await process(call, bucket, [one.object_id for one in made])
    return Response(
        orjson.dumps([plain(one, INTERNAL_FIELDS) for one in made]), media_type="application/json"
    )


async def _create_each(bucket: Bucket, body: ObjectsCreate, call: Call, auto_process: bool) -> Response:
    created: ObjectsCreated = await call.services.objects.create_each(call.scope, bucket, body)
    if auto_process and created.succeeded:
        await process(call, bucket, [one.stored.object_id for one in created.succeeded])
    shown: list[Json] = [_shown_kept(one) for one in created.succeeded]
    content = {**plain(created, {"succeeded"}), "succeeded": shown}
    return answer(content, call, status=422 if created.failed and not created.succeeded else 200)


def _shown_kept(kept: KeptObject) -> JsonObject:
    """`BatchObjectResult` of the contract: the object, and whether it was there before."""
    shown = plain(kept.stored, INTERNAL_FIELDS)
    shown |= {"object_index": kept.object_index, "replayed": kept.replayed_by is not None}
    if kept.replayed_by is not None:
        shown["replayed_by"] = kept.replayed_by
    return shown


@router.get("", **operation("list_objects_get_buckets", Page[StoredObject]))
async def list_objects_get(bucket_identifier: str, call: Reads, query: Paging) -> Response:
    """Objects of the bucket, oldest first."""
    return await _list(bucket_identifier, ObjectList(), call, query)


@router.post("/list", **operation("list_objects_buckets", Page[StoredObject]))
async def list_objects(
    bucket_identifier: str, call: Reads, query: Paging, body: ObjectList | None = None
) -> Response:
    """Objects of the bucket, filtered, sorted and searched."""
    note_unknown(call, body)
    return await _list(bucket_identifier, body or ObjectList(), call, query)


async def _list(bucket_identifier: str, body: ObjectList, call: Call, query: Paging) -> Response:
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    page = query.merged(body)
    where = parse_filter(body.filters)
    found = await call.services.objects.list_page(call.scope, bucket, page, body, where)
    shown = [await shown_object(call, one, presign=body.return_presigned_urls) for one in found.items]
    if body.select:
        kept = [*body.select, "object_id", "bucket_id"]
        shown = [selected(one, kept) for one in shown]
    by_id = {one["object_id"]: one for one in shown}
    stats = await call.services.objects.statistics(call.scope, bucket)
    return listed(page, found, lambda one: by_id[one.object_id], call, stats=stats)


@router.get("/{object_identifier}", **operation("get_object_buckets", StoredObject))
async def get_object(
    bucket_identifier: str,
    object_identifier: str,
    call: Reads,
    return_presigned_urls: bool = False,
    include_document_count: bool = True,
) -> Response:
    """An object with its blobs, and how many documents it became."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    stored = await call.services.objects.get(call.scope, bucket, object_identifier)
    if include_document_count:
        count = await call.services.objects.derived.count(call.scope, stored.object_id)
        stored = stored.model_copy(update={"document_count": count})
    return answer(await shown_object(call, stored, presign=return_presigned_urls), call)


@router.patch("/{object_identifier}", **operation("patch_object_buckets", StoredObject, errors=(409,)))
async def patch_object(
    bucket_identifier: str, object_identifier: str, body: ObjectPatch, call: Writes
) -> Response:
    """Set custom fields. Nothing is processed again."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    changed = await call.services.objects.patch(call.scope, bucket, object_identifier, body)
    return answer(await shown_object(call, changed), call)


@router.put("/{object_identifier}", **operation("update_object_buckets", StoredObject, errors=(409,)))
async def update_object(
    bucket_identifier: str, object_identifier: str, body: ObjectUpdate, call: Writes
) -> Response:
    """Set keys of `metadata`. Blobs cannot be replaced: delete the object and create it again."""
    note_unknown(call, body)
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    changed = await call.services.objects.update(call.scope, bucket, object_identifier, body)
    return answer(await shown_object(call, changed), call)


@router.delete("/{object_identifier}", **operation("delete_object_buckets", status=204))
async def delete_object(bucket_identifier: str, object_identifier: str, call: Deletes) -> Response:
    """Delete an object with its documents and blobs."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    await call.services.objects.delete(call.scope, bucket, object_identifier)
    return Response(status_code=204)
