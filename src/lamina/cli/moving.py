"""`lamina migrate`, `backup` and `restore`: everything from one set of stores to another, verified."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lamina.cli import options
from lamina.cli.connection import ADMIN_KEY_FILE, settings
from lamina.cli.failures import Failure, UsageFailure
from lamina.cli.output import put_fields, put_json, say
from lamina.cli.progress import Watch, watch
from lamina.core.errors import LaminaError
from lamina.core.private_files import write_private
from lamina.core.settings import Settings

if TYPE_CHECKING:
    from lamina.engines import Engines
    from lamina.transfer.copying import Stores
    from lamina.transfer.moving import Keys
    from lamina.transfer.progress import Progress

KEYS: Final = (ADMIN_KEY_FILE, "presign.key", "secrets.key")
"""Files of a data folder that belong to the installation, not to a store."""

_STORES: Final = {"records_url": "records", "vectors_url": "points", "blobs_url": "blobs"}


def migrate(
    records_url: Annotated[str | None, typer.Option(help="PostgreSQL to move the records to.")] = None,
    vectors_url: Annotated[str | None, typer.Option(help="Qdrant server to move the points to.")] = None,
    blobs_url: Annotated[str | None, typer.Option(help="Bucket to move the blobs to.")] = None,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Give up a copy that was cut off; what arrived stays there.")
    ] = False,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy an installation's records, points and blobs to other engines, and verify the copy.

    The server must be stopped. A copy that was cut off goes on when the command is given again; the
    source stays as it is.
    """
    if give_up:
        _give_up(settings(data_dir=data_dir))
        return
    given = {"records_url": records_url, "vectors_url": vectors_url, "blobs_url": blobs_url}
    moved = {name: url for name, url in given.items() if url is not None}
    if not moved:
        raise UsageFailure("name where to: --records-url, --vectors-url or --blobs-url, or several of them")
    source = settings(data_dir=data_dir)
    target = settings(data_dir=data_dir, **moved)
    for name in moved:
        if getattr(source, name) == getattr(target, name):
            raise UsageFailure(
                f"LAMINA_{name.upper()} names that store already: unset it, so that the command finds "
                "what is to be copied"
            )
    from lamina.transfer.preconditions import without_password  # loads the server's packages
    from lamina.transfer.progress import MIGRATION

    whereto = ", ".join(f"{_STORES[name]} at {without_password(url)}" for name, url in moved.items())
    counts = _move(source, target, source.data_dir / MIGRATION, whereto, as_json, tuple(moved))
    _show(counts, as_json)
    if not as_json:
        say("The copy is complete. Serve it with " + " ".join(f"LAMINA_{name.upper()}=…" for name in moved))


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to write to: new, empty, or of a backup cut off.")],
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy a whole installation into a folder, and verify the copy. The server must be stopped.

    The folder is an installation of its own: `lamina serve --data-dir FOLDER` runs it.
    """
    from lamina.transfer.progress import BACKUP  # loads the server's packages

    source = settings(data_dir=data_dir)
    if folder.resolve().is_relative_to(source.data_dir.resolve()):
        raise UsageFailure(f"{folder} lies in the folder that is to be copied; name another one")
    with _usable(folder):
        if folder.exists() and any(folder.iterdir()) and not (folder / BACKUP).is_file():
            raise UsageFailure(f"{folder} is not empty and holds no unfinished backup")
        folder.mkdir(parents=True, exist_ok=True)
    copy, name = _embedded(folder), str(folder.absolute())
    counts = _move(source, copy, folder / BACKUP, name, as_json, keys=partial(_copy_keys, source, copy))
    _show(counts, as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `lamina backup` wrote.")],
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy a backup into an installation that holds nothing, and verify the copy."""
    from lamina.transfer.progress import BACKUP, RESTORATION, Progress, TransferError  # loads the packages

    if not (folder / BACKUP).is_file():
        raise UsageFailure(f"{folder} holds no backup")
    try:
        made = Progress.read(folder / BACKUP)
    except TransferError as error:
        raise UsageFailure(error.message) from error
    if not made.complete:
        raise UsageFailure(f"the backup in {folder} was cut off; finish it with lamina backup {folder}")
    copy, target = _embedded(folder), settings(data_dir=data_dir)
    with _usable(target.data_dir):
        target.data_dir.mkdir(parents=True, exist_ok=True)
        _check_keys(copy, target, made.proof)
    file, name = target.data_dir / RESTORATION, str(folder.absolute())
    keys = partial(_copy_keys, copy, target)
    counts = _move(copy, target, file, name, as_json, keys=keys, expected=made.proof)
    _show(counts, as_json)


# The how


def _give_up(source: Settings) -> None:
    """Forget an unfinished migration, so that another one can be made."""
    from lamina.engines import held, open_records  # loads the server's packages
    from lamina.transfer.moving import forget
    from lamina.transfer.progress import MIGRATION, Progress

    file = source.data_dir / MIGRATION
    if not file.is_file():
        raise UsageFailure(f"no copy was begun in {source.data_dir}")

    async def given_up(progress: Progress) -> None:
        with held(source.data_dir):
            async with open_records(source) as records:
                await forget(records, progress)

    try:
        progress = Progress.read(file)
        if progress.complete:
            raise UsageFailure(
                f"the copy to {progress.target} is complete; remove {file} to make another one"
            )
        asyncio.run(given_up(progress))
    except LaminaError as error:
        raise Failure(error.message) from error
    file.unlink()
    say(f"The copy to {progress.target} is given up. What arrived there is of no use: remove it.")


