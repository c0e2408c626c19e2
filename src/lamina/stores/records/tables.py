"""The one table shape that every kind of resource has.

A record's model is kept whole in `body`; what is looked up by gets a column beside it. An absent
namespace, parent or name is an empty string, so that unique constraints hold for it too.
"""

from collections.abc import Sequence
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from lamina.core.scope import EVERYWHERE, Scope

metadata = sa.MetaData()

FIXED_COLUMNS = ("id", "name", "status", "created_at", "updated_at")
"""Columns that hold a model's field of that meaning."""


@cache
def resource_table(name: str, columns: tuple[str, ...] = (), unique: tuple[str, ...] = ()) -> sa.Table:
    """The table of a kind. `columns` and `unique` are text columns copied out of the body."""
    return sa.Table(name, metadata, *resource_columns(name, columns, unique))


def resource_columns(
    name: str, columns: Sequence[str] = (), unique: Sequence[str] = ()
) -> list[sa.schema.SchemaItem]:
    """Columns, constraints and indexes of a resource table; migrations use them too."""
    within = ("organization_id", "namespace_id", "parent_id")
    return [
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("id", sa.Text, nullable=False),
        *(sa.Column(column, sa.Text, nullable=False, default="") for column in within),
        sa.Column("name", sa.Text, nullable=True),
        sa.Column("status", sa.Text, nullable=True),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
        sa.Column("body", sa.JSON().with_variant(JSONB, "postgresql"), nullable=False),
        *(sa.Column(column, sa.Text, nullable=True) for column in (*columns, *unique)),
        sa.UniqueConstraint("organization_id", "id", name=f"uq_{name}_id"),
        sa.UniqueConstraint(*within, "name", name=f"uq_{name}_name"),
        *(sa.UniqueConstraint(*within, column, name=f"uq_{name}_{column}") for column in unique),
        sa.Index(f"ix_{name}_scope", *within, "seq"),
        *(sa.Index(f"ix_{name}_{column}", column) for column in columns),
    ]


def within(table: sa.FromClause, scope: Scope) -> sa.ColumnElement[bool]:
    """The tenant's condition, in every statement."""
    if scope == EVERYWHERE:
        return sa.true()
    conditions = [table.c.organization_id == scope.organization_id]
    if scope.namespace_id is not None:
        conditions.append(table.c.namespace_id == scope.namespace_id)
    if scope.parent_id is not None:
        conditions.append(table.c.parent_id == scope.parent_id)
    return sa.and_(*conditions)
