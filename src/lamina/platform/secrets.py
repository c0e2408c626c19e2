"""The secrets vault: values that are kept sealed, used by the server, and shown to nobody.

A value is sealed with AES-256-GCM under the key in the data folder's `secrets.key`, bound to its organization
and name, so that a sealed value is worth nothing without the key file and in no other place.
"""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, StringConstraints

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.models import Model, Request, Timestamp, now
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.stores.records.base import Kind, Repository

NONCE_BYTES: Final = 12

HOLDERS: Final = re.compile(r".*_api_key$")
"""Names of the parameters that may refer to a secret. Others could send it to wherever a user likes."""

_REFERENCE: Final = re.compile(r"\{\{\s*SECRET\.([A-Za-z0-9_.-]{1,100})\s*\}\}")

SecretName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
SecretValue = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]


class Secret(Model):
    """A secret as it is stored: its name, and its value sealed."""

    secret_name: str
    sealed: str
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class SecretCreate(Request):
    """Body of the creation of a secret."""

    secret_name: SecretName
    secret_value: SecretValue = Field(repr=False)


class SecretUpdate(Request):
    """Body of the change of a secret."""

    secret_value: SecretValue = Field(repr=False)


SECRETS = Kind("secrets", Secret, "secret_name")


class SecretService:
    """Keeps the secrets of organizations, and puts them where parameters refer to them."""

    def __init__(self, stored: Repository[Secret], key: bytes) -> None:
        """`key` has 32 bytes."""
        self.stored = stored
        self._cipher = AESGCM(key)

    async def create(self, scope: Scope, asked: SecretCreate) -> None:
        """A new secret; `AlreadyExistsError` when the name is taken."""
        secret = self._sealed(scope, asked.secret_name, asked.secret_value)
        await self.stored.add(scope.of_organization(), secret)

    async def update(self, scope: Scope, name: str, asked: SecretUpdate) -> None:
        """Another value in place of the old one, which is gone."""
        sealed = self._sealed(scope, name, asked.secret_value)
        await self.stored.change(
            scope.of_organization(), name, lambda one: one.model_copy(update={"sealed": sealed.sealed})
        )

    async def delete(self, scope: Scope, name: str) -> None:
        """Remove a secret for good."""
        await self.stored.get(scope.of_organization(), name)
        await self.stored.delete(scope.of_organization(), name)

    async def names(self, scope: Scope) -> list[str]:
        """The names of the organization's secrets, sorted."""
        return sorted(
            [one.secret_name async for some in self.stored.iterate(scope.of_organization()) for one in some]
        )

    async def require(self, scope: Scope, parameters: Mapping[str, Json]) -> None:
        """Refuse parameters that refer to a secret that there is not, or where none may stand."""
        for parameter, name in _references(parameters):
            at = f"feature_extractor.parameters.{parameter}"
            if not HOLDERS.fullmatch(parameter):
                raise ValidationError(
                    f"'{parameter}' cannot hold a secret; only parameters that end in '_api_key' can.",
                    field=at,
                    code="secret_not_allowed",
                )
            if await self.stored.find(scope.of_organization(), name) is None:
                raise _missing(at, name)

    async def resolved(self, scope: Scope, parameters: JsonObject) -> JsonObject:
        """The parameters with the secrets' values in place of the references to them.

        Raises `ValidationError` when one is gone. What comes back must neither be stored nor logged.
        """
        found = dict(parameters)
        for parameter, value in parameters.items():
            if isinstance(value, str) and HOLDERS.fullmatch(parameter):
                names = set(_REFERENCE.findall(value))
                values = {name: await self._revealed(scope, parameter, name) for name in names}
                found[parameter] = _filled(value, values)
        return found

    async def _revealed(self, scope: Scope, parameter: str, name: str) -> str:
        at = f"feature_extractor.parameters.{parameter}"
        try:
            secret = await self.stored.get(scope.of_organization(), name)
        except NotFoundError as error:
            raise _missing(at, name) from error
        opened = self.unseal(scope, name, secret.sealed)
        if opened is None:
            raise ValidationError(
                f"Secret '{name}' cannot be read with the key of this installation: set it anew.",
                field=at,
                code="secret_unreadable",
            )
        return opened

    def seal(self, scope: Scope, name: str, value: str) -> str:
        """A value sealed, to be kept elsewhere under a name that is no secret's."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value.encode(), _bound(scope, name))
        return base64.b64encode(sealed).decode()

    def unseal(self, scope: Scope, name: str, sealed: str) -> str | None:
        """The value again; None when it was not sealed with this key, for this organization and name."""
        held = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(held[:NONCE_BYTES], held[NONCE_BYTES:], _bound(scope, name)).decode()
        except (InvalidTag, ValueError):
            return None

    def _sealed(self, scope: Scope, name: str, value: str) -> Secret:
        return Secret(secret_name=name, sealed=self.seal(scope, name, value))


def _bound(scope: Scope, name: str) -> bytes:
    """What a sealed value belongs to."""
    return f"{scope.organization_id}/{name}".encode()


def _references(parameters: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """The parameters that refer to secrets, and the names of these, wherever they stand."""
    for parameter, value in parameters.items():
        for text in _texts(value):
            for name in _REFERENCE.findall(text):
                yield parameter, name


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _filled(text: str, values: Mapping[str, str]) -> str:
    """A text with values in place of its references; what looks like one in a value stays as it is."""
    return _REFERENCE.sub(lambda found: values[found[1]], text)


def _missing(at: str, name: str) -> ValidationError:
    return ValidationError(
        f"There is no secret '{name}': create it with POST /v1/organizations/secrets.",
        field=at,
        code="secret_not_found",
    )
