"""① Objects: records with blobs, checked against their bucket's schema. Creating one processes nothing."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol

from pydantic import AliasChoices, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails

from lamina.core.fields import FieldType
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, Sort, Timestamp, now
from lamina.core.paging import Listing
from lamina.core.scope import Scope
from lamina.core.statuses import Status
from lamina.core.types import Json, JsonObject
from lamina.ingest.blobs import Blob
from lamina.stores.records.base import EVERYTHING, Kind

RESERVED: Final = frozenset(
    {
        "object_id", "bucket_id", "blobs", "status", "error", "source_details", "content_hash", "created_at",
        "updated_at", "document_count", "edges", "unique_value", "idempotency_key", "size_bytes", "warnings",
    }
)  # fmt: skip
"""Names that an object has for itself and that no custom field may take."""


INTERNAL_FIELDS: Final[dict[str, Any]] = {
    "unique_value": True,
    "idempotency_key": True,
    "size_bytes": True,
    "blobs": {"__all__": {"key", "source_url", "connection_id"}},
}
"""What the store needs of an object and no client sees, as pydantic's `exclude` takes it."""


class SourceDetails(Model):
    """Where an entity comes from."""

    type: Literal["bucket", "collection", "taxonomy", "cluster"]
    source_id: str


class Edge(Model):
    """A relation to another object."""

    model_config = ConfigDict(extra="allow")

    type: str
    target_object_id: str
    target_collection_id: str | None = None
    direction: Literal["out", "in"] = "out"
    attributes: JsonObject | None = None


class StoredObject(Model):
    """`ObjectResponse` of the contract. Custom fields stand at its root."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    object_id: str = Field(default_factory=lambda: new_id("obj"))
    bucket_id: str
    key_prefix: str | None = None
    content_hash: str | None = None
    blobs: list[Blob] = Field(default_factory=list)
    source_details: list[SourceDetails] = Field(default_factory=list)
    edges: list[Edge] | None = None
    status: Status = Status.DRAFT
    error: str | None = None
    skip_duplicates: bool = False
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    document_count: int | None = None
    unique_value: str | None = Field(default=None, description="The unique key's values, for the constraint.")
    idempotency_key: str | None = None
    size_bytes: int = Field(default=0, description="Bytes of all blobs.")

    @property
    def fields(self) -> JsonObject:
        """The custom fields."""
        return self.model_extra or {}


class BlobCreate(Request):
    """One blob of a new object: `data` (or `url`), or an upload."""

    property: str = Field(min_length=1, max_length=100)
    key_prefix: str | None = None
    type: FieldType
    data: Json = Field(default=None, validation_alias=AliasChoices("data", "url"))
    upload_id: str | None = Field(default=None, pattern=r"^upl_[a-zA-Z0-9_-]+$")
    checksum: str | None = None
    metadata: JsonObject | None = None
    canonicalize_source: bool | None = None
    force_remirror: bool | None = None


class ObjectCreate(Request):
    """A new object. Further keys are its custom fields."""

    key_prefix: str | None = None
    blobs: list[BlobCreate] = Field(default_factory=list, max_length=1000)
    skip_duplicates: bool = False
    canonicalize_source: bool = True
    force_remirror: bool = False
    edges: list[Edge] | None = None
    idempotency_key: str | None = Field(default=None, max_length=255)

    extra_is_content: ClassVar[bool] = True

    @property
    def fields(self) -> JsonObject:
        """The custom fields."""
        return self.model_extra or {}


class UnreadObject(ObjectCreate):
    """An entry of a batch that is no object: `problems` say why, located within the entry."""

    problems: list[ErrorDetails] = Field(default_factory=list, exclude=True)


def _read(value: object, read: ValidatorFunctionWrapHandler) -> ObjectCreate:
    try:
        made: ObjectCreate = read(value)
    except PydanticError as error:
        return UnreadObject(problems=error.errors(include_url=False, include_context=False))
    return made


class ObjectsCreate(Request):
    """Up to 100 new objects. What is wrong with one is kept in its place, for others may be good."""

    objects: list[Annotated[ObjectCreate, WrapValidator(_read)]] = Field(max_length=100)

    @property
    def unread(self) -> dict[int, UnreadObject]:
        """The entries that are no objects, by their places."""
        return {place: one for place, one in enumerate(self.objects) if isinstance(one, UnreadObject)}


class ObjectPatch(Request):
    """Custom fields to set, at the root of the body."""

    key_prefix: str | None = None
    skip_duplicates: bool | None = None

    extra_is_content: ClassVar[bool] = True


class ObjectUpdate(Request):
    """`metadata` keys that the object's own `metadata` holds are set there, others at its root."""

    key_prefix: str | None = None
    metadata: JsonObject | None = None
    skip_duplicates: bool | None = None


class ObjectList(Listing):
    """Body of the list of objects."""

    filters: Json = None
    sort: Sort | None = None
    search: str | None = None
    select: list[str] | None = None
    return_presigned_urls: bool = False


class KeptObject(Model):
    """One object of a batch request that is stored: newly, or since before, and then what says so."""

    object_index: int
    stored: StoredObject
    replayed_by: Literal["idempotency_key", "skip_duplicates"] | None = None


class FailedObject(Model):
    """One object of a batch request that was refused."""

    object_index: int
    error: str
    error_type: str


class ObjectsCreated(Model):
    """The official SDK's form of the answer to `objects/batch`."""

    succeeded: list[KeptObject]
    failed: list[FailedObject]
    total_requested: int
    succeeded_count: int
    failed_count: int


class Derived(Protocol):
    """What processing made of objects. `documents` provides it."""

    def alone(self, scope: Scope, object_ids: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Inside, no batch writes documents of these objects, which are gone at the end."""

    async def remove(self, scope: Scope, object_ids: Sequence[str]) -> None:
        """Delete every document that descends from these objects, with its blobs."""

    async def count(self, scope: Scope, object_id: str) -> int:
        """How many documents descend from an object."""


OBJECTS = Kind(
    "objects",
    StoredObject,
    "object_id",
    columns=("content_hash",),
    unique=("unique_value", "idempotency_key"),
    search=(EVERYTHING,),
    indexed=True,
)
