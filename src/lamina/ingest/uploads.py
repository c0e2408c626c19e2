"""① Uploads: the client PUTs bytes to a presigned URL, then confirms; confirming makes the object."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from pydantic import Field, field_validator

from lamina.core.errors import (
    AlreadyExistsError,
    BadRequestError,
    NotFoundError,
    PayloadTooLargeError,
    ValidationError,
)
from lamina.core.fields import FieldType
from lamina.core.filters import ALL, And, Filter, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, Sort, Timestamp, now
from lamina.core.paging import Listing, PageRequest, Slice
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.statuses import Status
from lamina.core.types import Json, JsonObject
from lamina.ingest.blobs import BlobKeeper
from lamina.ingest.buckets import Bucket
from lamina.ingest.object_service import ObjectService
from lamina.ingest.objects import BlobCreate, ObjectCreate
from lamina.ingest.values import sniff
from lamina.stores.records.base import Kind, Repository

_FILENAME: Final = re.compile(r"^[^/\\\x00-\x1f]+$")


class Upload(Model):
    """`UploadResponse` of the contract. `s3_key` is the key in Lamina's own blob store."""

    upload_id: str = Field(default_factory=lambda: new_id("upl"))
    bucket_id: str
    filename: str
    content_type: str
    file_size_bytes: int | None = None
    presigned_url: str | None = None
    presigned_url_expiration: int
    s3_key: str
    status: Status = Status.PENDING
    metadata: JsonObject = Field(default_factory=dict)
    create_object_on_confirm: bool = True
    object_metadata: JsonObject | None = None
    blob_property: str | None = None
    blob_type: str | None = None
    file_hash: str | None = None
    skip_duplicates: bool = True
    is_duplicate: bool = False
    duplicate_of_upload_id: str | None = None
    skipped_unique_key: bool = False
    existing_object_id: str | None = None
    message: str | None = None
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    expires_at: Timestamp
    completed_at: Timestamp | None = None
    verified_at: Timestamp | None = None
    etag: str | None = None
    object_id: str | None = None
    task_id: str | None = None


class UploadCreate(Request):
    """Body of the creation of an upload."""

    filename: str = Field(min_length=1, max_length=255)
    content_type: str = Field(min_length=1, max_length=255)
    file_size_bytes: int | None = Field(default=None, ge=1)
    presigned_url_expiration: int = Field(default=3600, ge=60, le=86400)
    metadata: JsonObject | None = None
    create_object_on_confirm: bool = True
    object_metadata: JsonObject | None = None
    blob_property: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9_]+$")
    blob_type: str | None = None
    file_hash: str | None = Field(default=None, pattern=r"^[a-f0-9]{64}$")
    skip_duplicates: bool = True

    @field_validator("filename")
    @classmethod
    def _no_path(cls, name: str) -> str:
        if not _FILENAME.match(name) or name in {".", ".."} or ".." in name.split("."):
            raise ValueError("a file name without a path is expected")
        return name


class UploadsCreate(Request):
    """Up to 100 uploads with metadata that they share."""

    uploads: list[UploadCreate] = Field(min_length=1, max_length=100)
    shared_metadata: JsonObject | None = None
    shared_object_metadata: JsonObject | None = None


class UploadList(Listing):
    """Body of the list of uploads."""

    filters: Json = None
    sort: Sort | None = None
    search: str | None = None
    return_presigned_urls: bool = False
    limit: int | None = Field(default=None, ge=1, le=100)


class UploadConfirm(Request):
    """Body of the confirmation."""

    etag: str | None = None
    file_size_bytes: int | None = Field(default=None, ge=1)
    auto_submit_batch: bool = False


class Confirmed(Model):
    """Answer to the confirmation."""

    upload_id: str
    status: Status
    etag: str | None = None
    file_size_bytes: int | None = None
    file_hash: str | None = None
    verified_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    object_id: str | None = None
    task_id: str | None = None
    batch_id: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """The bytes of an upload, described."""

    key: str
    filename: str
    size: int
    sha256: str
    mime_type: str
    etag: str | None = None
    """The store's own word for this version of it."""


class UploadReader(Protocol):
    """Finds the bytes that an object's blob refers to by `upload_id`."""

    async def uploaded(self, scope: Scope, upload_id: str) -> UploadedFile:
        """The file of an upload; `NotFoundError` when there is none."""


UPLOADS = Kind("uploads", Upload, "upload_id", columns=("file_hash",), search=("filename",))


