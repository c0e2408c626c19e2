"""Sources of a collection's documents: objects of buckets, or documents of other collections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from lamina.core.errors import ExtractionError
from lamina.core.fields import FieldType
from lamina.core.models import isoformat
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import BlobValue, InputValue, Source
from lamina.ingest.blobs import SCHEME, Blob, BlobDetails, BlobKeeper
from lamina.ingest.objects import StoredObject
from lamina.ingest.sniffing import sniff
from lamina.processing.collections import Collection
from lamina.processing.points import Lineage, Origin, user_fields
from lamina.stores.vectors.base import Point

SENT_BYTES: Final = 1 << 20
"""Larger blobs are not sent to the workers, which read them from a file."""

PLACE: Final = ("start_time", "end_time", "page_number")
"""Fields that say where in its source a document lies. What is made from it lies there too."""

_BLOB_TYPES = {
    FieldType.IMAGE: "image", FieldType.VIDEO: "video", FieldType.AUDIO: "audio", FieldType.TEXT: "text",
    FieldType.STRING: "text", FieldType.PDF: "pdf",
}  # fmt: skip


@dataclass(slots=True)
class SourceRecord:
    """One source as the runner sees it: its fields and blobs by name, and the lineage that it hands on."""

    source_id: str
    object_id: str | None
    version: str
    """Changes when the source does."""
    fields: JsonObject
    blobs: Mapping[str, Sequence[Blob]]
    origin: Origin
    place: JsonObject = field(default_factory=dict)
    """Where in its own source it lies."""

    @property
    def key(self) -> str:
        """What excludes others from its documents: the object at its root, or the source itself."""
        return self.object_id or self.source_id

    def lookup(self, path: str) -> "Json | list[Blob]":
        """The value at a dot path: blobs of that property, or a field. None when there is neither."""
        head, _, rest = path.partition(".")
        blobs = self.blobs.get(head)
        if blobs and not rest:
            return list(blobs)
        value: Json = blobs[0].value if blobs else self.fields.get(head)
        for step in rest.split(".") if rest else ():
            value = value.get(step) if isinstance(value, Mapping) else None
        return value


def from_object(
    stored: StoredObject, collection: Collection, feature_extractor_id: str, moment: str
) -> SourceRecord:
    """An object as the source of a first tier."""
    by_property: dict[str, list[Blob]] = {}
    for blob in stored.blobs:
        by_property.setdefault(blob.property, []).append(blob)
    first = stored.blobs[0].details if len(stored.blobs) == 1 else None
    lineage = Lineage(
        source_type="bucket",
        root_object_id=stored.object_id,
        root_bucket_id=stored.bucket_id,
        source_object_id=stored.object_id,
        path=f"{stored.bucket_id}/{collection.collection_id}",
        chain=[_step(collection.collection_id, feature_extractor_id, moment)],
    )
    return SourceRecord(
        source_id=stored.object_id,
        object_id=stored.object_id,
        version=isoformat(stored.updated_at),
        fields=stored.fields,
        blobs=by_property,
        origin=Origin(
            lineage=lineage,
            source_blobs=[
                {"blob_id": blob.blob_id, "blob_property": blob.property, "blob_type": blob.type.value}
                for blob in stored.blobs
            ],
            document_blobs=[_source_blob(blob) for blob in stored.blobs if blob.url],
            mime_type=first.mime_type if first else None,
            size_bytes=first.size_bytes if first else None,
            content_hash=stored.content_hash,
        ),
    )


def from_document(
    point: Point, collection: Collection, feature_extractor_id: str, moment: str
) -> SourceRecord:
    """A document as the source of a later tier."""
    internal = cast("JsonObject", point.payload.get("_internal") or {})
    above = cast("JsonObject", internal.get("lineage") or {})
    parent = str(point.payload["collection_id"])
    chain = [
        {**step, "document_id": point.document_id} if step.get("collection_id") == parent else step
        for step in cast("list[JsonObject]", above.get("chain") or [])
    ]
    lineage = Lineage(
        source_type="collection",
        root_object_id=cast("str | None", above.get("root_object_id")),
        root_bucket_id=cast("str | None", above.get("root_bucket_id")),
        source_document_id=point.document_id,
        source_collection_id=parent,
        path=f"{above.get('path') or parent}/{collection.collection_id}",
        chain=[*chain, _step(collection.collection_id, feature_extractor_id, moment)],
    )
    return SourceRecord(
        source_id=point.document_id,
        object_id=lineage.root_object_id,
        version=str(internal.get("updated_at") or ""),
        fields=user_fields(point.payload),
        blobs=_files(cast("list[JsonObject]", internal.get("document_blobs") or [])),
        place={name: point.payload[name] for name in PLACE if name in point.payload},
        origin=Origin(
            lineage=lineage,
            source_blobs=cast("list[Json]", internal.get("source_blobs") or []),
            document_blobs=[
                blob
                for blob in cast("list[JsonObject]", internal.get("document_blobs") or [])
                if blob.get("role") == "source"
            ],
            mime_type=cast("str | None", internal.get("mime_type")),
            content_hash=cast("str | None", internal.get("content_hash")),
        ),
    )


def _files(refs: Sequence[JsonObject]) -> dict[str, Sequence[Blob]]:
    """The files of a document by their field: those of its source, and those that were made for it."""
    found: dict[str, Sequence[Blob]] = {}
    for ref in refs:
        url = str(ref.get("url") or "")
        stored = url.startswith(SCHEME)
        kind = str(ref.get("type"))
        blob = Blob(
            property=str(ref["field"]),
            type=FieldType(kind) if kind in set(FieldType) else FieldType.TEXT,
            details=BlobDetails(
                filename=cast("str | None", ref.get("filename")),
                size_bytes=cast("int | None", ref.get("size_bytes")),
                mime_type=cast("str | None", ref.get("content_type")),
            ),
            key=url.removeprefix(SCHEME) if stored else None,
            source_url=None if stored else url,
            connection_id=cast("str | None", ref.get("connection_id")),
        )
        found[blob.property] = [*found.get(blob.property, ()), blob]
    return found


async def extractor_source(
    scope: Scope, record: SourceRecord, collection: Collection, blobs: BlobKeeper
) -> Source:
    """The inputs that the collection's mappings pick; stored and remote blobs are read now."""
    inputs: dict[str, list[InputValue]] = {}
    renamed = {new: old for old, new in (collection.source.field_map or {}).items()}
    for mapping in collection.feature_extractor.mappings:
        if mapping.override is not None or mapping.source_type == "literal":
            inputs.setdefault(mapping.input_key, []).append(mapping.override)
            continue
        path = mapping.path or mapping.input_key
        value = record.lookup(renamed.get(path, path))
        if isinstance(value, list) and value and isinstance(value[0], Blob):
            for blob in cast("list[Blob]", value):
                inputs.setdefault(mapping.input_key, []).append(await _read(scope, blob, blobs))
        else:
            inputs.setdefault(mapping.input_key, []).append(cast("Json", value))
    return Source(record.source_id, {key: got[0] if len(got) == 1 else got for key, got in inputs.items()})


