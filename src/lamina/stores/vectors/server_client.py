"""The connection to a Qdrant server: how it is set up, and what its failures mean."""

import asyncio
import json
import re
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.client import responses
from typing import Any, Final, Literal, ParamSpec, TypeVar

import httpx
import orjson
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from lamina.core.errors import UnavailableError
from lamina.core.settings import Settings
from lamina.stores.vectors.server_wire import Wire

P = ParamSpec("P")
T = TypeVar("T")

Quantization = Literal["none", "scalar", "binary"]

OLDEST: Final = (1, 16)
"""The first server whose writes may depend on what is there, which `server_registry` needs."""

ORDERED: Final = models.WriteOrdering.MEDIUM
"""Writes go through whichever replica leads its shard, so that two processes' writes have one order."""

STRICT: Final = models.WriteOrdering.STRONG
"""Writes go through one replica that never changes, and fail while it is down."""

_CHECK_SECONDS: Final = 10.0
"""Longest wait of a start for a server that accepts a connection and says nothing."""

_CONNECTION_LOST: Final = (httpx.NetworkError, httpx.RemoteProtocolError, ConnectionError)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where the server is, and how new namespaces are laid out there. See docs/settings.md."""

    url: str
    api_key: str | None = None
    replication_factor: int = 1
    shard_number: int | None = None
    quantization: Quantization = "scalar"
    hnsw_m: int = 16
    hnsw_ef_construct: int = 128
    hnsw_ef: int = 128
    timeout: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> "ServerOptions":
        """Those of the installation."""
        assert settings.vectors_url is not None
        key = settings.vectors_api_key
        return cls(
            url=settings.vectors_url,
            api_key=None if key is None else key.get_secret_value(),
            replication_factor=settings.vectors_replication_factor,
            shard_number=settings.vectors_shard_number,
            quantization=settings.vectors_quantization,
            hnsw_m=settings.vectors_hnsw_m,
            hnsw_ef_construct=settings.vectors_hnsw_ef_construct,
            hnsw_ef=settings.vectors_hnsw_ef,
            timeout=settings.vectors_timeout,
        )


class MissingError(UnavailableError):
    """The Qdrant collection does not exist."""


class RefusedError(UnavailableError):
    """The server understood the request and will not do it."""


class UnknownRequestError(UnavailableError):
    """The server knows no such request."""


class Server:
    """A client that says in Lamina's errors what went wrong."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        with warnings.catch_warnings():
            # It warns of a key over plain HTTP; `lamina doctor` does, in its own words.
            warnings.simplefilter("ignore")
            self.client = AsyncQdrantClient(
                url=options.url,
                api_key=options.api_key,
                timeout=int(options.timeout),
                check_compatibility=False,
            )
        key = {} if options.api_key is None else {"api-key": options.api_key}
        fields = {"Content-Type": "application/json", **key}
        whole_url = self.client.http.client.host  # with the client's own port where the given one has none
        self._wire = Wire(whole_url, fields, options.timeout)

    async def ask(self, call: Callable[P, Awaitable[T]], *given: P.args, **named: P.kwargs) -> T:
        """What the server answers to a method of `client`. Everything asked of it may be asked twice.

        Raises `MissingError`, `RefusedError`, and `UnavailableError` when it cannot answer.
        """
        try:
            try:
                return await call(*given, **named)
            except ResponseHandlingException as error:
                if not isinstance(error.source, _CONNECTION_LOST):
                    raise
                return await call(*given, **named)  # a connection that was kept is gone after a restart
        except UnexpectedResponse as error:
            raise self._meaning(error) from error
        except ResponseHandlingException as error:
            raise self._unreachable(error.source) from error
        except ApiException as error:
            raise UnavailableError(f"The Qdrant server is overloaded: {error}") from error

    async def send(self, method: str, path: str, content: bytes) -> Any:
        """The `result` of a request without the client's models. Raises as `ask` does."""
        return await self.ask(self._sent, method, path, content)

    async def _sent(self, method: str, path: str, content: bytes) -> Any:
        try:
            status, body = await self._wire.request(method, path, content)
            if status == 200:
                return orjson.loads(body)["result"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResponseHandlingException(error) from error
        if status == 429:
            raise UnavailableError(f"The Qdrant server is overloaded: {body[:200].decode(errors='replace')}")
        raise UnexpectedResponse(status, responses.get(status, ""), body, httpx.Headers())

    async def check(self) -> None:
        """Raise `UnavailableError` that says how to mend it when this is no server that can be used."""
        patience = min(self.options.timeout, _CHECK_SECONDS)
        try:
            async with asyncio.timeout(patience):
                await self._check()
        except TimeoutError as error:
            raise self._silent(patience) from error

    async def _check(self) -> None:
        try:
            told = await self.ask(self.client.info)
        except (MissingError, ValueError) as error:  # it answers, in another way
            raise self._unreachable(error) from error
        if "qdrant" not in told.title.lower():
            raise UnavailableError(f"{self.options.url} is no Qdrant server: set LAMINA_VECTORS_URL to one.")
        if tuple(map(int, re.findall(r"\d+", told.version)[:2])) < OLDEST:
            raise UnavailableError(
                f"The Qdrant server at {self.options.url} is version {told.version}: "
                f"Lamina needs {OLDEST[0]}.{OLDEST[1]} or later. Run a newer image of it."
            )
        await self.ask(self.client.get_collections)  # the first that asks for the key

    async def close(self) -> None:
        """Let go of the connections."""
        await self.client.close()
        self._wire.close()

    def _meaning(self, error: UnexpectedResponse) -> UnavailableError:
        reason = _reason(error)
        if error.status_code in (401, 403):
            return UnavailableError(
                f"The Qdrant server at {self.options.url} does not take the API key: {reason}. "
                "Set LAMINA_VECTORS_API_KEY to its key."
            )
        if error.status_code == 404:
            if "Collection" in reason:
                return MissingError(reason)
            if error.content[:1] != b"{":
                return UnknownRequestError(
                    f"{self.options.url} is no Qdrant server: set LAMINA_VECTORS_URL to one."
                )
        if error.status_code is not None and 400 <= error.status_code < 500:
            return RefusedError(f"The Qdrant server refused a request: {reason}")
        return UnavailableError(f"The Qdrant server cannot answer: {reason}")

    def _unreachable(self, source: Exception) -> UnavailableError:
        if isinstance(source, httpx.TimeoutException | TimeoutError):
            return self._silent(self.options.timeout)
        if isinstance(source, httpx.HTTPError | httpx.InvalidURL | OSError):
            reason = str(source) or type(source).__name__
            return UnavailableError(
                f"The Qdrant server at {self.options.url} cannot be reached ({reason}): "
                "start it, or set LAMINA_VECTORS_URL to where it is."
            )
        return UnavailableError(
            f"{self.options.url} does not answer like a Qdrant server: set LAMINA_VECTORS_URL to one."
        )

    def _silent(self, seconds: float) -> UnavailableError:
        return UnavailableError(
            f"The Qdrant server at {self.options.url} did not answer in {seconds:g} s: see what it is at, "
            "or set LAMINA_VECTORS_URL to another one."
        )


def _reason(error: UnexpectedResponse) -> str:
    try:
        return str(json.loads(error.content)["status"]["error"])
    except (ValueError, TypeError, KeyError):
        text = error.content[:200].decode(errors="replace").strip()
        return f"{error.status_code} {error.reason_phrase} {text}".strip()
