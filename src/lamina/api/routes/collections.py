"""Collections, and the extractors that they can use."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi import Request as HttpRequest

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, Public, needs
from lamina.api.catalogue import ExtractorEntry, extractor_entries, extractor_entry
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import Page, Triggered
from lamina.core.errors import BadRequestError, ValidationError
from lamina.core.filters import parse_filter
from lamina.core.models import Deleted, Request
from lamina.core.paging import PageRequest, Slice
from lamina.core.types import Json, JsonObject
from lamina.extractors.registry import extractor_by_id
from lamina.platform.access import Permission, ResourceType
from lamina.processing.batches import DedupStrategy
from lamina.processing.collections import Collection, CollectionCreate, CollectionList, CollectionPatch

router = APIRouter(prefix="/v1/collections", tags=["Collections"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.COLLECTION)]
Lists = Annotated[Call, needs(Permission.READ, ResourceType.COLLECTION, listing=True)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.COLLECTION)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.COLLECTION)]


class Trigger(Request):
    """What of a collection's source is processed; everything by default."""

    include_buckets: list[str] | None = None
    include_collections: list[str] | None = None
    object_ids: list[str] | None = None
    source_filters: Json = None
    dedup_strategy: DedupStrategy | None = None


@router.post("", **operation("create_collection", Collection, errors=(409,)))
async def create_collection(body: CollectionCreate, call: Writes) -> Response:
    """What is read, which extractor takes it apart. Its schemas and vector indexes are known at once."""
    note_unknown(call, body)
    return answer(await call.services.collections.create(call.scope, body), call)


@router.get("", **operation("list_collections_get", Page[Collection]))
async def list_collections_get(
    call: Lists,
    query: Paging,
    search: Annotated[str | None, Query(max_length=1000)] = None,
    include_system: bool = False,
) -> Response:
    """The namespace's collections."""
    return await _list(call, CollectionList(search=search, include_system=include_system), query.merged())


@router.post("/list", **operation("list_collections", Page[Collection]))
async def list_collections(call: Lists, query: Paging, body: CollectionList | None = None) -> Response:
    """The namespace's collections, filtered, sorted and searched."""
    note_unknown(call, body)
    return await _list(call, body or CollectionList(), query.merged(body))


async def _list(call: Call, body: CollectionList, page: PageRequest) -> Response:
    found = await call.services.collections.list_page(
        call.scope, replace(page, include_total=True), body, parse_filter(body.filters)
    )
    documents = sum(one.document_count or 0 for one in found.items)
    stats: JsonObject = {
        "total_documents": documents,
        "avg_documents_per_collection": documents / len(found.items) if found.items else 0.0,
        "total_feature_extractors": len({one.feature_extractor.feature_extractor_id for one in found.items}),
    }
    shown = Slice(found.items, found.next_cursor, found.total if page.include_total else None)
    return listed(page, shown, plain, call, total_count=found.total, stats=stats)


# Before /{collection_identifier}, whose pattern these paths fit too.
@router.get(
    "/features/extractors",
    dependencies=[Public],
    tags=["Feature Extractors"],
    **operation("list_feature_extractors", list[ExtractorEntry]),
)
async def list_extractors(request: HttpRequest) -> Response:
    """Every extractor, with its parameters, inputs, outputs and the models it uses here."""
    entries = await asyncio.to_thread(extractor_entries, request.app.state.services.models)
    return answer([plain(one) for one in entries])


@router.get(
    "/features/extractors/{feature_extractor_id}",
    dependencies=[Public],
    tags=["Feature Extractors"],
    **operation("get_feature_extractor_by", ExtractorEntry),
)
async def get_extractor(feature_extractor_id: str, request: HttpRequest) -> Response:
    """An extractor by name, or by name and version."""
    found = extractor_by_id(feature_extractor_id)
    return answer(await asyncio.to_thread(extractor_entry, found, request.app.state.services.models))


@router.get("/{collection_identifier}", **operation("get_collection", Collection))
async def get_collection(collection_identifier: str, call: Reads) -> Response:
    """A collection with its schemas, vector indexes and the number of its documents."""
    collection = await call.services.collections.get(call.scope, collection_identifier)
    return answer(await call.services.collections.described(call.scope, collection), call)


