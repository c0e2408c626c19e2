"""PostgreSQL: an index of what objects hold, for filters on fields that only their bodies have."""

from alembic import op

revision = "0002"
down_revision = "0001"

# `lamina_terms` gives a hash for each string and number of a record, together with its path: keys
# with a dot before each, lists left out. Strings count without the case of A to Z. What equals has
# the same hash, and what has the same hash is compared, so that a hash that two share does no harm.
# Only functions of `pg_catalog` are called: they are found whatever the search path is.
TERMS = """
CREATE FUNCTION lamina_terms(body jsonb) RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    WITH RECURSIVE node(path, value) AS (
        SELECT '', body
        UNION ALL
        SELECT node.path || step.key, step.value
        FROM node CROSS JOIN LATERAL (
            SELECT '.' || key AS key, value
            FROM jsonb_each(CASE jsonb_typeof(node.value) WHEN 'object' THEN node.value END)
            UNION ALL
            SELECT '', value
            FROM jsonb_array_elements(CASE jsonb_typeof(node.value) WHEN 'array' THEN node.value END)
        ) step
        WHERE jsonb_typeof(node.value) IN ('object', 'array')
    )
    SELECT array_agg(DISTINCT CASE jsonb_typeof(value)
        WHEN 'number' THEN hash_numeric_extended((value #>> '{}')::numeric, hashtextextended(path, 0))
        ELSE hashtextextended(lower((value #>> '{}') COLLATE "C"), hashtextextended(path, 0))
    END)
    FROM node WHERE jsonb_typeof(value) IN ('string', 'number')
$$
"""


def upgrade() -> None:
    """Create the function and the index, on PostgreSQL."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(TERMS)
        # A column, not only an index: a row that is read for another reason is compared at once.
        op.execute(
            "ALTER TABLE objects ADD COLUMN terms bigint[] GENERATED ALWAYS AS (lamina_terms(body)) STORED"
        )
        op.execute("CREATE INDEX ix_objects_terms ON objects USING gin (terms)")


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("objects", "terms")
        op.execute("DROP FUNCTION lamina_terms(jsonb)")
