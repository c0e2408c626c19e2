"""Documents, by collection and over a whole namespace."""

from collections.abc import Sequence
from typing import Annotated, cast

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import ValidationError as PydanticError

from lamina.api.answers import answer, note_unknown, page_shown
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import (
    BatchDeleted,
    BatchGetAnswer,
    BatchUpdated,
    BulkUpdated,
    ChangeResult,
    DocumentCount,
    DocumentFlat,
    DocumentNested,
    DocumentPage,
    DocumentPatched,
)
from lamina.core.errors import ForbiddenError, NotFoundError, ValidationError
from lamina.core.filters import Filter, both, parse_filter
from lamina.core.models import Deleted, Sort
from lamina.core.paging import PageRequest, Slice
from lamina.core.types import Json, JsonObject
from lamina.documents import forms
from lamina.documents.documents import Changed
from lamina.documents.expansion import expanded
from lamina.documents.listing import Vectors, searched
from lamina.documents.requests import (
    BatchDelete,
    BatchGet,
    BatchUpdate,
    BulkUpdate,
    DocumentCreate,
    DocumentList,
    DocumentPatch,
)
from lamina.platform.access import Permission, ResourceType
from lamina.processing.collections import Collection
from lamina.stores.vectors.base import CollectionRef, Point

router = APIRouter(prefix="/v1", tags=["Documents"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.COLLECTION)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.COLLECTION)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.COLLECTION)]

_OF_COLLECTION = "/collections/{collection_identifier}/documents"

VectorNames = Annotated[
    str | None, Query(description="`true` lists vector names; names, comma-separated, return those vectors.")
]


def signer(call: Call, wanted: bool) -> forms.Sign | None:
    """Presigns stored blobs with the URL that this client uses, when asked to."""
    if not wanted:
        return None
    return lambda key, filename: call.services.blobs.sign(call.scope, key, call.base_url, filename=filename)


async def shown_document(
    call: Call,
    point: Point,
    at: CollectionRef,
    *,
    presign: bool = False,
    return_vectors: bool = False,
    names: str | None = None,
    expand: str | None = None,
) -> JsonObject:
    """A document in the flat form, with what was asked for besides."""
    document = forms.flat(point, sign=signer(call, presign))
    if return_vectors or names:
        collection = await call.services.collections.collections.find(call.scope, at.collection_id)
        primary = (
            collection.vector_indexes[0].index.name if collection and collection.vector_indexes else None
        )
        forms.with_vectors(document, point, primary=primary if return_vectors else None)
    if names == "true":
        document["_vectors"] = list(point.vector_names)
    if expand:
        document["_expanded"] = await _expanded(call, point, expand.split(","))
    return document


async def _expanded(call: Call, point: Point, fields: Sequence[str]) -> JsonObject:
    if not call.whole_namespace:
        raise ForbiddenError("expand leaves the collection that this API key is limited to.")
    return await expanded(call.services.documents, call.services.objects.objects, call.scope, point, fields)


def _wanted(return_vectors: bool, names: str | None) -> bool | list[str]:
    if return_vectors:
        return True
    return names.split(",") if names and names not in {"true", "false"} else False


async def _collection(call: Call, identifier: str) -> tuple[Collection, CollectionRef]:
    collection = await call.services.collections.get(call.scope, identifier)
    return collection, CollectionRef(call.scope.namespace, collection.collection_id)


# In a collection


@router.post(_OF_COLLECTION, **operation("create_document", DocumentNested), tags=["Collection Documents"])
async def create_document(collection_identifier: str, body: DocumentCreate, call: Writes) -> Response:
    """Write a document directly, with or without vectors."""
    collection, _ = await _collection(call, collection_identifier)
    named = body.collection_id
    if named is not None and named not in {collection.collection_id, collection.collection_name}:
        raise ValidationError(
            f"collection_id is '{named}', but the path names '{collection.collection_id}'.",
            field="collection_id",
        )
    point = await call.services.documents.create(call.scope, collection, body)
    return answer(forms.nested(point.payload), call)


