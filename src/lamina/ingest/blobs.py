"""Blobs of objects: what is small and textual stays in the record, the rest goes to the blob store.

A stored blob's key is `{namespace}/{bucket}/{object}/{blob}/{filename}`, so that everything of an
object, a bucket or a namespace lies under one prefix.
"""

import asyncio
import builtins
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson
from pydantic import Field

from lamina.core.errors import BadRequestError, NotFoundError, ValidationError
from lamina.core.fields import FieldType
from lamina.core.ids import new_id
from lamina.core.models import Model
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.ingest.fetch import Fetcher, filename_of
from lamina.ingest.presign import Presigner
from lamina.ingest.sniffing import suits
from lamina.ingest.values import Resolved, resolve
from lamina.stores.blobs.base import BlobStore
from lamina.stores.blobs.elsewhere import PROVIDERS

if TYPE_CHECKING:
    from lamina.ingest.connections import ConnectionService
    from lamina.ingest.objects import BlobCreate
    from lamina.ingest.uploads import UploadReader

SCHEME: Final = "lamina://"
"""Begins the permanent URL of a stored blob; its key follows."""

PRESIGNED_SECONDS: Final = 3600


class BlobDetails(Model):
    """What the bytes are, computed from them. `hash` is their SHA-256."""

    filename: str | None = None
    size_bytes: int | None = None
    mime_type: str | None = None
    hash: str | None = None


class Blob(Model):
    """`BlobModel` of the contract. `properties` unite the blob's metadata with its data or URL."""

    blob_id: str = Field(default_factory=lambda: new_id("blob"))
    property: str
    key_prefix: str | None = None
    type: FieldType
    properties: JsonObject = Field(default_factory=dict)
    details: BlobDetails = Field(default_factory=BlobDetails)
    presigned_url: str | None = None
    key: str | None = Field(default=None, description="Its key in the blob store. Never taken from a client.")
    source_url: str | None = Field(
        default=None, description="Where it is read from, when it was not mirrored."
    )
    connection_id: str | None = Field(default=None, description="Whose credentials read it there.")

    @builtins.property  # a field of this model is named property
    def url(self) -> str | None:
        """The permanent URL of its bytes; None for data that the record itself holds."""
        return f"{SCHEME}{self.key}" if self.key is not None else self.source_url

    @builtins.property
    def content(self) -> bytes:
        """The bytes of that data."""
        return _inline_bytes(self.value)

    @builtins.property  # a field of this model is named property
    def value(self) -> Json:
        """The data that the record itself holds."""
        return self.properties.get("data", self.properties)


