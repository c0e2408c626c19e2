"""PostgreSQL: the status of an object is shown without a new entry in any index, and needless indexes go."""

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"

# The terms are computed where more changes than `status` and `error`, which `stores.records.filters`
# leaves to the body. An update that changes no indexed column stays on its page ("heap-only tuple").
TERMS: Final = """
CREATE FUNCTION lamina_set_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.terms := lamina_terms(NEW.body - '{status,error}'::text[]);
    RETURN NEW;
END
$$
"""

UNNAMED: Final = ("api_keys", "batches", "manifests", "objects", "outcomes", "secrets", "tasks", "uploads")
"""Kinds without a name: the index of their names holds nothing but nulls."""


def upgrade() -> None:
    """Compute the terms by triggers, leave room for updates, and drop what no query uses."""
    # Who asks for a collection's outcomes names a batch or sources as well, which select more.
    op.drop_index("ix_outcomes_collection_id", "outcomes")
    if op.get_bind().dialect.name != "postgresql":
        return
    # What is stored stays: that it has the terms of the two fields as well does no harm.
    op.execute("ALTER TABLE objects ALTER COLUMN terms DROP EXPRESSION")
    op.execute(TERMS)
    op.execute(
        "CREATE TRIGGER objects_terms_of_new BEFORE INSERT ON objects "
        "FOR EACH ROW EXECUTE FUNCTION lamina_set_terms()"
    )
    op.execute(
        "CREATE TRIGGER objects_terms_of_changed BEFORE UPDATE OF body ON objects FOR EACH ROW "
        "WHEN (OLD.body - '{status,error}'::text[] IS DISTINCT FROM NEW.body - '{status,error}'::text[]) "
        "EXECUTE FUNCTION lamina_set_terms()"
    )
    # A batch updates every object of a page in one transaction: each needs room for a second version.
    op.execute("ALTER TABLE objects SET (fillfactor = 50)")
    for name in UNNAMED:
        op.drop_constraint(f"uq_{name}_name", name)


def downgrade() -> None:
    """Have a generated column again, and all indexes."""
    op.create_index("ix_outcomes_collection_id", "outcomes", ["collection_id"])
    if op.get_bind().dialect.name != "postgresql":
        return
    for name in UNNAMED:
        op.create_unique_constraint(
            f"uq_{name}_name", name, ["organization_id", "namespace_id", "parent_id", "name"]
        )
    op.execute("ALTER TABLE objects RESET (fillfactor)")
    op.execute("DROP FUNCTION lamina_set_terms() CASCADE")
    op.drop_column("objects", "terms")
    op.execute(
        "ALTER TABLE objects ADD COLUMN terms bigint[] GENERATED ALWAYS AS (lamina_terms(body)) STORED"
    )
    op.execute("CREATE INDEX ix_objects_terms ON objects USING gin (terms)")
