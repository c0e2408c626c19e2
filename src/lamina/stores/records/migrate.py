"""Bring a database's tables up to this version's, with Alembic."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lamina.core.errors import UnavailableError

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """Run the migrations that this database has not seen.

    Raises `UnavailableError` for a database that a newer version wrote.
    """
    config = _config()
    if revision(connection) == newest_revision():
        return
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest_revision() -> str | None:
    """The revision of this version's tables."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def revision(connection: Connection) -> str | None:
    """The revision of a database's tables; None where there are none.

    Raises `UnavailableError` for a database that a newer version wrote.
    """
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise UnavailableError(
            f"The record store has revision '{current}', which this version of Lamina does not know: "
            "it was written by a newer one. Install that version or newer."
        )
    return current


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
