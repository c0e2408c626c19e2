"""Asking PostgreSQL whether another process has changed what this one keeps in memory."""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

TABLE: Final = "changes"
"""Its one row says which transaction was the last to write a record of a cached kind."""

_LAST: Final[sa.Select[Any]] = sa.select(sa.column("last")).select_from(sa.table(TABLE))


class Changes:
    """Keeps a connection of the pool and asks the driver, as every request asks.

    SQLAlchemy would take five times as long: 0.52 ms on loopback against 0.11.
    """

    def __init__(self, engine: AsyncEngine, lost: Callable[[], None]) -> None:
        """`lost` is called when the connection is, before another is asked for."""
        self._engine = engine
        self._lost = lost
        self._query = str(_LAST.compile(dialect=engine.dialect))
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._kept: AsyncConnection | None = None
        self._driver: Any = None

    async def last(self) -> int:
        """The last transaction. Raises as any statement does when the database is not there."""
        try:
            if self._kept is None:
                return await self._by_new_connection()
            ((last,),) = await (await self._driver.execute(self._query, prepare=True)).fetchall()
        except self._error:  # the connection is; whether the database is, another one tells
            self._lost()
            await self.close()
            return await self._by_new_connection()
        except BaseException:  # it may be in the middle of an answer
            await self.close()
            raise
        return int(last)

    async def _by_new_connection(self) -> int:
        kept = await self._engine.connect()
        try:
            last = int((await kept.execute(_LAST)).scalar_one())
            self._driver = (await kept.get_raw_connection()).driver_connection
        except BaseException:
            await kept.close()
            raise
        self._kept = kept
        return last

    async def close(self) -> None:
        """Let go of the connection."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.invalidate()
            await kept.close()
