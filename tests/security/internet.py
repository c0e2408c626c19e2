"""Servers, names and networks for the tests of the fetcher."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import httpcore
import pytest

from lamina.core.errors import ValidationError
from lamina.ingest.fetch import Fetcher
from lamina.ingest.fetch_settings import FetchSettings

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

Handler = Callable[[str, dict[str, str]], bytes | AsyncIterator[bytes]]
"""From a request's path and headers to the whole response, or its pieces."""


def answer(body: bytes, mime_type: str = "text/plain", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    if mime_type:
        lines.append(f"Content-Type: {mime_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status=status, Location=location)


def always(response: bytes) -> Handler:
    return lambda path, headers: response


def streaming(pieces: Callable[[], AsyncIterator[bytes]]) -> Handler:
    return lambda path, headers: pieces()


class Site:
    """A real HTTP server on loopback, and what it was asked."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            path = head[0].split()[1]
            self.requests.append((path, headers))
            response = self.handler(path, headers)
            if isinstance(response, bytes):
                writer.write(response)
            else:
                async for piece in response:
                    writer.write(piece)
                    await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def site(
    handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    running = Site(handler)
    server = await asyncio.start_server(running.serve, host, 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    async with server:
        yield running


class Internet(httpcore.AsyncNetworkBackend):
    """A network in which public addresses are served on loopback; it notes every connection."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places = places
        self.connected: list[str] = []
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host not in self.places:
            raise httpcore.ConnectError(f"no route to {host}")
        return await self._real.connect_tcp("127.0.0.1", self.places[host], timeout)


class Names:
    """A resolver whose answers may change from one question to the next."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(rounds) for name, rounds in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        rounds = self.answers.get(host)
        if not rounds:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return rounds.pop(0) if len(rounds) > 1 else rounds[0]


def guarded(
    *,
    private: bool = False,
    timeout: float = 5.0,
    redirects: int = 5,
    names: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
    network: httpcore.AsyncNetworkBackend | None = None,
    trust: ssl.SSLContext | None = None,
) -> Fetcher:
    settings = FetchSettings(private_addresses=private, timeout=timeout, max_redirects=redirects)
    return Fetcher(settings, resolve=names, backend=network, ssl_context=trust)


async def message_of(
    fetcher: Fetcher, url: str, max_bytes: int = 1000, accept: frozenset[str] | None = None
) -> str:
    """The message with which a URL is refused."""
    with pytest.raises(ValidationError) as raised:
        await fetcher.fetch(url, accept=accept, max_bytes=max_bytes, field="blobs.0.data")
    errors = raised.value.details["validation_errors"]
    assert isinstance(errors, list) and isinstance(errors[0], dict)
    assert errors[0]["location"] == ["body", "blobs", 0, "data"]
    return raised.value.message
