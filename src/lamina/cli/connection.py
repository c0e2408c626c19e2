"""The connection to a server: where it is, which key to show it, how it says no."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, get_args
from urllib.parse import quote, urlsplit

import httpx
import pydantic
from pydantic import SecretStr
from pydantic_settings import SettingsError

from lamina import __version__
from lamina.cli.failures import ApiFailure, Failure, Unreachable, UsageFailure
from lamina.core.settings import Settings
from lamina.core.types import Json

A = TypeVar("A", bound=pydantic.BaseModel)

ADMIN_KEY_FILE: Final = "admin.key"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_RETRIED: Final = frozenset({429, 503})
_LONGEST_WAIT: Final = 30.0
_RETRIES: Final = 5


class Answer(pydantic.BaseModel):
    """The part of an answer that a command reads. Other fields are ignored."""

    model_config = pydantic.ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Target:
    """A server, the key to show it, and the namespace to work in."""

    url: str
    api_key: str | None = None
    namespace: str | None = None


def settings(**given: object) -> Settings:
    """The settings of `LAMINA_…` variables, with those given in their place; one line when one is wrong."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except pydantic.ValidationError as wrong:
        first = wrong.errors()[0]
        name, *inside = (str(part) for part in first["loc"])
        is_secret = SecretStr in get_args(Settings.model_fields[name].annotation)
        at = f", {'.'.join(inside)}" if inside else ""
        got = "" if is_secret else f" (got {first['input']!r})"
        said = first["msg"].removeprefix("Value error, ")
        raise UsageFailure(f"setting LAMINA_{name.upper()}{at}: {said}{got}") from None
    except SettingsError as wrong:  # a variable that should hold JSON does not
        raise UsageFailure(f"settings: {wrong}: {wrong.__cause__}") from None


def find(url: str | None, api_key: str | None, namespace: str | None, data_dir: Path | None) -> Target:
    """The server and the key that the options, the variables or the data folder name.

    The key of the data folder is shown to this machine only, never to another host.
    """
    here = settings(data_dir=data_dir)
    host = "127.0.0.1" if here.host in {"0.0.0.0", "::"} else here.host
    url = (
        (url or f"http://{f'[{host}]' if ':' in host else host}:{here.port}").rstrip("/").removesuffix("/v1")
    )
    if urlsplit(url).scheme not in {"http", "https"} or urlsplit(url).hostname is None:
        raise UsageFailure(f"'{url}' is not a URL; write http://host:port")
    if api_key is None and urlsplit(url).hostname in {*_LOOPBACK, host}:
        api_key = read_admin_key(here.data_dir)
    return Target(url, api_key, namespace)


def read_admin_key(data_dir: Path) -> str | None:
    """The key that the server wrote at its first start, where this user may read it."""
    try:
        return (data_dir / ADMIN_KEY_FILE).read_text("utf-8").strip() or None
    except OSError:
        return None


class Api:
    """Calls to one server. Every method raises `ApiFailure` or `Unreachable`, in words for people."""

    def __init__(self, target: Target, *, timeout: float = 60.0) -> None:
        headers = {"User-Agent": f"lamina-cli/{__version__}"}
        if target.api_key:
            headers["Authorization"] = f"Bearer {target.api_key}"
        if target.namespace:
            headers["X-Namespace"] = target.namespace
        self.target = target
        self._headers = headers
        # A proxy of the environment cannot reach this machine's own loopback.
        through_proxy = urlsplit(target.url).hostname not in _LOOPBACK
        self._http = httpx.Client(base_url=target.url, timeout=timeout, trust_env=through_proxy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, into: type[A], **query: str | int | bool) -> A:
        """GET a path under `/v1`, read as `into`."""
        return self._read(self.call("GET", path, query=query), into)

    def post(self, path: str, body: Json, into: type[A], **query: str | int | bool) -> A:
        """POST a JSON body to a path under `/v1`, the answer read as `into`."""
        return self._read(self.call("POST", path, body=body, query=query), into)

    def delete(self, path: str) -> None:
        """DELETE a path under `/v1`."""
        self.call("DELETE", path)

    def find(self, path: str, into: type[A]) -> A | None:
        """GET a path, None where the server says that there is no such thing."""
        try:
            return self.get(path, into)
        except ApiFailure as failure:
            if failure.status != 404:
                raise
            return None

    def put_file(self, url: str, file: Path, content_type: str) -> None:
        """PUT a file's bytes to the presigned URL of an upload."""
        with file.open("rb") as stream:
            # The length lets the server refuse what is too large before it is sent.
            headers = {"Content-Type": content_type, "Content-Length": str(file.stat().st_size)}
            _raise_for(self._reach(lambda: self._http.put(url, content=stream, headers=headers)))

    def fetch(self, url: str) -> bytes:
        """The bytes behind a presigned URL."""
        response = self._reach(lambda: self._http.get(url))
        _raise_for(response)
        return response.content

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, str | int | bool] | None = None,
    ) -> httpx.Response:
        """One request to a path under `/v1`, tried again while the server asks to wait."""

        def send() -> httpx.Response:
            return self._http.request(method, f"/v1{path}", json=body, params=query, headers=self._headers)

        response = self._reach(send)
        for tried in range(_RETRIES):
            if response.status_code not in _RETRIED:
                break
            time.sleep(_wait(response, tried))
            response = self._reach(send)
        _raise_for(response)
        return response

    def _reach(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            return send()
        except httpx.TimeoutException as error:
            raise Unreachable(f"{self.target.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"no server answers at {self.target.url} ({error}); start one with `lamina serve`, "
                "or name another with --url"
            ) from error

    def _read(self, response: httpx.Response, into: type[A]) -> A:
        try:
            return into.model_validate_json(response.content)
        except pydantic.ValidationError as error:
            raise Failure(
                f"{self.target.url} is no Lamina server, or of another version: {response.request.url.path} "
                f"answered something else than expected"
            ) from error


def segment(name: str) -> str:
    """A name or id as one segment of a path."""
    return quote(name, safe="")


class _Error(Answer):
    message: str
    type: str = "error"
    details: dict[str, object] = {}


class _Envelope(Answer):
    error: _Error


def _raise_for(response: httpx.Response) -> None:
    if response.is_success:
        return
    status = response.status_code
    body: object = None
    message = response.reason_phrase or "no reason given"
    with suppress(ValueError):
        body = response.json()
        message = _describe(_Envelope.model_validate(body).error)
    if status == 401:
        message += " Give a key with --api-key or LAMINA_API_KEY, or point --data-dir at the server's folder."
    raise ApiFailure(f"{message} (HTTP {status})", status, body)


def _describe(error: _Error) -> str:
    """The envelope's message; a validation error's fields as well, where it does not name them."""
    wrong = error.details.get("validation_errors")
    if not isinstance(wrong, list):
        return error.message
    fields = [
        f"{'.'.join(str(part) for part in one.get('location', []))}: {one.get('message', '')}"
        for one in wrong
        if isinstance(one, dict) and one.get("message") != error.message
    ]
    return "; ".join([error.message, *fields])


def _wait(response: httpx.Response, tried: int) -> float:
    """Seconds until the next try: what the server asks for, else 1, 2, 4, …"""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdigit() else 2.0**tried, _LONGEST_WAIT)
