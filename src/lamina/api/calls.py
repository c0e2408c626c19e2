"""Who calls, in which namespace, with which right: one mechanism for every route.

A route says `call: Annotated[Call, needs(Permission.WRITE, ResourceType.BUCKET)]`, and gets the
scope that every store call takes, or it says `Public`; one that says neither cannot be made. Key,
rate limit and permission are checked before a byte of the body is read.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, cast

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from lamina.api.bodies import JsonRequest
from lamina.api.plain import PlainReading
from lamina.core.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    ValidationError,
)
from lamina.core.scope import Scope
from lamina.platform.access import Permission, Principal, ResourceType, operations_of

if TYPE_CHECKING:
    from lamina.api.services import Services

_IN_PATH: Final = {
    ResourceType.BUCKET: "bucket_identifier",
    ResourceType.COLLECTION: "collection_identifier",
    ResourceType.RETRIEVER: "retriever_id",
}
"""Resources that a key's scope can be limited to, and the path parameters that name them."""

_NAMESPACE_IN_PATH: Final = ("namespace_identifier", "namespace_id")


class UnresolvedNamespaceError(NotFoundError):
    """The namespace of a list does not exist: the contract answers with an empty list."""


@dataclass(slots=True)
class Call:
    """One authenticated request."""

    request: Request
    principal: Principal
    scope: Scope
    services: "Services"
    whole_namespace: bool = True
    """Whether the key reaches all of the namespace, not just the resource that the path names."""
    warnings: list[str] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """The URL that this client reaches the server under."""
        configured = self.services.settings.public_url
        return configured.rstrip("/") if configured else str(self.request.base_url).rstrip("/")

    @property
    def envelope(self) -> bool:
        """Whether the client wants the SDK's form where it differs from the published page."""
        agent = self.request.headers.get("user-agent", "")
        return (
            agent.startswith("OpenAPI-Generator/") or self.request.query_params.get("response") == "envelope"
        )


@dataclass(frozen=True, slots=True)
class Access:
    """The check before a route: key, rate limit, permission, namespace, resource scope."""

    permission: Permission
    resource: ResourceType
    namespaced: bool = True
    listing: bool = False
    lost_namespace: bool = False
    """Whether a namespace that no longer exists is no error: its deletion can still be watched."""
    about_caller: bool = False
    """Whether the answer is about the key itself, so that its scopes do not matter."""

    async def admit(self, request: Request) -> Principal:
        """What can be said without the body: whose key it is, how often it called, what it may do."""
        services: Services = request.app.state.services
        principal = await authenticated(request, services)
        services.limits.check(principal, request)
        principal.require(self.permission)
        request.state.principal = principal
        return principal

    async def __call__(self, request: Request) -> Call:
        """Check a request; its `Call`, or the error that refuses it."""
        services: Services = request.app.state.services
        principal = getattr(request.state, "principal", None) or await self.admit(request)
        try:
            scope = Scope(principal.organization_id)
            if self.namespaced:
                scope = await self._scope(request, principal, services)
            whole = not principal.limited or await self._reached(request, principal, scope, services)
        except NotFoundError as missing:
            if principal.limited:  # what the key does not reach reads the same, there or not
                raise _out_of_reach(principal) from missing
            raise
        return Call(request, principal, scope, services, whole)

    async def _scope(self, request: Request, principal: Principal, services: "Services") -> Scope:
        name = (
            request.headers.get("x-namespace")
            or request.query_params.get("namespace")
            or principal.only_namespace
        )
        organization = principal.organization_id
        if name:
            try:
                found = await services.namespaces.resolve(organization, name)
            except NotFoundError as missing:
                if self.lost_namespace:
                    return Scope(organization, "")
                if self.listing and not principal.limited:
                    raise UnresolvedNamespaceError("namespace", name) from missing
                raise
            return Scope(organization, found.namespace_id)
        only = await services.namespaces.only(organization, services.settings.default_namespace)
        if only is None:
            raise BadRequestError(
                "Name a namespace by its id or name in the X-Namespace header or as ?namespace=.",
                field="X-Namespace",
            )
        return Scope(organization, only.namespace_id)

    async def _reached(
        self, request: Request, principal: Principal, scope: Scope, services: "Services"
    ) -> bool:
        """Whether the key reaches all of the namespace, or only the resource that the path names.

        `ForbiddenError` when it does not even reach that.
        """
        path = request.path_params
        operations = operations_of(self.permission, self.resource)
        organization = frozenset({principal.organization_id})
        if principal.may_use(ResourceType.ORGANIZATION, organization, operations):
            return True
        named = next((path[key] for key in _NAMESPACE_IN_PATH if key in path), scope.namespace_id)
        if named is not None:
            namespace = await services.namespaces.resolve(principal.organization_id, named)
            identifiers = frozenset({namespace.namespace_id, namespace.namespace_name})
            if principal.may_use(ResourceType.NAMESPACE, identifiers, operations):
                return True
        parameter = _IN_PATH.get(self.resource)
        if parameter in path and scope.namespace_id is not None and self._fits_inside():
            # By id only: names repeat from namespace to namespace.
            identifier = await services.resource_id(self.resource, scope, path[parameter])
            if principal.may_use(self.resource, frozenset({identifier}), operations):
                return False
        if self.about_caller:
            return False
        raise _out_of_reach(principal)

    def _fits_inside(self) -> bool:
        """Whether a scope of one resource is enough.

        Not to change a retriever, which could then read any collection.
        """
        return self.resource is not ResourceType.RETRIEVER or self.permission is Permission.READ


