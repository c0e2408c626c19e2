"""The record store over a SQL database: SQLite here, PostgreSQL where one machine is not enough."""

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from lamina.core.scope import Scope
from lamina.stores.records import marks
from lamina.stores.records.base import Kind
from lamina.stores.records.database import Database
from lamina.stores.records.marks import Mark
from lamina.stores.records.repository import SqlRepository

M = TypeVar("M", bound=BaseModel)


class SqlRecordStore:
    """`RecordStore` through SQLAlchemy."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._repositories: dict[str, SqlRepository[Any]] = {}

    @classmethod
    async def open(cls, url: str, connections: int = 16) -> "SqlRecordStore":
        """The store at a database URL; see `Database.open` for what it raises."""
        return cls(await Database.open(url, connections))

    @property
    def cache(self) -> dict[Hashable, Any] | None:
        """What follows from records that were read, until one changes."""
        return self.database.cache

    def repository(self, kind: Kind[M]) -> SqlRepository[M]:
        """The repository of a kind; always the same object, so that its cache is shared."""
        if kind.name not in self._repositories:
            self._repositories[kind.name] = SqlRepository(self.database, kind)
        return cast("SqlRepository[M]", self._repositories[kind.name])

    async def delete_namespace(self, scope: Scope) -> None:
        """Empty every table of what lies in the namespace."""
        async with self.database.writing() as connection:
            for repository in self._repositories.values():
                await connection.execute(repository.deletion(scope))
            self.database.changed()

    def transaction(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        """Keep everything written inside together; nested ones join the outermost."""
        return self.database.exclusive(scope)

    def atomic(self) -> AbstractAsyncContextManager[object]:
        """Keep everything written inside together; nested ones join the outermost."""
        return self.database.writing()

    def caching(self) -> AbstractAsyncContextManager[None]:
        """Trust inside what was read before and has not changed since."""
        return self.database.caching()

    async def mark(self, mark: Mark) -> None:
        """Say that these records are part of a copy that is not complete."""
        async with self.database.writing() as connection:
            await marks.put(connection, mark)

    async def marked(self) -> Mark | None:
        """What was said of a copy, until it is complete."""
        async with self.database.reading() as connection:
            return await marks.find(connection)

    async def unmark(self) -> None:
        """Say that the copy is complete."""
        async with self.database.writing() as connection:
            await marks.remove(connection)

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()
