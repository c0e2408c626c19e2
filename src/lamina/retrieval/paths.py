"""Dot paths into documents, as stages name them."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from lamina.core.types import Json, JsonObject


class Missing(Enum):
    """What a path leads to that is not there; unlike None, which can be stored."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

_INTERNAL: Final = {
    "root_object_id": "_internal.lineage.root_object_id",
    "root_bucket_id": "_internal.lineage.root_bucket_id",
    "source_object_id": "_internal.lineage.source_object_id",
    "source_document_id": "_internal.lineage.source_document_id",
    "source_collection_id": "_internal.lineage.source_collection_id",
    "source_type": "_internal.lineage.source_type",
    "created_at": "_internal.created_at",
    "updated_at": "_internal.updated_at",
}


def internal_path(path: str) -> str | None:
    """Where a lineage field or a timestamp lies that documents show flat; None for other paths."""
    if path.startswith("lineage."):
        return f"_internal.{path}"
    return _INTERNAL.get(path)


def value_at(document: Mapping[str, Json], path: str) -> Json | Missing:
    """The value that a dot path leads to; numbers in it index arrays.

    A user's own field wins; where there is none, the flat names of lineage fields
    (`source_object_id`, `lineage.path`, `created_at` …) find their values in `_internal`.
    """
    found = _walk(document, path)
    if found is MISSING and (inner := internal_path(path)) is not None:
        return _walk(document, inner)
    return found


def present_at(document: Mapping[str, Json], path: str) -> Json:
    """Like `value_at`, with None for what is not there."""
    found = value_at(document, path)
    return None if found is MISSING else found


def number_at(document: Mapping[str, Json], path: str) -> float | None:
    """The number that a path leads to; None where there is none."""
    found = value_at(document, path)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def with_value(document: JsonObject, path: str, value: Json) -> JsonObject:
    """A copy of the document with `value` at a path; only the objects along the path are copied."""
    first, _, rest = path.partition(".")
    copy = dict(document)
    if not rest:
        copy[first] = value
        return copy
    inner = copy.get(first)
    copy[first] = with_value(dict(inner) if isinstance(inner, Mapping) else {}, rest, value)
    return copy


def selected(document: JsonObject, paths: Sequence[str], always: Sequence[str]) -> JsonObject:
    """The document with nothing but the fields at `paths` and the root fields `always`."""
    kept: JsonObject = {name: document[name] for name in always if name in document}
    for path in paths:
        found = value_at(document, path)
        if found is not MISSING:
            kept = with_value(kept, path, found)
    return kept


def _walk(document: Mapping[str, Json], path: str) -> Json | Missing:
    if path in document:
        return document[path]
    found: Json = document
    for part in path.split("."):
        if isinstance(found, Mapping):
            if part not in found:
                return MISSING
            found = found[part]
        elif isinstance(found, Sequence) and not isinstance(found, str) and part.isdigit():
            if int(part) >= len(found):
                return MISSING
            found = found[int(part)]
        else:
            return MISSING
    return found
