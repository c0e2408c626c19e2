"""`passthrough_extractor`: documents of what objects hold, and of vectors that were made elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Part,
    PartialExtractionError,
    Source,
    VectorOutput,
)
from lamina.extractors.passthrough_extractor.parameters import (
    PassthroughExtractorParameters,
    VectorField,
)
from lamina.extractors.passthrough_extractor.rows import format_of, read_rows
from lamina.inference.registry import Models

_NAMED_FAILURES = 10


class PassthroughExtractor(Extractor):
    """One document for each object; with `vector_fields`, one for each row of its file."""

    name: ClassVar[str] = "passthrough_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Makes documents of objects as they are, or of rows that bring their vectors."
    )
    category: ClassVar[str] = "general"
    icon: ClassVar[str] = "arrow-right"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        "rows": [
            "text",
            "string",
            "number",
            "integer",
            "float",
            "boolean",
            "object",
            "array",
            "date",
            "datetime",
            "image",
            "audio",
            "video",
            "pdf",
            "excel",
        ]
    }
    Parameters: ClassVar[type[ExtractorParameters]] = PassthroughExtractorParameters

    worth_sharing: ClassVar[int] = 256

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """Those that the rows bring; none for whole objects."""
        return [
            VectorOutput(
                output=spec.name,
                dimension=spec.dimensions,
                distance=spec.distance,
                kind="dense",
                description=f"Vector that the rows bring in '{spec.field}'.",
                inputs=["rows"],
            )
            for spec in _own(parameters).vector_fields or ()
        ]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """None: what documents hold is passed through, or the rows' own."""
        return {}

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """One part without fields for each source, or one for each row of its file."""
        specs = self._given.vector_fields
        if not specs:
            return [[Part(position="0")] for _ in sources]
        return [self._rows(source, specs) for source in sources]

    def _rows(self, source: Source, specs: Sequence[VectorField]) -> list[Part] | ExtractionError:
        parts: list[Part] = []
        failures: list[str] = []
        try:
            value = _file_of(source)
            for number, row in enumerate(read_rows(value, self._given.row_format or format_of(value))):
                part = row if isinstance(row, str) else _part(str(number), row, specs)
                if isinstance(part, Part):
                    parts.append(part)
                else:
                    failures.append(f"row {number} {part}")
        except ExtractionError as error:
            return error
        if failures:
            return _failed(failures, parts)
        return parts or ExtractionError("The file has no rows.", code="empty_input")


def _file_of(source: Source) -> InputValue:
    """The first file among the inputs, whatever it is mapped to; text counts where there is no file."""
    values = list(_flat(source.inputs.values()))
    for kind in (BlobValue, str):
        for value in values:
            if isinstance(value, kind) and value:
                return value
    raise ExtractionError(
        "vector_fields wants a JSONL or Parquet file, and no input holds one.", code="empty_input"
    )


def _flat(values: Iterable[InputValue | Sequence[InputValue]]) -> Iterable[InputValue]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield cast("InputValue", value)


def _part(position: str, row: JsonObject, specs: Sequence[VectorField]) -> Part | str:
    """The document of a row, or why it cannot be one."""
    vectors: dict[str, NDArray[np.float32]] = {}
    for spec in specs:
        vector = _vector(row.get(spec.field), spec)
        if isinstance(vector, str):
            return vector
        vectors[spec.name] = vector
    taken = {spec.field for spec in specs}
    fields = {name: value for name, value in row.items() if name not in taken}
    words = "\n".join(value for value in fields.values() if isinstance(value, str) and value.strip())
    return Part(position=position, fields=fields, vectors=vectors, lexical=words or None)


def _vector(value: Json, spec: VectorField) -> NDArray[np.float32] | str:
    if not isinstance(value, list):
        return f"has no vector in '{spec.field}'"
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        return f"has something else than numbers in '{spec.field}'"
    if vector.shape != (spec.dimensions,):
        return f"has a vector of {len(value)} numbers in '{spec.field}', not {spec.dimensions}"
    return vector if np.isfinite(vector).all() else f"has numbers that are not finite in '{spec.field}'"


def _failed(failures: Sequence[str], parts: Sequence[Part]) -> PartialExtractionError:
    named = "; ".join(failures[:_NAMED_FAILURES])
    more = len(failures) - _NAMED_FAILURES
    return PartialExtractionError(
        f"{len(failures)} of {len(failures) + len(parts)} rows failed: {named}"
        + (f"; and {more} more." if more > 0 else "."),
        parts=parts,
        code="rows_failed",
        failed_rows=len(failures),
    )


def _own(parameters: ExtractorParameters) -> PassthroughExtractorParameters:
    if not isinstance(parameters, PassthroughExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of passthrough_extractor")
    return parameters