@router.get(_OF_COLLECTION, **operation("list_documents_0", DocumentPage), tags=["Collection Documents"])
async def list_documents_get(
    collection_identifier: str,
    call: Reads,
    query: Paging,
    filters: Annotated[str | None, Query(description="A filter as JSON.")] = None,
    search: Annotated[str | None, Query(max_length=1000)] = None,
    sort: Annotated[
        str | None, Query(description='`field:direction`, or JSON `{"field", "direction"}`.')
    ] = None,
    return_presigned_urls: bool = False,
    return_vectors: bool = False,
) -> Response:
    """Documents of the collection."""
    body = DocumentList(
        filters=_json(filters, "filters"),
        search=search,
        sort=_sort(sort),
        return_presigned_urls=return_presigned_urls,
        return_vectors=return_vectors,
    )
    collection, _ = await _collection(call, collection_identifier)
    return await _list(call, [collection], body, query.merged(body))


@router.post(
    f"{_OF_COLLECTION}/list", **operation("list_documents", DocumentPage), tags=["Collection Documents"]
)
async def list_documents(
    collection_identifier: str,
    call: Reads,
    query: Paging,
    body: DocumentList | None = None,
    filters: Annotated[str | None, Query(description="A filter as JSON; the body's wins.")] = None,
    search: Annotated[str | None, Query(max_length=1000)] = None,
    sort: str | None = None,
    return_presigned_urls: bool = False,
    return_vectors: bool = False,
) -> Response:
    """Documents of the collection, filtered, searched, sorted or grouped."""
    note_unknown(call, body)
    body = body or DocumentList()
    body.filters = body.filters if body.filters is not None else _json(filters, "filters")
    body.search = body.search or search
    body.sort = body.sort or _sort(sort)
    body.return_presigned_urls = body.return_presigned_urls or return_presigned_urls
    body.return_vectors = body.return_vectors or return_vectors
    collection, _ = await _collection(call, collection_identifier)
    return await _list(call, [collection], body, query.merged(body))


@router.get(
    f"{_OF_COLLECTION}/count", **operation("count_documents", DocumentCount), tags=["Collection Documents"]
)
async def count_documents(collection_identifier: str, call: Reads) -> Response:
    """How many documents the collection has."""
    collection, at = await _collection(call, collection_identifier)
    count = await call.services.documents.vectors.count(at)
    return answer(DocumentCount(collection_id=collection.collection_id, count=count), call)


@router.post(
    f"{_OF_COLLECTION}/batch", **operation("batch_update", BatchUpdated), tags=["Collection Documents"]
)
async def batch_update(collection_identifier: str, body: BatchUpdate, call: Writes) -> Response:
    """Different changes for documents by id, or one change for all that match a filter."""
    note_unknown(call, body)
    _, at = await _collection(call, collection_identifier)
    if body.updates is not None:
        changes = await call.services.documents.patch_each(call.scope, at, body)
        results, failed = _results(changes)
        return answer(
            BatchUpdated(updated_count=len(results) - failed, failed_count=failed, results=results), call
        )
    if body.filters is None or body.update_data is None:
        raise ValidationError("Send updates, or filters with update_data.", field="updates")
    count = await call.services.documents.patch_where(at, parse_filter(body.filters), body.update_data)
    return answer(BatchUpdated(updated_count=count), call)


@router.delete(
    f"{_OF_COLLECTION}/batch", **operation("batch_delete", BatchDeleted), tags=["Collection Documents"]
)
async def batch_delete(collection_identifier: str, body: BatchDelete, call: Deletes) -> Response:
    """Delete documents by id, or all that match a filter."""
    note_unknown(call, body)
    _, at = await _collection(call, collection_identifier)
    if body.document_ids is not None:
        results, failed = _results(await call.services.documents.delete(call.scope, at, body.document_ids))
        return answer(
            BatchDeleted(deleted_count=len(results) - failed, failed_count=failed, results=results), call
        )
    if body.filters is None:
        raise ValidationError("Send document_ids or filters.", field="document_ids")
    count = await call.services.documents.delete_where(call.scope, at, parse_filter(body.filters))
    return answer(BatchDeleted(deleted_count=count), call)


@router.patch(
    f"{_OF_COLLECTION}/bulk", **operation("bulk_update", BulkUpdated), tags=["Collection Documents"]
)
async def bulk_update(collection_identifier: str, body: BulkUpdate, call: Writes) -> Response:
    """One change for all documents that match, or for all there are."""
    note_unknown(call, body)
    _, at = await _collection(call, collection_identifier)
    count = await call.services.documents.patch_where(at, parse_filter(body.filters), body.update_data)
    return answer(BulkUpdated(updated_count=count), call)


