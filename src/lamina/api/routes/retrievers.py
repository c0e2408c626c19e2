"""Retrievers: kept, listed, executed; and searches that need none."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, Public, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.routes.documents import signer
from lamina.api.shapes import Page
from lamina.core.filters import parse_filter
from lamina.core.models import Deleted, Model, Request
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.types import JsonObject
from lamina.documents.forms import nested
from lamina.platform.access import Permission, ResourceType
from lamina.retrieval.pipeline import ExecutionResult
from lamina.retrieval.retrievers import (
    AdhocRequest,
    CreateRequest,
    ExecuteRequest,
    Execution,
    FeatureSearchRequest,
    PatchRequest,
    Retriever,
)
from lamina.retrieval.stages.registry import catalogue

router = APIRouter(prefix="/v1", tags=["Retrievers"], route_class=GuardedRoute)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.RETRIEVER)]
Writes = Annotated[Call, needs(Permission.WRITE, ResourceType.RETRIEVER)]
Deletes = Annotated[Call, needs(Permission.DELETE, ResourceType.RETRIEVER)]


class StageDefinition(Model):
    """A stage's entry in the catalogue."""

    stage_id: str
    description: str
    category: str
    icon: str
    parameter_schema: JsonObject | None = None


class Executed(Model):
    """`ExecuteRetrieverResponse` of the contract."""

    retriever_id: str = ""
    execution_id: str
    status: str
    documents: list[JsonObject]
    results: list[JsonObject]
    pagination: JsonObject
    stage_statistics: JsonObject
    budget: JsonObject
    facets: list[JsonObject] | None = None
    warnings: list[str] | None = None
    degraded: list[JsonObject] | None = None
    limits: list[JsonObject] | None = None
    optimization_applied: bool = False
    optimization_summary: JsonObject | None = None
    cache_hit: bool = False
    explain_plan: JsonObject | None = None


class Patched(Model):
    """Answer to the change of a retriever."""

    retriever: Retriever


class TextSearch(Request):
    """The high-level client's `documents.search`."""

    query: str = Field(min_length=1)
    collection_ids: list[str] | None = None
    page_size: int = Field(default=10, ge=1, le=500)
    filters: JsonObject | list[JsonObject] | None = None


# Before /retrievers/{retriever_id}, whose pattern this path fits too.
@router.get(
    "/retrievers/stages",
    dependencies=[Public],
    tags=["Retriever Stages"],
    **operation("list_stages_retrievers", list[StageDefinition]),
)
async def list_stages() -> Response:
    """Every stage, with its parameters as JSON schema."""
    return answer(catalogue())


@router.post(
    "/retrievers/execute", tags=["Adhoc Retrievers"], **operation("execute_adhoc_retriever", Executed)
)
async def execute_adhoc(
    body: AdhocRequest, call: Reads, return_presigned_urls: bool = False, return_vectors: bool = False
) -> Response:
    """Run stages that are not kept as a retriever."""
    note_unknown(call, body)
    retriever = await call.services.retrievers.adhoc(call.scope, body)
    asked = _asked(body, return_presigned_urls, return_vectors)
    return await _execute(call, retriever, asked, {"X-Execution-Mode": "adhoc"})


@router.post("/features/search", tags=["Feature Search"], **operation("feature_search", Executed))
async def feature_search(body: FeatureSearchRequest, call: Reads) -> Response:
    """One search over one vector index."""
    note_unknown(call, body)
    adhoc = body.as_adhoc()
    retriever = await call.services.retrievers.adhoc(call.scope, adhoc)
    return await _execute(call, retriever, adhoc, {"X-Execution-Mode": "adhoc"})


@router.post("/documents/search", include_in_schema=False)
async def search_documents(body: TextSearch, call: Reads) -> Response:
    """A text search over all or some collections, as the high-level client asks for it."""
    adhoc = FeatureSearchRequest.model_validate(
        {
            "query": body.query,
            "collection_ids": body.collection_ids,
            "top_k": body.page_size,
            "filters": body.filters,
        }
    ).as_adhoc()
    retriever = await call.services.retrievers.adhoc(call.scope, adhoc)
    return await _execute(call, retriever, adhoc, {"X-Execution-Mode": "adhoc"})


@router.post("/retrievers", **operation("create_retriever", Retriever, errors=(409,)))
async def create_retriever(body: CreateRequest, call: Writes) -> Response:
    """Keep a pipeline of stages under a name."""
    note_unknown(call, body)
    made = await call.services.retrievers.create(call.scope, body, by=call.principal.user_id)
    shown = _shown(made)
    # Older clients read the retriever from a key of that name.
    return answer({**shown, "retriever": shown}, call)


@router.get("/retrievers", **operation("list_retrievers_get", Page[Retriever]))
async def list_retrievers_get(
    call: Annotated[Call, needs(Permission.READ, ResourceType.RETRIEVER, listing=True)], query: Paging
) -> Response:
    """The namespace's retrievers."""
    return await _list(call, ResourceList(), query.merged())


