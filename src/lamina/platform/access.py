"""Who calls and what they may do: permissions, resource scopes, principals."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from pydantic import Field

from lamina.core.errors import ForbiddenError
from lamina.core.models import Model


class Permission(StrEnum):
    """Four levels; each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"


_LEVEL: Final = {permission: level for level, permission in enumerate(Permission)}


class ResourceType(StrEnum):
    """What a scope can name."""

    ORGANIZATION = "organization"
    USER = "user"
    API_KEY = "api_key"
    NAMESPACE = "namespace"
    COLLECTION = "collection"
    DOCUMENT = "document"
    BUCKET = "bucket"
    RETRIEVER = "retriever"
    CLUSTER = "cluster"
    TAXONOMY = "taxonomy"
    STORAGE_CONNECTION = "storage_connection"
    ALERT = "alert"
    ANNOTATION = "annotation"
    SECRET = "secret"
    WEBHOOK = "webhook"


class Operation(StrEnum):
    """`NamespaceOperation` of the contract: what a scope can be narrowed to."""

    READ_DATA = "read_data"
    WRITE_DATA = "write_data"
    DELETE_DATA = "delete_data"
    EXECUTE_RETRIEVER = "execute_retriever"
    CREATE_RETRIEVER = "create_retriever"
    DELETE_RETRIEVER = "delete_retriever"
    EXECUTE_JOB = "execute_job"
    CANCEL_JOB = "cancel_job"
    CREATE_CLUSTER = "create_cluster"
    DELETE_CLUSTER = "delete_cluster"
    MODIFY_CLUSTER = "modify_cluster"
    MODIFY_INFRASTRUCTURE = "modify_infrastructure"
    MANAGE_PERMISSIONS = "manage_permissions"


_USUAL: Final = {
    Permission.READ: Operation.READ_DATA,
    Permission.WRITE: Operation.WRITE_DATA,
    Permission.DELETE: Operation.DELETE_DATA,
    Permission.ADMIN: Operation.MANAGE_PERMISSIONS,
}
_SPECIAL: Final = {
    (ResourceType.RETRIEVER, Permission.READ): frozenset({Operation.READ_DATA, Operation.EXECUTE_RETRIEVER}),
    (ResourceType.RETRIEVER, Permission.WRITE): frozenset({Operation.CREATE_RETRIEVER}),
    (ResourceType.RETRIEVER, Permission.DELETE): frozenset({Operation.DELETE_RETRIEVER}),
    (ResourceType.NAMESPACE, Permission.WRITE): frozenset({Operation.MODIFY_INFRASTRUCTURE}),
    (ResourceType.NAMESPACE, Permission.DELETE): frozenset(
        {Operation.MODIFY_INFRASTRUCTURE, Operation.CANCEL_JOB}
    ),
    (ResourceType.BUCKET, Permission.WRITE): frozenset({Operation.WRITE_DATA, Operation.EXECUTE_JOB}),
    (ResourceType.COLLECTION, Permission.WRITE): frozenset({Operation.WRITE_DATA, Operation.EXECUTE_JOB}),
}


def operations_of(permission: Permission, resource: ResourceType) -> frozenset[Operation]:
    """The operations of which a scope must allow one, where it allows only some."""
    return _SPECIAL.get((resource, permission), frozenset({_USUAL[permission]}))


class ResourceScope(Model):
    """One resource that a key is limited to, by its id; a namespace also by its name.

    `*` stands for any characters of the id. A bucket or a collection comes with what is inside of
    it, a retriever to be read and executed only.
    """

    resource_type: ResourceType
    resource_id: str = Field(min_length=1, max_length=100)
    operations: list[Operation] | None = Field(
        default=None,
        description="What may be done with it; everything that the permissions allow if not set.",
    )

    def names(self, type: ResourceType, identifiers: frozenset[str]) -> bool:
        """Whether it is about the resource with one of these identifiers."""
        return self.resource_type == type and any(fnmatchcase(one, self.resource_id) for one in identifiers)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: the key that was shown, and whose it is."""

    organization_id: str
    internal_id: str
    user_id: str
    user_email: str
    key_id: str
    key_name: str
    permissions: frozenset[Permission]
    scopes: tuple[ResourceScope, ...] = ()
    rate_limit_override: int | None = None
    allowed_origins: tuple[str, ...] = ()

    @property
    def limited(self) -> bool:
        """Whether scopes narrow the key to less than its organization."""
        organization = frozenset({self.organization_id})
        return bool(self.scopes) and not any(
            one.operations is None and one.names(ResourceType.ORGANIZATION, organization)
            for one in self.scopes
        )

    @property
    def only_namespace(self) -> str | None:
        """The one namespace that the key can see, when its scopes name just one."""
        named = {one.resource_id for one in self.scopes if one.resource_type is ResourceType.NAMESPACE}
        only = named.pop() if self.limited and len(named) == 1 else "*"
        return None if set("*?[") & set(only) else only

    def require(self, permission: Permission) -> None:
        """`ForbiddenError` unless the key has that level."""
        held = max((_LEVEL[one] for one in self.permissions), default=-1)
        if held < _LEVEL[permission]:
            raise ForbiddenError(
                f"This API key lacks the '{permission}' permission.",
                required=permission.value,
                granted=sorted(one.value for one in self.permissions),
            )

    def require_origin(self, origin: str | None) -> None:
        """`ForbiddenError` for a browser's request from a page that the key is not for."""
        if origin is None or not self.allowed_origins:
            return
        if not any(_fits(origin.lower(), allowed.lower()) for allowed in self.allowed_origins):
            raise ForbiddenError("This API key may not be used from this origin.", origin=origin)

    def may_use(
        self, type: ResourceType, identifiers: frozenset[str], operations: frozenset[Operation]
    ) -> bool:
        """Whether a scope names a resource (by its id, its name) and allows one of the operations there."""
        return any(
            scope.names(type, identifiers)
            and (scope.operations is None or not operations.isdisjoint(scope.operations))
            for scope in self.scopes
        )


def _fits(origin: str, allowed: str) -> bool:
    """Exactly, or by `https://*.example.com` for every subdomain."""
    scheme, wildcard, domain = allowed.partition("://*.")
    if not wildcard:
        return origin == allowed
    host = origin.removeprefix(f"{scheme}://")
    return host != origin and host.endswith(f".{domain}") and "/" not in host
