"""API keys: shown once, stored as a hash."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, cast

from pydantic import Field, StringConstraints

from lamina.core.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotEnabledError,
    NotFoundError,
    UnauthorizedError,
)
from lamina.core.filters import And, Not, Or, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, Timestamp, as_utc, now
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import EVERYWHERE, Scope
from lamina.platform.access import Permission, Principal, ResourceScope
from lamina.platform.organizations import OrganizationService, User, UserStatus
from lamina.stores.records.base import Kind, RecordStore, Repository

ADMIN_KEY: Final = "admin-key"
"""Name of the key made at first start; it cannot be revoked through the API."""


class KeyStatus(StrEnum):
    """A key's state."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ApiKey(Model):
    """`APIKeyModel` of the contract. `key_hash` is the SHA-256 of the key."""

    key_id: str = Field(default_factory=lambda: new_id("key"))
    key_hash: str
    key_prefix: str
    key_type: str = "standard"
    internal_id: str
    organization_id: str
    user_id: str
    name: str
    description: str = ""
    permissions: list[Permission] = Field(default_factory=lambda: [Permission.READ])
    scopes: list[ResourceScope] = Field(default_factory=list)
    rate_limit_override: int | None = None
    status: KeyStatus = KeyStatus.ACTIVE
    expires_at: Timestamp | None = None
    last_used_at: Timestamp | None = None
    created_at: Timestamp = Field(default_factory=now)
    created_by: str | None = None
    revoked_at: Timestamp | None = None
    revoked_by: str | None = None
    allowed_origins: list[str] | None = None
    principal_id: str | None = None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now()


class NewApiKey(ApiKey):
    """A key at its creation: the only answer that holds it in the clear."""

    key: str


Origin = Annotated[str, StringConstraints(pattern=r"^https?://(\*\.)?[A-Za-z0-9.-]+(:[0-9]{1,5})?$")]
"""What a browser sends as `Origin`, or `https://*.example.com` for every subdomain."""


