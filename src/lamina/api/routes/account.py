"""Who the caller is; the organization, its users and their API keys."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from lamina.api.answers import answer, note_unknown, plain
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.api.shapes import KeyShown, Me
from lamina.core.models import Success
from lamina.core.paging import PageRequest
from lamina.core.types import JsonObject
from lamina.platform.access import Permission, ResourceType
from lamina.platform.api_keys import ApiKeyCreate, NewApiKey
from lamina.platform.organizations import Organization, User, UserCreate, UserRole, UserStatus

router = APIRouter(prefix="/v1", tags=["Account"], route_class=GuardedRoute)

Read = Annotated[Call, needs(Permission.READ, ResourceType.ORGANIZATION, namespaced=False)]
Admin = Annotated[Call, needs(Permission.ADMIN, ResourceType.USER, namespaced=False)]
Keys = Annotated[Call, needs(Permission.ADMIN, ResourceType.API_KEY, namespaced=False)]


@router.get("/me", **operation("whoami_me", Me))
@router.get("/account", include_in_schema=False)
async def whoami(
    call: Annotated[
        Call, needs(Permission.READ, ResourceType.ORGANIZATION, namespaced=False, about_caller=True)
    ],
) -> Response:
    """Organization, user, and what the key that was sent may do."""
    organization = await call.services.organizations.get(call.scope)
    key = await call.services.keys.key_of(call.principal)
    me = Me(
        organization_id=organization.organization_id,
        organization_name=organization.organization_name,
        account_type=organization.account_type,
        user_email=call.principal.user_email,
        key=KeyShown(
            name=key.name,
            key_type=key.key_type,
            permissions=[one.value for one in key.permissions],
            expires_at=key.expires_at,
        ),
        rate_limits=organization.rate_limits.model_dump(),
        principal_scoped=bool(key.principal_id),
    )
    return answer(me, call)


@router.get("/organizations", **operation("get_organization", Organization))
async def get_organization(call: Read) -> Response:
    """The caller's organization."""
    return answer(await call.services.organizations.get(call.scope), call, hide={"internal_id"})


@router.post("/organizations/users", **operation("create_user_organizations", User, errors=(409,)))
async def create_user(body: UserCreate, call: Admin) -> Response:
    """Add a user to the organization."""
    note_unknown(call, body)
    return answer(await call.services.organizations.create_user(call.scope, body), call)


@router.get("/organizations/users", **operation("list_users_organizations", JsonObject))
async def list_users(
    call: Annotated[Call, needs(Permission.READ, ResourceType.USER, namespaced=False)],
    skip: Annotated[int, Query(ge=0, le=10_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    role: UserRole | None = None,
    status: UserStatus | None = None,
) -> Response:
    """The organization's users."""
    page = PageRequest(limit=limit, offset=skip, include_total=True)
    found = await call.services.organizations.list_users(call.scope, page, role, status)
    body: JsonObject = {
        "results": [plain(user) for user in found.items],
        "total": found.total,
        "skip": skip,
        "limit": limit,
    }
    return answer(body, call)


@router.post(
    "/organizations/users/{user_email}/api-keys",
    **operation("create_key_organizations_users_email", NewApiKey, errors=(409,)),
)
async def create_key(user_email: str, body: ApiKeyCreate, call: Keys) -> Response:
    """Make an API key for a user. Its text is in this answer and nowhere else."""
    note_unknown(call, body)
    user = await call.services.organizations.get_user(call.scope, user_email)
    key = await call.services.keys.create(call.scope, user, body, created_by=call.principal.user_id)
    return answer(key, call)


@router.get(
    "/organizations/users/{user_email}/api-keys",
    **operation("list_keys_organizations_users_email", JsonObject),
)
async def list_keys(
    user_email: str, call: Keys, include_revoked: bool = False, include_session_keys: bool = False
) -> Response:
    """A user's API keys, without their texts."""
    del include_session_keys  # There are no session keys here.
    user = await call.services.organizations.get_user(call.scope, user_email)
    found = await call.services.keys.list_page(call.scope, user, include_revoked=include_revoked)
    return answer({"results": [plain(key) for key in found.items], "total": len(found.items)}, call)


@router.delete(
    "/organizations/users/{user_email}/api-keys/{key_name}",
    **operation("delete_key_organizations_users_email_name", Success),
)
async def delete_key(user_email: str, key_name: str, call: Keys, force: bool = False) -> Response:
    """Revoke an API key, by name or id."""
    del force  # Nothing here embeds keys, so no revocation needs forcing.
    user = await call.services.organizations.get_user(call.scope, user_email)
    await call.services.keys.revoke(call.scope, user, key_name, revoked_by=call.principal.user_id)
    return answer(Success(message=f"API key '{key_name}' is revoked."), call)
