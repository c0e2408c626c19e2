"""Points on their way into Qdrant Edge and back, and the checks of vectors.

Every shard has one sparse vector more than was asked for, `bm25`. The names of a point's vectors
are kept beside its payload, so that they can be told without reading the vectors. Qdrant
normalises vectors that are compared by cosine: what is read back then has length one.
"""

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, cast
from urllib.parse import quote, unquote
from uuid import UUID

import numpy as np
import orjson
import qdrant_edge as q
from numpy.typing import NDArray

from lamina.core.errors import ValidationError
from lamina.core.ids import point_id
from lamina.core.types import Json, JsonObject
from lamina.stores.vectors.base import Point, SparseVector, Vector, VectorSpec

LEXICAL: Final = "bm25"
MAX_NAME: Final = 180
"""Bytes of a vector's name: it becomes part of a file's."""
MAX_SIZE: Final = 65_536
NAMES_KEY: Final = "__vectors"

EngineVector = list[float] | list[list[float]] | q.SparseVector
Specs = Mapping[str, VectorSpec]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

_MAX_SPARSE_INDEX: Final = 2**32 - 1

_bm25: Final = q.Bm25(q.Bm25Config(language="english"))


def lexical_query(text: str) -> q.SparseVector | None:
    """The sparse vector that a text is searched with; None when no word of it is looked for."""
    vector = _bm25.embed_query(text)
    return vector if vector.indices else None


def lexical_document(text: str) -> q.SparseVector:
    """The sparse vector under which a document's text is found."""
    return _bm25.embed_document(text)


def check_payload(document_id: str, payload: Mapping[str, Json]) -> None:
    """Raise `ValidationError` for a payload that holds what JSON does not."""
    if _surely_json(payload):
        return
    try:
        q.Point(0, {}, dict(payload))
    except (TypeError, ValueError, OverflowError) as error:
        raise _unstorable(document_id, error) from error


def to_engine(point: Point, payload: dict[str, Json], specs: Specs) -> q.Point:
    """A point as the engine takes it, with its stored payload.

    Raises `ValidationError` for vectors that the collection does not have, and for payloads that
    hold what JSON does not.
    """
    vectors: dict[str, EngineVector] = {
        engine_name(name): engine_vector(name, vector, specs) for name, vector in point.vectors.items()
    }
    if isinstance(point.lexical, SparseVector):
        vectors[LEXICAL] = q.SparseVector(list(point.lexical.indices), list(point.lexical.values))
    elif point.lexical:
        vectors[LEXICAL] = lexical_document(point.lexical)
    try:
        return q.Point(point_id(point.document_id), vectors, payload)
    except (TypeError, ValueError, OverflowError) as error:
        raise _unstorable(point.document_id, error) from error


def overwriting(id: int | str | UUID, payload: Mapping[str, Json]) -> q.UpdateOperation:
    """The operation that puts a stored payload in place of a point's. Raises `ValidationError`."""
    try:
        return q.UpdateOperation.overwrite_payload([id], dict(payload))
    except (TypeError, ValueError, OverflowError) as error:
        raise _unstorable(str(payload["document_id"]), error) from error


def stored_payload(
    document_id: str, payload: Mapping[str, Json], collection_id: str, names: Iterable[str]
) -> dict[str, Json]:
    """The payload with its ids, and with what is kept beside it."""
    return {
        **payload,
        "document_id": document_id,
        "collection_id": collection_id,
        NAMES_KEY: list(names),
    }


def from_engine(record: "q.Record | q.ScoredPoint", with_vectors: bool) -> Point:
    """A point that was read, with its vectors where they were asked for."""
    return _point(record, record.vector if with_vectors else None)


def whole(record: q.Record) -> Point:
    """A point that was read with all vectors, its BM25 vector among them."""
    vectors = record.vector  # made anew each time that it is asked for
    point = _point(record, vectors)
    found = vectors.get(LEXICAL) if isinstance(vectors, Mapping) else None
    if isinstance(found, q.SparseVector):
        point.lexical = SparseVector(found.indices, found.values)
    return point


def _point(record: "q.Record | q.ScoredPoint", vectors: object) -> Point:
    payload = cast(JsonObject, record.payload or {})
    names = cast(list[str], payload.pop(NAMES_KEY, []))
    document_id = cast(str, payload["document_id"])
    return Point(document_id, payload, vectors=_read_vectors(vectors), vector_names=names)


def engine_vector(name: str, vector: Vector, specs: Specs) -> EngineVector:
    """A vector for writing or searching. Raises `ValidationError` when the collection has none such."""
    checked = checked_vector(name, vector, specs)
    return checked if isinstance(checked, q.SparseVector) else cast(EngineVector, checked.tolist())


