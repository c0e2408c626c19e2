"""The one way to a URL that somebody else wrote."""

import asyncio
import math
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urljoin

import httpcore

import lamina
from lamina.core.errors import ValidationError
from lamina.ingest.addresses import IPAddress, Target, is_allowed, not_public, read_url
from lamina.ingest.fetch_settings import FetchSettings

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses; `OSError` when there are none."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL served. `mime_type` and `charset` are what the server said, lower-case."""

    content: bytes
    mime_type: str | None
    filename: str | None
    final_url: str
    charset: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered to one request. `url` is the one that was asked, in its normal form.

    `content` is empty unless the status is 200 and the type was accepted. The names of `headers` are
    lower-case.
    """

    url: str
    status: int
    headers: Sequence[tuple[str, str]]
    content: bytes
    mime_type: str | None
    charset: str | None

    def header(self, name: str) -> str:
        """The first header of that lower-case name; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def redirects(self) -> bool:
        """Whether it sends one to another URL."""
        return self.status in _REDIRECTS


class Fetcher:
    """Fetches http(s) URLs without being led into the network that it runs in.

    The name is resolved once, every address it has must be allowed, and the connection goes to one
    of just these, so a name that changes its address gains nothing. Redirects are followed here and
    each is checked the same way. There are no cookies, credentials or proxies of the environment. Time covers
    everything together; size counts decoded bytes.

    `resolve`, `backend` and `ssl_context` stand in for the system's resolver, network and trust store.
    """

    def __init__(
        self,
        settings: FetchSettings,
        *,
        resolve: Resolver | None = None,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.max_bytes = settings.max_bytes
        self._private = settings.private_addresses
        self._timeout = settings.timeout
        self._max_redirects = settings.max_redirects
        self._resolve = resolve or _resolve
        self._backend = backend or httpcore.AnyIOBackend()
        self._given_ssl_context = ssl_context

    async def fetch(
        self, url: str, *, accept: frozenset[str] | None, max_bytes: int, field: str = "data"
    ) -> Fetched:
        """The bytes behind a URL.

        `accept` holds MIME types and patterns such as `image/*`; None takes any. A server that says
        nothing, or `application/octet-stream`, is taken at its bytes. Every refusal and every failure
        is a `ValidationError` on `field`; its message never tells where a name leads.
        """
        async with self._in_time(field):
            return await self._follow(url, accept, max_bytes, field)

    async def ask(
        self,
        url: str,
        *,
        accept: frozenset[str],
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        field: str = "data",
    ) -> Answer:
        """The answer to one request with headers of the caller's, as it is.

        A status is no error here, and no redirect is followed: who asks looks at both. A body is read only
        when the status is 200 and the type one of `accept`. Raises `ValidationError` on `field` for URLs that
        may not be fetched (`url_refused`), for what is too large, and for servers that do not answer
        properly (`url_unreachable`).
        """
        async with self._in_time(field):
            target = read_url(url, field=field)
            addresses = await self._vetted(target, field)
            async with self._open(target, addresses, headers or {}) as response:
                mime_type, charset = _content_type(response)
                wanted = response.status == 200 and _is_accepted(mime_type, accept)
                content = await _read(response, max_bytes, field) if wanted else b""
                answered = [
                    (name.decode("latin-1").lower(), value.decode("latin-1"))
                    for name, value in response.headers
                ]
                return Answer(str(target), response.status, answered, content, mime_type, charset)

    async def post(self, url: str, content: bytes, *, headers: Mapping[str, str], field: str = "data") -> int:
        """Send bytes to a URL; the status that it answers with, whatever that is. No redirect is followed.

        Takes ten seconds at most. Raises `ValidationError` on `field` as `ask` does.
        """
        async with self._in_time(field, _POST_SECONDS):
            target = read_url(url, field=field)
            addresses = await self._vetted(target, field)
            async with self._open(target, addresses, headers, content) as response:
                return response.status

    @asynccontextmanager
    async def _in_time(self, field: str, most: float = math.inf) -> AsyncIterator[None]:
        seconds = min(self._timeout, most)
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise _failed(f"it took longer than {seconds:g} seconds", field) from None
        except _HTTP_FAILURES as error:
            raise _failed(_reason(error), field) from error

    async def _follow(self, url: str, accept: frozenset[str] | None, max_bytes: int, field: str) -> Fetched:
        target = read_url(url, field=field)
        for _ in range(self._max_redirects + 1):
            addresses = await self._vetted(target, field)
            async with self._open(target, addresses, {}) as response:
                if response.status not in _REDIRECTS:
                    _check(response, accept, max_bytes, field)
                    content = await _read(response, max_bytes, field)
                    return _fetched(target, response, content)
                location = _header(response, b"location")
            if not location:
                raise _failed("the server sent a redirect that leads nowhere", field)
            try:
                url = urljoin(str(target), location)
            except ValueError:
                raise _failed("the server sent a malformed redirect", field) from None
            target = read_url(url, field=field)
        raise _failed(f"it redirects more than {self._max_redirects} times", field)

    async def _vetted(self, target: Target, field: str) -> list[IPAddress]:
        """Where a target may be reached. One forbidden address among them forbids all."""
        if target.address is not None:
            addresses = [target.address]
        else:
            try:
                found = await self._resolve(target.host, target.port)
                addresses = [ip_address(address) for address in dict.fromkeys(found)]
            except (OSError, UnicodeError):
                addresses = []
            if not addresses:
                raise _failed(f"the host '{target.host}' is not known", field)
        if not all(is_allowed(address, private=self._private) for address in addresses):
            raise not_public(field)
        return addresses

    @asynccontextmanager
    async def _open(
        self,
        target: Target,
        addresses: Sequence[IPAddress],
        given: Mapping[str, str],
        content: bytes | None = None,
    ) -> AsyncIterator[httpcore.Response]:
        """The answer to a GET, or to a POST of some content."""
        method = "GET" if content is None else "POST"
        url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        connection = httpcore.AsyncHTTPConnection(
            url.origin,
            ssl_context=self._ssl_context if target.scheme == "https" else None,
            network_backend=_Pinned(self._backend, addresses),
        )
        headers: dict[bytes | str, bytes | str] = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        headers.update(given)
        headers |= {"Host": target.authority, "Accept-Encoding": "identity", "Connection": "close"}
        limits = {"connect": min(_CONNECT_SECONDS, self._timeout)}
        try:
            async with connection.stream(
                method, url, headers=headers, content=content, extensions={"timeout": limits}
            ) as response:
                yield response
        finally:
            await connection.aclose()

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_ssl_context or httpcore.default_ssl_context()


def filename_of(text: str | None) -> str | None:
    """A file's name as somebody gave it, without folders and control characters; None if nothing is left."""
    name = re.split(r"[/\\]", text or "")[-1]
    name = "".join(character for character in name if character.isprintable()).strip()
    return None if name in {"", ".", ".."} else name[-255:]


USER_AGENT: Final = f"Lamina/{lamina.__version__}"

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_POST_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10.0  # for one address, so that the next one gets its turn
_ANY_TYPE: Final = frozenset({"application/octet-stream", "binary/octet-stream", "application/x-download"})

_HTTP_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
)


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were checked, whatever the host is called."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, addresses: Sequence[IPAddress]) -> None:
        self._backend = backend
        self._addresses = addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(str(last), port, timeout, local_address, socket_options)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _check(response: httpcore.Response, accept: frozenset[str] | None, max_bytes: int, field: str) -> None:
    """Refuse what its head already shows to be wrong."""
    if response.status != 200:
        raise _failed(f"the server answered with status {response.status}", field)
    length = _header(response, b"content-length")
    if length.isdigit() and int(length) > max_bytes:  # at most twenty digits get here
        raise _too_large(max_bytes, field)
    mime_type, _ = _content_type(response)
    if accept is not None and not _is_accepted(mime_type, accept):
        raise ValidationError(
            f"The URL serves {mime_type}. Accepted: {', '.join(sorted(accept))}.",
            field=field,
            code="type_mismatch",
        )


