"""Locks that several processes share, in PostgreSQL: one is held until it is let go or its process ends.

Each caller has a connection of its own, for the database lets go of its locks when that closes,
in whatever way the process ended. On SQLite, which one process has to itself, every lock is free.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from lamina.core.errors import RecordsUnavailableError
from lamina.stores.records.database import Database, clearly, lock_key


class Locks:
    """Takes locks by name."""

    def __init__(self, database: Database) -> None:
        self.shared = database.is_postgresql
        self._engine = (
            create_async_engine(database.engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            if self.shared
            else None
        )

    @asynccontextmanager
    async def held(self, names: Iterable[str], *, jointly: bool = False) -> AsyncIterator["Lock"]:
        """Wait for locks, all of them in one order, and hold them. Several may hold one `jointly`."""
        if self._engine is None:
            yield Lock(None)
            return
        keys = sorted({lock_key("lock", name) for name in names})
        function = "pg_advisory_lock_shared" if jointly else "pg_advisory_lock"
        with clearly():
            async with self._engine.connect() as connection:
                query = sa.text(f"select {function}(key) from unnest(cast(:keys as bigint[])) as key")
                await connection.execute(query, {"keys": keys})
                yield Lock(connection)

    async def hold(self, name: str, *, jointly: bool = False) -> "Lock | None":
        """A lock if it is free, which the caller lets go of; None where somebody holds it."""
        if self._engine is None:
            return Lock(None)
        with clearly():
            connection = await self._engine.connect()
            function = "pg_try_advisory_lock_shared" if jointly else "pg_try_advisory_lock"
            query = sa.text(f"select {function}(:key)")
            if (await connection.execute(query, {"key": lock_key("lock", name)})).scalar_one():
                return Lock(connection)
            await connection.close()
        return None


class Lock:
    """A lock that is held."""

    def __init__(self, connection: AsyncConnection | None) -> None:
        self._connection = connection

    async def alive(self) -> bool:
        """Whether it is still held: the database may have been restarted, or the line cut."""
        if self._connection is None:
            return True
        try:
            with clearly():
                await self._connection.execute(sa.text("select 1"))
        except RecordsUnavailableError:
            return False
        return True

    async def release(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            await self._connection.close()
