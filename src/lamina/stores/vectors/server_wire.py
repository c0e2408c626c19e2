"""HTTP/1.1 to one server with as little as it takes: a search costs less than a general client's request.

A request is written in one piece and its answer read whole. On loopback httpcore adds 0.6 ms to a
search of 0.6, and httpx 1.4, or 44 where a body waits for the acknowledgement of its head.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import httpx

_KEPT: Final = 3.0
"""Seconds for which a connection is kept that nothing uses; Qdrant closes it after five."""

Answer = tuple[int, bytes]
"""Status and body."""


class Wire:
    """Connections to a server: one for each request under way, kept for the next ones. No proxy is asked."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        """Connects to nothing yet. `timeout` is that of a request, in seconds."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._ssl: ssl.SSLContext | None = httpx.create_ssl_context() if secure else None
        fields = {"Host": parts.netloc.rpartition("@")[2], **headers}
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._timeout = timeout
        self._idle: list[_Connection] = []

    async def request(self, method: str, path: str, content: bytes) -> Answer:
        """Status and body of the answer.

        Raises `ConnectionError` where the connection is lost, for one that was kept as well: then
        another try may do. Other `OSError`s are those of connecting, `TimeoutError` among them.
        """
        head = (
            f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._fields}Content-Length: {len(content)}\r\n\r\n"
        )
        async with asyncio.timeout(self._timeout):
            connection = self._kept() or await self._connected()
            try:
                answer = await connection.ask(head.encode(), content)
            except BaseException:
                connection.close()
                raise
        if connection.usable:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Let go of the connections that nothing uses."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> "_Connection | None":
        """The connection that was used last; the older ones may be closed by now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and time.monotonic() - connection.used < _KEPT:
                return connection
            connection.close()
        return None

    async def _connected(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self.host, self.port, ssl=self._ssl)
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self.usable = True
        self.used = time.monotonic()
        self._answer: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []

    def ask(self, head: bytes, content: bytes) -> "asyncio.Future[Answer]":
        """Send a request; its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._transport.write(head + content)
        return self._answer

    def close(self) -> None:
        self.usable = False
        self._transport.close()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            return self.close()  # something that nobody asked for
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._answer.set_exception(ValueError(f"no HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(error or "the server closed the connection")))

    # What the parser calls

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        self.used = time.monotonic()
        self.usable = self.usable and self._parser.should_keep_alive()
        if not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))
