"""On PostgreSQL, which transaction was the last to write what processes keep in memory."""

from typing import Final

from alembic import op

revision = "0004"
down_revision = "0003"

CACHED: Final = ("api_keys", "buckets", "collections", "namespaces", "organizations", "retrievers", "users")

CHANGED: Final = """
CREATE FUNCTION lamina_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE changes SET last = txid_current() WHERE last <> txid_current();
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Create the table of one row, and the triggers that keep it."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE changes (last bigint NOT NULL)")
        op.execute("INSERT INTO changes VALUES (0)")
        op.execute(CHANGED)
        for table in CACHED:
            # At the commit: who holds the row waits for nobody, so no two wait for each other.
            op.execute(
                f"CREATE CONSTRAINT TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lamina_changed()"
            )


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION lamina_changed() CASCADE")
        op.drop_table("changes")
