"""The plain connections to a Qdrant server: kept, lost, slow, and answers in every form of HTTP/1.1."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lamina.core.errors import UnavailableError
from lamina.stores.vectors.server_client import Server, ServerOptions
from lamina.stores.vectors.server_wire import Wire

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(answering: Answering) -> AsyncIterator[str]:
    """The URL of a server that does this with every connection."""
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prefix"
    finally:
        server.close()


async def read(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """First line and body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    return head.partition("\r\n")[0], await reader.readexactly(length)


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """An answer with these header fields."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode() + body


async def test_a_connection_is_kept_and_answers_come_in_pieces_and_chunks() -> None:
    connections: list[list[tuple[str, bytes]]] = []

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append([])
        for content in (
            answer(b"first", "Content-Length: 5"),
            answer(b"3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            answer(b"last", "Content-Length: 4", "Connection: close", status="404 Not Found"),
        ):
            connections[-1].append(await read(reader))
            for place in range(0, len(content), 7):
                writer.write(content[place : place + 7])
                await writer.drain()
        writer.close()

    async with listening(answering) as url:
        wire = Wire(url, {"api-key": "k"}, timeout=30)
        given = [await wire.request("PUT", f"/{n}", b"x" * 100_000) for n in range(4)]
        wire.close()
    assert given == [(200, b"first"), (200, b"second"), (404, b"last"), (200, b"first")]
    lines = [[line for line, _ in some] for some in connections]
    assert lines == [[f"PUT /prefix/{n} HTTP/1.1" for n in range(3)], ["PUT /prefix/3 HTTP/1.1"]]
    assert connections[0][0][1] == b"x" * 100_000


async def test_requests_at_once_have_a_connection_each() -> None:
    waiting = asyncio.Barrier(3)

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read(reader)
        await waiting.wait()
        writer.write(answer(body, f"Content-Length: {len(body)}"))
        await reader.read()
        writer.close()

    async with listening(answering) as url:
        wire = Wire(url, {}, timeout=30)
        given = await asyncio.gather(*(wire.request("POST", "/", f"{n}".encode()) for n in range(3)))
        wire.close()
    assert given == [(200, b"0"), (200, b"1"), (200, b"2")]


async def test_a_kept_connection_that_is_lost_costs_no_request() -> None:
    asked = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await read(reader)
        if asked != 2:
            writer.write(answer(b'{"result": 1}', "Content-Length: 13"))
            await read_quietly(reader)
        writer.close()

    async def read_quietly(reader: asyncio.StreamReader) -> None:
        """Take another request and drop the connection, as a server does that is killed."""
        try:
            await read(reader)
        except asyncio.IncompleteReadError:
            return

    async with listening(answering) as url:
        server = Server(ServerOptions(url))
        assert await server.send("POST", "/", b"{}") == 1
        with pytest.raises(UnavailableError, match="cannot be reached"):  # lost, and lost once more
            await server.send("POST", "/", b"{}")
        assert await server.send("POST", "/", b"{}") == 1
        assert await server.send("POST", "/", b"{}") == 1
        await server.close()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not answer like a Qdrant server"),
        (answer(b"<html>", "Content-Length: 6"), "does not answer like a Qdrant server"),
        (answer(b"", "Content-Length: 0", status="429 Too Many Requests"), "overloaded"),
        (answer(b"", "Content-Length: 0", status="503 Service Unavailable"), "cannot answer"),
        (answer(b"", "Content-Length: 0", status="530 Beyond The List"), "cannot answer: 530"),
        (b"", "did not answer in 1 s"),
    ],
)
async def test_what_is_no_good_answer_is_said_in_plain_words(sent: bytes, words: str) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(sent)
        await reader.read()
        writer.close()

    async with listening(answering) as url:
        server = Server(ServerOptions(url, timeout=30 if sent else 1))
        with pytest.raises(UnavailableError, match=words):
            await server.send("POST", "/", b"{}")
        await server.close()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://qdrant", ("qdrant", 6333)),
        ("https://qdrant.example/prefix", ("qdrant.example", 6333)),
        ("http://[::1]:7000", ("::1", 7000)),
    ],
)
async def test_the_plain_connections_lead_where_the_clients_lead(url: str, place: tuple[str, int]) -> None:
    server = Server(ServerOptions(url))
    assert (server._wire.host, server._wire.port) == place
    await server.close()
