"""Points on their way to a Qdrant server and back, and the names of their vectors there.

All collections of a namespace share one Qdrant collection. A vector's name there says its size and
distance, so that two collections may have different vectors of one name, and so that a server's
vectors can be checked against what they are taken for: `all_minilm~384c` is dense and compared by
cosine, `pages~128dm` are many by dot product, `words~s` is sparse. A point's id comes from its
collection's and its document's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import quote, unquote

import numpy as np
import qdrant_edge as q
from qdrant_client import models

from lamina.core.ids import point_id
from lamina.core.types import Json, JsonObject
from lamina.stores.vectors.base import Distance, Point, SparseVector, Vector, VectorSpec
from lamina.stores.vectors.edge_points import (
    LEXICAL,
    NAMES_KEY,
    Specs,
    check_payload,
    check_specs,
    checked_vector,
    lexical_document,
    stored_payload,
)
from lamina.stores.vectors.exact_floats import lost_floats, restore_floats
from lamina.stores.vectors.server_requests import Found, encoded
from lamina.stores.vectors.server_terms import INSTANTS, NUMBERS, PRESENT, TOKENS, terms_of

FLOATS: Final = "__floats"

READ: Final = models.PayloadSelectorExclude(exclude=[TOKENS, NUMBERS, INSTANTS, PRESENT])
"""The payload without what only filters need."""

_LETTERS: Final[Mapping[Distance, str]] = {"cosine": "c", "dot": "d", "euclidean": "e"}
_NAME: Final = re.compile(r"(.+)~(?:s|(\d+)([cde])(m?))")

_CHUNK_POINTS: Final = 500
_CHUNK_BYTES: Final = 8 << 20
"""Bytes of JSON in one write; Qdrant takes 32 MiB."""


def server_id(collection_id: str, document_id: str) -> str:
    """The id of a document's point."""
    return point_id(f"{collection_id}\x1f{document_id}")


@lru_cache(maxsize=4_096)
def server_name(spec: VectorSpec) -> str:
    """The name of a vector on the server."""
    name = quote(spec.name, safe="")
    if spec.kind == "sparse":
        return f"{name}~s"
    return f"{name}~{spec.size}{_LETTERS[spec.distance]}{'m' if spec.kind == 'multi' else ''}"


@lru_cache(maxsize=4_096)
def spec_of(server_name: str) -> VectorSpec | None:
    """The vector that such a name stands for; None for another name."""
    match = _NAME.fullmatch(server_name)
    if match is None:
        return None
    name = unquote(match[1])
    if match[2] is None:
        return VectorSpec(name, kind="sparse")
    distance = next(one for one, letter in _LETTERS.items() if letter == match[3])
    return VectorSpec(name, int(match[2]), distance, "multi" if match[4] else "dense")


def check_point(vectors: Sequence[VectorSpec], point: Point) -> None:
    """Raise `ValidationError` for what writing the point to a collection with these vectors would refuse."""
    check_specs(vectors)
    check_payload(point.document_id, point.payload)
    specs = {spec.name: spec for spec in vectors}
    for name, vector in point.vectors.items():
        checked_vector(name, vector, specs)


def to_server(point: Point, collection_id: str, specs: Specs) -> bytes:
    """A point as the server takes it, in JSON. Raises `ValidationError`."""
    vectors: dict[str, Any] = {}
    for name, vector in point.vectors.items():
        checked = checked_vector(name, vector, specs)
        if not isinstance(checked, q.SparseVector) and specs[name].distance != "cosine":
            # Written with 17 digits, 32 bits come back to the last one, whatever the server's parser rounds.
            # Those compared by cosine it normalises anyway, and 9 digits take it a twelfth less work.
            checked = checked.astype(np.float64)
        vectors[server_name(specs[name])] = checked
    if isinstance(point.lexical, SparseVector):
        vectors[LEXICAL] = {"indices": point.lexical.indices, "values": point.lexical.values}
    elif point.lexical:
        vectors[LEXICAL] = lexical_document(point.lexical)
    payload = to_server_payload(point.document_id, point.payload, collection_id, point.vectors)
    return encoded({"id": server_id(collection_id, point.document_id), "vector": vectors, "payload": payload})


def to_server_payload(
    document_id: str, payload: Mapping[str, Json], collection_id: str, names: Iterable[str]
) -> dict[str, Json]:
    """A payload with what is kept beside it. Raises `ValidationError` for what is not JSON."""
    check_payload(document_id, payload)
    stored = stored_payload(document_id, payload, collection_id, names)
    lost = lost_floats(payload)
    told = terms_of({**payload, "document_id": document_id, "collection_id": None})
    return {**stored, **told, **({FLOATS: lost} if lost else {})}


def user_payload(found: Found) -> JsonObject:
    """What was read of a payload, as it was written but for the names of its vectors."""
    lost = found.payload.pop(FLOATS, None)
    if lost:
        restore_floats(found.payload, cast(list[Json], lost))
    return found.payload


def from_server(found: Found, with_vectors: bool) -> Point:
    """A point that was read, with its vectors where they were asked for."""
    payload = user_payload(found)
    names = cast(list[str], payload.pop(NAMES_KEY, []))
    document_id = cast(str, payload["document_id"])
    if not with_vectors:
        return Point(document_id, payload, vector_names=names)
    return Point(document_id, payload, vectors=_read_vectors(found.vector), vector_names=names)


def whole(found: Found) -> Point:
    """A point that was read with all vectors, its BM25 vector among them."""
    point = from_server(found, True)
    if LEXICAL in found.vector:
        point.lexical = _sparse(found.vector[LEXICAL])
    return point


def chunks(points: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Points in JSON, in writes of a size that the server takes."""
    chunk: list[bytes] = []
    size = 0
    for point in points:
        if chunk and (len(chunk) >= _CHUNK_POINTS or size + len(point) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(point)
        size += len(point)
    if chunk:
        yield chunk


def _read_vectors(vectors: Mapping[str, Any]) -> dict[str, Vector]:
    return {
        spec.name: _sparse(vector) if spec.kind == "sparse" else vector
        for name, vector in vectors.items()
        if (spec := spec_of(name)) is not None
    }


def _sparse(vector: Mapping[str, Any]) -> SparseVector:
    return SparseVector(vector["indices"], vector["values"])
