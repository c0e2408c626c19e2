"""The secrets vault: names are listed, values go in and never come out."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Response

from lamina.api.answers import answer, note_unknown
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.core.models import Model
from lamina.platform.access import Permission, ResourceType
from lamina.platform.secrets import SecretCreate, SecretUpdate

log = structlog.get_logger()

router = APIRouter(
    prefix="/v1/organizations/secrets", tags=["Organization Secrets"], route_class=GuardedRoute
)

Reads = Annotated[Call, needs(Permission.READ, ResourceType.SECRET, namespaced=False)]
Changes = Annotated[Call, needs(Permission.ADMIN, ResourceType.SECRET, namespaced=False)]


class SecretShown(Model):
    """`SecretResponse` of the contract: what was done with a secret, without its value."""

    secret_name: str
    created: bool | None = None
    updated: bool | None = None
    deleted: bool | None = None


class SecretNames(Model):
    """`SecretsListResponse` of the contract."""

    secrets: list[str]
    count: int


@router.post("", **operation("create_secret_organizations", SecretShown, errors=(409,)))
async def create_secret(body: SecretCreate, call: Changes) -> Response:
    """Put a value into the vault, to be referred to as `{{SECRET.name}}`."""
    note_unknown(call, body)
    await call.services.secrets.create(call.scope, body)
    log.info("secret_created", name=body.secret_name, by=call.principal.user_id)
    return answer(SecretShown(secret_name=body.secret_name, created=True), call)


@router.get("", **operation("list_secrets_organizations", SecretNames))
async def list_secrets(call: Reads) -> Response:
    """The names of the organization's secrets."""
    names = await call.services.secrets.names(call.scope)
    return answer(SecretNames(secrets=names, count=len(names)), call)


@router.put("/{secret_name}", **operation("update_secret_organizations_name", SecretShown))
async def update_secret(secret_name: str, body: SecretUpdate, call: Changes) -> Response:
    """Put another value in place of a secret's; what refers to it uses the new one from now on."""
    note_unknown(call, body)
    await call.services.secrets.update(call.scope, secret_name, body)
    log.info("secret_updated", name=secret_name, by=call.principal.user_id)
    return answer(SecretShown(secret_name=secret_name, updated=True), call)


@router.delete("/{secret_name}", **operation("delete_secret_organizations_name", SecretShown))
async def delete_secret(secret_name: str, call: Changes) -> Response:
    """Remove a secret. What refers to it fails from now on."""
    await call.services.secrets.delete(call.scope, secret_name)
    log.info("secret_deleted", name=secret_name, by=call.principal.user_id)
    return answer(SecretShown(secret_name=secret_name, deleted=True), call)
