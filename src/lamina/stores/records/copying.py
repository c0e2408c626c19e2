"""Whole tables from one database to another, and proof that they hold the same."""

import hashlib
import re
from collections.abc import AsyncIterator, Set
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from lamina.core.types import Json
from lamina.stores.records import changes, marks
from lamina.stores.records.database import Database

_ROWS: Final = 1_000
"""Rows that are read and written at once."""

_WHOLE_FLOAT: Final = re.compile(rb"\.0[],}]|\de[-+]?\d")
"""Where a JSON text may hold a float that is a whole number."""

_OF_ONE_DATABASE: Final = {"alembic_version", changes.TABLE, marks.TABLE}
"""Tables that say something about the database that they are in."""


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A table and its copy in another database. `columns` are those that both store."""

    source: Database
    target: Database
    ours: sa.Table
    theirs: sa.Table
    columns: Set[str]

    async def copy(self) -> AsyncIterator[int]:
        """Copy the rows that the target lacks, oldest first; yields how many after each step.

        Rows are written in the order of their primary key, so that a copy that was cut off goes on
        behind the last row that arrived.
        """
        (key,) = self.theirs.primary_key.columns
        async with self.target.reading() as connection:
            last = (await connection.execute(sa.select(sa.func.max(key)))).scalar()
        async for rows in _rows(self.source, self.ours, self.columns, last):
            async with self.target.writing() as connection:
                await connection.execute(sa.insert(self.theirs), rows)
            yield len(rows)
        if self.target.is_postgresql and isinstance(key.type, sa.Integer):
            await _continue_numbers(self.target, self.theirs.name, key.name)

    async def clear(self) -> None:
        """Remove the rows of the copy."""
        async with self.target.writing() as connection:
            await connection.execute(sa.delete(self.theirs))

    async def digests(self) -> list[tuple[int, str]]:
        """For both, the number of rows, and a SHA-256 that is the same for the same rows."""
        sides = ((self.source, self.ours), (self.target, self.theirs))
        return [await _digest(database, table, self.columns) for database, table in sides]


async def tables(source: Database, target: Database) -> list[TableCopy]:
    """Every table that holds records, in the order in which they can be copied."""
    ours, theirs = await _reflected(source), await _reflected(target)
    return [
        TableCopy(source, target, table, copy, _stored(table) & _stored(copy))
        for table in ours.sorted_tables
        if table.name not in _OF_ONE_DATABASE
        for copy in (theirs.tables[table.name],)
    ]


async def _reflected(database: Database) -> sa.MetaData:
    found = sa.MetaData()
    async with database.reading() as connection:
        await connection.run_sync(found.reflect)
    return found


async def _digest(database: Database, table: sa.Table, columns: Set[str]) -> tuple[int, str]:
    sha, count = hashlib.sha256(), 0
    async for rows in _rows(database, table, columns, None):
        for row in rows:
            text = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
            if _WHOLE_FLOAT.search(text):
                text = orjson.dumps(_canonical(row), option=orjson.OPT_SORT_KEYS)
            sha.update(text)
        count += len(rows)
    return count, sha.hexdigest()


def _stored(table: sa.Table) -> set[str]:
    """The columns that are written; the database computes the others itself."""
    return {str(column.name) for column in table.columns if column.computed is None}


async def _rows(
    database: Database, table: sa.Table, columns: Set[str], after: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows behind a key, in its order, some at a time."""
    (key,) = table.primary_key.columns
    names = sorted(columns)
    while True:
        query = sa.select(*(table.c[name] for name in names)).order_by(key).limit(_ROWS)
        if after is not None:
            query = query.where(key > after)
        async with database.reading() as connection:
            rows = [dict(zip(names, row, strict=True)) for row in await connection.execute(query)]
        if rows:
            yield rows
        if len(rows) < _ROWS:
            return
        after = rows[-1][key.name]


async def _continue_numbers(database: Database, table: str, key: str) -> None:
    """Let the numbers that PostgreSQL gives to new rows go on behind those that were copied."""
    async with database.writing() as connection:
        await connection.execute(
            sa.text(
                f"select setval(pg_get_serial_sequence(:table, :key), greatest(max({key}), 1)) from {table}"
            ),
            {"table": table, "key": key},
        )


def _canonical(value: Json) -> Json:
    """A JSON value with one form for each number: PostgreSQL makes 1e17 an integer and -0.0 a 0."""
    if isinstance(value, dict):
        return {str(key): _canonical(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value
