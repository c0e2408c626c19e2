"""Statements that SQLite is given in a form of their own, because it does them for less that way."""

from collections.abc import Sequence

import sqlalchemy as sa

from lamina.core.scope import EVERYWHERE, Scope
from lamina.stores.records.database import to_json
from lamina.stores.records.tables import within


def identified(table: sa.Table, scope: Scope, ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """The condition for the records of the scope with these ids, each of which is looked up by itself.

    Left to choose, SQLite reads all that the scope holds for a few dozen ids: it keeps no statistics
    that would tell how much that is.
    """
    if scope == EVERYWHERE:
        return table.c.id.in_(ids)
    wanted = sa.func.json_each(to_json(list(ids))).table_valued("value").alias("wanted")
    one = table.alias("one")
    found = sa.select(one.c.seq).where(within(one, scope), one.c.id == wanted.c.value)
    return table.c.seq.in_(sa.select(found.scalar_subquery()).select_from(wanted))
