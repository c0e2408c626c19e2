"""Bodies of answers that are no model of their own: pages, and the forms of a document."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from lamina.core.models import Timestamp
from lamina.core.paging import Pagination
from lamina.core.types import JsonObject
from lamina.ingest.objects import FailedObject, StoredObject
from lamina.platform.tasks import Task

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    results: list[T]
    pagination: Pagination
    total_count: int | None = None
    stats: JsonObject | None = None
    warnings: list[Any] | None = None


class BlobRef(BaseModel):
    """`BlobURLRef`: a file that belongs to a document."""

    field: str = Field(min_length=1)
    role: Literal["source", "processed", "thumbnail", "artifact", "aux"] = "source"
    type: Literal["video", "image", "audio", "text", "pdf", "other"] = "other"
    url: str = Field(min_length=1)
    filename: str | None = None
    size_bytes: int | None = Field(default=None, ge=0)
    content_type: str | None = None
    checksum: str | None = None
    created_at: Timestamp | None = None
    source_blob_id: str | None = None
    presigned_url: str | None = None


class InternalLineage(BaseModel):
    """Where a document comes from."""

    model_config = ConfigDict(extra="allow")

    root_object_id: str | None = None
    root_bucket_id: str | None = None
    source_type: Literal["bucket", "collection", "direct_upsert", "signal"] | None = None
    source_object_id: str | None = None
    source_document_id: str | None = None
    source_collection_id: str | None = None
    path: str | None = None
    chain: list[JsonObject] | None = None


class Internal(BaseModel):
    """Everything of a document that the system manages."""

    model_config = ConfigDict(extra="allow")

    internal_id: str | None = None
    namespace_id: str | None = None
    document_id: str | None = None
    collection_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    lineage: InternalLineage | None = None
    processing: JsonObject | None = None
    source_blobs: list[JsonObject] | None = None
    document_blobs: list[JsonObject] | None = None
    source_details: list[JsonObject] | None = None
    modality: str | None = None
    metadata: JsonObject | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    content_hash: str | None = None


class DocumentNested(BaseModel):
    """A document as it is stored: the user's fields at the root, the rest under `_internal`."""

    model_config = ConfigDict(extra="allow")

    document_id: str
    collection_id: str
    document_blobs: list[BlobRef] = Field(default_factory=list)
    internal: Internal | None = Field(default=None, alias="_internal")
    vectors: list[str] | None = Field(default=None, alias="_vectors")


class PresignedUrl(BaseModel):
    """A URL that opens one of a document's files for an hour."""

    key_name: str
    object_key: str
    presigned_url: str


class _DocumentWithLineage(DocumentNested):
    root_object_id: str | None = None
    root_bucket_id: str | None = None
    source_type: Literal["bucket", "collection"] | None = None
    source_collection_id: str | None = None
    source_document_id: str | None = None
    source_object_id: str | None = None
    lineage_path: str | None = None
    source_blobs: list[JsonObject] = Field(default_factory=list)
    internal_metadata: JsonObject = Field(default_factory=dict)
    presigned_url: str | None = None
    presigned_urls: list[PresignedUrl] = Field(default_factory=list)


class DocumentFlat(_DocumentWithLineage):
    """The nested form with the lineage at the root."""

    lineage_chain: list[JsonObject] = Field(default_factory=list)
    vector: list[float] | None = None


class DocumentPatched(_DocumentWithLineage):
    """The flat form that changes answer with."""

    document_schema_version: Literal["v1", "v2"] = "v1"
    lineage: JsonObject | None = None
    metadata: Any = None


class BatchObjectResult(StoredObject):
    """A stored object of a batch request, and what says that it was there before."""

    object_index: int
    replayed: bool
    replayed_by: Literal["idempotency_key", "skip_duplicates"] | None = None


class ObjectsBatch(BaseModel):
    """`CreateObjectsBatchResponse`: what of a batch request is stored, and what was refused."""

    succeeded: list[BatchObjectResult]
    failed: list[FailedObject]
    total_requested: int
    succeeded_count: int
    failed_count: int
    warnings: list[str] | None = None


class BatchGetAnswer(BaseModel):
    """The documents found, in order of first mention, and the ids that were not."""

    documents: list[DocumentNested]
    not_found: list[str]


class DocumentGroup(BaseModel):
    """Documents that share a value."""

    group_key: Any
    documents: list[DocumentNested]
    count: int


class DocumentPage(BaseModel):
    """A page of documents, or of groups of them."""

    results: list[DocumentNested] | None = None
    groups: list[DocumentGroup] | None = None
    unknown_collection_ids: list[str] | None = None
    pagination: Pagination
    total_documents: int | None = None
    stats: JsonObject | None = None
    group_by_field: str | None = None
    warnings: list[str] | None = None


class DocumentCount(BaseModel):
    """How many documents a collection has."""

    collection_id: str
    count: int


class ChangeResult(BaseModel):
    """What became of one document of a batch."""

    document_id: str
    success: bool
    error: str | None = None


class BatchUpdated(BaseModel):
    """Answer to the batch update."""

    updated_count: int
    failed_count: int = 0
    results: list[ChangeResult] = Field(default_factory=list)
    message: str = "Batch update completed"


class BulkUpdated(BaseModel):
    """Answer to the bulk update."""

    task_id: str | None = None
    status: str | None = None
    updated_count: int
    message: str = "Bulk update completed"


class BatchDeleted(BaseModel):
    """Answer to the batch deletion."""

    task_id: str | None = None
    status: str | None = None
    deleted_count: int
    failed_count: int = 0
    results: list[ChangeResult] = Field(default_factory=list)
    message: str = "Batch delete completed"


class Consistency(BaseModel):
    """When a write can be read: at once."""

    retriever_visible: str = "immediate"
    write_token_available: bool = False
    expected_visible_within_ms: int = 0


class Upserted(BaseModel):
    """Answer to the upsert of documents with the caller's vectors."""

    inserted: int
    document_ids: list[str]
    write_token: str | None = None
    consistency: Consistency = Field(default_factory=Consistency)
    warnings: list[str] | None = None


class Triggered(BaseModel):
    """Answer to the trigger of a collection."""

    batch_id: str
    task_id: str
    collection_id: str
    source_bucket_ids: list[str] | None = None
    source_collection_ids: list[str] | None = None
    object_count: int | None = None
    document_count: int | None = None
    batch_ids: list[str] | None = None
    task_ids: list[str] | None = None
    batch_count: int | None = None
    total_tiers: int
    message: str


class BucketDeletion(Task):
    """The task that deletes a bucket."""

    bucket_id: str
    bucket_name: str
    object_count: int
    message: str = "Deletion started."


class KeyShown(BaseModel):
    """The key that a caller used."""

    name: str | None = None
    key_type: str | None = None
    permissions: list[str] | None = None
    expires_at: Timestamp | None = None


class Me(BaseModel):
    """Who the caller is."""

    organization_id: str
    organization_name: str | None = None
    account_type: str
    user_email: str | None = None
    key: KeyShown
    rate_limits: JsonObject | None = None
    principal_scoped: bool = False


class Health(BaseModel):
    """Whether the server works."""

    status: Literal["OK", "DEGRADED"] = "OK"
    version: str
    data: JsonObject = Field(default_factory=dict)
