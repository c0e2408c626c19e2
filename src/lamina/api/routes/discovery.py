"""What can be used here, told for programs that write configurations."""

import asyncio

from fastapi import APIRouter, Request, Response

from lamina.api.answers import answer, plain
from lamina.api.calls import GuardedRoute, Public
from lamina.api.catalogue import ExtractorDiscovery, discovered, extractor_entries
from lamina.api.operations import operation

router = APIRouter(
    prefix="/v1/discovery", tags=["Discovery"], dependencies=[Public], route_class=GuardedRoute
)


@router.get("/extractors", **operation("list_extractors_discovery", list[ExtractorDiscovery]))
async def list_extractors(request: Request) -> Response:
    """Every extractor with its inputs, outputs, an example, its models here, and whether it can be used."""
    entries = await asyncio.to_thread(extractor_entries, request.app.state.services.models)
    return answer([plain(discovered(one)) for one in entries])