@router.get(
    _OF_COLLECTION + "/{document_id}",
    **operation("get_document", DocumentFlat),
    tags=["Collection Documents"],
)
async def get_document(
    collection_identifier: str,
    document_id: str,
    call: Reads,
    return_url: Annotated[bool, Query(description="The older name of `return_presigned_urls`.")] = False,
    return_presigned_urls: bool = False,
    return_vectors: bool = False,
    return_vector_names: VectorNames = None,
    expand: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """A document with its lineage at the root."""
    collection, at = await _collection(call, collection_identifier)
    point = await call.services.documents.get(
        call.scope, collection, document_id, with_vectors=_wanted(return_vectors, return_vector_names)
    )
    document = await shown_document(
        call, point, at, presign=return_url or return_presigned_urls, return_vectors=return_vectors,
        names=return_vector_names, expand=expand,
    )  # fmt: skip
    return answer(document, call)


@router.patch(
    _OF_COLLECTION + "/{document_id}",
    **operation("patch_document", DocumentPatched),
    tags=["Collection Documents"],
)
async def patch_document(
    collection_identifier: str, document_id: str, body: DocumentPatch, call: Writes
) -> Response:
    """Set fields; keys of `metadata` one by one, where null removes."""
    _, at = await _collection(call, collection_identifier)
    return await _patch(call, at, document_id, body)


@router.put(
    _OF_COLLECTION + "/{document_id}",
    **operation("update_document", DocumentPatched),
    tags=["Collection Documents"],
)
async def update_document(
    collection_identifier: str, document_id: str, body: DocumentPatch, call: Writes
) -> Response:
    """The same: fields that are left out keep their values."""
    _, at = await _collection(call, collection_identifier)
    return await _patch(call, at, document_id, body)


@router.delete(
    _OF_COLLECTION + "/{document_id}", **operation("delete_document", Deleted), tags=["Collection Documents"]
)
async def delete_document(collection_identifier: str, document_id: str, call: Deletes) -> Response:
    """Delete a document."""
    _, at = await _collection(call, collection_identifier)
    (done,) = await call.services.documents.delete(call.scope, at, [document_id])
    if done.error is not None:
        raise NotFoundError("document", document_id)
    return answer(Deleted(message=f"Document {document_id} is deleted."), call)


# In a namespace


@router.post("/documents/batch-get", **operation("batch_get", BatchGetAnswer))
async def batch_get(body: BatchGet, call: Reads) -> Response:
    """Documents by id, in order of first mention, and the ids that were not found."""
    note_unknown(call, body)
    points, missing = await call.services.documents.get_many(call.scope, body.document_ids)
    sign = signer(call, body.return_presigned_urls)
    documents = [forms.nested(point.payload, sign=sign, vector_names=point.vector_names) for point in points]
    return answer({"documents": documents, "not_found": missing}, call)


@router.post("/documents/list", **operation("list_documents_ns", DocumentPage))
async def list_namespace_documents(
    call: Annotated[Call, needs(Permission.READ, ResourceType.COLLECTION, listing=True)],
    query: Paging,
    body: DocumentList | None = None,
) -> Response:
    """Documents of all collections, or of some."""
    note_unknown(call, body)
    body = body or DocumentList()
    everything = await call.services.collections.all(call.scope)
    unknown: list[str] | None = None
    if body.collection_ids is not None:
        known = {name: one for one in everything for name in (one.collection_id, one.collection_name)}
        unknown = [one for one in body.collection_ids if one not in known]
        if unknown and len(unknown) == len(body.collection_ids):
            raise NotFoundError("collection", unknown[0])
        everything = list(
            {known[one].collection_id: known[one] for one in body.collection_ids if one in known}.values()
        )
    everything.sort(key=lambda one: one.collection_id)
    return await _list(call, everything, body, query.merged(body), unknown=unknown or None)


@router.get("/documents/{document_id}", **operation("get_document_ns", DocumentFlat))
async def get_namespace_document(
    document_id: str,
    call: Reads,
    return_presigned_urls: bool = False,
    return_url: bool = False,
    return_vectors: bool = False,
    return_vector_names: VectorNames = None,
    expand: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """A document, wherever in the namespace it lies."""
    point, at = await call.services.documents.find(
        call.scope, document_id, with_vectors=_wanted(return_vectors, return_vector_names)
    )
    document = await shown_document(
        call, point, at, presign=return_url or return_presigned_urls, return_vectors=return_vectors,
        names=return_vector_names, expand=expand,
    )  # fmt: skip
    return answer(document, call)


@router.patch("/documents/{document_id}", **operation("patch_document_ns", DocumentPatched))
async def patch_namespace_document(document_id: str, body: DocumentPatch, call: Writes) -> Response:
    """Set fields of a document, wherever it lies."""
    _, at = await call.services.documents.find(call.scope, document_id)
    return await _patch(call, at, document_id, body)


@router.put("/documents/{document_id}", **operation("update_document_ns", DocumentPatched))
async def update_namespace_document(document_id: str, body: DocumentPatch, call: Writes) -> Response:
    """The same: fields that are left out keep their values."""
    _, at = await call.services.documents.find(call.scope, document_id)
    return await _patch(call, at, document_id, body)


async def _patch(call: Call, at: CollectionRef, document_id: str, body: DocumentPatch) -> Response:
    fields: JsonObject = dict(body.model_extra or {})
    if body.metadata is not None:
        fields["metadata"] = body.metadata
    point = await call.services.documents.patch(call.scope, at, document_id, fields)
    return answer(forms.patched(point), call)


# Lists


async def _list(
    call: Call,
    collections: Sequence[Collection],
    body: DocumentList,
    page: PageRequest,
    *,
    unknown: list[str] | None = None,
) -> Response:
    where = parse_filter(body.filters)
    if body.search:
        where = both(where, searched(body.search, collections))
    names = body.return_vector_names
    vectors: Vectors = bool(body.return_vectors) or (names if isinstance(names, list) else False)
    if body.group_by:
        return await _grouped(call, collections, body, page, where)
    listing = await call.services.reader.page(
        call.scope.namespace, collections, page, where=where, sort=body.sort, partition=body.partition,
        with_vectors=vectors,
    )  # fmt: skip
    results = [await _listed(call, point, body) for point in listing.points]
    content: JsonObject = {
        "results": results,
        "pagination": page_shown(page, Slice(listing.points, listing.next_cursor, listing.total)),
        "stats": {},
    }
    if listing.total is not None:
        content["stats"] = {"total_documents": listing.total}
        content["total_documents"] = listing.total
    if unknown:
        content["unknown_collection_ids"] = unknown
    call.warnings.extend(listing.warnings)
    return answer(content, call)


async def _listed(call: Call, point: Point, body: DocumentList) -> JsonObject:
    names = point.vector_names if body.return_vector_names is True else None
    document = forms.nested(point.payload, sign=signer(call, body.return_presigned_urls), vector_names=names)
    forms.with_vectors(document, point)
    if body.select:
        vectors = [*point.vectors, *(["_vectors"] if names is not None else [])]
        document = forms.selected(document, ["document_id", "collection_id", *vectors, *body.select])
    if body.expand:
        document["_expanded"] = await _expanded(call, point, body.expand)
    return document


async def _grouped(
    call: Call, collections: Sequence[Collection], body: DocumentList, page: PageRequest, where: Filter
) -> Response:
    field = cast("str", body.group_by)
    groups, total, more = await call.services.reader.groups(
        call.scope.namespace, collections, page, field, where
    )
    shown: list[Json] = [
        {
            "group_key": group.key,
            "documents": [await _listed(call, point, body) for point in group.points],
            "count": group.count,
        }
        for group in groups
    ]
    pagination = _group_page(page, total, more)
    stats: JsonObject = {"total_documents": sum(group.count for group in groups), "total_groups": total}
    return answer({"groups": shown, "pagination": pagination, "group_by_field": field, "stats": stats}, call)


def _group_page(page: PageRequest, total: int, more: bool) -> JsonObject:
    """`pagination` of groups, whose number is always known."""
    shown = page_shown(page, Slice((), None, total))
    return {**shown, "next_page": str(page.number + 1)} if more else shown


def _results(changes: Sequence[Changed]) -> tuple[list[ChangeResult], int]:
    results = [
        ChangeResult(document_id=one.document_id, success=one.error is None, error=one.error)
        for one in changes
    ]
    return results, sum(not one.success for one in results)


def _json(text: str | None, field: str) -> Json:
    if not text:
        return None
    try:
        return cast("Json", orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"{field} is not valid JSON: {error}.", field=field, place="query") from error


def _sort(text: str | None) -> Sort | None:
    if not text:
        return None
    field, _, direction = text.partition(":")
    read = _json(text, "sort") if text.startswith("{") else {"field": field, "direction": direction or "asc"}
    try:
        return Sort.model_validate(read)
    except PydanticError as error:
        raise ValidationError(
            'sort is `field:asc`, `field:desc`, or JSON `{"field", "direction"}`.',
            field="sort",
            place="query",
        ) from error
