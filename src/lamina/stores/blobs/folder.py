"""Blobs in a folder of the local file system."""

import asyncio
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from obstore.exceptions import BaseError
from obstore.store import LocalStore

from lamina.core.errors import LaminaError, NotFoundError, UnavailableError, ValidationError
from lamina.stores.blobs.base import BlobInfo
from lamina.stores.blobs.keys import STAGING, canonical_key, canonical_prefix, escaped
from lamina.stores.blobs.reading import ObstoreReading

_WRITE_BYTES: Final = 1 << 20
_WRITES_AT_ONCE: Final = 4
_ABANDONED_SECONDS: Final = 24 * 3600.0


class FolderBlobStore(ObstoreReading):
    """A `BlobStore` with one file for each blob, under the path that its key spells.

    A blob is written beside the others, under `.partial`, and moved to its place when it is whole.
    What a killed process left there is removed when the store is opened a day later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _disk_failures():
            (path / STAGING).mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path / STAGING)
            self._store = LocalStore(path, automatic_cleanup=True)

    async def put(self, key: str, data: bytes | AsyncIterator[bytes]) -> BlobInfo:
        """Store bytes, in place of any that were there. An error of the iterator leaves nothing behind."""
        key = canonical_key(key)
        staged = f"{STAGING}/{secrets.token_hex(16)}"
        with self._failures():
            try:
                await self._write(staged, data)
                await self._store.rename_async(staged, escaped(key))
            except BaseException:
                (self._path / staged).unlink(missing_ok=True)
                raise
        return await self.head(key)

    async def file(self, key: str) -> Path:
        """The file that holds a blob."""
        file = self._path / escaped(canonical_key(key))
        if not file.is_file():
            raise NotFoundError("blob", key)
        return file.absolute()

    def presigned(self, key: str, method: Literal["GET", "PUT"], expires_in: int) -> None:
        """None: a folder is read through the server."""

    async def delete(self, *keys: str) -> None:
        """Remove blobs and the folders that they leave empty; keys that hold nothing are no error."""
        for key in keys:
            path = escaped(canonical_key(key))
            if (self._path / path).is_dir():
                continue
            with suppress(NotFoundError), self._failures(key):
                await self._store.delete_async(path)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every blob whose key lies under `prefix/`; how many there were."""
        prefix = canonical_prefix(prefix)
        with _disk_failures():
            return await asyncio.to_thread(self._delete_prefix, prefix)

    async def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    @contextmanager
    def _failures(key: str | None = None) -> Iterator[None]:
        """Say what a failure of the engine means; `key` is what is read or removed.

        What the feeder of a write raises passes unchanged.
        """
        try:
            yield
        except FileNotFoundError as error:
            if key is None:
                raise
            raise NotFoundError("blob", key) from error
        except BaseError as error:
            # The engine tells the error's number in its text only.
            found = re.search(r"\(os error (\d+)\)", str(error))
            number = int(found.group(1)) if found else None
            if key is not None and number in _OCCUPIED:
                raise NotFoundError("blob", key) from error
            raise _failure(number) from error

    async def _write(self, path: str, data: bytes | AsyncIterator[bytes]) -> None:
        if isinstance(data, bytes):
            await self._store.put_async(path, data, use_multipart=False)
        else:
            await self._store.put_async(path, data, chunk_size=_WRITE_BYTES, max_concurrency=_WRITES_AT_ONCE)

    def _delete_prefix(self, prefix: str) -> int:
        if not prefix:
            return sum(self._take_away(entry) for entry in self._path.iterdir() if entry.name != STAGING)
        folder = self._path / escaped(prefix)
        if not folder.is_dir():
            return 0
        removed = self._take_away(folder)
        self._remove_empty(folder.parent)
        return removed

    def _take_away(self, entry: Path) -> int:
        # Moved aside first, so that all blobs vanish at once and a kill half way leaves none of them.
        aside = self._path / STAGING / secrets.token_hex(16)
        try:
            entry.rename(aside)
        except FileNotFoundError:  # someone else was quicker
            return 0
        if aside.is_file():
            aside.unlink()
            return 1
        removed = sum(len(files) for _, _, files in os.walk(aside))
        shutil.rmtree(aside)
        return removed

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._path:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already
                return
            folder = folder.parent


_REASONS: Final = {
    errno.ENOSPC: "its disk is full",
    errno.EDQUOT: "its disk quota is used up",
    errno.EROFS: "its disk is read-only",
    errno.EACCES: "the server may not write to its folder",
    errno.EPERM: "the server may not write to its folder",
    errno.EMFILE: "the server has too many files open",
    errno.ENFILE: "the machine has too many files open",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EIO: "its disk reports errors",
}

_OCCUPIED: Final = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST})


@contextmanager
def _disk_failures() -> Iterator[None]:
    """The same for what is done past the engine."""
    try:
        yield
    except OSError as error:
        raise _failure(error.errno) from error


def _failure(number: int | None) -> LaminaError:
    if number in _OCCUPIED:
        return ValidationError("The blob's key must not lie under another blob, nor above one.", field="key")
    reason = _REASONS.get(number or 0, "it reports an error")
    return UnavailableError(f"The blob store cannot be used at the moment: {reason}.")


def _remove_abandoned(staging: Path) -> None:
    before = time.time() - _ABANDONED_SECONDS
    for entry in staging.iterdir():
        try:
            if entry.stat().st_mtime >= before:
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except FileNotFoundError:  # another process was quicker
            continue
