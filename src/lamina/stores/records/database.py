"""One SQL database: its connections, and the transaction that the current task is in."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lamina.core.errors import (
    BadRequestError,
    MissingExtraError,
    RecordsUnavailableError,
    UnavailableError,
)
from lamina.core.scope import Scope
from lamina.core.types import Json
from lamina.stores.records import marks
from lamina.stores.records.cache import Cache
from lamina.stores.records.changes import Changes
from lamina.stores.records.migrate import migrate, newest_revision, revision

_CONNECT_SECONDS: Final = 5
_RECYCLE_SECONDS: Final = 1800
_TRUSTED_SECONDS: Final = 1.0
"""How long after its use a connection is taken to live."""

_POSTGRESQL_ARGUMENTS: Final = {
    "connect_timeout": _CONNECT_SECONDS,
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "application_name": "lamina",
    # So does the server notice a machine that is gone, whose locks it would keep for two hours otherwise.
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=25000",
}


@dataclass(slots=True)
class _Transaction:
    """What the current task writes in, and the scopes that it holds for itself."""

    connection: AsyncConnection
    held: set[int] = field(default_factory=set)
    changed: bool = False
    """Whether it writes what is cached."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A database in words, the revision of its tables if it has any, and the mark of a copy to it."""

    place: str
    revision: str | None
    mark: marks.Mark | None


class Database:
    """Connections to read and to write with.

    On SQLite one task writes at a time. On PostgreSQL many do, here and in other processes; a
    transaction that reads before it writes holds the namespace for itself (`exclusive`).
    """

    def __init__(self, engine: AsyncEngine, connections: int) -> None:
        self.engine = engine
        # Reads need no transaction of their own: one way to the server and back instead of three.
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        # Some connections are left to readers, however many writers wait for each other; `Changes` keeps one.
        self._writers = asyncio.Semaphore((connections - 1) // 2 if self.is_postgresql else 1)
        self._current: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)
        self._changes = None
        if self.is_postgresql:
            self._changes = Changes(self._reader, lost=_try_before_use(engine))
        self._cache = Cache(self._last_change if self._changes else None)

    @classmethod
    async def open(cls, url: str, connections: int = 16) -> "Database":
        """Connect, and bring the tables up to date.

        Raises `UnavailableError` when the database cannot be reached, refuses the user, or is newer
        than this code, and `MissingExtraError` without the driver. Each says how to mend it.
        """
        database = cls(_engine(url, connections), connections)
        try:
            with _opening(database.engine.url):
                async with database.engine.begin() as connection:
                    # All tables or none, and by one process: another may be starting as well.
                    await connection.execute(
                        _lock(lock_key("migrations"))
                        if database.is_postgresql
                        else sa.text("BEGIN IMMEDIATE")  # SQLite's driver begins none for a CREATE TABLE
                    )
                    await connection.run_sync(migrate)
        except UnavailableError:
            await database.close()
            raise
        return database

    @classmethod
    async def look(cls, url: str) -> "Seen":
        """What answers at a URL. Its tables stay as they are. Raises as `open` does."""
        engine = _engine(url, 2)
        try:
            with _opening(engine.url):
                async with engine.connect() as connection:
                    place = f"SQLite at {engine.url.database}"
                    found = await connection.run_sync(revision)
                    if engine.dialect.name == "postgresql":
                        version = (await connection.execute(sa.text("SHOW server_version"))).scalar_one()
                        place = f"PostgreSQL {version} at {_place(engine.url)}"
                        due = found != newest_revision()
                        if due and not (await connection.execute(_MAY_CREATE)).scalar_one():
                            raise UnavailableError(_unopened(engine.url, "permission denied to make tables"))
                    copying = await connection.run_sync(lambda one: sa.inspect(one).has_table(marks.TABLE))
                    mark = await marks.find(connection) if copying else None
        finally:
            await engine.dispose()
        return Seen(place, found, mark)

    @property
    def is_postgresql(self) -> bool:
        """Whether statements must be in PostgreSQL's dialect."""
        return self.engine.dialect.name == "postgresql"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with: the transaction's own inside of one."""
        current = self._current.get()
        if current is not None:
            yield current.connection
            return
        with clearly():
            async with (self._reader if self.is_postgresql else self.engine).connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that commits at the end; nested ones join the outermost."""
        current = self._current.get()
        if current is not None:
            yield current.connection
            return
        with clearly():
            async with self._writers:
                transaction = None
                try:
                    async with self.engine.begin() as connection:
                        transaction = _Transaction(connection)
                        token = self._current.set(transaction)
                        try:
                            yield connection
                        finally:
                            self._current.reset(token)
                finally:  # before the next writer begins, who may read what is cached
                    if transaction is not None and transaction.changed:
                        self._cache.forget()

    @asynccontextmanager
    async def exclusive(self, scope: Scope) -> AsyncIterator[None]:
        """`writing`, with every other `exclusive` transaction of the scope's namespace kept waiting."""
        async with self.writing() as connection:
            current = self._current.get()
            key = lock_key("scope", scope.organization_id, scope.namespace_id or "")
            if self.is_postgresql and current is not None and key not in current.held:
                await connection.execute(_lock(key))
                current.held.add(key)
            yield

    @property
    def cache(self) -> dict[Hashable, Any] | None:
        """What was read and still holds, by whatever key; None where the database has to be asked.

        What follows from records of cached kinds may be kept in it, if it was there before they were read.
        """
        current = self._current.get()
        if current is not None and (current.changed or self.is_postgresql):
            return None
        return self._cache.entries

    def changed(self) -> None:
        """Say that the current transaction writes what is cached."""
        current = self._current.get()
        assert current is not None
        current.changed = True

    def caching(self) -> AbstractAsyncContextManager[None]:
        """Inside, in this task, what was read before is used, unless a process has changed any of it."""
        return self._cache.trusted()

    async def _last_change(self) -> int:
        assert self._changes is not None
        with clearly():
            return await self._changes.last()

    async def close(self) -> None:
        """Close every connection."""
        if self._changes is not None:
            await self._changes.close()
        await self.engine.dispose()