class BlobKeeper:
    """Takes in the blobs of new objects, and reads, presigns and removes stored ones."""

    def __init__(
        self, store: BlobStore, fetcher: Fetcher, presigner: Presigner, *, inline_bytes: int, max_bytes: int
    ) -> None:
        self.store = store
        self.fetcher = fetcher
        self.presigner = presigner
        self.uploads: UploadReader | None = None
        self.connections: ConnectionService | None = None
        self._inline_bytes = inline_bytes
        self.max_bytes = max_bytes

    async def keep(
        self,
        scope: Scope,
        bucket_id: str,
        object_id: str,
        asked: Sequence["BlobCreate"],
        canonicalize: bool,
    ) -> list[Blob]:
        """The blobs of an object to be, their bytes stored. Stores nothing when one of them is bad."""
        prefix = f"{scope.namespace}/{bucket_id}/{object_id}"
        kept: list[Blob] = []
        try:
            for number, one in enumerate(asked):
                kept.append(await self._take(scope, prefix, number, one, canonicalize))
        except BaseException:
            await asyncio.shield(self.forget(kept))
            raise
        return kept

    async def forget(self, blobs: Sequence[Blob]) -> None:
        """Remove the bytes of blobs that no object holds (any more)."""
        await self.store.delete(*(blob.key for blob in blobs if blob.key is not None))

    async def _take(
        self, scope: Scope, prefix: str, number: int, asked: "BlobCreate", canonicalize: bool
    ) -> Blob:
        blob = Blob(property=asked.property, key_prefix=asked.key_prefix, type=asked.type)
        metadata = dict(asked.metadata or {})
        field = f"blobs.{number}"
        if asked.upload_id is not None:
            return await self._take_upload(scope, prefix, blob, asked.upload_id, metadata, field)
        elsewhere = _elsewhere(asked)
        if elsewhere is not None:
            return await self._register(scope, blob, *elsewhere, metadata, f"{field}.data")
        if not (canonicalize if asked.canonicalize_source is None else asked.canonicalize_source):
            url = asked.data.get("url") if isinstance(asked.data, dict) else asked.data
            if isinstance(url, str) and urlsplit(url).scheme in {"http", "https"}:
                blob.source_url = url
                blob.properties = {**metadata, "url": url}
                return blob
        got = await resolve(
            asked.data, type=asked.type, field=f"{field}.data", fetcher=self.fetcher, metadata=metadata,
            max_bytes=self.max_bytes,
        )  # fmt: skip
        if asked.checksum is not None and asked.checksum.removeprefix("sha256:") != got.sha256:
            raise ValidationError(
                f"The checksum does not match: the data has sha256:{got.sha256}.", field=f"{field}.checksum"
            )
        blob.details = BlobDetails(
            filename=got.filename, size_bytes=got.size_bytes, mime_type=got.mime_type, hash=got.sha256
        )
        if got.content is None and got.size_bytes <= self._inline_bytes:
            inline = got.inline
            blob.properties = (
                {**metadata, **inline} if isinstance(inline, dict) else {**metadata, "data": inline}
            )
            return blob
        filename = got.filename or f"{asked.property}{_SUFFIX.get(asked.type, '')}"
        stored = await self.store.put(f"{prefix}/{blob.blob_id}/{filename}", _bytes(got))
        blob.key = stored.key
        blob.properties = {**metadata, "url": blob.url}
        return blob

    async def _register(
        self, scope: Scope, blob: Blob, url: str, named: str | None, metadata: JsonObject, field: str
    ) -> Blob:
        """A blob that stays where it lies, in somebody's bucket. It is read when it is processed."""
        if self.connections is None:
            raise LookupError("no connections are attached")
        blob.connection_id = (await self.connections.chosen(scope, url, named, field=field)).connection_id
        blob.source_url = url
        blob.properties = {**metadata, "url": url}
        blob.details = BlobDetails(filename=filename_of(url))
        return blob

    async def readable(self, scope: Scope, blob: Blob) -> str:
        """A URL that reads a blob which was not mirrored; `ValidationError` when there is none any more."""
        url = blob.source_url or ""
        if self.connections is None or urlsplit(url).scheme not in PROVIDERS:
            return url
        return await self.connections.signed(scope, url, blob.connection_id, field="data")

    async def _take_upload(
        self, scope: Scope, prefix: str, blob: Blob, upload_id: str, metadata: JsonObject, field: str
    ) -> Blob:
        if self.uploads is None:
            raise LookupError("no uploads are attached")
        try:
            upload = await self.uploads.uploaded(scope, upload_id)
        except NotFoundError as missing:
            raise ValidationError(
                f"Upload '{upload_id}' was not found.", field=f"{field}.upload_id"
            ) from missing
        if not suits(blob.type, upload.mime_type):
            raise ValidationError(
                f"The uploaded file is {upload.mime_type}, and the blob is of type {blob.type.value}.",
                field=f"{field}.type",
            )
        stored = await self.store.put(
            f"{prefix}/{blob.blob_id}/{upload.filename}", _same(self.store.stream(upload.key), upload.sha256)
        )
        blob.key = stored.key
        blob.properties = {**metadata, "url": blob.url}
        blob.details = BlobDetails(
            filename=upload.filename, size_bytes=upload.size, mime_type=upload.mime_type, hash=upload.sha256
        )
        return blob

    async def remove(self, scope: Scope, bucket_id: str, object_id: str) -> None:
        """Remove every stored blob of an object."""
        await self.store.delete_prefix(f"{scope.namespace}/{bucket_id}/{object_id}")

    async def presigned(
        self, blob: Blob, scope: Scope, bucket_id: str, object_id: str, base_url: str
    ) -> Blob:
        """The blob with a URL that opens it for an hour, also where the record itself holds the data."""
        if blob.source_url is not None:
            try:
                return blob.model_copy(update={"presigned_url": await self.readable(scope, blob)})
            except ValidationError:  # its connection is gone
                return blob
        filename = blob.details.filename or f"{blob.property}{_SUFFIX.get(blob.type, '')}"
        if blob.key is not None:
            signed = self.sign(scope, blob.key, base_url, filename=filename)
        else:  # no store has it, so the URL leads to this server whatever the store is
            key = f"{scope.namespace}/{bucket_id}/{object_id}/{blob.blob_id}/{filename}"
            signed = self._own_url(key, base_url, filename)
        properties = {**blob.properties, "presigned_url": signed}
        return blob.model_copy(update={"presigned_url": signed, "properties": properties})

    def sign(self, scope: Scope, key: str, base_url: str, *, filename: str | None = None) -> str | None:
        """A URL that opens a stored blob for an hour; None for a blob of another namespace.

        This is the one place where URLs to read are signed, so nothing that a client put into a
        document or made a retriever say can open what is not its namespace's.
        """
        if not key.startswith(f"{scope.namespace}/"):
            return None
        try:
            own = self.store.presigned(key, "GET", PRESIGNED_SECONDS)
        except ValidationError:  # a client wrote it into a document, and it is no key at all
            return None
        return own or self._own_url(key, base_url, filename)

    def _own_url(self, key: str, base_url: str, filename: str | None) -> str:
        return self.presigner.url(
            key, method="GET", expires_in=PRESIGNED_SECONDS, filename=filename, base_url=base_url
        )


def _elsewhere(asked: "BlobCreate") -> tuple[str, str | None] | None:
    """The `s3://` URL, or its like, that a file or text is given as, with the connection that is named."""
    given, named = asked.data, None
    if isinstance(asked.data, dict):
        given, named = asked.data.get("url"), asked.data.get("connection_id")
    if not isinstance(given, str) or not _IN_BUCKET.match(given.strip()) or asked.type in _NO_FILES:
        return None
    if asked.type is FieldType.TEXT and given is asked.data and len(given.split()) > 1:
        return None  # a text that begins with such a URL
    return given.strip(), named if isinstance(named, str) else None


_IN_BUCKET: Final = re.compile(rf"(?:{'|'.join(PROVIDERS)})://\S+", re.IGNORECASE)
_NO_FILES: Final = frozenset(FieldType) - {
    FieldType.TEXT, FieldType.IMAGE, FieldType.AUDIO, FieldType.VIDEO, FieldType.PDF, FieldType.EXCEL,
}  # fmt: skip


async def _same(pieces: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    """The pieces; refuses when they turn out to be other bytes: a presigned PUT may come at any time."""
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise BadRequestError("The file was replaced while it was taken over; try again.")


_SUFFIX: Final = {
    FieldType.TEXT: ".txt", FieldType.STRING: ".txt", FieldType.OBJECT: ".json", FieldType.ARRAY: ".json",
    FieldType.PDF: ".pdf",
}  # fmt: skip


def _bytes(got: Resolved) -> bytes:
    return got.content if got.content is not None else _inline_bytes(got.inline)


def _inline_bytes(value: Json) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