async def _read(response: httpcore.Response, max_bytes: int, field: str) -> bytes:
    encoding = _header(response, b"content-encoding").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise _failed("the server compresses it in a way that was not asked for", field)
    inflate = _Inflate() if encoding.endswith("gzip") else None
    pieces: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_stream():
            piece = inflate.feed(chunk, max_bytes - size + 1) if inflate else chunk
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes, field)
            pieces.append(piece)
    except zlib.error:
        raise _failed("its compression is broken", field) from None
    if inflate and not inflate.complete:
        raise _failed("it ends in the middle", field)
    return b"".join(pieces)


class _Inflate:
    """Undoes gzip, never making more bytes than asked for."""

    def __init__(self) -> None:
        self._member = _gzip_member()
        self.complete = False

    def feed(self, data: bytes, limit: int) -> bytes:
        """At most `limit` further bytes; the rest of `data` is dropped when they are reached."""
        pieces: list[bytes] = []
        while data and limit > 0:
            if self.complete:
                self._member = _gzip_member()
            piece = self._member.decompress(data, limit)
            pieces.append(piece)
            limit -= len(piece)
            self.complete = self._member.eof
            data = self._member.unused_data if self.complete else self._member.unconsumed_tail
        return b"".join(pieces)


def _gzip_member() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def _fetched(target: Target, response: httpcore.Response, content: bytes) -> Fetched:
    mime_type, charset = _content_type(response)
    message = Message()
    message["Content-Disposition"] = _header(response, b"content-disposition")
    path = target.path.partition("?")[0]
    filename = filename_of(message.get_filename()) or filename_of(unquote(path))
    return Fetched(content, mime_type, filename, str(target), charset)


def _content_type(response: httpcore.Response) -> tuple[str | None, str | None]:
    value = _header(response, b"content-type")
    if not re.match(r"[\w.+-]+/[\w.+-]+\s*(;|$)", value):
        return None, None
    message = Message()
    message["Content-Type"] = value
    return message.get_content_type(), message.get_content_charset()


def _header(response: httpcore.Response, name: bytes) -> str:
    value = next((value for key, value in response.headers if key.lower() == name), b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _is_accepted(mime_type: str | None, accept: frozenset[str]) -> bool:
    """Whether a type is accepted; a server that names none is taken at its bytes."""
    if mime_type is None or mime_type in _ANY_TYPE:
        return True
    return any(_matches(mime_type, pattern) for pattern in accept)


def _matches(mime_type: str, pattern: str) -> bool:
    return mime_type == pattern or (pattern.endswith("/*") and mime_type.startswith(pattern[:-1]))


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "its TLS certificate or connection is not to be trusted"
        cause = cause.__cause__ or cause.__context__
    match error:
        case httpcore.ConnectTimeout():
            return "the server does not answer"
        case httpcore.ConnectError():
            return "the server takes no connection"
        case httpcore.ProtocolError():
            return "the server does not speak HTTP properly"
        case _:
            return "the connection broke off"


def _failed(reason: str, field: str) -> ValidationError:
    return ValidationError(f"The URL could not be fetched: {reason}.", field=field, code="url_unreachable")


def _too_large(max_bytes: int, field: str) -> ValidationError:
    return ValidationError(
        f"The URL leads to a file of more than the {max_bytes} bytes that are accepted.",
        field=field,
        code="too_large",
    )