def _out_of_reach(principal: Principal) -> ForbiddenError:
    return ForbiddenError(
        "This API key's scopes do not reach this resource.",
        scopes=[one.model_dump(mode="json", exclude_none=True) for one in principal.scopes],
    )


async def authenticated(request: Request, services: "Services") -> Principal:
    """The principal behind the `Authorization` header."""
    header = request.headers.get("authorization", "")
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise UnauthorizedError("Send your API key as 'Authorization: Bearer sk_…'.")
    principal = await services.keys.authenticate(key.strip())
    principal.require_origin(request.headers.get("origin"))
    return principal


class GuardedRoute(APIRoute):
    """A route that lets nobody in before its `Access` does, and reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler behind the check; `TypeError` for a route that declares no right."""
        access = declared(self.dependant)
        if access is None:
            raise TypeError(f"{self.path} says neither what it needs nor that it is public")
        self.strict_content_type = False  # bodies are JSON, whatever a client calls them
        handle = super().get_route_handler()

        plain = PlainReading.of(self.dependant, access) if isinstance(access, Access) else None

        async def guarded(request: Request) -> Response:
            if not isinstance(access, Access):
                return await answered(request)
            services: Services = request.app.state.services
            async with services.records.caching():
                await access.admit(request)
                return await answered(request)

        async def answered(request: Request) -> Response:
            _without_nul(request)
            read = JsonRequest(request.scope, request.receive)
            arguments = None if plain is None else await plain.arguments(read)
            if arguments is not None:
                answer: Response = await self.endpoint(**arguments)
                return answer
            return await handle(read)

        return guarded


def declared(dependant: Dependant) -> "Access | Callable[[], None] | None":
    """What a route declares: its `Access`, `public`, or nothing."""
    calls = [one.call for one in dependant.dependencies]
    found = next((call for call in calls if isinstance(call, Access)), None)
    return found or (public if public in calls else None)


def _without_nul(request: Request) -> None:
    """No store has a text with the character NUL in it, and some fail when they are asked for one."""
    if b"%00" in request.scope["query_string"]:
        raise ValidationError("The query must not contain the character NUL.", place="query")
    if "\0" in request.scope["path"]:
        raise ValidationError("The path must not contain the character NUL.", place="path")


_bearer = HTTPBearer(auto_error=False, description="API key: `Bearer sk_…`")


def needs(
    permission: Permission,
    resource: ResourceType,
    *,
    namespaced: bool = True,
    listing: bool = False,
    lost_namespace: bool = False,
    about_caller: bool = False,
) -> Access:
    """What a route requires, as its dependency."""
    return cast(
        "Access", Depends(Access(permission, resource, namespaced, listing, lost_namespace, about_caller))
    )


def public() -> None:
    """Marks a route that needs no key."""


Public = Depends(public)
Bearer = Annotated[object, Depends(_bearer)]
