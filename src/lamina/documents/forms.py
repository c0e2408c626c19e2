"""④ The forms in which the contract shows a document.

Nested: what is stored, with the blobs at the root (create, batch-get, lists, search). Flat: the
lineage at the root as well (get). Patched: the flat form with `lineage` as an object (patch, put).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from lamina.core.types import Json, JsonObject
from lamina.ingest.blobs import SCHEME
from lamina.stores.vectors.base import Point, SparseVector, Vector

Sign = Callable[[str, str | None], str | None]
"""Makes a presigned URL out of a stored blob's key and file name; None for one that is not to be opened."""


def nested(
    stored: Mapping[str, Json], *, sign: Sign | None = None, vector_names: Sequence[str] | None = None
) -> JsonObject:
    """A payload as it is stored, with its blobs at the root."""
    document = dict(stored)
    internal = cast("JsonObject", stored.get("_internal") or {})
    blobs = cast("list[JsonObject]", internal.get("document_blobs") or [])
    document["document_blobs"] = [_signed(blob, sign) for blob in blobs] if sign else blobs
    if vector_names is not None:
        document["_vectors"] = list(vector_names)
    return document


def flat(point: Point, *, sign: Sign | None = None) -> JsonObject:
    """The nested form with the lineage at the root."""
    document = nested(point.payload, sign=sign)
    internal = cast("JsonObject", document.get("_internal") or {})
    lineage = cast("JsonObject", internal.get("lineage") or {})
    document.update(_flat_lineage(lineage))
    document["lineage_chain"] = lineage.get("chain") or []
    document.update(_blob_fields(document, internal))
    return document


def patched(point: Point, *, sign: Sign | None = None) -> JsonObject:
    """The flat form with `document_schema_version`, and the lineage as an object."""
    document = nested(point.payload, sign=sign)
    internal = cast("JsonObject", document.get("_internal") or {})
    lineage = cast("JsonObject", internal.get("lineage") or {})
    document["document_schema_version"] = internal.get("document_schema_version") or "v1"
    document.update(_flat_lineage(lineage))
    if lineage.get("root_object_id") and lineage.get("root_bucket_id") and lineage.get("source_type"):
        names = ("root_object_id", "root_bucket_id", "source_type", "source_object_id", "source_document_id",
                 "source_collection_id")  # fmt: skip
        document["lineage"] = {
            **{name: lineage[name] for name in names if name in lineage},
            "lineage_chain": lineage.get("chain") or [],
        }
    document.setdefault("metadata", {})
    document.update(_blob_fields(document, internal))
    return document


def with_vectors(document: JsonObject, point: Point, *, primary: str | None = None) -> JsonObject:
    """The document with the vectors that were read, each under its name; the primary one as `vector` too."""
    for name, vector in point.vectors.items():
        document[name] = plain_vector(vector)
    if primary in point.vectors:
        document["vector"] = plain_vector(point.vectors[cast("str", primary)])
    return document


def plain_vector(vector: Vector) -> Json:
    """A vector as JSON."""
    if isinstance(vector, SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    return cast("Json", vector.tolist() if isinstance(vector, np.ndarray) else vector)


def selected(record: JsonObject, paths: Iterable[str]) -> JsonObject:
    """Only the fields asked for, by dot path."""
    chosen: JsonObject = {}
    for path in paths:
        *parents, leaf = path.split(".")
        source: Json = record
        place = chosen
        for parent in parents:
            source = source.get(parent) if isinstance(source, Mapping) else None
            if not isinstance(source, Mapping):
                break
            place = cast("JsonObject", place.setdefault(parent, {}))
        if isinstance(source, Mapping) and leaf in source:
            place[leaf] = source[leaf]
    return chosen


def _signed(blob: JsonObject, sign: Sign | None) -> JsonObject:
    url = str(blob.get("url") or "")
    if url.startswith(SCHEME):
        signed = sign(url[len(SCHEME) :], cast("str | None", blob.get("filename"))) if sign else None
        return {**blob, "presigned_url": signed} if signed else blob
    return {**blob, "presigned_url": url} if url.startswith(("http://", "https://")) else blob


def _flat_lineage(lineage: JsonObject) -> JsonObject:
    names = {
        "root_object_id": "root_object_id",
        "root_bucket_id": "root_bucket_id",
        "source_collection_id": "source_collection_id",
        "source_document_id": "source_document_id",
        "source_object_id": "source_object_id",
        "path": "lineage_path",
    }
    fields: JsonObject = {shown: lineage[name] for name, shown in names.items() if name in lineage}
    if lineage.get("source_type") in {"bucket", "collection"}:
        fields["source_type"] = lineage["source_type"]
    return fields


def _blob_fields(document: JsonObject, internal: JsonObject) -> JsonObject:
    """Source blobs, system metadata, and the presigned URLs of all blobs in one list."""
    blobs = cast("list[JsonObject]", document["document_blobs"])
    urls = [
        {
            "key_name": blob.get("filename") or blob["field"],
            "object_key": str(blob["url"]).removeprefix(SCHEME),
            "presigned_url": blob["presigned_url"],
        }
        for blob in blobs
        if "presigned_url" in blob
    ]
    fields: JsonObject = {
        "source_blobs": internal.get("source_blobs") or [],
        "internal_metadata": internal.get("metadata") or {},
        "presigned_urls": urls,
    }
    sources = [
        blob["presigned_url"] for blob in blobs if blob.get("role") == "source" and "presigned_url" in blob
    ]
    if sources or urls:
        fields["presigned_url"] = sources[0] if sources else urls[0]["presigned_url"]
    return fields