def checked_vector(name: str, vector: Vector, specs: Specs) -> NDArray[np.float32] | q.SparseVector:
    """The same with its numbers in an array, unless it is sparse."""
    spec = specs.get(name)
    if spec is None:
        raise ValidationError(
            f"The collection has no vector '{name}'. It has: {described(specs)}.", field=f"vectors.{name}"
        )
    if spec.kind == "sparse":
        return _sparse(name, vector, specs)
    return _dense(name, vector, spec, specs)


def engine_name(name: str) -> str:
    """The name under which the engine keeps a vector: it becomes part of a file's name."""
    return quote(name, safe="")


def checked_id(id: str, field: str) -> str:
    """The id of a namespace or collection, which becomes part of a name that the engine keeps."""
    if not _ID.fullmatch(id):
        raise ValidationError(
            f"'{id[:80]}' is no id: letters, digits, '_' and '-' are accepted.", field=field
        )
    return id


def check_specs(vectors: Sequence[VectorSpec]) -> None:
    """Raise `ValidationError` for vectors that no collection can have."""
    for spec in vectors:
        if not 0 < len(engine_name(spec.name)) <= MAX_NAME or spec.name in (LEXICAL, ".", ".."):
            raise ValidationError(f"'{spec.name}' cannot name a vector.", field="vectors")
        if spec.kind != "sparse" and not 1 <= (spec.size or 0) <= MAX_SIZE:
            raise ValidationError(
                f"The vector '{spec.name}' needs a size from 1 to {MAX_SIZE:,}.", field=f"vectors.{spec.name}"
            )


def described(specs: Specs) -> str:
    """The vectors of a collection with their sizes, for messages."""
    return ", ".join(f"{spec.name} ({spec.size or spec.kind})" for spec in specs.values()) or "none"


def _unstorable(document_id: str, error: Exception) -> ValidationError:
    """The payload holds something that JSON does not."""
    reason = str(error).splitlines()[0]
    return ValidationError(
        f"The payload of '{document_id}' holds a value that JSON does not have: {reason}", field="payload"
    )


def _surely_json(value: object) -> bool:
    """Whether a value is JSON. Where this is not sure, the engine tells, in many times the time."""
    try:
        return bool(orjson.loads(orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _dense(name: str, vector: Vector, spec: VectorSpec, specs: Specs) -> NDArray[np.float32]:
    try:
        array = _packed(vector)
    except (TypeError, ValueError) as error:
        raise _misshapen(name, "no array of numbers", specs) from error
    multi = spec.kind == "multi"
    if array.ndim != (2 if multi else 1) or array.shape[-1] != spec.size or array.shape[0] == 0:
        raise _misshapen(name, f"of shape {' x '.join(map(str, array.shape)) or 'scalar'}", specs)
    if not np.isfinite(array).all():
        raise _infinite(name)
    return array


def _packed(vector: object) -> NDArray[np.float32]:
    """An array of 32-bit floats. Raises `TypeError` or `ValueError` for what is none."""
    if isinstance(vector, list):
        with suppress(struct.error, OverflowError):
            return np.frombuffer(_packing(len(vector))(*vector), np.float32)  # in a third of numpy's time
    with np.errstate(over="ignore"):  # the infinity that it becomes is refused
        return np.asarray(vector, dtype=np.float32)


@lru_cache(maxsize=64)
def _packing(size: int) -> Callable[..., bytes]:
    return struct.Struct(f"{size}f").pack


def _sparse(name: str, vector: Vector, specs: Specs) -> q.SparseVector:
    if not isinstance(vector, SparseVector) or len(vector.indices) != len(vector.values):
        raise _misshapen(name, "no pair of as many indices as values", specs)
    indices = [int(index) for index in vector.indices]
    values = [float(value) for value in vector.values]
    if len(set(indices)) < len(indices) or not all(0 <= index <= _MAX_SPARSE_INDEX for index in indices):
        raise ValidationError(
            f"The indices of '{name}' must differ and lie between 0 and {_MAX_SPARSE_INDEX}.",
            field=f"vectors.{name}",
        )
    with np.errstate(over="ignore"):  # what overflows is refused below
        finite = np.isfinite(np.asarray(values, dtype=np.float32)).all()
    if not finite:
        raise _infinite(name)
    return q.SparseVector(indices, values)


def _infinite(name: str) -> ValidationError:
    return ValidationError(
        f"The vector '{name}' holds a number that is not finite in 32 bits.", field=f"vectors.{name}"
    )


def _misshapen(name: str, found: str, specs: Specs) -> ValidationError:
    return ValidationError(
        f"The vector '{name}' is {found}; the collection has: {described(specs)}.", field=f"vectors.{name}"
    )


def _read_vectors(vectors: object) -> dict[str, Vector]:
    if not isinstance(vectors, Mapping):
        return {}
    return {
        unquote(name): SparseVector(vector.indices, vector.values)
        if isinstance(vector, q.SparseVector)
        else vector
        for name, vector in vectors.items()
        if name != LEXICAL
    }