async def _read(scope: Scope, blob: Blob, blobs: BlobKeeper) -> InputValue:
    if blob.key is not None:
        large = (blob.details.size_bytes or 0) > SENT_BYTES
        content = await (blobs.store.file if large else blobs.store.get)(blob.key)
        return BlobValue(content, blob.details.mime_type or "application/octet-stream", blob.details.filename)
    if blob.source_url is not None:
        url = await blobs.readable(scope, blob)
        fetched = await blobs.fetcher.fetch(url, accept=None, max_bytes=blobs.max_bytes)
        said = None if (fetched.mime_type or "").endswith("/octet-stream") else fetched.mime_type
        kind = said or sniff(fetched.content, fetched.filename) or "application/octet-stream"
        return BlobValue(fetched.content, kind, fetched.filename)
    return blob.value


def passed_through(record: SourceRecord, collection: Collection) -> JsonObject:
    """The source's fields that documents keep. `ExtractionError` when a required one is missing."""
    config = collection.feature_extractor
    fields: JsonObject = {}
    # Passing everything through is what the passthrough extractor is for, unless fields are named.
    preserves = bool((config.parameters or {}).get("preserve_metadata")) and not config.field_passthrough
    if config.include_all_source_fields or preserves:
        fields.update(record.fields)
        for name, blobs in record.blobs.items():
            if blobs[0].url is None:
                fields[name] = blobs[0].value
    metadata = _metadata(record)
    if metadata:
        fields["metadata"] = metadata
    for passed in config.field_passthrough:
        value = _plain(record.lookup(passed.source_path))
        if value is None:
            value = passed.default
        if value is None and passed.required:
            raise ExtractionError(f"The source has no '{passed.source_path}', which must be passed through.")
        if value is not None:
            fields[passed.target_path or passed.source_path] = value
    return _nested(fields)


def _metadata(record: SourceRecord) -> JsonObject:
    """The object's own `metadata`, and that of its blobs: documents inherit both."""
    own = record.fields.get("metadata")
    merged: JsonObject = dict(own) if isinstance(own, Mapping) else {}
    for blobs in record.blobs.values():
        for blob in blobs:
            if blob.url is not None or "data" in blob.properties:
                extra = {key: value for key, value in blob.properties.items() if key not in {"data", "url"}}
                merged.update(extra)
    return merged


def _plain(value: "Json | list[Blob]") -> Json:
    if isinstance(value, list) and value and isinstance(value[0], Blob):
        return value[0].url or value[0].value
    return cast("Json", value)


def _nested(fields: JsonObject) -> JsonObject:
    """Fields named by dot paths, put into the objects that the paths mean."""
    if not any("." in name for name in fields):
        return fields
    root: JsonObject = {}
    for name, value in fields.items():
        *parents, leaf = name.split(".")
        place = root
        for parent in parents:
            inner = place.get(parent)
            fresh: JsonObject = dict(inner) if isinstance(inner, Mapping) else {}
            place[parent] = fresh
            place = fresh
        place[leaf] = value
    return root


def _step(collection_id: str, feature_extractor_id: str, moment: str) -> JsonObject:
    return {"collection_id": collection_id, "feature_extractor_id": feature_extractor_id, "timestamp": moment}


def _source_blob(blob: Blob) -> JsonObject:
    """The `BlobURLRef` of a source file."""
    details = blob.details
    values: JsonObject = {
        "field": blob.property,
        "role": "source",
        "type": _BLOB_TYPES.get(blob.type, "other"),
        "url": blob.url,
        "filename": details.filename,
        "size_bytes": details.size_bytes,
        "content_type": details.mime_type,
        "checksum": f"sha256:{details.hash}" if details.hash else None,
        "source_blob_id": blob.blob_id,
        "connection_id": blob.connection_id,
    }
    return {name: value for name, value in values.items() if value is not None}
