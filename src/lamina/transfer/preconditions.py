"""What must hold before an installation is copied, and where half a copy must not be served from."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from lamina.core.errors import UnavailableError
from lamina.core.filters import Condition
from lamina.core.scope import EVERYWHERE
from lamina.core.settings import Settings
from lamina.core.statuses import Status
from lamina.platform.namespaces import NAMESPACES
from lamina.platform.organizations import ORGANIZATIONS
from lamina.processing.batches import BATCHES
from lamina.stores.records.marks import Mark
from lamina.stores.records.sql import SqlRecordStore
from lamina.transfer.copying import Stores
from lamina.transfer.progress import COMMANDS, MIGRATION, Progress, TransferError

_UNDER_WAY = (Status.PENDING, Status.QUEUED, Status.IN_PROGRESS, Status.PROCESSING)


def check_installation(source: Settings) -> None:
    """Raise `TransferError` when a data folder that is to be copied holds none."""
    if source.records_url is None and not source.sqlite_file.is_file():
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


def check_unmarked(mark: Mark | None) -> None:
    """Raise `TransferError` when the records that are to be copied to are half of another copy."""
    if mark is not None and mark.stays is None:
        raise TransferError(
            f"The target is half of another copy (`lamina {mark.command}`, {mark.target}): finish that one, "
            "or empty the target."
        )


async def check_empty(stores: Stores, namespaces: Sequence[str]) -> None:
    """Raise `TransferError` when stores that are to be copied to hold what the copy would mix with."""
    if stores.records and await stores.records.repository(ORGANIZATIONS).count(EVERYWHERE):
        raise TransferError("The target holds an installation already; a copy needs empty stores.")
    for namespace in namespaces:
        if stores.vectors and await stores.vectors.collections(namespace):
            raise TransferError(
                "The target holds points of this installation already; a copy needs empty stores."
            )
    if stores.blobs:
        async for _ in stores.blobs.list(""):
            raise TransferError("The target holds blobs already; a copy needs an empty bucket or prefix.")


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
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def places(settings: Settings) -> dict[str, str | None]:
    """Where the stores of an installation are, by their settings; None in the data folder."""
    names = ("records_url", "vectors_url", "blobs_url")
    return {
        name: None if url is None else without_password(url)
        for name, url in zip(names, settings.servers, strict=True)
    }


def refuse_half_copies(settings: Settings, mark: Mark | None) -> None:
    """Raise when the settings name stores that a copy was not finished to.

    `mark` is what the records tell of one. Files of the data folder may tell of others: `UnavailableError`
    says how to finish it, and `TransferError` that a file is damaged.
    """
    used = places(settings)
    for name, command in COMMANDS.items():
        file = settings.data_dir / name
        if not file.is_file():
            continue
        progress = Progress.read(file)
        mine = name != MIGRATION or any(url in progress.target for url in used.values() if url)
        if mine and not progress.complete:
            raise UnavailableError(_unfinished(command, progress.target, f"as {file} says"))
    if mark is not None and mark.concerns(used):
        raise UnavailableError(_unfinished(mark.command, mark.target, "as its records say"))


def _unfinished(command: str, target: str, source: str) -> str:
    return (
        f"This is half a copy, {source}: `lamina {command}` ({target}) was not finished. To mend it, "
        "give that command again where it was begun, or use other stores."
    )
