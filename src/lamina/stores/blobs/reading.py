"""Reading blobs through obstore, which is the same of a folder and of a bucket."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import unquote

from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from lamina.stores.blobs.base import BlobInfo
from lamina.stores.blobs.keys import STAGING, canonical_key, canonical_prefix, escaped

_READ_BYTES: Final = 256 << 10  # larger pieces were not faster on a local disk


class ObstoreReading(ABC):
    """The part of a `BlobStore` that reads from `_store`."""

    _store: LocalStore | S3Store | GCSStore | AzureStore

    @staticmethod
    @abstractmethod
    def _failures(key: str | None = None) -> AbstractContextManager[None]:
        """Say what a failure of the engine means; `key` is what is read or removed."""

    async def head(self, key: str) -> BlobInfo:
        """Size and time of a blob."""
        key = canonical_key(key)
        with self._failures(key):
            meta = await self._store.head_async(escaped(key))
        return BlobInfo(key, meta["size"], meta["last_modified"], meta["e_tag"])

    async def get(self, key: str) -> bytes:
        """All bytes of a blob."""
        key = canonical_key(key)
        with self._failures(key):
            found = await self._store.get_async(escaped(key))
            return bytes(await found.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start` up to, not including, `end`, in pieces. Nothing from beyond the end."""
        key = canonical_key(key)
        size = (await self.head(key)).size
        stop = size if end is None else min(end, size)
        if start < 0 or start >= stop:
            return
        with self._failures(key):
            found = await self._store.get_async(escaped(key), options={"range": (start, stop)})
            async for piece in found.stream(min_chunk_size=_READ_BYTES):
                yield bytes(piece)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob whose key lies under `prefix/`, in no order; every blob when it is empty."""
        prefix = canonical_prefix(prefix)
        with self._failures():
            async for batch in self._store.list(escaped(prefix) if prefix else None):
                for meta in batch:
                    key = unquote(meta["path"], errors="strict")
                    if not key.startswith(f"{STAGING}/"):
                        yield BlobInfo(key, meta["size"], meta["last_modified"], meta["e_tag"])
