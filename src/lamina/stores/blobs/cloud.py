"""Blobs in a bucket of S3 (or whatever speaks its protocol), Google Cloud Storage or Azure."""

import asyncio
import hashlib
import mimetypes
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from lamina.core.errors import NotFoundError, UnavailableError, ValidationError
from lamina.stores.blobs.base import BlobInfo
from lamina.stores.blobs.keys import STAGING, canonical_key, canonical_prefix, escaped
from lamina.stores.blobs.reading import ObstoreReading

if TYPE_CHECKING:  # not there at run time
    from obstore.store import ClientConfig, RetryConfig, S3Config

SCHEMES: Final = ("s3", "gs", "az")
"""First parts of the URLs of buckets."""

_ENDPOINTS: Final = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables that name a provider's endpoint where it is not the usual one."""

_PART_BYTES: Final = 8 << 20
"""One part of a multipart upload; S3 takes 10,000 of them. What is smaller goes in one request."""
_PARTS_AT_ONCE: Final = 4
_DELETED_AT_ONCE: Final = 1000  # the most that S3 takes in one request
_KEPT_SECONDS: Final = 3600.0
"""A copy that was asked for so recently is not removed: a worker may be about to open it."""

CLIENT: Final["ClientConfig"] = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "1d"}
"""A server that falls silent is given up; a file may take as long to read as its reader needs."""

RETRY: Final["RetryConfig"] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
"""Short, because whoever waits is a client, and a batch has retries of its own."""

CloudStore = S3Store | GCSStore | AzureStore


