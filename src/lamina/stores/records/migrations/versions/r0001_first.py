"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

from lamina.stores.records.tables import resource_columns

revision = "0001"
down_revision = None

TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "organizations": ((), ()),
    "users": ((), ("email",)),
    "api_keys": (("user_id", "key_hash"), ()),
    "namespaces": ((), ()),
    "tasks": (("task_type",), ()),
    "buckets": ((), ()),
    "objects": (("content_hash",), ("unique_value", "idempotency_key")),
    "uploads": (("file_hash",), ()),
    "collections": ((), ()),
    "batches": (("task_id",), ()),
    "manifests": ((), ()),
    "outcomes": (("collection_id", "source_id"), ()),
    "retrievers": ((), ()),
    "secrets": ((), ()),
}
"""Name of each table with its indexed columns and its unique ones."""


def upgrade() -> None:
    """Create every table."""
    for name, (columns, unique) in TABLES.items():
        items = resource_columns(name, columns, unique)
        op.create_table(name, *(item for item in items if not isinstance(item, sa.Index)))
        for index in items:
            if isinstance(index, sa.Index):
                op.create_index(index.name, name, [str(column) for column in index.expressions])


def downgrade() -> None:
    """Drop every table."""
    for name in TABLES:
        op.drop_table(name)
