"""Records tell whether they are part of a copy that was not finished."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table that has one row while a copy is under way."""
    op.create_table(
        "unfinished_copy",
        sa.Column("copy_id", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("stays", sa.Text()),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("unfinished_copy")
