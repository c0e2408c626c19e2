"""Statements that PostgreSQL is given in a form of their own, because it does them for less that way."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


def insertion(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> postgresql.Insert:
    """Rows that have the same columns, as one statement with one JSON value.

    Row by row the messages cost more than the rows: of 256 outcomes each takes the driver 18 µs of
    processor time instead of 79, and the server 52 µs instead of 70.
    """
    columns = [table.c[name] for name in rows[0]]
    types = [sa.column(column.name, column.type) for column in columns]
    given = sa.func.json_to_recordset(sa.literal(rows, postgresql.JSON)).table_valued(*types)
    query = sa.select(*given.render_derived("given", with_types=True).c)
    return postgresql.insert(table).from_select(columns, query, include_defaults=False)
