"""Storage connections: credentials go in and never come out."""

from dataclasses import replace
from typing import Annotated

import structlog
from fastapi import APIRouter, Response

from lamina.api.answers import answer, listed, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.paging import Paging
from lamina.api.shapes import Page
from lamina.core.models import Model
from lamina.core.types import JsonObject
from lamina.ingest.connections import (
    Connection,
    ConnectionCreate,
    ConnectionList,
    ConnectionPatch,
    ConnectionTest,
)
from lamina.platform.access import Permission, ResourceType

log = structlog.get_logger()

router = APIRouter(
    prefix="/v1/organizations/connections", tags=["Organization Connections"], route_class=GuardedRoute
)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.STORAGE_CONNECTION, namespaced=False)]
Changes = Annotated[Call, needs(Permission.ADMIN, ResourceType.STORAGE_CONNECTION, namespaced=False)]


class ConnectionDeleted(Model):
    """What was deleted."""

    message: str
    connection_id: str


@router.post("", **operation("create_storage_connection_organizations", Connection, errors=(409,)))
async def create_connection(body: ConnectionCreate, call: Changes) -> Response:
    """Name credentials of a bucket's provider, to read objects where they lie."""
    note_unknown(call, body)
    who = call.principal
    made = await call.services.connections.create(
        call.scope, body, internal_id=who.internal_id, user_id=who.user_id
    )
    log.info("connection_created", name=made.name, by=who.user_id)
    return answer(_shown(made), call)


@router.post("/list", **operation("list_storage_connections_organizations", Page[Connection]))
async def list_connections(call: Reads, query: Paging, body: ConnectionList | None = None) -> Response:
    """The organization's connections, without their credentials."""
    note_unknown(call, body)
    page = query.merged(body)
    counted = replace(page, include_total=True)
    found = await call.services.connections.list_page(call.scope, counted, body or ConnectionList())
    return listed(page, found, _shown, call, total=found.total)


@router.get("/{connection_identifier}", **operation("get_storage_connection_organizations", Connection))
async def get_connection(connection_identifier: str, call: Reads) -> Response:
    """A connection by id or name, without its credentials."""
    return answer(_shown(await call.services.connections.get(call.scope, connection_identifier)), call)


@router.patch(
    "/{connection_identifier}",
    **operation("update_storage_connection_organizations", Connection, errors=(409,)),
)
async def update_connection(connection_identifier: str, body: ConnectionPatch, call: Changes) -> Response:
    """Change a connection, suspend it, or give it other credentials."""
    note_unknown(call, body)
    changed = await call.services.connections.patch(call.scope, connection_identifier, body)
    log.info("connection_updated", name=changed.name, by=call.principal.user_id)
    return answer(_shown(changed), call)


@router.delete(
    "/{connection_identifier}", **operation("delete_storage_connection_organizations", ConnectionDeleted)
)
async def delete_connection(connection_identifier: str, call: Changes) -> Response:
    """End a connection. What refers to it cannot be read from now on."""
    ended = await call.services.connections.archive(call.scope, connection_identifier)
    log.info("connection_deleted", name=ended.name, by=call.principal.user_id)
    message = f"Connection '{ended.name}' is deleted."
    return answer(ConnectionDeleted(message=message, connection_id=ended.connection_id), call)


@router.post(
    "/{connection_identifier}/test", **operation("test_storage_connection_organizations", ConnectionTest)
)
async def test_connection(connection_identifier: str, call: Changes) -> Response:
    """Try whether the provider takes a connection's credentials."""
    return answer(await call.services.connections.test(call.scope, connection_identifier), call)


def _shown(connection: Connection) -> JsonObject:
    return plain(connection, {"sealed"})
