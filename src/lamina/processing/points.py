"""Documents as points: what stands in a payload beside the user's fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lamina.core.models import isoformat, now
from lamina.core.types import Json, JsonObject

SYSTEM_FIELDS: Final = frozenset({"document_id", "collection_id", "_internal", "score"})
"""Names at a payload's root that no user field may take."""

MADE_BY: Final = "_internal.processing.batch_id"
"""Where the batch stands that made a document. Those that clients write have none, and cannot have one."""

SourceType = Literal["bucket", "collection", "direct_upsert", "signal"]


@dataclass(slots=True)
class Lineage:
    """Where a document comes from, down to the object at its root."""

    source_type: SourceType | None = None
    root_object_id: str | None = None
    root_bucket_id: str | None = None
    source_object_id: str | None = None
    source_document_id: str | None = None
    source_collection_id: str | None = None
    path: str | None = None
    chain: Sequence[Json] = ()

    def stored(self) -> JsonObject:
        """As it stands in `_internal.lineage`; what is unknown is left out."""
        values: JsonObject = {
            "source_type": self.source_type,
            "root_object_id": self.root_object_id,
            "root_bucket_id": self.root_bucket_id,
            "source_object_id": self.source_object_id,
            "source_document_id": self.source_document_id,
            "source_collection_id": self.source_collection_id,
            "path": self.path,
            "chain": list(self.chain) or None,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(slots=True)
class Origin:
    """What all documents of one source share."""

    lineage: Lineage
    source_blobs: Sequence[Json] = ()
    document_blobs: Sequence[Json] = ()
    metadata: JsonObject = field(default_factory=dict)
    mime_type: str | None = None
    size_bytes: int | None = None
    content_hash: str | None = None


def payload(
    *,
    document_id: str,
    collection_id: str,
    namespace_id: str,
    internal_id: str,
    fields: Mapping[str, Json],
    origin: Origin,
    modality: str | None = None,
    document_blobs: Sequence[Json] = (),
    acl: Json = None,
    status: str = "COMPLETED",
    created_at: str | None = None,
    batch_id: str | None = None,
) -> JsonObject:
    """A document's payload: the user's fields at its root, everything of ours under `_internal`.

    `batch_id` is the batch that made it; documents that clients write have none.
    """
    moment = isoformat(now())
    internal: JsonObject = {
        "internal_id": internal_id,
        "namespace_id": namespace_id,
        "document_id": document_id,
        "collection_id": collection_id,
        "created_at": created_at or moment,
        "updated_at": moment,
        "lineage": origin.lineage.stored(),
        "metadata": {"ingestion_status": status, **origin.metadata},
    }
    further: JsonObject = {
        "source_blobs": list(origin.source_blobs),
        "document_blobs": [*origin.document_blobs, *document_blobs],
        "modality": modality,
        "mime_type": origin.mime_type,
        "size_bytes": origin.size_bytes,
        "content_hash": origin.content_hash,
        "_acl": acl,
        "processing": {"batch_id": batch_id} if batch_id else None,
    }
    internal.update({name: value for name, value in further.items() if value not in (None, [])})
    if origin.lineage.root_bucket_id is not None:
        internal["source_details"] = [{"type": "bucket", "source_id": origin.lineage.root_bucket_id}]
    user = {name: value for name, value in fields.items() if name not in SYSTEM_FIELDS}
    return {**user, "document_id": document_id, "collection_id": collection_id, "_internal": internal}


def user_fields(stored: Mapping[str, Json]) -> JsonObject:
    """The user's own fields of a payload."""
    return {name: value for name, value in stored.items() if name not in SYSTEM_FIELDS}


def document_prefix(namespace_id: str, collection_id: str, document_id: str | None = None) -> str:
    """Where the files lie that belong to a document, or to all documents of a collection."""
    prefix = f"{namespace_id}/documents/{collection_id}"
    return prefix if document_id is None else f"{prefix}/{document_id}"
