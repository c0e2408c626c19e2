"""The record store over a SQL database: SQLite here, PostgreSQL where one machine is not enough."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from lamina.core.scope import Scope
from lamina.stores.records.base import Kind
from lamina.stores.records.database import Database
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
    def shared(self) -> bool:
        """Whether other processes may write to it too, so that nothing read is to be remembered."""
        return self.database.is_postgresql

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
        self._forget()

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[None]:
        """Keep everything written inside together; nested ones join the outermost."""
        try:
            async with self.database.exclusive(scope):
                yield
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        for repository in self._repositories.values():
            repository.forget()

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()
