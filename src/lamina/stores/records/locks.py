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
from lamina.stores.records.database import Database, clearly, connect_arguments, lock_key


class Locks:
    """Takes locks by name."""

    def __init__(self, database: Database) -> None:
        self.shared = database.is_postgresql
        url = database.engine.url
        self._engine = (
            create_async_engine(
                url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=connect_arguments(url)
            )
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
            key = lock_key("lock", name)
            taken = False
            try:
                answer = await connection.execute(sa.text(f"select {function}(:key)"), {"key": key})
                taken = answer.scalar_one()
            finally:
                if not taken:
                    await connection.close()
        return Lock(connection, key) if taken else None


class Lock:
    """A lock that is held."""

    def __init__(self, connection: AsyncConnection | None, key: int | None = None) -> None:
        self._connection = connection
        self._key = key

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

    async def share(self) -> None:
        """Let others hold it jointly from now on, with this one among them all the time."""
        if self._connection is not None:
            with clearly():
                for function in ("pg_advisory_lock_shared", "pg_advisory_unlock"):
                    await self._connection.execute(sa.text(f"select {function}(:key)"), {"key": self._key})

    async def release(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            await self._connection.close()