class UploadService:
    """Creates, confirms, lists and deletes uploads."""

    def __init__(self, uploads: Repository[Upload], blobs: BlobKeeper, objects: ObjectService) -> None:
        self.uploads = uploads
        self.blobs = blobs
        self.objects = objects

    async def create(self, scope: Scope, bucket: Bucket, asked: UploadCreate, base_url: str) -> Upload:
        """A presigned URL to PUT the file to, or the upload that already brought the same bytes."""
        if bucket.is_locked:
            raise AlreadyExistsError(f"Bucket '{bucket.bucket_name}' is being deleted.")
        self._check(bucket, asked)
        within = scope.within(bucket.bucket_id)
        if asked.file_hash is not None and asked.skip_duplicates:
            same = And((equals("file_hash", asked.file_hash), equals("status", Status.COMPLETED.value)))
            before = await self.uploads.first(within, same)
            if before is not None:
                return before.model_copy(
                    update={
                        "is_duplicate": True,
                        "duplicate_of_upload_id": before.upload_id,
                        "existing_object_id": before.object_id,
                        "message": "A file with this hash was uploaded before.",
                    }
                )
        upload_id = new_id("upl")
        upload = Upload(
            upload_id=upload_id,
            bucket_id=bucket.bucket_id,
            s3_key=f"{scope.namespace}/{bucket.bucket_id}/uploads/{upload_id}/{asked.filename}",
            metadata=asked.metadata or {},
            expires_at=now() + timedelta(seconds=asked.presigned_url_expiration),
            **asked.model_dump(include=set(UploadCreate.model_fields) - {"metadata"}),
        )
        upload.presigned_url = self._writable(upload, base_url)
        await self.uploads.add(within, upload)
        return upload

    def _writable(self, upload: Upload, base_url: str) -> str:
        """A URL to PUT the file to: the store's own where it has one."""
        seconds = upload.presigned_url_expiration
        return self.blobs.store.presigned(upload.s3_key, "PUT", seconds) or self.blobs.presigner.url(
            upload.s3_key,
            method="PUT",
            expires_in=seconds,
            content_type=upload.content_type,
            max_size=upload.file_size_bytes,
            base_url=base_url,
        )

    async def create_all(
        self, scope: Scope, bucket: Bucket, asked: UploadsCreate, base_url: str
    ) -> list[Upload]:
        """Several uploads; a file's own metadata goes before the shared."""
        made = []
        for one in asked.uploads:
            one.metadata = {**(asked.shared_metadata or {}), **(one.metadata or {})}
            one.object_metadata = {**(asked.shared_object_metadata or {}), **(one.object_metadata or {})}
            self._check(bucket, one)
        for one in asked.uploads:
            made.append(await self.create(scope, bucket, one, base_url))
        return made

    def _check(self, bucket: Bucket, asked: UploadCreate) -> None:
        """The object that a confirmation would create has to fit the bucket."""
        if asked.create_object_on_confirm:
            self._property(bucket, asked.blob_property, asked.blob_type, asked.content_type)

    def _property(
        self, bucket: Bucket, named: str | None, type_name: str | None, content_type: str
    ) -> tuple[str, FieldType]:
        """The schema property that takes the file: the one named, or the only one that fits its type."""
        properties = bucket.bucket_schema.properties
        if named is not None:
            if named not in properties:
                known = ", ".join(sorted(properties)) or "none"
                raise ValidationError(
                    f"The bucket's schema has no property '{named}'; it has {known}.", field="blob_property"
                )
            return named, FieldType.read(type_name) if type_name else properties[named].type
        wanted = FieldType.read(type_name) if type_name else FieldType.of_mime_type(content_type)
        fitting = [name for name, field in properties.items() if field.type is wanted]
        if len(fitting) != 1:
            raise ValidationError(
                f"Name the property that takes the file as blob_property: the schema has {len(fitting)} "
                f"of type {wanted.value}.",
                field="blob_property",
            )
        return fitting[0], wanted

    async def get(self, scope: Scope, bucket: Bucket, upload_id: str) -> Upload:
        """An upload by id."""
        return await self.uploads.get(scope.within(bucket.bucket_id), upload_id)

    async def list_page(
        self, scope: Scope, bucket: Bucket, page: PageRequest, asked: UploadList, where: Filter = ALL
    ) -> Slice[Upload]:
        """Uploads of a bucket."""
        return await self.uploads.list_page(
            scope.within(bucket.bucket_id), page, where=where, sort=asked.sort, search=asked.search
        )

    async def statistics(self, scope: Scope, bucket: Bucket) -> JsonObject:
        """`UploadListStats` of the contract."""
        within = scope.within(bucket.bucket_id)
        by_status = await self.uploads.count_by(within, "status")
        total, size = sum(by_status.values()), int(await self.uploads.sum(within, "file_size_bytes"))
        return {
            "total_uploads": total,
            "total_size_bytes": size,
            "uploads_by_status": dict(by_status),
            "avg_file_size_bytes": size / total if total else 0.0,
            "unique_buckets": 1 if total else 0,
        }

    async def confirm(
        self, scope: Scope, bucket: Bucket, upload_id: str, asked: UploadConfirm, policy: str | None
    ) -> Confirmed:
        """Check the bytes and create the object. Confirming again gives the same answer.

        Raises `BadRequestError` when the file is not there yet, or differs from what was announced.
        """
        upload = await self.get(scope, bucket, upload_id)
        if upload.status is Status.COMPLETED:
            return _confirmed(upload, "Already confirmed.")
        file = await self._verified(upload, asked)
        changed: dict[str, object] = {
            "etag": file.sha256,
            "file_hash": file.sha256,
            "file_size_bytes": file.size,
            "verified_at": now(),
            "status": Status.COMPLETED,
            "completed_at": now(),
            "updated_at": now(),
        }
        if upload.create_object_on_confirm:
            property, type = self._property(bucket, upload.blob_property, upload.blob_type, file.mime_type)
            # The upload's id makes a confirmation that was cut short find its own object again.
            wish = ObjectCreate.model_validate(
                {
                    **(upload.object_metadata or {}),
                    "idempotency_key": None if bucket.unique_key else f"upload:{upload.upload_id}",
                    "blobs": [
                        BlobCreate(
                            property=property, type=type, upload_id=upload.upload_id, metadata=upload.metadata
                        )
                    ],
                }
            )
            made = await self.objects.create(scope, bucket, wish, policy=policy)
            changed["object_id"] = made.object_id
        upload = upload.model_copy(update=changed)
        await self.uploads.update(scope.within(bucket.bucket_id), upload)
        return _confirmed(upload, "Upload confirmed.")

    async def _verified(self, upload: Upload, asked: UploadConfirm) -> UploadedFile:
        try:
            file = await self._described(upload)
        except NotFoundError as missing:
            raise BadRequestError(
                "The file is not there yet: PUT it to the presigned URL, then confirm.",
                upload_id=upload.upload_id,
            ) from missing
        for name, announced in (("announced", upload.file_size_bytes), ("confirmed", asked.file_size_bytes)):
            if announced is not None and announced != file.size:
                raise BadRequestError(
                    f"The file has {file.size} bytes, not the {announced} that were {name}."
                )
        for name, digest, known in (
            ("file_hash", upload.file_hash, {file.sha256}),
            ("etag", asked.etag, {file.sha256, (file.etag or file.sha256).strip('"')}),
        ):
            if digest is not None and digest.strip('"') not in known:
                raise BadRequestError(f"The file's SHA-256 is {file.sha256}, which is not the {name} given.")
        return file

    async def uploaded(self, scope: Scope, upload_id: str) -> UploadedFile:
        """The file of an upload in this scope's bucket."""
        return await self._described(await self.uploads.get(scope, upload_id))

    async def expected(self, key: str) -> bool:
        """Whether an upload, neither confirmed nor cancelled, waits for bytes under a key."""
        _, bucket_id, _, upload_id, *_ = [*key.split("/"), "", "", "", ""]
        waiting = And((equals("upload_id", upload_id), equals("bucket_id", bucket_id), equals("s3_key", key)))
        upload = await self.uploads.first(EVERYWHERE, waiting)
        return upload is not None and upload.status is not Status.COMPLETED

    async def _described(self, upload: Upload) -> UploadedFile:
        """Size, SHA-256 and type, read from the bytes."""
        digest = hashlib.sha256()
        size = 0
        head = b""
        stored = await self.blobs.store.head(upload.s3_key)
        if stored.size > self.blobs.max_bytes:  # a bucket takes what it is sent
            raise PayloadTooLargeError(
                f"A file may have {self.blobs.max_bytes} bytes at most.", limit=self.blobs.max_bytes
            )
        async for piece in self.blobs.store.stream(upload.s3_key):
            digest.update(piece)
            size += len(piece)
            if len(head) < _SNIFFED_BYTES:
                head += piece[: _SNIFFED_BYTES - len(head)]
        mime_type = sniff(head, upload.filename) or upload.content_type
        return UploadedFile(upload.s3_key, upload.filename, size, digest.hexdigest(), mime_type, stored.etag)

    async def delete(self, scope: Scope, bucket: Bucket, upload_id: str, *, delete_bytes: bool) -> None:
        """Cancel an upload that is not completed."""
        upload = await self.get(scope, bucket, upload_id)
        if upload.status is Status.COMPLETED:
            raise BadRequestError("A completed upload cannot be cancelled; delete its object instead.")
        if delete_bytes:
            await self.blobs.store.delete(upload.s3_key)
        await self.uploads.delete(scope.within(bucket.bucket_id), upload_id)

    def presigned(self, scope: Scope, uploads: Sequence[Upload], base_url: str) -> list[Upload]:
        """Uploads with fresh URLs to download their files."""
        return [
            upload.model_copy(update={"presigned_url": self.blobs.sign(scope, upload.s3_key, base_url)})
            if upload.status is Status.COMPLETED
            else upload
            for upload in uploads
        ]


_SNIFFED_BYTES: Final = 64 << 10


def _confirmed(upload: Upload, message: str) -> Confirmed:
    return Confirmed.model_validate({**upload.model_dump(), "message": message})
