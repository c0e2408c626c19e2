"""Points on their way to a Qdrant server and back, and the names of their vectors there.

All collections of a namespace share one Qdrant collection. A vector's name there says its size and
distance, so that two collections may have different vectors of one name, and so that a server's
vectors can be checked against what they are taken for: `all_minilm~384c` is dense and compared by
cosine, `pages~128dm` are many by dot product, `words~s` is sparse. A point's id comes from its
collection's and its document's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, unquote

import orjson
import qdrant_edge as q
from qdrant_client import models

from lamina.core.ids import point_id
from lamina.core.types import Json, JsonObject
from lamina.stores.vectors.base import Distance, Point, SparseVector, Vector, VectorSpec
from lamina.stores.vectors.edge_points import (
    LEXICAL,
    NAMES_KEY,
    EngineVector,
    Specs,
    check_payload,
    check_specs,
    engine_vector,
    lexical_document,
    stored_payload,
)
from lamina.stores.vectors.exact_floats import lost_floats, restore_floats
from lamina.stores.vectors.server_terms import PRESENT, TERMS, terms_of

FLOATS: Final = "__floats"

READ: Final = models.PayloadSelectorExclude(exclude=[TERMS, PRESENT])
"""The payload without what only filters need."""

_LETTERS: Final[Mapping[Distance, str]] = {"cosine": "c", "dot": "d", "euclidean": "e"}
_NAME: Final = re.compile(r"(.+)~(?:s|(\d+)([cde])(m?))")

_CHUNK_POINTS: Final = 500
_CHUNK_BYTES: Final = 8 << 20
"""Bytes of JSON in one write; Qdrant takes 32 MiB."""
_BYTES_PER_NUMBER: Final = 20


def server_id(collection_id: str, document_id: str) -> str:
    """The id of a document's point."""
    return point_id(f"{collection_id}\x1f{document_id}")


def server_name(spec: VectorSpec) -> str:
    """The name of a vector on the server."""
    name = quote(spec.name, safe="")
    if spec.kind == "sparse":
        return f"{name}~s"
    return f"{name}~{spec.size}{_LETTERS[spec.distance]}{'m' if spec.kind == 'multi' else ''}"


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
        engine_vector(name, vector, specs)


def to_server(point: Point, collection_id: str, specs: Specs) -> models.PointStruct:
    """A point as the server takes it. Raises `ValidationError`."""
    vectors = {
        server_name(specs[name]): _sent(engine)
        for name, vector in point.vectors.items()
        for engine in (engine_vector(name, vector, specs),)
    }
    if isinstance(point.lexical, SparseVector):
        vectors[LEXICAL] = models.SparseVector(
            indices=list(point.lexical.indices), values=list(point.lexical.values)
        )
    elif point.lexical:
        vectors[LEXICAL] = _sent(lexical_document(point.lexical))
    return models.PointStruct(
        id=server_id(collection_id, point.document_id),
        vector=cast(Any, vectors),
        payload=to_server_payload(point.document_id, point.payload, collection_id, point.vectors),
    )


def to_server_payload(
    document_id: str, payload: Mapping[str, Json], collection_id: str, names: Iterable[str]
) -> dict[str, Json]:
    """A payload with what is kept beside it. Raises `ValidationError` for what is not JSON."""
    check_payload(document_id, payload)
    stored = stored_payload(document_id, payload, collection_id, names)
    lost = lost_floats(payload)
    told = terms_of({**payload, "document_id": document_id, "collection_id": None})
    return {**stored, **told, **({FLOATS: lost} if lost else {})}


def user_payload(record: models.Record | models.ScoredPoint) -> JsonObject:
    """What was read of a payload, as it was written but for the names of its vectors."""
    payload = cast(JsonObject, record.payload or {})
    lost = payload.pop(FLOATS, None)
    if lost:
        restore_floats(payload, cast(list[Json], lost))
    return payload


def from_server(record: models.Record | models.ScoredPoint, with_vectors: bool) -> Point:
    """A point that was read, with its vectors where they were asked for."""
    payload = user_payload(record)
    names = cast(list[str], payload.pop(NAMES_KEY, []))
    document_id = cast(str, payload["document_id"])
    if not with_vectors:
        return Point(document_id, payload, vector_names=names)
    return Point(document_id, payload, vectors=_read_vectors(record.vector), vector_names=names)


def whole(record: models.Record) -> Point:
    """A point that was read with all vectors, its BM25 vector among them."""
    point = from_server(record, True)
    found = record.vector.get(LEXICAL) if isinstance(record.vector, Mapping) else None
    if isinstance(found, models.SparseVector):
        point.lexical = SparseVector(found.indices, found.values)
    return point


def query_vector(vector: EngineVector) -> Any:
    """A vector to search with, as the client takes it."""
    return _sent(vector)


def chunks(points: Sequence[models.PointStruct]) -> Iterable[list[models.PointStruct]]:
    """The points in writes of a size that the server takes."""
    chunk: list[models.PointStruct] = []
    size = 0
    for point in points:
        bytes_of_point = len(orjson.dumps(point.payload)) + _BYTES_PER_NUMBER * _numbers(point.vector)
        if chunk and (len(chunk) >= _CHUNK_POINTS or size + bytes_of_point > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(point)
        size += bytes_of_point
    if chunk:
        yield chunk


def _sent(vector: EngineVector) -> Any:
    if isinstance(vector, q.SparseVector):
        return models.SparseVector(indices=list(vector.indices), values=list(vector.values))
    return vector


def _numbers(vectors: object) -> int:
    count = 0
    for vector in cast(dict[str, Any], vectors).values():
        if isinstance(vector, models.SparseVector):
            count += 2 * len(vector.indices)
        elif vector and isinstance(vector[0], list):
            count += len(vector) * len(vector[0])
        else:
            count += len(vector)
    return count


def _read_vectors(vectors: object) -> dict[str, Vector]:
    if not isinstance(vectors, Mapping):
        return {}
    return {
        spec.name: SparseVector(vector.indices, vector.values)
        if isinstance(vector, models.SparseVector)
        else vector
        for name, vector in vectors.items()
        if (spec := spec_of(name)) is not None
    }
