"""What must hold before an installation is copied, and where half a copy must not be served from."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import orjson

from lamina.core.errors import UnavailableError
from lamina.core.filters import Condition
from lamina.core.scope import EVERYWHERE
from lamina.core.settings import Settings
from lamina.core.statuses import Status
from lamina.platform.namespaces import NAMESPACES
from lamina.platform.organizations import ORGANIZATIONS
from lamina.processing.batches import BATCHES
from lamina.stores.records.sql import SqlRecordStore
from lamina.transfer.copying import TransferError

MIGRATION = "migration.json"
RESTORATION = "restoration.json"
BACKUP = "backup.json"
"""Files of a data folder that tell how far a copy has come."""

_UNDER_WAY = (Status.PENDING, Status.QUEUED, Status.IN_PROGRESS, Status.PROCESSING)


def check_installation(source: Settings) -> None:
    """Raise `TransferError` when a data folder that is to be copied holds none."""
    if source.records_url is None and not (source.data_dir / "records.sqlite").is_file():
        raise TransferError(
            f"{source.data_dir.absolute()} holds no installation: name its folder with --data-dir."
        )


async def check_idle(records: SqlRecordStore) -> None:
    """Raise `TransferError` when batches are under way: what they still have to do is not copied."""
    count = await records.repository(BATCHES).count(EVERYWHERE, Condition("status", "in", list(_UNDER_WAY)))
    if count:
        raise TransferError(
            f"{count} batch{'es are' if count > 1 else ' is'} not finished. Start the server, let them end "
            "or cancel them, stop it, and copy then."
        )


async def check_empty(records: SqlRecordStore) -> None:
    """Raise `TransferError` when the target holds an installation already."""
    if await records.repository(ORGANIZATIONS).count(EVERYWHERE):
        raise TransferError("The target holds an installation already; a copy needs empty stores.")


async def namespaces_of(records: SqlRecordStore) -> list[str]:
    """The ids of every namespace, of whatever organization."""
    return [
        namespace.namespace_id
        async for some in records.repository(NAMESPACES).iterate(EVERYWHERE)
        for namespace in some
    ]


def without_password(url: str) -> str:
    """A URL that may be shown and kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def refuse_half_copies(settings: Settings) -> None:
    """Raise `UnavailableError` when the settings name stores that a copy was not finished to."""
    named = {without_password(url) for url in settings.servers if url}
    for name, command in ((MIGRATION, "migrate"), (RESTORATION, "restore"), (BACKUP, "backup")):
        file: Path = settings.data_dir / name
        if not file.is_file():
            continue
        stored = orjson.loads(file.read_bytes())
        mine = name != MIGRATION or any(url in stored["target"] for url in named)
        if mine and not stored["complete"]:
            raise UnavailableError(
                f"The copy of an installation to {stored['target']} is not complete. "
                f"Give `lamina {command}` again to finish it."
            )
