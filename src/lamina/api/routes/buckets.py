"""Buckets."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Response

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import BucketDeletion, Page
from lamina.core.filters import parse_filter
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.types import JsonObject
from lamina.ingest.buckets import Bucket, BucketCreate, BucketPatch
from lamina.platform.access import Permission, ResourceType

router = APIRouter(prefix="/v1/buckets", tags=["Buckets"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.BUCKET)]
Lists = Annotated[Call, needs(Permission.READ, ResourceType.BUCKET, listing=True)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.BUCKET)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.BUCKET)]


@router.post("", **operation("create_bucket", Bucket, errors=(409,)))
async def create_bucket(body: BucketCreate, call: Writes) -> Response:
    """A place for objects of one schema."""
    note_unknown(call, body)
    return answer(await call.services.buckets.create(call.scope, body), call)


@router.get("", **operation("list_buckets_get", Page[Bucket]))
async def list_buckets_get(
    call: Lists, query: Paging, search: Annotated[str | None, Query(max_length=1000)] = None
) -> Response:
    """The namespace's buckets."""
    return await _list(call, ResourceList(search=search), query.merged())


@router.post("/list", **operation("list_buckets", Page[Bucket]))
async def list_buckets(call: Lists, query: Paging, body: ResourceList | None = None) -> Response:
    """The namespace's buckets, filtered, sorted and searched."""
    note_unknown(call, body)
    return await _list(call, body or ResourceList(), query.merged(body))


async def _list(call: Call, body: ResourceList, page: PageRequest) -> Response:
    found = await call.services.buckets.list_page(
        call.scope, replace(page, include_total=True), body, parse_filter(body.filters)
    )
    objects = sum(one.object_count for one in found.items)
    size = sum(one.total_size_bytes for one in found.items)
    number = len(found.items)
    stats: JsonObject = {
        "total_objects": objects,
        "total_size_bytes": size,
        "avg_objects_per_bucket": objects / number if number else 0.0,
        "avg_size_per_bucket": size / number if number else 0.0,
    }
    shown = Slice(found.items, found.next_cursor, found.total if page.include_total else None)
    return listed(page, shown, plain, call, total_count=found.total, stats=stats)


@router.get("/{bucket_identifier}", **operation("get_bucket", Bucket))
async def get_bucket(bucket_identifier: str, call: Reads) -> Response:
    """A bucket with the counts of what it holds."""
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    return answer(await call.services.buckets.described(call.scope, bucket), call)


@router.patch("/{bucket_identifier}", **operation("patch_bucket", Bucket, errors=(409,)))
async def patch_bucket(
    bucket_identifier: str, body: BucketPatch, call: Writes, force_schema_break: bool = False
) -> Response:
    """Change what is sent."""
    return await _change(bucket_identifier, body, call, force_schema_break)


@router.put("/{bucket_identifier}", **operation("update_bucket", Bucket, errors=(409,)))
async def update_bucket(
    bucket_identifier: str, body: BucketPatch, call: Writes, force_schema_break: bool = False
) -> Response:
    """Change what is sent; what is left out keeps its value."""
    return await _change(bucket_identifier, body, call, force_schema_break)


async def _change(identifier: str, body: BucketPatch, call: Call, force: bool) -> Response:
    note_unknown(call, body)
    changed = await call.services.buckets.patch(call.scope, identifier, body, force_schema_break=force)
    return answer(changed, call)


@router.delete("/{bucket_identifier}", **operation("delete_bucket", BucketDeletion, errors=(409,)))
async def delete_bucket(bucket_identifier: str, call: Deletes, force_foreclose: bool = False) -> Response:
    """Delete a bucket with its objects, their documents and blobs, as a task."""
    del force_foreclose  # Deletion never waits for anything here.
    bucket = await call.services.buckets.get(call.scope, bucket_identifier)
    bucket = await call.services.buckets.described(call.scope, bucket)
    task = await call.services.deletion.bucket(call.scope, bucket.bucket_id)
    deletion = BucketDeletion(
        **task.model_dump(),
        bucket_id=bucket.bucket_id,
        bucket_name=bucket.bucket_name,
        object_count=bucket.object_count,
    )
    return answer(deletion, call)
