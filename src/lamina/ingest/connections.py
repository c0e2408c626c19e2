"""① Storage connections: named credentials with which objects in buckets of others are read in place.

Credentials are sealed as the vault's secrets are and shown to nobody. Whatever a connection reads goes
through the guarded fetcher, by a URL that is signed here: so an endpoint that somebody wrote into a
connection reaches no further than any other URL.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic import ValidationError as PydanticError

from lamina.core.errors import AlreadyExistsError, NotEnabledError, ValidationError
from lamina.core.filters import And, Filter, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.paging import Listing, PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.statuses import Status
from lamina.core.types import JsonObject
from lamina.ingest.fetch import Fetcher
from lamina.platform.secrets import SecretService
from lamina.stores.blobs.elsewhere import Access, Place, place_of, signed
from lamina.stores.records.base import Kind, Repository

SIGNED_SECONDS: Final = 3600

Name = Annotated[ResourceName, Field(min_length=1, max_length=100)]
Settable = Literal[Status.ACTIVE, Status.SUSPENDED]


class Connection(Model):
    """`StorageConnectionModel` of the contract. `provider_config` has no credentials but their type."""

    connection_id: str = Field(default_factory=lambda: new_id("conn"))
    internal_id: str
    provider_type: str
    provider_config: JsonObject
    write_enabled: bool = False
    name: str
    description: str | None = None
    status: Status = Status.ACTIVE
    is_active: bool = True
    last_used_at: Timestamp | None = None
    last_error: str | None = None
    consecutive_failures: int = 0
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    created_by_user_id: str
    metadata: JsonObject = Field(default_factory=dict)
    sealed: str = Field(default="", description="Its credentials. Shown to nobody.")


CONNECTIONS = Kind("connections", Connection, "connection_id", "name", search=("name", "description"))


class ConnectionCreate(Request):
    """Body of the creation of a connection."""

    name: Name
    provider_type: str
    provider_config: JsonObject = Field(repr=False)
    description: str | None = Field(default=None, max_length=500)
    metadata: JsonObject | None = None
    write_enabled: bool = False
    test_before_save: bool = True


class ConnectionPatch(Request):
    """Body of the change of a connection."""

    name: Name | None = None
    description: str | None = Field(default=None, max_length=500)
    metadata: JsonObject | None = None
    status: Settable | None = None
    is_active: bool | None = None
    write_enabled: bool | None = None
    provider_config: JsonObject | None = Field(default=None, repr=False)


class ConnectionList(Listing):
    """Body of the list of connections."""

    provider_type: str | None = None
    status: Status | None = None
    is_active: bool | None = None


class ConnectionTest(Model):
    """`StorageConnectionTestResponse` of the contract."""

    success: bool
    message: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _S3Credentials(_Part):
    type: Literal["access_key"] = "access_key"
    access_key_id: str = Field(min_length=1, max_length=128)
    secret_access_key: str = Field(min_length=1)
    session_token: str | None = None


class _S3(_Part):
    credentials: _S3Credentials
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,50}$")
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^/@?#\s]+$")
    verify_ssl: Literal[True] = True
    bucket: str | None = None
    prefix: str | None = None

    def endpoint(self) -> str:
        return self.endpoint_url or f"https://s3.{self.region}.amazonaws.com"

    def secrets(self) -> dict[str, str]:
        return _texts(self.credentials.model_dump(exclude={"type"}))


class _GoogleKey(_Part):
    client_email: str
    private_key: str
    private_key_id: str = ""
    project_id: str = ""


class _GoogleCredentials(_Part):
    type: Literal["service_account"] = "service_account"
    service_account_json: _GoogleKey


class _Google(_Part):
    credentials: _GoogleCredentials
    bucket: str
    prefix: str | None = None
    region: str = "auto"

    def endpoint(self) -> str:
        return "https://storage.googleapis.com"

    def secrets(self) -> dict[str, str]:
        return _texts(self.credentials.service_account_json.model_dump())


class _AzureCredentials(_Part):
    type: Literal["account_key"] = "account_key"
    account_name: str = Field(pattern=r"^[a-z0-9]{3,24}$")
    account_key: str = Field(min_length=1)


class _Azure(_Part):
    credentials: _AzureCredentials
    container: str
    prefix: str | None = None
    region: str = ""

    @property
    def bucket(self) -> str:
        return self.container

    def endpoint(self) -> str:
        return f"https://{self.credentials.account_name}.blob.core.windows.net"

    def secrets(self) -> dict[str, str]:
        return _texts(self.credentials.model_dump(exclude={"type"}))


_Config = _S3 | _Google | _Azure
_CONFIGS: Final[Mapping[str, type[_Config]]] = {"s3": _S3, "gcs": _Google, "azure_blob": _Azure}


class ConnectionService:
    """Keeps the connections of organizations, and signs URLs with them."""

    def __init__(self, stored: Repository[Connection], secrets: SecretService, fetcher: Fetcher) -> None:
        self.stored = stored
        self._secrets = secrets
        self._fetcher = fetcher

    async def create(
        self, scope: Scope, asked: ConnectionCreate, *, internal_id: str, user_id: str
    ) -> Connection:
        """A new connection; its credentials are tried first unless it says not to."""
        config = _read(asked.provider_type, asked.provider_config)
        connection = Connection(
            internal_id=internal_id,
            provider_type=asked.provider_type,
            provider_config=_shown(config),
            write_enabled=asked.write_enabled,
            name=asked.name,
            description=asked.description,
            created_by_user_id=user_id,
            metadata=asked.metadata or {},
        )
        self._seal(scope, connection, config)
        if asked.test_before_save:
            tried = await self._try(connection, _access(connection, config))
            if not tried.success:
                raise ValidationError(tried.message, field="provider_config", code="connection_failed")
        await self.stored.add(scope.of_organization(), connection)
        return connection

    async def get(self, scope: Scope, identifier: str) -> Connection:
        """A connection by id or name."""
        return await self.stored.get(scope.of_organization(), identifier)

    async def list_page(self, scope: Scope, page: PageRequest, asked: ConnectionList) -> Slice[Connection]:
        """The organization's connections."""
        wanted = asked.model_dump(include={"provider_type", "status", "is_active"}, exclude_none=True)
        where = And(tuple(equals(name, value) for name, value in wanted.items()))
        return await self.stored.list_page(scope.of_organization(), page, where=where)

    async def patch(self, scope: Scope, identifier: str, asked: ConnectionPatch) -> Connection:
        """Change a connection; of its credentials, those that are given."""
        connection = await self.get(scope, identifier)
        if connection.status is Status.ARCHIVED:
            raise AlreadyExistsError(f"Connection '{connection.name}' is deleted and cannot be changed.")
        named = asked.model_fields_set & {"name", "description", "metadata", "write_enabled"}
        changed: dict[str, object] = {
            name: getattr(asked, name)
            for name in named
            if getattr(asked, name) is not None or name == "description"
        }
        status = asked.status
        if status is None and asked.is_active is not None:
            status = Status.ACTIVE if asked.is_active else Status.SUSPENDED
        if status is not None:
            changed |= {"status": status, "is_active": status is Status.ACTIVE}
        connection = connection.model_copy(update=changed)
        if asked.provider_config is not None:
            before = self._unsealed(scope, connection)
            config = _read(connection.provider_type, _merged(connection, before, asked.provider_config))
            connection.provider_config = _shown(config)
            self._seal(scope, connection, config)
        await self.stored.update(scope.of_organization(), connection)
        return connection

    async def archive(self, scope: Scope, identifier: str) -> Connection:
        """End a connection for good, and forget its credentials."""
        connection = await self.get(scope, identifier)
        ended = {"status": Status.ARCHIVED, "is_active": False, "sealed": ""}
        connection = connection.model_copy(update=ended)
        await self.stored.update(scope.of_organization(), connection)
        return connection

    async def test(self, scope: Scope, identifier: str) -> ConnectionTest:
        """Whether its provider answers and takes its credentials."""
        connection = await self.get(scope, identifier)
        if connection.status is Status.ARCHIVED:
            return ConnectionTest(success=False, message="The connection is deleted.")
        tried = await self._try(connection, self._access(scope, connection))
        failures = 0 if tried.success else connection.consecutive_failures + 1
        update = {"consecutive_failures": failures, "last_error": None if tried.success else tried.message}
        await self.stored.change(
            scope.of_organization(), connection.connection_id, lambda one: one.model_copy(update=update)
        )
        return tried

    async def signed(self, scope: Scope, url: str, named: str | None, *, field: str) -> str:
        """A URL that reads `s3://bucket/key` and its like over HTTP for an hour. Raises as `chosen` does."""
        connection = await self.chosen(scope, url, named, field=field)
        return signed(place_of(url, field=field), self._access(scope, connection), SIGNED_SECONDS)

    async def chosen(self, scope: Scope, url: str, named: str | None, *, field: str) -> Connection:
        """The connection to read an object in a bucket with.

        That is the one that is `named`, by id or name, or else the one active connection of the organization
        that leads there. Raises `ValidationError` on `field` when there is none, or several.
        """
        place = place_of(url, field=field)
        where: Filter = And((equals("provider_type", place.provider), equals("is_active", True)))
        page = await self.stored.list_page(scope.of_organization(), PageRequest(limit=1000), where=where)
        fitting = [one for one in page.items if _covers(one, place)]
        if named is not None:
            fitting = [one for one in fitting if named in (one.connection_id, one.name)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(sorted(one.name for one in fitting))
            reason = f"several connections lead there: name one of {names} as connection_id"
        elif named is not None:
            reason = f"no active connection '{named}' leads there"
        else:
            reason = (
                "it needs an active storage connection: create one with POST /v1/organizations/connections"
            )
        raise ValidationError(
            f"The object in a bucket cannot be read: {reason}.", field=field, code="no_connection"
        )

    async def _try(self, connection: Connection, access: Access) -> ConnectionTest:
        """Read an object that there is not: the answer tells whether the credentials are good."""
        config = connection.provider_config
        bucket = str(config.get("bucket") or config.get("container") or "lamina-connection-test")
        place = Place(access.provider, bucket, f"{config.get('prefix') or ''}lamina-connection-test")
        try:
            answer = await self._fetcher.ask(
                signed(place, access, 60), accept=frozenset(), max_bytes=1, field="provider_config"
            )
        except ValidationError as error:
            return ConnectionTest(success=False, message=error.message)
        if answer.status in (200, 404):
            return ConnectionTest(success=True, message="The provider takes the credentials.")
        return ConnectionTest(
            success=False,
            message="The provider refuses the credentials, or does not let them list: "
            f"it answers with status {answer.status}.",
        )

    def _seal(self, scope: Scope, connection: Connection, config: _Config) -> None:
        text = json.dumps(config.secrets())
        connection.sealed = self._secrets.seal(scope, _sealed_as(connection), text)

    def _unsealed(self, scope: Scope, connection: Connection) -> dict[str, str]:
        opened = self._secrets.unseal(scope, _sealed_as(connection), connection.sealed)
        if opened is None:
            raise ValidationError(
                f"The credentials of connection '{connection.name}' cannot be read with the key of this "
                "installation: set them anew.",
                field="connection_id",
                code="secret_unreadable",
            )
        found: dict[str, str] = json.loads(opened)
        return found

    def _access(self, scope: Scope, connection: Connection) -> Access:
        before = self._unsealed(scope, connection)
        return _access(connection, _read(connection.provider_type, _merged(connection, before, {})))


def _sealed_as(connection: Connection) -> str:
    """What its credentials are bound to: a name that no secret of the vault can have."""
    return f"connection:{connection.connection_id}"


def _access(connection: Connection, config: _Config) -> Access:
    provider = place_of(f"{_SCHEMES[connection.provider_type]}://b/k", field="provider_type").provider
    return Access(provider, config.endpoint(), config.region, config.secrets())


_SCHEMES: Final = {"s3": "s3", "gcs": "gs", "azure_blob": "az"}


def _covers(connection: Connection, place: Place) -> bool:
    """Whether a place lies in the bucket, and under the prefix, that a connection is limited to."""
    config = connection.provider_config
    bucket = config.get("bucket") or config.get("container")
    return bucket in (None, place.bucket) and place.key.startswith(str(config.get("prefix") or ""))


def _read(provider_type: str, config: JsonObject) -> _Config:
    kind = _CONFIGS.get(provider_type)
    if kind is None:
        raise NotEnabledError(
            f"Connections to '{provider_type}' are not served by this version of Lamina; "
            f"{', '.join(_CONFIGS)} are.",
            field="provider_type",
        )
    credentials = config.get("credentials")
    if isinstance(credentials, Mapping) and credentials.get("type") in ("iam_role", "managed_identity"):
        raise NotEnabledError(
            "Connections by role or identity are not served by this version of Lamina: give keys.",
            field="provider_config.credentials.type",
        )
    try:
        return kind.model_validate(config)
    except PydanticError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValidationError(
            f"'provider_config.{place}': {first['msg']}.", field=f"provider_config.{place}"
        ) from None


def _shown(config: _Config) -> JsonObject:
    """The configuration without its credentials."""
    plain: dict[str, Any] = config.model_dump(mode="json", exclude={"credentials"}, exclude_none=True)
    return {**plain, "credentials": {"type": config.credentials.type}}


def _merged(connection: Connection, secrets: Mapping[str, str], given: JsonObject) -> JsonObject:
    """A configuration with what was given in place of what was there, credentials one by one."""
    held: JsonObject = dict(secrets)
    if connection.provider_type == "gcs":
        held = {"service_account_json": dict(secrets)}
    new = given.get("credentials")
    credentials = {**held, **(new if isinstance(new, Mapping) else {})}
    rest = given or connection.provider_config
    return {**rest, "credentials": {**credentials, "type": _type(connection, new)}}


def _type(connection: Connection, new: object) -> str:
    held = connection.provider_config["credentials"]
    assert isinstance(held, Mapping)
    return str((new if isinstance(new, Mapping) else {}).get("type") or held["type"])


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
