"""Statements that PostgreSQL is given in a form of their own, because it does them for less that way."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from lamina.core.scope import EVERYWHERE, Scope


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


def identified(
    table: sa.Table, scope: Scope, ids: Sequence[str], *columns: sa.Column[Any], locked: bool = False
) -> sa.Select[Any]:
    """Columns of the records with these ids, locked in the order in which the ids are given if asked for.

    Each is looked up by itself. Left to choose, PostgreSQL reads all that the scope holds, for every
    statement, as long as its statistics do not tell how much that is: those of a new namespace or batch.
    """
    given = sa.literal(ids, postgresql.ARRAY(sa.Text))
    wanted = sa.func.unnest(given).table_valued("id").render_derived("wanted")
    one = sa.select(*columns, table.c.namespace_id, table.c.parent_id).where(table.c.id == wanted.c.id)
    if scope != EVERYWHERE:
        one = one.where(table.c.organization_id == scope.organization_id)
    one = one.offset(0)  # keeps the conditions below out of the look-up
    found = (one.with_for_update() if locked else one).lateral("found")
    query = (
        sa.select(*(found.c[column.name] for column in columns)).select_from(wanted).join(found, sa.true())
    )
    if scope.namespace_id is not None:
        query = query.where(found.c.namespace_id == scope.namespace_id)
    if scope.parent_id is not None:
        query = query.where(found.c.parent_id == scope.parent_id)
    return query