class CloudBlobStore(ObstoreReading):
    """A `BlobStore` over a bucket, under a prefix of it.

    A write is one PUT, or a multipart upload that appears when it is complete. One that is killed half-way
    leaves parts that no reader sees; a lifecycle rule of the bucket removes them. `delete_prefix` is not
    atomic here: when it fails half-way, what is left is removed by calling it again.
    """

    def __init__(
        self, url: str, *, copies: Path, copies_bytes: int = 10 << 30, public_endpoint: str | None = None
    ) -> None:
        """Reaches nothing yet: `check` does.

        `url` is `s3://bucket/prefix`, `gs://…` or `az://…`; credentials, region and endpoint come from the
        provider's usual variables. `copies` is the folder for copies of large blobs that workers read
        as files, and `copies_bytes` what these may take. `public_endpoint` stands in presigned URLs where
        clients reach an S3 under another URL than this process. Raises `ValidationError` for a URL that
        is none of these, or whose variables make no sense.
        """
        self._url = url
        self._store = opened(url)
        self._signing = opened(url, endpoint=public_endpoint) if public_endpoint else self._store
        self._copies = copies
        self._copies_bytes = copies_bytes
        self._copying: dict[str, asyncio.Lock] = {}

    async def check(self) -> None:
        """Write, read, list and remove a small blob. `UnavailableError` says what of it fails, and why."""
        probe = f"{STAGING}/{secrets.token_hex(16)}"
        doing = "written to"
        try:
            await self._store.put_async(probe, b"lamina", use_multipart=False)
            doing = "read"
            await (await self._store.get_async(probe)).bytes_async()
            doing = "listed"
            async for _ in self._store.list(STAGING, chunk_size=1):
                break
            doing = "cleared of a blob"
            await self._store.delete_async(probe)
        except (BaseError, OSError, ValueError) as error:
            reason, mend = _explained(error)
            raise UnavailableError(
                f"The blob store {self._url} cannot be {doing}: {reason}. To mend: {mend}."
            ) from error

    async def put(self, key: str, data: bytes | AsyncIterator[bytes]) -> BlobInfo:
        """Store bytes, in place of any that were there. An error of the iterator leaves no blob behind."""
        key = canonical_key(key)
        with self._failures():
            await self._write(key, data)
        return await self.head(key)

    async def file(self, key: str) -> Path:
        """A copy of a blob on this machine, made when there is none of this version."""
        found = await self.head(key)
        version = f"{found.key}\0{found.etag}\0{found.size}\0{found.modified_at.isoformat()}"
        name = hashlib.sha256(version.encode()).hexdigest()
        copy = self._copies / name
        async with self._copying.setdefault(name, asyncio.Lock()):
            try:
                os.utime(copy)
            except FileNotFoundError:
                await self._copy(found, copy)
            finally:
                self._copying.pop(name, None)
        return copy.absolute()

    async def delete(self, *keys: str) -> None:
        """Remove blobs; keys that hold nothing are no error."""
        paths = [escaped(canonical_key(key)) for key in keys]
        for start in range(0, len(paths), _DELETED_AT_ONCE):
            with self._failures():
                await self._delete(paths[start : start + _DELETED_AT_ONCE])

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every blob whose key lies under `prefix/`; how many there were."""
        prefix = canonical_prefix(prefix)
        removed = 0
        with self._failures():
            async for batch in self._store.list(
                escaped(prefix) if prefix else None, chunk_size=_DELETED_AT_ONCE
            ):
                paths = [meta["path"] for meta in batch if not meta["path"].startswith(f"{STAGING}/")]
                await self._delete(paths)
                removed += len(paths)
        return removed

    def presigned(self, key: str, method: Literal["GET", "PUT"], expires_in: int) -> str | None:
        """A URL of the bucket itself, signed with the credentials of this process.

        None for a PUT to Azure, which refuses it without a header of its own (`x-ms-blob-type`) that no
        client of a presigned URL sends.
        """
        key = canonical_key(key)
        if method == "PUT" and isinstance(self._signing, AzureStore):
            return None
        with self._failures():
            return obstore.sign(self._signing, method, escaped(key), timedelta(seconds=expires_in))

    async def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    @contextmanager
    def _failures(key: str | None = None) -> Iterator[None]:
        """Say what a failure of the engine means; `key` is what is read.

        What the feeder of a write raises passes unchanged.
        """
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise _unavailable(error) from error
            if key is None:
                raise
            raise NotFoundError("blob", key) from error
        except BaseError as error:
            raise _unavailable(error) from error

    async def _write(self, key: str, data: bytes | AsyncIterator[bytes]) -> None:
        path = escaped(key)
        content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        attributes = {"Content-Type": content_type}
        if not isinstance(data, bytes):
            first, rest = await _begun(data)
            if rest is not None:
                await self._store.put_async(
                    path, rest, attributes=attributes, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
                )
                return
            data = first
        await self._store.put_async(
            path, data, attributes=attributes, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    async def _delete(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        try:
            await self._store.delete_async(paths)
        except FileNotFoundError:  # Azure and Google say so, and leave the rest undone
            for path in paths:
                with suppress(FileNotFoundError):
                    await self._store.delete_async(path)

    async def _copy(self, blob: BlobInfo, copy: Path) -> None:
        try:
            self._copies.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(_make_room, self._copies, self._copies_bytes - blob.size)
            partial = copy.with_suffix(f".{secrets.token_hex(4)}")
            try:
                with partial.open("wb") as file:
                    async for piece in self.stream(blob.key):
                        await asyncio.to_thread(file.write, piece)
                if partial.stat().st_size != blob.size:
                    raise UnavailableError("A blob was replaced while it was read; try again.")
                partial.rename(copy)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(
                f"No copy of a blob can be made on this machine: {error.strerror or error}."
            ) from error


def opened(url: str, *, endpoint: str | None = None) -> CloudStore:
    """The bucket behind a URL; `ValidationError` when the URL or the variables of its provider are wrong."""
    parts = urlsplit(url)
    strange = {"@", ":"} & set(parts.netloc) or "@" in parts.path or parts.query or parts.fragment
    if parts.scheme not in SCHEMES or not parts.netloc or strange:
        raise _no_bucket(url)
    try:
        prefix = canonical_prefix(parts.path.strip("/")) or None
    except ValidationError as error:
        raise _no_bucket(url) from error
    at = endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS[parts.scheme])), None)
    if at is not None and not at.startswith(("http://", "https://")):
        raise ValidationError(
            f"The endpoint {at} of the blob store {url} must begin with http:// or https://. "
            f"Correct {' or '.join(_ENDPOINTS[parts.scheme])}, or LAMINA_BLOBS_PUBLIC_ENDPOINT.",
            field="blobs_url",
        )
    client: ClientConfig = {**CLIENT}
    if at is not None and at.startswith("http://"):
        client["allow_http"] = True
    try:
        match parts.scheme:
            case "s3":
                config: S3Config = {"endpoint": at, "aws_endpoint_url_s3": at} if at else {}
                return S3Store(
                    parts.netloc, prefix=prefix, config=config, client_options=client, retry_config=RETRY
                )
            case "gs":
                return GCSStore(parts.netloc, prefix=prefix, client_options=client, retry_config=RETRY)
            case _:
                return AzureStore(parts.netloc, prefix=prefix, client_options=client, retry_config=RETRY)
    except (BaseError, ValueError) as error:
        raise ValidationError(
            f"The blob store {url} cannot be opened: {_first_line(error)}. Correct its provider's variables.",
            field="blobs_url",
        ) from error


def _no_bucket(url: str) -> ValidationError:
    # A key and its secret may stand anywhere in what is no plain URL, so nothing of that is shown.
    given = f"'{url}'" if re.fullmatch(r"(\w+://)?[\w./-]*", url) else "What is given"
    return ValidationError(
        f"{given} is no URL of a bucket: set LAMINA_BLOBS_URL to s3://bucket/prefix, gs://bucket/prefix or "
        "az://container/prefix, with credentials in the provider's own variables.",
        field="blobs_url",
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


async def _begun(data: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """All the bytes where they are less than a part, else None and an iterator of all of them."""
    begun: list[bytes] = []
    size = 0
    async for piece in data:
        begun.append(piece)
        size += len(piece)
        if size >= _PART_BYTES:
            return b"", _joined(begun, data)
    return b"".join(begun), None


async def _joined(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in begun:
        yield piece
    async for piece in rest:
        yield piece


def _make_room(folder: Path, room: int) -> None:
    """Remove the copies that were not used for longest, until the rest takes `room` bytes at most."""
    copies = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            copies.append((entry.stat().st_mtime, entry.stat().st_size, entry))
    taken = sum(size for _, size, _ in copies)
    for used, size, entry in sorted(copies):
        if taken <= room or used > time.time() - _KEPT_SECONDS:
            return
        entry.unlink(missing_ok=True)
        taken -= size


def _unavailable(error: BaseException) -> UnavailableError:
    reason, _ = _explained(error)
    return UnavailableError(f"The blob store cannot be used at the moment: {reason}.")


_NO_BUCKET: Final = "NoSuchBucket"

_REASONS: Final = (
    (
        (_NO_BUCKET, "ContainerNotFound"),
        "its bucket does not exist",
        "create it, or name another one",
    ),
    (
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "AuthorizationHeaderMalformed",
            "AuthenticationFailed",
        ),
        "it does not accept the credentials",
        "correct the access key, its secret and the region",
    ),
    (
        ("AccessDenied", "PermissionDenied", "403 Forbidden", "401 Unauthorized", "Unauthenticated"),
        "it does not allow this with the credentials given",
        "give credentials that may read, write, list and delete under the prefix",
    ),
    (
        ("169.254.169.254", "metadata.google.internal", "CredentialsNotLoaded", "MissingAccount"),
        "there are no credentials for it",
        "set the provider's variables, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3",
    ),
    (
        ("QuotaExceeded", "InsufficientStorage", "StorageFull", "507 "),
        "it has no space left",
        "free some space, or raise its quota",
    ),
    (
        ("error sending request", "Connect", "TimedOut", "timed out"),
        "it cannot be reached",
        "start it, or correct its endpoint (AWS_ENDPOINT_URL for S3) and region",
    ),
)
"""Words of the engine's messages, what they mean, and how to mend it: it tells this in its text only."""


def _explained(error: BaseException) -> tuple[str, str]:
    """What a failure means and how to mend it, in words that tell nothing of where the store is."""
    text = str(error)
    for words, reason, mend in _REASONS:
        if any(word in text for word in words):
            return reason, mend
    return "it does not answer as it should", "see the log of the store"
