"""One kind's records in a SQL table: the life that all resources share."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lamina.core.errors import AlreadyExistsError, NotFoundError
from lamina.core.filters import ALL, Filter
from lamina.core.models import Sort
from lamina.core.paging import PageRequest, Slice, decode_cursor, encode_cursor
from lamina.core.predicate import matches
from lamina.core.scope import Scope
from lamina.core.types import Json
from lamina.stores.records import postgres, sqlite
from lamina.stores.records.base import EVERYTHING, Kind
from lamina.stores.records.database import Database, to_json
from lamina.stores.records.filters import (
    ascii_lower,
    by_code_point,
    field_expression,
    split,
    terms_of,
)
from lamina.stores.records.tables import resource_table, within

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_ROWS_AT_ONCE: Final = 400
"""Rows per statement: stays under SQLite's limit of bound variables."""


class SqlRepository(Generic[M]):
    """`Repository` of one kind. See the Protocol for what the methods promise."""

    def __init__(self, database: Database, kind: Kind[M]) -> None:
        self.kind = kind
        self._database = database
        self._table = resource_table(kind.name, tuple(kind.columns), tuple(kind.unique))
        self._columns = _columns(kind)

    # Writing

    async def add(self, scope: Scope, *items: M) -> None:
        """Insert; the constraints find what is taken."""
        await self._insert(scope, items, replace=False)

    async def put(self, scope: Scope, *items: M) -> None:
        """Insert, or overwrite the records with the same ids."""
        await self._insert(scope, items, replace=True)

    async def _insert(self, scope: Scope, items: Sequence[M], *, replace: bool) -> None:
        rows = [self._row(scope, item) for item in items]
        if replace:  # of the same id the last one counts; one statement may not write a row twice
            rows = list({row["id"]: row for row in rows}.values())
        try:
            async with self._writing() as connection:
                for some in _groups(rows):
                    if self._database.is_postgresql:
                        at_once = postgres.insertion(self._table, some)
                        await connection.execute(self._upsert(at_once) if replace else at_once)
                    else:
                        insert = insert_into_sqlite(self._table)
                        await connection.execute(self._upsert(insert) if replace else insert, some)
        except IntegrityError as error:
            raise self._conflict(error, items) from error

    def _upsert(self, insert: postgresql.Insert | SqliteInsert) -> sa.Insert:
        kept = {"seq", "id", "organization_id", "namespace_id", "parent_id", "created_at"}
        return insert.on_conflict_do_update(
            index_elements=["organization_id", "id"],
            set_={
                column.name: insert.excluded[column.name]
                for column in self._table.c
                if column.name not in kept
            },
        )

    async def update(self, scope: Scope, *items: M) -> None:
        """Overwrite the bodies and the columns taken from them."""
        table = self._table
        try:
            async with self._writing() as connection:
                for row in sorted((self._row(scope, item) for item in items), key=_identifier):
                    fixed = ("organization_id", "namespace_id", "parent_id", "created_at", "id")
                    identifier = row["id"]
                    values = {name: value for name, value in row.items() if name not in fixed}
                    change = (
                        sa.update(table).where(self._within(scope), table.c.id == identifier).values(values)
                    )
                    if (await connection.execute(change)).rowcount == 0:
                        raise NotFoundError(self._noun, identifier)
        except IntegrityError as error:
            raise self._conflict(error, items) from error

    async def change(self, scope: Scope, identifier: str, change: Callable[[M], M]) -> M:
        """Read and write in one transaction, the row locked where the database can."""
        async with self._writing() as connection:
            body = (await connection.execute(self._named(scope, identifier).with_for_update())).scalar()
            if body is None:
                raise NotFoundError(self._noun, identifier)
            changed = change(self.kind.model.model_validate(body))
            await self.update(scope, changed)
        return changed

    async def patch(self, scope: Scope, ids: Sequence[str], fields: Mapping[str, Json]) -> None:
        """One statement for all. Null empties a field."""
        table = self._table
        columns: dict[str, Any] = {}
        for name, value in fields.items():
            column = self._field(name)
            if column is not None:
                columns[str(column.key)] = value
        async with self._writing() as connection:
            for some in _groups(sorted(ids)):
                change = sa.update(table).where(self._to_change(scope, some))
                await connection.execute(change.values({**columns, "body": self._patched(fields)}))

    def _patched(self, fields: Mapping[str, Json]) -> sa.ColumnElement[Any]:
        """The body with these fields in place of its own, and without those that are null."""
        body = self._table.c.body
        emptied = [name for name, value in fields.items() if value is None]
        given = {name: value for name, value in fields.items() if value is not None}
        if self._database.is_postgresql:
            merged = body.op("||")(sa.cast(given, postgresql.JSONB))
            return merged.op("-")(sa.cast(emptied, postgresql.ARRAY(sa.Text)))
        pairs = [(_path(name), sa.func.json(to_json(value))) for name, value in given.items()]
        return sa.func.json_remove(sa.func.json_set(body, *chain(*pairs)), *map(_path, emptied))

    async def delete(self, scope: Scope, *ids: str) -> int:
        """Remove by id."""
        removed = 0
        async with self._writing() as connection:
            for some in _groups(sorted(ids)):
                gone = sa.delete(self._table).where(self._to_change(scope, some))
                removed += (await connection.execute(gone)).rowcount
        return removed

    async def delete_all(self, scope: Scope, where: Filter = ALL) -> int:
        """Remove what matches."""
        sql, residual = self._split(where)
        if residual != ALL:
            ids = [self._id(item) async for items in self.iterate(scope, where=where) for item in items]
            return await self.delete(scope, *ids)
        async with self._writing() as connection:
            result = await connection.execute(sa.delete(self._table).where(self._within(scope), sql))
        return result.rowcount

    # Reading

    async def get(self, scope: Scope, identifier: str) -> M:
        """By id or name, or `NotFoundError`."""
        found = await self.find(scope, identifier)
        if found is None:
            raise NotFoundError(self._noun, identifier)
        return found

    async def find(self, scope: Scope, identifier: str) -> M | None:
        """By id first, then by name."""
        cache, key = self._database.cache if self.kind.cached else None, (self.kind.name, scope, identifier)
        if cache is not None and key in cache:
            item: M = cache[key]
            return item
        async with self._database.reading() as connection:
            body = (await connection.execute(self._named(scope, identifier))).scalar_one_or_none()
        if body is None:
            return None
        item = self.kind.model.model_validate(body)
        if cache is not None:
            cache[key] = item
        return item

    async def get_many(self, scope: Scope, ids: Sequence[str]) -> dict[str, M]:
        """By id."""
        found: dict[str, M] = {}
        async with self._database.reading() as connection:
            for some in _groups(ids):
                query = self._identified(scope, some, self._table.c.body)
                for body in (await connection.execute(query)).scalars():
                    item = self.kind.model.model_validate(body)
                    found[self._id(item)] = item
        return found

    async def versions(self, scope: Scope, ids: Sequence[str]) -> dict[str, str]:
        """From the column alone: no body is read."""
        columns = self._table.c.id, self._table.c.updated_at
        found: dict[str, str] = {}
        async with self._database.reading() as connection:
            for some in _groups(ids):
                rows = await connection.execute(self._identified(scope, some, *columns))
                found.update((row.id, row.updated_at) for row in rows)
        return found

    async def list_page(
        self,
        scope: Scope,
        page: PageRequest,
        *,
        where: Filter = ALL,
        sort: Sort | None = None,
        search: str | None = None,
        case_sensitive: bool = False,
    ) -> Slice[M]:
        """One page. The default order pages by sequence number, others by offset."""
        sql, residual = self._split(where)
        conditions = [self._within(scope), sql]
        if search:
            conditions.append(self._searched(search, case_sensitive))
        if residual != ALL:
            return await self._list_scanning(conditions, residual, page, sort)
        order = sort or self.kind.default_sort
        query = self._ordered(sa.select(self._table.c.seq, self._table.c.body).where(*conditions), order)
        # The order of creation pages by sequence number: at any depth, while records come and go.
        by_sequence, offset = order.field == "created_at", page.offset
        if page.cursor is not None:
            start, place = _place(page.cursor)
            by_sequence = by_sequence and start == "seq"
            offset = 0 if by_sequence else place
            if by_sequence:
                query = query.where(self._after(place, order))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.limit(page.limit + 1).offset(offset))).all()
            total = None
            if page.include_total:
                counted = sa.select(sa.func.count()).select_from(self._table).where(*conditions)
                total = (await connection.execute(counted)).scalar_one()
        items = [self.kind.model.model_validate(row.body) for row in rows[: page.limit]]
        following = None
        if len(rows) > page.limit:
            last = rows[page.limit - 1].seq
            following = (
                encode_cursor("seq", last) if by_sequence else encode_cursor("offset", offset + page.limit)
            )
        return Slice(items, following, total)

    async def _list_scanning(
        self,
        conditions: Sequence[sa.ColumnElement[bool]],
        residual: Filter,
        page: PageRequest,
        sort: Sort | None,
    ) -> Slice[M]:
        """The same where SQL cannot express the whole filter: the rest is tried on each body."""
        offset = page.offset if page.cursor is None else _place(page.cursor)[1]
        query = self._ordered(
            sa.select(self._table.c.body).where(*conditions), sort or self.kind.default_sort
        )
        matched = 0
        items: list[M] = []
        async with self._database.reading() as connection:
            for body in (await connection.execute(query)).scalars():
                if matches(residual, body):
                    matched += 1
                    if offset < matched <= offset + page.limit:
                        items.append(self.kind.model.model_validate(body))
        more = matched > offset + page.limit
        following = encode_cursor("offset", offset + page.limit) if more else None
        return Slice(items, following, matched if page.include_total else None)

    async def iterate(self, scope: Scope, *, where: Filter = ALL, batch: int = 500) -> AsyncIterator[list[M]]:
        """All that match, by sequence number; safe while records come and go."""
        sql, residual = self._split(where)
        table = self._table
        last = -1
        while True:
            query = (
                sa.select(table.c.seq, table.c.body)
                .where(self._within(scope), sql, table.c.seq > last)
                .order_by(table.c.seq)
                .limit(batch)
            )
            async with self._database.reading() as connection:
                rows = (await connection.execute(query)).all()
            items = [
                self.kind.model.model_validate(row.body)
                for row in rows
                if residual == ALL or matches(residual, row.body)
            ]
            if items:
                yield items
            if len(rows) < batch:
                return
            last = rows[-1].seq

    async def first(self, scope: Scope, where: Filter) -> M | None:
        """The oldest that matches."""
        found = await self.list_page(scope, PageRequest(limit=1), where=where)
        return found.items[0] if found.items else None

    async def count(self, scope: Scope, where: Filter = ALL) -> int:
        """How many match."""
        found = await self.list_page(scope, PageRequest(limit=1, include_total=True), where=where)
        return found.total or 0

    async def count_by(self, scope: Scope, field: str) -> dict[str, int]:
        """How many have each value of a column."""
        column = self._table.c[field]
        query = sa.select(column, sa.func.count()).where(self._within(scope)).group_by(column)
        async with self._database.reading() as connection:
            return {str(value): count for value, count in (await connection.execute(query)).all()}

    async def sum(self, scope: Scope, field: str) -> float:
        """The total of a numeric field."""
        total = sa.func.coalesce(sa.func.sum(self._json(field).as_float()), 0.0)
        async with self._database.reading() as connection:
            query = sa.select(total).select_from(self._table).where(self._within(scope))
            return float((await connection.execute(query)).scalar_one())

    def deletion(self, scope: Scope) -> sa.Delete:
        """The statement that removes all of a namespace's records."""
        return sa.delete(self._table).where(
            self._table.c.organization_id == scope.organization_id,
            self._table.c.namespace_id == scope.namespace,
        )

    # The how

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.writing() as connection:
            if self.kind.cached:
                self._database.changed()
            yield connection

    def _split(self, where: Filter) -> tuple[sa.ColumnElement[bool], Filter]:
        body = self._table.c.body
        indexed = self.kind.indexed and self._database.is_postgresql
        return split(where, self._field, body, terms_of(self._table) if indexed else None)

    def _identified(self, scope: Scope, ids: Sequence[str], *columns: sa.Column[Any]) -> sa.Select[Any]:
        """Columns of the records with these ids."""
        if self._database.is_postgresql:
            return postgres.identified(self._table, scope, ids, *columns)
        return sa.select(*columns).where(sqlite.identified(self._table, scope, ids))

    def _to_change(self, scope: Scope, ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """The condition for the records with these ids; in order, so that writers never meet crosswise."""
        if not self._database.is_postgresql:
            return sqlite.identified(self._table, scope, ids)
        seq = self._table.c.seq
        return seq.in_(postgres.identified(self._table, scope, ids, seq, locked=True))

    def _named(self, scope: Scope, identifier: str) -> sa.Select[Any]:
        """The body of the record with that id, or else with that name."""
        table = self._table
        named = table.c.id == identifier
        if self.kind.name_field is not None:
            named = sa.or_(named, table.c.name == identifier)
        query = sa.select(table.c.body).where(self._within(scope), named)
        return query.order_by(table.c.id != identifier).limit(1)

    @property
    def _noun(self) -> str:
        return self.kind.id_field.removesuffix("_id")

    def _id(self, item: M) -> str:
        return str(getattr(item, self.kind.id_field))

    def _row(self, scope: Scope, item: M) -> dict[str, Any]:
        body: dict[str, Any] = item.model_dump(mode="json", exclude_none=True)
        row = {
            "id": body[self.kind.id_field],
            "organization_id": scope.organization_id,
            "namespace_id": scope.namespace_id or "",
            "parent_id": scope.parent_id or "",
            "name": None if self.kind.name_field is None else body.get(self.kind.name_field),
            "status": body.get("status"),
            "created_at": body["created_at"],
            "updated_at": body.get("updated_at", body["created_at"]),
            "body": body,
        }
        row.update({column: body.get(column) for column in (*self.kind.columns, *self.kind.unique)})
        return row

    def _within(self, scope: Scope) -> sa.ColumnElement[bool]:
        return within(self._table, scope)

    def _field(self, path: str) -> "sa.ColumnElement[Any] | None":
        """The column that holds a field, or None where only the body does."""
        name = self._columns.get(path)
        return None if name is None else self._table.c[name]

    def _json(self, path: str) -> Any:
        return self._table.c.body[tuple(path.split("."))]

    def _ordered(self, query: sa.Select[Any], order: Sort) -> sa.Select[Any]:
        descending = order.direction == "desc"
        sequence = self._table.c.seq.desc() if descending else self._table.c.seq
        if order.field == "created_at":
            return query.order_by(sequence)
        column = self._field(order.field)
        value = field_expression(self._table.c.body, order.field) if column is None else by_code_point(column)
        keys = value if isinstance(value, Sequence) else (value,)
        ordered = [(key.desc() if descending else key.asc()).nulls_last() for key in keys]
        return query.order_by(*ordered, sequence)

    def _after(self, seq: int, order: Sort) -> sa.ColumnElement[bool]:
        return self._table.c.seq < seq if order.direction == "desc" else self._table.c.seq > seq

    def _searched(self, text: str, case_sensitive: bool) -> sa.ColumnElement[bool]:
        """`*` stands for anything; without one the text may stand anywhere in a field."""
        escaped = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        pattern = escaped.replace("*", "%") if "*" in escaped else f"%{escaped}%"
        fields = [self.kind.id_field, self.kind.name_field, *self.kind.search]
        found = []
        for field in dict.fromkeys(name for name in fields if name is not None):
            column = self._field(field)
            if field == EVERYTHING:
                value: Any = sa.cast(self._table.c.body, sa.Text)
            else:
                value = self._json(field).as_string() if column is None else column
            if not case_sensitive:
                value, pattern = ascii_lower(value), _ascii_lowered(pattern)
            found.append(value.like(pattern, escape="\\"))
        return sa.or_(*found)

    def _conflict(self, error: IntegrityError, items: Iterable[M]) -> AlreadyExistsError:
        noun = self._noun.replace("_", " ").capitalize()
        about = _violated(error)
        for column in self.kind.unique:
            if column in about:
                return AlreadyExistsError(
                    f"{noun} with this {column.replace('_', ' ')} already exists.", field=column
                )
        name_field = self.kind.name_field or self.kind.id_field
        names = [str(getattr(item, name_field)) for item in items][:1]
        return AlreadyExistsError(
            f"{noun} '{names[0] if names else ''}' already exists; choose another {name_field}.",
            code=f"{name_field}_taken",
            field=name_field,
        )


def _columns(kind: Kind[M]) -> dict[str, str]:
    """The columns by the model's field names."""
    named = {kind.id_field: "id", "created_at": "created_at", "updated_at": "updated_at"}
    if kind.name_field is not None:
        named[kind.name_field] = "name"
    if "status" in kind.model.model_fields:
        named["status"] = "status"
    return {**named, **{column: column for column in (*kind.columns, *kind.unique)}}


def _violated(error: IntegrityError) -> str:
    """The constraint that was violated, by name or by its columns."""
    diagnosis = getattr(error.orig, "diag", None)  # PostgreSQL's, whose message holds the values as well
    return str(error.orig) if diagnosis is None else str(diagnosis.constraint_name)


def _identifier(row: Mapping[str, Any]) -> str:
    """Rows are written in the order of their ids, so that two writers never wait for each other crosswise."""
    return str(row["id"])


def _path(name: str) -> str:
    """A field at the body's root, as SQLite writes it."""
    return f'$."{name}"'


def _ascii_lowered(text: str) -> str:
    """A to Z in lower case, all other letters as they are: what both databases can do."""
    return text.translate(_ASCII_LOWER)


_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _place(cursor: str) -> tuple[str, int]:
    kind, place = decode_cursor(cursor, str, int)
    return kind, place


def _groups(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _ROWS_AT_ONCE] for start in range(0, len(items), _ROWS_AT_ONCE))