@router.patch("/{collection_identifier}", **operation("update_collection", Collection, errors=(409,)))
async def update_collection(collection_identifier: str, body: CollectionPatch, call: Writes) -> Response:
    """Change name, description, metadata, or whether batches process it."""
    note_unknown(call, body)
    return answer(await call.services.collections.patch(call.scope, collection_identifier, body), call)


@router.delete("/{collection_identifier}", **operation("delete_collection", Deleted))
async def delete_collection(collection_identifier: str, call: Deletes) -> Response:
    """Delete a collection with its documents."""
    collection = await call.services.collections.get(call.scope, collection_identifier)
    await call.services.documents.forget_collection(call.scope, collection)
    await call.services.collections.delete(call.scope, collection)
    return answer(Deleted(message=f"Collection {collection.collection_id} is deleted."), call)


@router.get("/{collection_identifier}/features", **operation("describe_collection_features", JsonObject))
async def describe_features(collection_identifier: str, call: Reads) -> Response:
    """The vector indexes of a collection, with the URIs that searches address them by."""
    collection = await call.services.collections.get(call.scope, collection_identifier)
    features: list[Json] = [
        {
            "feature_address": index.feature_uri,
            "feature_uri": index.feature_uri,
            "feature_extractor_name": collection.feature_extractor.feature_extractor_name,
            "version": collection.feature_extractor.version,
            "vector_index": plain(index.index),
            "primary": number == 0,
        }
        for number, index in enumerate(collection.vector_indexes)
    ]
    return answer({"features": features}, call)


@router.post("/{collection_identifier}/trigger", **operation("trigger_collection", Triggered, status=202))
async def trigger_collection(
    collection_identifier: str, call: Writes, body: Trigger | None = None
) -> Response:
    """Process what the collection's source holds: new and changed objects, or all documents upstream."""
    note_unknown(call, body)
    body = body or Trigger()
    collection = await call.services.collections.get(call.scope, collection_identifier)
    if not collection.enabled:
        raise BadRequestError(f"Collection '{collection.collection_name}' is disabled; enable it first.")
    where = parse_filter(body.source_filters, field="source_filters")
    if collection.source.type == "collection":
        return await _trigger_documents(call, collection, body)
    ids = collection.source.bucket_ids or []
    buckets = [await call.services.buckets.get(call.scope, one) for one in ids]
    if body.include_buckets is not None:
        wanted = set(body.include_buckets)
        buckets = [one for one in buckets if {one.bucket_id, one.bucket_name} & wanted]
        if not buckets:
            raise ValidationError(
                "None of these buckets is a source of the collection.", field="include_buckets"
            )
    started = await call.services.processing.trigger(
        call.scope, collection, buckets, where, object_ids=body.object_ids, strategy=body.dedup_strategy
    )
    batch, task = started[0]
    triggered = Triggered(
        batch_id=batch.batch_id,
        task_id=task.task_id,
        collection_id=collection.collection_id,
        source_bucket_ids=[one.bucket_id for one in buckets],
        object_count=sum(one.object_count for one, _ in started),
        batch_ids=[one.batch_id for one, _ in started],
        task_ids=[one.task_id for _, one in started],
        batch_count=len(started),
        total_tiers=max(one.total_tiers for one, _ in started),
        message="Processing started.",
    )
    return answer(triggered, call, status=202)


async def _trigger_documents(call: Call, collection: Collection, body: Trigger) -> Response:
    sources = [await call.services.collections.get(call.scope, one) for one in collection.source.collections]
    if body.include_collections is not None:
        wanted = set(body.include_collections)
        sources = [one for one in sources if {one.collection_id, one.collection_name} & wanted]
        if not sources:
            raise ValidationError("None of these is a source of the collection.", field="include_collections")
    batch, task = await call.services.processing.trigger_documents(
        call.scope, collection, sources, body.source_filters
    )
    described = [await call.services.collections.described(call.scope, one) for one in sources]
    triggered = Triggered(
        batch_id=batch.batch_id,
        task_id=task.task_id,
        collection_id=collection.collection_id,
        source_collection_ids=[one.collection_id for one in sources],
        document_count=sum(one.document_count or 0 for one in described),
        batch_ids=[batch.batch_id],
        task_ids=[task.task_id],
        batch_count=1,
        total_tiers=batch.total_tiers,
        message="Processing started.",
    )
    return answer(triggered, call, status=202)