def _engine(url: str, connections: int) -> AsyncEngine:
    if not url.startswith("postgresql"):
        engine = create_async_engine(
            url, json_serializer=to_json, json_deserializer=orjson.loads, pool_size=8, max_overflow=8
        )
        sa.event.listen(engine.sync_engine, "connect", _tune_sqlite)
        return engine
    try:
        import psycopg  # noqa: F401 raises where the package or its library is missing
    except ImportError as missing:
        raise MissingExtraError("Records on PostgreSQL", "postgres") from missing
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UnavailableError(f"LAMINA_RECORDS_URL cannot be read: {error}.") from error
    return create_async_engine(
        parsed,
        connect_args=connect_arguments(parsed),
        json_serializer=_to_jsonb,
        json_deserializer=orjson.loads,
        pool_size=connections,
        max_overflow=0,
        pool_recycle=_RECYCLE_SECONDS,
    )


def connect_arguments(url: str | sa.URL) -> dict[str, Any]:
    """What every connection to PostgreSQL is made with, unless its URL says otherwise."""
    chosen = sa.make_url(url).query
    return {name: value for name, value in _POSTGRESQL_ARGUMENTS.items() if name not in chosen}


def _try_before_use(engine: AsyncEngine) -> Callable[[], None]:
    """Replace connections that died in the pool. `pool_pre_ping` would ask the server before every use.

    What is returned is called when a connection was lost: all that were last used before then are tried.
    """
    dialect = engine.dialect
    lost = 0.0

    def taken(connection: Any, record: Any, _: object) -> None:
        used = record.info.get("used", 0.0)
        if used > lost and time.monotonic() - used < _TRUSTED_SECONDS:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool connects anew

    def returned(_: object, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def distrust() -> None:
        nonlocal lost
        lost = time.monotonic()

    sa.event.listen(engine.sync_engine, "checkout", taken)
    sa.event.listen(engine.sync_engine, "checkin", returned)
    return distrust


def to_json(value: Json) -> str:
    """A value as JSON text."""
    return orjson.dumps(value).decode()


_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def _to_jsonb(value: Json) -> str:
    """The same for PostgreSQL, which cannot hold U+0000: the symbol for it stands in its place.

    Requests with U+0000 are refused; it can come with the messages of other people's libraries.
    """
    text = to_json(value)
    return _NUL.sub(r"\1␀", text) if r"\u0000" in text else text


def _lock(key: int) -> sa.Select[Any]:
    """Waits until no other transaction has the key; held to the transaction's end."""
    return sa.select(sa.func.pg_advisory_xact_lock(sa.literal(key, sa.BigInteger)))


def lock_key(*parts: str) -> int:
    """The 64-bit number of an advisory lock."""
    digest = blake2b("\0".join(("lamina", *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _tune_sqlite(connection: Any, _: object) -> None:
    """WAL: readers never wait. NORMAL: a commit survives the process's death, not the power's."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "cache_size=-16000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def clearly() -> Iterator[None]:
    """Turn a lost, full or read-only database into a clear 503, and a text that it cannot hold into a 400."""
    try:
        yield
    except PoolTimeoutError as error:
        raise RecordsUnavailableError("The record store is busy: every connection is in use.") from error
    except DataError as error:
        raise BadRequestError(f"The record store cannot hold this: {_said(error)}.") from error
    except DBAPIError as error:
        if isinstance(error, OperationalError) or error.connection_invalidated or _refuses_writes(error):
            raise RecordsUnavailableError(f"The record store is unavailable: {_said(error)}.") from error
        raise


def _refuses_writes(error: DBAPIError) -> bool:
    """Class 25 has the read-only transactions of a standby, 42501 the rights that somebody took away."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith("25") or state == "42501"


_MENDING: Final = (
    ("permission denied", "make the user the owner of the database"),
    ("starting up", "wait until the server has started"),
    ("too many", "lower LAMINA_RECORDS_CONNECTIONS, or raise the server's max_connections"),
    ("invalid connection option", "remove it from LAMINA_RECORDS_URL"),
    ("SSL", "set sslmode in LAMINA_RECORDS_URL to what the server offers"),
    ("password", "correct user and password in LAMINA_RECORDS_URL"),
    ("role", "correct the user in LAMINA_RECORDS_URL, or create it"),
    ("pg_hba", "let this machine in with a line in the server's pg_hba.conf"),
    ("database", "correct the database in LAMINA_RECORDS_URL, or create it with createdb"),
)
_MAY_CREATE: Final = sa.text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
_UNREACHABLE: Final = "start the server, or correct host and port in LAMINA_RECORDS_URL"


@contextmanager
def _opening(url: sa.URL) -> Iterator[None]:
    """Say in one line why a database cannot be opened, and how to mend it."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        said = _said(error)
        if url.drivername.startswith("sqlite"):
            raise UnavailableError(f"The record store is unavailable: {said}.") from error
        known = any(word in said for word, _ in _MENDING)
        if not known and not isinstance(error, OperationalError | PoolTimeoutError):
            raise  # not the database's fault
        raise UnavailableError(_unopened(url, said)) from error


def _unopened(url: sa.URL, said: str) -> str:
    mend = next((mend for word, mend in _MENDING if word in said), _UNREACHABLE)
    return f"The record store at {_place(url)} cannot be opened: {said}. To mend it, {mend}."


def _place(url: sa.URL) -> str:
    """A URL without its password and options."""
    return f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database}"


def _said(error: Exception) -> str:
    """What the database said, on one line, without the driver's preface of every address it tried."""
    text = str(getattr(error, "orig", None) or error).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    said = re.split(r"failed: |(?:FATAL|ERROR): +", lines[0])[-1]
    return said.rstrip(".")
