"""④ What clients send about documents."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lamina.core.models import Model, Request, Sort, Timestamp
from lamina.core.paging import Listing
from lamina.core.types import Json, JsonObject


class LineageStep(Model):
    """One step of processing between the root object and a document."""

    collection_id: str
    feature_extractor_id: str
    document_id: str | None = None
    timestamp: Timestamp | None = None


class Feature(Request):
    """What an extractor outside of Lamina made: vectors, and what belongs to them."""

    extra_is_content: ClassVar[bool] = True

    feature_extractor_id: str = Field(min_length=1)
    payload: JsonObject | None = None
    vectors: JsonObject | None = None


class DocumentCreate(Request):
    """Body of the creation of a document. Further keys are the user's fields."""

    extra_is_content: ClassVar[bool] = True

    collection_id: str | None = None
    document_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:-]{1,255}$")
    root_object_id: str | None = None
    root_bucket_id: str | None = None
    source_type: Literal["bucket", "collection", "direct_upsert", "signal"] | None = None
    source_collection_id: str | None = None
    source_document_id: str | None = None
    source_object_id: str | None = None
    lineage_path: str | None = None
    lineage_chain: list[LineageStep] = Field(default_factory=list)
    document_schema_version: Literal["v1", "v2"] | None = None
    metadata: JsonObject | None = None
    features: list[Feature] = Field(default_factory=list)
    content_hash: str | None = None
    vectors: JsonObject | None = None


class BatchGet(Request):
    """Body of the batch retrieval."""

    document_ids: list[str] = Field(min_length=1, max_length=1000)
    return_presigned_urls: bool = False


class Partition(Model):
    """One of several parts that together are the whole list."""

    index: int = Field(ge=0)
    count: int = Field(ge=1, le=256)

    @model_validator(mode="after")
    def _within(self) -> "Partition":
        if self.index >= self.count:
            raise ValueError("index must be below count")
        return self


class DocumentList(Listing):
    """Body of the lists of documents."""

    filters: Json = None
    sort: Sort | None = None
    search: str | None = None
    partition: Partition | None = None
    return_presigned_urls: bool = False
    return_vectors: bool | None = False
    return_vector_names: bool | list[str] | None = None
    group_by: str | None = None
    select: list[str] | None = None
    expand: list[str] | None = None
    collection_ids: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _collections(cls, value: object) -> object:
        if not isinstance(value, dict) or value.get("collection_ids") is not None:
            return value
        for name in ("collections", "collection_id"):
            named = value.get(name)
            if named is not None:
                rest = {key: one for key, one in value.items() if key != name}
                return {**rest, "collection_ids": [named] if isinstance(named, str) else named}
        return value

    @field_validator("group_by", mode="before")
    @classmethod
    def _field(cls, value: object) -> object:
        return value.get("field") if isinstance(value, dict) else value


class DocumentPatch(Request):
    """Fields to set at a document's root; keys of `metadata` are set one by one, null removes."""

    extra_is_content: ClassVar[bool] = True

    metadata: JsonObject | None = None


class DocumentUpdate(Model):
    """The change of one document in a batch."""

    document_id: str
    update_data: JsonObject


class BatchUpdate(Request):
    """Different changes for documents by id, or one change for all that match a filter."""

    updates: list[DocumentUpdate] | None = Field(default=None, min_length=1, max_length=1000)
    filters: Json = None
    update_data: JsonObject | None = None


class BulkUpdate(Request):
    """One change for all documents that match."""

    filters: Json = None
    update_data: JsonObject


class BatchDelete(Request):
    """Documents to delete, by id or by filter."""

    document_ids: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    filters: Json = None
    reason: str | None = Field(default=None, max_length=500)


class Acl(Model):
    """Who may read and write a document."""

    read: list[str] | None = Field(default=None, max_length=256)
    write: list[str] | None = Field(default=None, max_length=256)
    public: bool | None = None


class UpsertDocument(Request):
    """A document with vectors that the caller made."""

    document_id: str = Field(min_length=1, max_length=255)
    vectors: dict[str, Json] = Field(default_factory=dict)
    payload: JsonObject | None = None
    metadata: JsonObject | None = None
    acl: Acl | None = None
    source_type: Literal["bucket", "collection", "direct_upsert", "signal"] | None = None
    root_object_id: str | None = None
    root_bucket_id: str | None = None
    source_object_id: str | None = None
    source_document_id: str | None = None
    source_collection_id: str | None = None
    lineage_path: str | None = None
    lineage_chain: list[LineageStep] | None = None
    content_hash: str | None = None


class UpsertOptions(Model):
    """How an upsert behaves."""

    write_token: bool = False
    idempotency_key: str | None = None


class Upsert(Request):
    """Up to 1,000 documents to write; the same id replaces."""

    documents: list[UpsertDocument] = Field(max_length=1000)
    collection_id: str | None = None
    options: UpsertOptions | None = None
