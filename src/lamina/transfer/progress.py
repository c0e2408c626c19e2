"""How far a copy has come, kept in a file beside it."""

import secrets
import time
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from lamina.core.errors import LaminaError
from lamina.stores.records.marks import Mark
from lamina.stores.vectors.base import CollectionRef

MIGRATION: Final = "migration.json"
RESTORATION: Final = "restoration.json"
BACKUP: Final = "backup.json"

COMMANDS: Final = {MIGRATION: "migrate", RESTORATION: "restore", BACKUP: "backup"}
"""Files of a data folder that tell how far a copy has come, and the commands that write them."""

_KEEP_EVERY: Final = 0.5
"""Seconds of a copy that a crash may have done again."""


class TransferError(LaminaError):
    """A copy cannot be begun, or is not what it is a copy of."""

    status = 409


class Progress(BaseModel):
    """What of a copy is done. `target` says where it goes, for people and for a later try."""

    target: str
    copy_id: str = Field(default_factory=lambda: secrets.token_hex(16))
    """The same in the mark that the target's records bear."""
    cursors: dict[str, str | None] = {}
    """For each collection that was begun, behind which point it goes on; None when all are there."""
    counts: dict[str, int] = {}
    proof: dict[str, str] = {}
    """What a complete copy holds: digests of tables, blobs and keys, and numbers of points."""
    complete: bool = False

    _file: Path = PrivateAttr()
    _written: float = PrivateAttr(default=0.0)

    @classmethod
    def read(cls, file: Path) -> Self:
        """What a file tells. Raises `TransferError` for one that cannot be read."""
        try:
            progress = cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise TransferError(
                f"{file} is damaged: how far a copy has come cannot be told. Remove it if that copy is "
                "complete or was given up; else begin again with empty stores."
            ) from error
        progress._file = file
        return progress

    @classmethod
    def at(cls, file: Path, target: str) -> Self:
        """What is known of a copy; `TransferError` when the file is of another one."""
        if not file.is_file():
            progress = cls(target=target)
            progress._file = file
            return progress
        progress = cls.read(file)
        if progress.target != target:
            way = "remove the file" if progress.complete else "finish that one, or give it up with --give-up"
            raise TransferError(f"{file} is of a copy to {progress.target}: {way}.")
        return progress

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self._file

    @property
    def command(self) -> str:
        """The command that makes the copy."""
        return COMMANDS[self._file.name]

    def left(self, mark: Mark | None) -> bool:
        """Whether a mark is of this copy."""
        return mark is not None and mark.copy_id == self.copy_id

    def arrived(self, at: CollectionRef) -> bool:
        """Whether all points of a collection were copied."""
        return self.cursors.get(_key(at), "") is None

    def after(self, at: CollectionRef) -> str | None:
        """Behind which point a collection's copy goes on."""
        return self.cursors.get(_key(at))

    def forget(self) -> None:
        """Forget what was copied: it is not there any more."""
        self.cursors.clear()

    def begin_anew(self, at: CollectionRef) -> None:
        """Forget that a collection was copied."""
        self.cursors.pop(_key(at), None)
        self.write()

    def reached(self, at: CollectionRef, after: str | None) -> None:
        """Remember behind which point a collection's copy goes on, and keep it now and then."""
        self.cursors[_key(at)] = after
        if time.monotonic() - self._written > _KEEP_EVERY:
            self.write()

    def finish(self, counts: dict[str, int], proof: dict[str, str]) -> None:
        """Say that the copy is complete, and what it holds."""
        self.counts, self.proof, self.complete = counts, proof, True
        self.write()

    def write(self) -> None:
        """Keep it."""
        self._written = time.monotonic()
        fresh = self._file.with_suffix(".new")
        fresh.write_text(self.model_dump_json(indent=2))
        fresh.replace(self._file)


def _key(at: CollectionRef) -> str:
    return f"{at.namespace_id}/{at.collection_id}"
