"""PostgreSQL for tests: databases that live as long as a test, and ways to lose them."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import psutil
import psycopg
import pytest
import sqlalchemy as sa

from bench.harness import ends_with_us, free_port

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
def fresh_database(server: sa.URL | None = None) -> Iterator[str]:
    """The URL of a new database. It sorts letters as people do, which no order of ours may rest on."""
    server = server or postgres_server()
    name = f"lamina_test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
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


class PostgresServer:
    """A server of the test's own, from programs that are installed, that can be killed and started again.

    Its folder is not pytest's, which only its owner may enter: as root the server refuses to run.
    """

    _SECONDS: Final = 60.0

    def __init__(self) -> None:
        self._programs = _programs()
        self.home = Path(tempfile.mkdtemp(prefix="lamina-postgres-"))
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.home, self._user, self._user)
        self.port = free_port()
        self.url = sa.make_url(f"postgresql+psycopg://lamina@127.0.0.1:{self.port}/postgres")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Run it until it takes connections. What a killed one left may keep it from that for a moment."""
        until = time.monotonic() + self._SECONDS
        while not self._answers():
            assert time.monotonic() < until, (self.home / "log").read_text(errors="replace")[-2000:]
            if self._process is None or self._process.poll() is not None:
                options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.home)]
                self._process = self._run("postgres", "-D", "data", *options, "-c", "fsync=off")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """SIGKILL the server and all its processes at once."""
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        first.suspend()  # it would start others meanwhile
        everyone = [*first.children(recursive=True), first]
        for one in everyone:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait(self._SECONDS)
        psutil.wait_procs(everyone, timeout=self._SECONDS)

    def __enter__(self) -> Self:
        made = self._run(
            "initdb", "--auth=trust", "--username=lamina", "--no-locale", "-E", "UTF8", "-D", "data"
        )
        assert made.wait(self._SECONDS) == 0, (self.home / "log").read_text(errors="replace")
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                cwd=self.home,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                preexec_fn=ends_with_us,
            )

    def _answers(self) -> bool:
        try:
            psycopg.connect(
                host="127.0.0.1", port=self.port, user="lamina", dbname="postgres", connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            return False
        return True


def _programs() -> Path:
    """The folder of the newest PostgreSQL that is installed; without one the test is skipped."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    program = found[-1] if found else shutil.which("initdb")
    if program is None:
        pytest.skip("PostgreSQL's programs are not installed: nothing of the test's own can be killed.")
    return Path(program).parent


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