class ApiKeyCreate(Request):
    """Body of the creation of a key."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=500)
    permissions: list[Permission] = Field(default_factory=lambda: [Permission.READ], min_length=1)
    scopes: list[ResourceScope] | None = Field(default=None, max_length=100)
    rate_limit_override: int | None = Field(default=None, ge=1, le=1_000_000)
    expires_at: datetime | None = None
    principal_id: str | None = None
    allowed_origins: list[Origin] | None = Field(default=None, max_length=100)


API_KEYS = Kind("api_keys", ApiKey, "key_id", columns=("user_id", "key_hash"), search=("name",), cached=True)


class ApiKeyService:
    """Creates, lists, revokes and checks keys."""

    def __init__(
        self, records: RecordStore, keys: Repository[ApiKey], organizations: OrganizationService
    ) -> None:
        self.records = records
        self.keys = keys
        self.organizations = organizations

    async def create(
        self, scope: Scope, user: User, asked: ApiKeyCreate, *, created_by: str | None, key: str | None = None
    ) -> NewApiKey:
        """A new key of a user. Revoked and expired ones free their names.

        `key` is its text, for the key of the first start; every other one is made here.
        """
        if asked.principal_id is not None:
            raise NotEnabledError(
                "Keys that see one principal's documents only are not served by this version of Lamina.",
                field="principal_id",
            )
        if key is None and asked.name == ADMIN_KEY:
            raise ForbiddenError(f"The name '{ADMIN_KEY}' belongs to the key of the first start.")
        organization = await self.organizations.get(scope)
        key = key or new_key()
        record = ApiKey(
            key_hash=_hash(key),
            key_prefix=f"{key[:10]}...",
            internal_id=organization.internal_id,
            organization_id=organization.organization_id,
            user_id=user.user_id,
            name=asked.name,
            description=asked.description or "",
            permissions=asked.permissions,
            scopes=asked.scopes or [],
            rate_limit_override=asked.rate_limit_override,
            expires_at=as_utc(asked.expires_at) if asked.expires_at else None,
            created_by=created_by,
            principal_id=asked.principal_id,
            allowed_origins=asked.allowed_origins,
        )
        async with self.records.transaction(scope.of_organization()):
            if any(not one.expired for one in await self._active(scope, user.user_id, asked.name)):
                raise AlreadyExistsError(
                    f"API key '{asked.name}' already exists for this user.", field="name"
                )
            await self.keys.add(scope.of_organization(), record)
        return NewApiKey(key=key, **record.model_dump())

    async def list_page(self, scope: Scope, user: User, *, include_revoked: bool) -> Slice[ApiKey]:
        """A user's keys, newest last."""
        mine = equals("user_id", user.user_id)
        where = mine if include_revoked else And((mine, Not(equals("status", KeyStatus.REVOKED.value))))
        found = await self.keys.list_page(scope.of_organization(), PageRequest(limit=1000), where=where)
        return Slice([_dated(key) for key in found.items], found.next_cursor, found.total)

    async def revoke(self, scope: Scope, user: User, name: str, *, revoked_by: str | None) -> None:
        """End a key, by name or id. The admin key is protected: `ForbiddenError`."""
        found = await self._active(scope, user.user_id, name)
        if not found:
            raise NotFoundError("api_key", name)
        key = min(found, key=lambda one: (one.key_id != name, one.expired))
        if key.name == ADMIN_KEY:
            raise ForbiddenError("The admin key is protected and cannot be deleted.")
        ended = key.model_copy(
            update={"status": KeyStatus.REVOKED, "revoked_at": now(), "revoked_by": revoked_by}
        )
        await self.keys.update(scope.of_organization(), ended)

    async def _active(self, scope: Scope, user_id: str, identifier: str) -> Sequence[ApiKey]:
        """A user's keys of that name or id that are not revoked; expired ones too."""
        named = Or((equals("name", identifier), equals("key_id", identifier)))
        where = And((equals("user_id", user_id), equals("status", KeyStatus.ACTIVE.value), named))
        return (
            await self.keys.list_page(scope.of_organization(), PageRequest(limit=1000), where=where)
        ).items

    async def authenticate(self, key: str) -> Principal:
        """Whose key this is; `UnauthorizedError` when it is unknown, revoked or expired."""
        hashed = _hash(key)
        cache = self.records.cache
        if cache is not None and (checked := cache.get(("principal", hashed))) is not None:
            principal, expires_at = checked
            if expires_at is None or expires_at > now():
                return cast("Principal", principal)
        record = await self._by_hash(hashed)
        if record is None or record.status is not KeyStatus.ACTIVE or record.expired:
            raise UnauthorizedError("The API key is unknown, revoked or expired.")
        scope = Scope(record.organization_id)
        try:
            user = await self.organizations.get_user(scope, record.user_id)
        except NotFoundError as gone:
            raise UnauthorizedError("The API key's user is gone.") from gone
        if user.status is UserStatus.SUSPENDED:
            raise UnauthorizedError("The API key's user is suspended.")
        principal = Principal(
            organization_id=record.organization_id,
            internal_id=record.internal_id,
            user_id=user.user_id,
            user_email=user.email,
            key_id=record.key_id,
            key_name=record.name,
            permissions=frozenset(record.permissions),
            scopes=tuple(record.scopes),
            rate_limit_override=record.rate_limit_override,
            allowed_origins=tuple(record.allowed_origins or ()),
        )
        if cache is not None:
            cache["principal", hashed] = (principal, record.expires_at)
        return principal

    async def _by_hash(self, hashed: str) -> ApiKey | None:
        return await self.keys.first(EVERYWHERE, equals("key_hash", hashed))

    async def key_of(self, principal: Principal) -> ApiKey:
        """The record of the key that was shown."""
        return await self.keys.get(Scope(principal.organization_id), principal.key_id)


def new_key() -> str:
    """The text of a new key: `sk_` and 48 random characters."""
    return f"sk_{secrets.token_urlsafe(36).replace('-', 'A').replace('_', 'B')}"


def _dated(key: ApiKey) -> ApiKey:
    """A key whose time is over reads as expired; in the store it stays active."""
    over = key.status is KeyStatus.ACTIVE and key.expired
    return key.model_copy(update={"status": KeyStatus.EXPIRED}) if over else key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
