"""Organizations and their users."""

from enum import StrEnum

from pydantic import EmailStr, Field

from lamina.core.filters import ALL, And, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, Timestamp, now
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.types import JsonObject
from lamina.stores.records.base import Kind, Repository


class UserRole(StrEnum):
    """What a user may do in the organization."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class UserStatus(StrEnum):
    """A suspended user's keys are refused."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    PENDING = "pending"


class RateLimits(Model):
    """Requests a minute by category."""

    metadata: int = Field(default=600, ge=1)
    data: int = Field(default=600, ge=1)
    search: int = Field(default=600, ge=1)
    upload: int = Field(default=600, ge=1)
    compute: int = Field(default=600, ge=1)


class Organization(Model):
    """A tenant. `internal_id` marks its documents and is shown only inside them."""

    organization_id: str = Field(default_factory=lambda: new_id("org"))
    internal_id: str = Field(default_factory=lambda: new_id("int"))
    organization_name: str
    account_type: str = "enterprise"
    credit_count: int = 0
    metadata: JsonObject = Field(default_factory=dict)
    rate_limits: RateLimits = Field(default_factory=RateLimits)
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class User(Model):
    """A person of an organization."""

    user_id: str = Field(default_factory=lambda: new_id("usr"))
    organization_id: str | None = None
    email: str
    user_name: str
    avatar_url: str | None = None
    role: UserRole = UserRole.MEMBER
    status: UserStatus = UserStatus.ACTIVE
    metadata: JsonObject = Field(default_factory=dict)
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class UserCreate(Request):
    """Body of the creation of a user."""

    email: EmailStr
    user_name: str = Field(min_length=2, max_length=100)
    avatar_url: str | None = None
    role: UserRole = UserRole.MEMBER
    status: UserStatus | None = None
    metadata: JsonObject | None = None


ORGANIZATIONS = Kind("organizations", Organization, "organization_id", "organization_name", cached=True)
USERS = Kind("users", User, "user_id", "email", unique=("email",), search=("user_name",), cached=True)


class OrganizationService:
    """Reads organizations; creates and lists their users."""

    def __init__(self, organizations: Repository[Organization], users: Repository[User]) -> None:
        self.organizations = organizations
        self.users = users

    async def get(self, scope: Scope) -> Organization:
        """The caller's organization."""
        return await self.organizations.get(scope.of_organization(), scope.organization_id)

    async def create(self, name: str) -> Organization:
        """A new tenant."""
        organization = Organization(organization_name=name)
        await self.organizations.add(Scope(organization.organization_id), organization)
        return organization

    async def create_user(self, scope: Scope, asked: UserCreate) -> User:
        """A new user; `AlreadyExistsError` when the address is taken."""
        user = User(
            organization_id=scope.organization_id,
            email=asked.email.lower(),
            user_name=asked.user_name,
            avatar_url=asked.avatar_url,
            role=asked.role,
            status=asked.status or UserStatus.ACTIVE,
            metadata=asked.metadata or {},
        )
        await self.users.add(scope.of_organization(), user)
        return user

    async def get_user(self, scope: Scope, email: str) -> User:
        """A user by address or id."""
        return await self.users.get(scope.of_organization(), email.lower() if "@" in email else email)

    async def list_users(
        self, scope: Scope, page: PageRequest, role: UserRole | None, status: UserStatus | None
    ) -> Slice[User]:
        """Users, optionally of one role and status."""
        conditions = [
            equals(field, value.value) for field, value in (("role", role), ("status", status)) if value
        ]
        where = And(conditions) if conditions else ALL
        return await self.users.list_page(scope.of_organization(), page, where=where)