def _move(
    source: Settings,
    target: Settings,
    file: Path,
    name: str,
    quiet: bool,
    moved: Sequence[str] = tuple(_STORES),
    keys: "Keys | None" = None,
    expected: Mapping[str, str] | None = None,
) -> dict[str, int]:
    from lamina.transfer.progress import Progress, TransferError

    try:
        progress = Progress.at(file, name)
        with watch(quiet=quiet) as watching:
            return asyncio.run(
                _moved(source, target, progress, moved, keys, expected, Shown(watching, Counter()))
            )
    except TransferError as error:
        raise Failure(error.message) from error
    except OSError as error:
        raise Failure(
            f"{error.filename or file}: {error.strerror or error}. Mend that, and give the command again."
        ) from error
    except LaminaError as error:
        begun = " Give the command again to go on." if file.is_file() else ""
        raise Failure(error.message + begun) from error


async def _moved(
    source: Settings,
    target: Settings,
    progress: "Progress",
    moved: Sequence[str],
    keys: "Keys | None",
    expected: Mapping[str, str] | None,
    said: Callable[[str, int], None],
) -> dict[str, int]:
    from lamina.engines import held, open_records, open_stores  # loads the server's packages
    from lamina.garbage import spare_collections
    from lamina.processing.membership import nobody_else
    from lamina.stores.records.locks import Locks
    from lamina.transfer.moving import forget, move
    from lamina.transfer.preconditions import (
        check_idle,
        check_installation,
        namespaces_of,
        places,
        refuse_half_copies,
    )

    if progress.complete:
        async with open_records(target) as records:
            await forget(records, progress)  # a kill may have come between
        raise Failure(f"the copy to {progress.target} was completed already, as {progress.file} says")
    check_installation(source)
    with held(source.data_dir):  # by itself: a refusal leaves nothing at the target
        async with open_records(source) as records, nobody_else(Locks(records.database)):
            refuse_half_copies(source, await records.marked())
            await check_idle(records)
    async with open_stores(source, target) as (ours, theirs), AsyncExitStack() as stack:
        await stack.enter_async_context(nobody_else(Locks(ours[0].database)))
        stays = None
        if "records_url" in moved:
            await stack.enter_async_context(nobody_else(Locks(theirs[0].database)))
        else:
            stays = {name: url for name, url in places(source).items() if name in moved}
        spare_collections()
        return await move(
            _stores(ours, moved),
            _stores(theirs, moved),
            await namespaces_of(ours[0]),
            progress,
            said,
            records=theirs[0],
            stays=stays,
            keys=keys,
            expected=expected,
        )


def _stores(engines: "Engines", moved: Sequence[str]) -> "Stores":
    from lamina.transfer.copying import Stores  # loads the server's packages

    records, vectors, blobs = engines
    return Stores(
        records if "records_url" in moved else None,
        vectors if "vectors_url" in moved else None,
        blobs if "blobs_url" in moved else None,
    )


@dataclass(slots=True)
class Shown:
    """Shows how many rows, points and blobs are through; the verified ones by themselves."""

    watching: Watch
    done: Counter[str]
    part: str = ""

    def __call__(self, part: str, more: int) -> None:
        """So many more of a part."""
        if part != self.part:
            self.part = part
            self.watching.begin(part, None)
        self.done[part] += more
        self.watching.at(self.done[part], 0)


def _embedded(folder: Path) -> Settings:
    """The settings of an installation in a folder, whatever `LAMINA_…_URL` says."""
    return settings(data_dir=folder).model_copy(
        update={"records_url": None, "vectors_url": None, "blobs_url": None}
    )


def _check_keys(backup: Settings, target: Settings, proof: Mapping[str, str]) -> None:
    """Raise `UsageFailure` unless a backup's keys are there, in its folder or the target's."""
    for name in KEYS:
        files = [file for one in (backup, target) if (file := one.data_dir / name).is_file()]
        told = proof.get(f"key {name}")
        if told is not None and not files:
            raise UsageFailure(
                f"{name} is missing in {backup.data_dir}: put it there, or into {target.data_dir}"
            )
        expected = told or (_digest(files[0]) if files else None)
        for file in files:
            if _digest(file) != expected:
                raise UsageFailure(f"{file} is another key than the backup's: move it away, and restore then")


def _copy_keys(source: Settings, target: Settings) -> dict[str, str]:
    """Copy the files of keys; the digests of those that are in the target then."""
    for name in KEYS:
        if (original := source.data_dir / name).is_file():
            write_private(target.data_dir / name, original.read_bytes())
    copies = {name: target.data_dir / name for name in KEYS}
    return {f"key {name}": _digest(copy) for name, copy in copies.items() if copy.is_file()}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say in one line why a folder cannot be written to."""
    try:
        yield
    except OSError as error:
        raise UsageFailure(f"{folder} cannot be written to: {error.strerror}; name another folder") from error


def _show(counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        put_json({"complete": True, **counts})
    else:
        put_fields({"verified": "yes", **counts})
