"""SQLite: the outcomes of some sources are found by their sources, not among all of the namespace.

Without statistics SQLite takes a namespace for nine records, and reads all of it rather than look some
dozen sources up. `ANALYZE` would tell it what there is at that moment, which at first is nothing.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

STATISTICS: Final = {
    "sqlite_autoindex_outcomes_1": "1000000 1000000 1",
    "sqlite_autoindex_outcomes_2": "1000000 1000000 1000000 10000 1",
    "ix_outcomes_scope": "1000000 1000000 1000000 10000 1",
    "ix_outcomes_source_id": "1000000 10",
}
"""What is typical of each index, as SQLite writes it: records, and how many agree in the first column,
the first two, and so on."""


def upgrade() -> None:
    """Fill SQLite's own table of statistics, which connections read when they open."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("ANALYZE sqlite_schema")  # makes the table; of the schema there is nothing to tell
    op.bulk_insert(
        sa.table("sqlite_stat1", *map(sa.column, ("tbl", "idx", "stat"))),
        [{"tbl": "outcomes", "idx": index, "stat": stat} for index, stat in STATISTICS.items()],
    )
    op.execute("ANALYZE sqlite_schema")  # has this connection read the table as well


def downgrade() -> None:
    """Leave the planner to itself again."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DELETE FROM sqlite_stat1 WHERE tbl = 'outcomes'")
