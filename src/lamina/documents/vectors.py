"""④ Vectors that clients send: read from JSON, checked, and matched with a collection's indexes."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from lamina.core.errors import ValidationError
from lamina.core.features import FeatureUri
from lamina.core.types import Json
from lamina.processing.collections import Collection, CollectionVectorIndex, VectorIndexDetails
from lamina.stores.vectors.base import Distance, SparseVector, Vector


def read_vector(value: Json, field: str) -> Vector:
    """A dense vector `[f]`, a multi-vector `[[f]]`, or a sparse one `{indices, values}`."""
    if isinstance(value, Mapping):
        return _sparse(value, field)
    accepted = "a list of numbers, a list of such lists, or {indices, values}"
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValidationError(f"'{field}' must be {accepted}.", field=field)
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"'{field}' must be {accepted}.", field=field) from error
    if vector.ndim not in (1, 2) or vector.size == 0 or not np.isfinite(vector).all():
        raise ValidationError(f"'{field}' must be {accepted}, finite and not empty.", field=field)
    return vector


def read_features(features: Sequence[tuple[str, Json]]) -> dict[str, tuple[str, Vector]]:
    """Vectors of features as (extractor id, vectors): by name, with the extractor that made each."""
    found: dict[str, tuple[str, Vector]] = {}
    for number, (extractor_id, vectors) in enumerate(features):
        at = f"features.{number}.vectors"
        if vectors is None:
            continue
        if not isinstance(vectors, Mapping):
            raise ValidationError(f"'{at}' must be an object.", field=at)
        if set(vectors) == {"indices", "values"}:
            found[f"{extractor_id}_sparse"] = (extractor_id, _sparse(vectors, at))
            continue
        for name, value in vectors.items():
            found[name] = (extractor_id, read_vector(value, f"{at}.{name}"))
    return found


def new_index(
    name: str, vector: Vector, extractor_id: str, distance: Distance = "cosine"
) -> CollectionVectorIndex:
    """The index that a vector of an unknown name makes necessary."""
    base, _, version = extractor_id.rpartition("_")
    uri = (
        FeatureUri(base, version, name)
        if base and version.startswith("v")
        else FeatureUri(extractor_id, "v1", name)
    )
    kind: Literal["dense", "multi_dense", "sparse"] = "sparse"
    size: int | None = None
    if not isinstance(vector, SparseVector):
        array = np.asarray(vector)
        kind, size = ("dense" if array.ndim == 1 else "multi_dense"), int(array.shape[-1])
    return CollectionVectorIndex(
        name=name,
        feature_uri=str(uri),
        type="multi" if kind == "multi_dense" else "single",
        index=VectorIndexDetails(
            name=name,
            description="Vectors that a client wrote directly.",
            dimensions=size,
            distance=distance,
            type=kind,
            inference_name=name,
        ),
    )


def unknown(collection: Collection, names: Sequence[str], field: str) -> ValidationError:
    """The error for vectors that a collection has no index for: it lists those there are."""
    has = ", ".join(f"{one.index.name} ({one.index.dimensions})" for one in collection.vector_indexes)
    return ValidationError(
        f"The collection has no vector index '{names[0]}'; it has {has or 'none'}.",
        field=f"{field}.{names[0]}",
        available={one.index.name: one.index.dimensions for one in collection.vector_indexes},
    )


def _sparse(value: Mapping[str, Json], field: str) -> SparseVector:
    indices, values = value.get("indices"), value.get("values")
    if not isinstance(indices, list) or not isinstance(values, list) or len(indices) != len(values):
        raise ValidationError(
            f"'{field}' must be {{indices: [int], values: [float]}} of equal lengths.", field=field
        )
    whole: list[int] = []
    for one in indices:
        if isinstance(one, bool) or not isinstance(one, int | float) or one != int(one) or one < 0:
            raise ValidationError(
                f"'{field}.indices' must be whole numbers from 0.", field=f"{field}.indices"
            )
        whole.append(int(one))
    numbers: list[float] = []
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int | float) or not np.isfinite(one):
            raise ValidationError(f"'{field}.values' must be finite numbers.", field=f"{field}.values")
        numbers.append(float(one))
    return SparseVector(whole, numbers)
