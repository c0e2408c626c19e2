"""HTTP clients that cost next to nothing, so that what is measured is the server.

`Wire` is one connection that waits for its answers; `many` drives several at once from a process
of its own. Both keep connections alive and understand answers with a `Content-Length`.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import orjson
import psutil

from bench.harness import Record, spread

Request = bytes
"""Head and body as they go over the wire."""

_IDLE = 1.0
"""Seconds after which a server may have closed a connection that nobody used."""


def request(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Request:
    """One request, ready to be sent any number of times."""
    content = b"" if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Wire:
    """One connection to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()
        self._used = time.monotonic()

    def send(self, wanted: Request) -> bytes:
        """The body of the answer. Raises `RuntimeError` for any status but 200."""
        if time.monotonic() - self._used > _IDLE:
            self.close()
            self._socket = self._connected()
        self._socket.sendall(wanted)
        head, received = b"", b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = content_length(head)
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(self._receive())
            missing -= len(parts[-1])
        self._used = time.monotonic()
        content = b"".join(parts)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head.splitlines()[0]!r} {content[:500]!r}")
        return content

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _receive(self) -> bytes:
        received = self._socket.recv(1 << 20)
        if not received:
            raise RuntimeError("the connection was closed")
        return received

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def content_length(head: bytes) -> int:
    """How long an answer's body is."""
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


class Crowd:
    """Clients in a process of their own: each sends its next request when it has its answer.

    Of several ports each has as many clients as the others.
    """

    def __init__(self, ports: int | Sequence[int], requests: Sequence[Request]) -> None:
        context = get_context("spawn")
        self._end, theirs = context.Pipe()
        asked = [ports] if isinstance(ports, int) else list(ports)
        self._process = context.Process(
            target=_serve_crowd, args=(theirs, asked, list(requests)), daemon=True
        )
        self._process.start()

    @property
    def seen(self) -> list[psutil.Process]:
        """The process as the system sees it."""
        return [psutil.Process(self._process.pid)]

    def run(self, clients: int, seconds: float) -> Record:
        """Answers a second, errors, and the times that single requests took."""
        self._end.send((clients, seconds))
        done: Record = self._end.recv()
        return done

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._end.send(None)
        self._process.join(5)


def _serve_crowd(connection: Connection, ports: list[int], requests: list[Request]) -> None:
    while (asked := connection.recv()) is not None:
        connection.send(asyncio.run(_drive(ports, requests, *asked)))


async def _drive(ports: list[int], requests: Sequence[Request], clients: int, seconds: float) -> Record:
    loop = asyncio.get_running_loop()
    turn = itertools.cycle(requests)
    until = time.perf_counter() + seconds
    crowd = [_Client(turn, until) for _ in range(clients)]
    began = time.perf_counter()
    for one, port in zip(crowd, itertools.cycle(ports)):
        await loop.create_connection(partial(_itself, one), "127.0.0.1", port)
    await asyncio.gather(*(one.done for one in crowd))
    lasted = time.perf_counter() - began
    times = [taken for one in crowd for taken in one.times]
    return {
        "clients": clients,
        "answers_per_s": round(len(times) / lasted, 1),
        "errors": sum(one.errors for one in crowd),
        **(spread(times) if times else {}),
    }


def _itself(client: "_Client") -> "_Client":
    return client


class _Client(asyncio.Protocol):
    def __init__(self, turn: "itertools.cycle[Request]", until: float) -> None:
        self.times: list[float] = []
        self.errors = 0
        self.done = asyncio.get_running_loop().create_future()
        self._turn = turn
        self._until = until
        self._sent = 0.0
        self._received = b""
        self._missing = -1
        self._good = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._received += data
            head, found, body = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            self._good = head.startswith(b"HTTP/1.1 200")
            self._missing = content_length(head) - len(body)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.errors += 1
            self.done.set_result(None)

    def _answered(self) -> None:
        now = time.perf_counter()
        if self._good:
            self.times.append((now - self._sent) * 1e3)
        else:
            self.errors += 1
        if now < self._until:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._received, self._missing = b"", -1
        self._sent = time.perf_counter()
        self._transport.write(next(self._turn))
