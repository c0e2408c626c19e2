"""The table of storage connections."""

import sqlalchemy as sa
from alembic import op

from lamina.stores.records.tables import resource_columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    items = resource_columns("connections", (), ())
    op.create_table("connections", *(item for item in items if not isinstance(item, sa.Index)))
    for index in items:
        if isinstance(index, sa.Index):
            op.create_index(index.name, "connections", [str(column) for column in index.expressions])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("connections")
