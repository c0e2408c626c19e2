"""Namespaces, and documents of standalone ones."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Response

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.routes.documents import shown_document
from lamina.api.shapes import Consistency, DocumentFlat, Page, Upserted
from lamina.core.filters import parse_filter
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.types import JsonObject
from lamina.documents.requests import Upsert
from lamina.platform.access import Permission, ResourceType
from lamina.platform.namespaces import (
    Namespace,
    NamespaceCreate,
    NamespacePatch,
    Standalone,
    StandaloneCreate,
)
from lamina.platform.tasks import Task

router = APIRouter(prefix="/v1/namespaces", tags=["Namespaces"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.NAMESPACE, namespaced=False)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.NAMESPACE, namespaced=False)]

_HEAVY = {"payload_indexes", "feature_extractors", "vector_configs"}


@router.post("", **operation("create_namespace", Namespace, errors=(409,)))
async def create_namespace(
    body: NamespaceCreate,
    call: Annotated[Call, needs(Permission.ADMIN, ResourceType.NAMESPACE, namespaced=False)],
) -> Response:
    """A new isolated space."""
    note_unknown(call, body)
    return answer(await call.services.namespaces.create(call.scope, body), call)


@router.post("/standalone", **operation("create_standalone_namespace", Standalone, errors=(409,)))
async def create_standalone(
    body: StandaloneCreate,
    call: Annotated[Call, needs(Permission.ADMIN, ResourceType.NAMESPACE, namespaced=False)],
) -> Response:
    """A namespace for documents whose vectors the caller makes."""
    note_unknown(call, body)
    return answer(await call.services.namespaces.create_standalone(call.scope, body), call)


@router.get("", **operation("list_namespaces_get", Page[Namespace]))
async def list_namespaces_get(call: Reads, query: Paging) -> Response:
    """The organization's namespaces."""
    return await _list(call, ResourceList(), query.merged(), "full")


@router.post("/list", **operation("list_namespaces", Page[Namespace]))
async def list_namespaces(
    call: Reads,
    query: Paging,
    body: ResourceList | None = None,
    view: Literal["full", "summary"] = "full",
    include_system: bool = False,
) -> Response:
    """The organization's namespaces, filtered, sorted and searched."""
    del include_system  # There are no system namespaces here.
    note_unknown(call, body)
    return await _list(call, body or ResourceList(), query.merged(body), view)


async def _list(call: Call, body: ResourceList, page: PageRequest, view: str) -> Response:
    where = parse_filter(body.filters)
    found = await call.services.namespaces.list_page(
        call.scope, replace(page, include_total=True), body, where
    )
    hidden = _HEAVY if view == "summary" else None
    total = found.total
    shown = Slice(found.items, found.next_cursor, total if page.include_total else None)
    return listed(page, shown, lambda one: plain(one, hidden), call, total_count=total)


@router.get("/{namespace_identifier}", **operation("get_namespace", Namespace))
async def get_namespace(namespace_identifier: str, call: Reads) -> Response:
    """A namespace with the counts of what it holds."""
    namespace = await call.services.namespaces.resolve(call.principal.organization_id, namespace_identifier)
    return answer(await call.services.namespaces.described(call.scope, namespace), call)


@router.patch("/{namespace_identifier}", **operation("patch_namespace", Namespace, errors=(409,)))
async def patch_namespace(namespace_identifier: str, body: NamespacePatch, call: Writes) -> Response:
    """Change a namespace; extractors and payload indexes are added."""
    note_unknown(call, body)
    return answer(await call.services.namespaces.patch(call.scope, namespace_identifier, body), call)


@router.delete("/{namespace_identifier}", **operation("delete_namespace", Task, errors=(409,)))
async def delete_namespace(
    namespace_identifier: str,
    call: Annotated[Call, needs(Permission.DELETE, ResourceType.NAMESPACE, namespaced=False)],
    force: bool = False,
) -> Response:
    """Delete a namespace with all it holds, as a task."""
    namespace = await call.services.namespaces.resolve(call.principal.organization_id, namespace_identifier)
    return answer(
        await call.services.deletion.namespace(call.principal.organization_id, namespace, force=force), call
    )


@router.post("/{namespace_id}/documents/upsert", **operation("upsert_documents_byo_namespaces", Upserted))
async def upsert_documents(namespace_id: str, body: Upsert, call: Writes) -> Response:
    """Write documents with vectors that the caller made; the same id replaces."""
    note_unknown(call, body)
    namespace = await call.services.namespaces.resolve(call.principal.organization_id, namespace_id)
    scope = replace(call.scope, namespace_id=namespace.namespace_id)
    ids = await call.services.documents.upsert(scope, body)
    upserted: JsonObject = plain(
        Upserted(inserted=len(ids), document_ids=list(ids), consistency=Consistency())
    )
    return answer(upserted, call)


@router.get(
    "/{namespace_id}/documents/{document_id}", **operation("get_document_byo_namespaces", DocumentFlat)
)
async def get_namespace_document(
    namespace_id: str, document_id: str, call: Reads, return_vectors: bool = False
) -> Response:
    """A document of a namespace that the path names."""
    namespace = await call.services.namespaces.resolve(call.principal.organization_id, namespace_id)
    call.scope = replace(call.scope, namespace_id=namespace.namespace_id)
    point, at = await call.services.documents.find(call.scope, document_id, with_vectors=return_vectors)
    return answer(await shown_document(call, point, at, return_vectors=return_vectors), call)
