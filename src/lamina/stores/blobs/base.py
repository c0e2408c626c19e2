"""The blob store's Protocol: bytes under keys."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is stored under a key, without its bytes."""

    key: str
    size: int
    modified_at: datetime
    etag: str | None = None


class BlobStore(Protocol):
    """Bytes under keys such as `ns_1/bkt_2/obj_3/blob_4/photo.jpg`.

    A blob appears whole or not at all, and survives `kill -9` once the write has returned.
    Raises `NotFoundError` for a key that holds nothing; `UnavailableError` when the store fails
    (a full disk, a lost connection).
    """

    async def put(self, key: str, data: bytes | AsyncIterator[bytes]) -> BlobInfo:
        """Store bytes, in place of any that were there."""

    async def head(self, key: str) -> BlobInfo:
        """Size and time of a blob."""

    async def get(self, key: str) -> bytes:
        """All bytes of a blob."""

    async def file(self, key: str) -> Path:
        """A file of this machine that holds a blob, or a copy of it; not to be changed.

        It is there as long as the blob is, or for an hour.
        """

    def presigned(self, key: str, method: Literal["GET", "PUT"], expires_in: int) -> str | None:
        """A URL of the store's own that reads or writes a blob without a key, for `expires_in` seconds.

        None when the store has none, and whoever reads or writes does so through the server.
        """

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start` up to, not including, `end`, in pieces."""

    async def delete(self, *keys: str) -> None:
        """Remove blobs; keys that hold nothing are no error."""

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every blob whose key lies under `prefix/`; how many there were."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob whose key lies under `prefix/`."""

    async def close(self) -> None:
        """Let go of connections."""
