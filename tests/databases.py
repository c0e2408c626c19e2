"""PostgreSQL for tests: databases that live as long as a test, and a way to lose the connection to them."""

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Self

import pytest
import sqlalchemy as sa

_DEFAULT = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
_HOW = "set LAMINA_TEST_POSTGRES or start one on 127.0.0.1:5432"


def postgres_server() -> sa.URL:
    """Where PostgreSQL is: `LAMINA_TEST_POSTGRES`, or one on loopback that trusts local users.

    The user may create databases. Without a server CI fails and others skip.
    """
    given = os.environ.get("LAMINA_TEST_POSTGRES")
    if given:
        return sa.make_url(given)
    try:
        socket.create_connection(("127.0.0.1", 5432), timeout=1).close()
    except OSError:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs PostgreSQL: {_HOW}.")
        pytest.skip(f"No PostgreSQL: {_HOW}.")
    return sa.make_url(_DEFAULT)


@contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of a new database. It sorts letters as people do, which no order of ours may rest on."""
    server = postgres_server()
    name = f"lamina_test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(
                sa.text(
                    f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' "
                    "LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
                )
            )
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        engine.dispose()


def end_connections(url: str) -> int:
    """Have the server end every connection to a database; how many there were."""
    engine = sa.create_engine(sa.make_url(url).set(database=postgres_server().database))
    with engine.begin() as connection:
        ended = connection.execute(
            sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name"),
            {"name": sa.make_url(url).database},
        ).scalar_one()
    engine.dispose()
    return int(ended)


class Gate:
    """A TCP port that leads to a server and can be shut: what is open breaks, what is new is refused.

    >>> with Gate("127.0.0.1", 5432) as gate:
    ...     gate.shut()
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def url(self, url: str) -> str:
        """The same URL, through the gate."""
        through = sa.make_url(url).set(host="127.0.0.1", port=self.port)
        return through.render_as_string(hide_password=False)

    def shut(self) -> None:
        """Break every connection and take no more."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)

    def open(self) -> None:
        """Let through what comes."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._through, "127.0.0.1", self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*self._target)
        self._open |= {writer, there[1]}
        with suppress(OSError):
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        self._open -= {writer, there[1]}


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while some := await source.read(1 << 16):
        target.write(some)
        await target.drain()
    target.close()