@router.post("/retrievers/list", **operation("list_retrievers_post", Page[Retriever]))
async def list_retrievers(
    call: Annotated[Call, needs(Permission.READ, ResourceType.RETRIEVER, listing=True)],
    query: Paging,
    body: ResourceList | None = None,
) -> Response:
    """The namespace's retrievers, filtered, sorted and searched."""
    note_unknown(call, body)
    return await _list(call, body or ResourceList(), query.merged(body))


async def _list(call: Call, body: ResourceList, page: PageRequest) -> Response:
    found = await call.services.retrievers.list_page(
        call.scope,
        replace(page, include_total=True),
        where=parse_filter(body.filters),
        sort=body.order,
        search=body.search,
        case_sensitive=body.case_sensitive,
    )
    shown = Slice(found.items, found.next_cursor, found.total if page.include_total else None)
    return listed(page, shown, _shown, call, total=found.total, total_count=found.total)


@router.get("/retrievers/{retriever_id}", **operation("get_retriever", Retriever))
async def get_retriever(retriever_id: str, call: Reads) -> Response:
    """A retriever. What is read can be posted again unchanged."""
    return answer(_shown(await call.services.retrievers.get(call.scope, retriever_id)), call)


@router.patch("/retrievers/{retriever_id}", **operation("patch_retriever", Patched, errors=(409,)))
async def patch_retriever(retriever_id: str, body: PatchRequest, call: Writes) -> Response:
    """Change a retriever; the input schema only in ways that break no caller."""
    note_unknown(call, body)
    changed = await call.services.retrievers.patch(call.scope, retriever_id, body, by=call.principal.user_id)
    return answer({"retriever": _shown(changed)}, call)


@router.delete("/retrievers/{retriever_id}", **operation("delete_retriever", Deleted))
async def delete_retriever(retriever_id: str, call: Deletes) -> Response:
    """Delete a retriever."""
    gone = await call.services.retrievers.delete(call.scope, retriever_id)
    return answer(Deleted(message=f"Retriever {gone.retriever_id} is deleted."), call)


@router.post("/retrievers/{retriever_id}/execute", **operation("execute_retriever", Executed))
async def execute_retriever(
    retriever_id: str,
    call: Reads,
    body: ExecuteRequest | None = None,
    return_presigned_urls: bool = False,
    return_vectors: bool = False,
    explain: bool = False,
    include_legacy_results: Annotated[bool, Query(description="`results` always comes.")] = True,
    skip_cache: bool = False,
) -> Response:
    """Run a retriever and answer with a page of documents, or with events when `stream` is set."""
    del include_legacy_results, skip_cache  # Both are always so.
    note_unknown(call, body)
    retriever = await call.services.retrievers.get(call.scope, retriever_id)
    asked = _asked(body or ExecuteRequest(), return_presigned_urls, return_vectors, explain)
    return await _execute(call, retriever, asked, {})


def _asked(body: Execution, presign: bool, vectors: bool, explain: bool = False) -> Execution:
    """The body with what the query asks for besides."""
    body.return_presigned_urls = body.return_presigned_urls or presign
    body.return_vectors = body.return_vectors or vectors
    body.explain = body.explain or explain
    return body


async def _execute(call: Call, retriever: Retriever, asked: Execution, headers: dict[str, str]) -> Response:
    if asked.stream:
        events = call.services.pipeline.stream(call.scope, retriever, asked)
        # The first event is awaited here, so that what is wrong with the request is still an error answer.
        first = await anext(events)
        return StreamingResponse(
            _sent(call, asked, first, events),
            200,
            {**headers, "Cache-Control": "no-cache"},
            "text/event-stream",
        )
    done: ExecutionResult = await call.services.pipeline.execute(call.scope, retriever, asked)
    _render(call, asked, done.response)
    if call.warnings:
        known: Any = done.response.get("warnings") or []
        done.response["warnings"] = [*known, *call.warnings]
    return Response(orjson.dumps(done.response), 200, {**headers, "X-Cache": "MISS"}, "application/json")


async def _sent(
    call: Call, asked: Execution, first: JsonObject, rest: AsyncIterator[JsonObject]
) -> AsyncIterator[bytes]:
    """Server-sent events, each a line of JSON."""
    yield _event(call, asked, first)
    async for event in rest:
        yield _event(call, asked, event)
    yield b"data: [DONE]\n\n"


def _event(call: Call, asked: Execution, event: JsonObject) -> bytes:
    _render(call, asked, event)
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _render(call: Call, asked: Execution, holder: JsonObject) -> None:
    """Put each document's blobs at its root, presigned when asked for."""
    documents: Any = holder.get("documents")
    if not documents:
        return
    sign = signer(call, asked.return_presigned_urls)

    def show(one: JsonObject) -> JsonObject:
        inner: Any = one.get("documents")
        if "group_key" in one and isinstance(inner, list):
            return {**one, "documents": [show(document) for document in inner]}
        return nested(one, sign=sign) if "_internal" in one else one

    shown = [show(one) for one in documents]
    holder["documents"] = shown
    if "results" in holder:
        holder["results"] = shown


def _shown(retriever: Retriever) -> JsonObject:
    return plain(retriever)
