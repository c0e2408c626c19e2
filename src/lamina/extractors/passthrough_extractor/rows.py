"""The rows of a JSONL or Parquet file."""

import io
from collections.abc import Iterator
from typing import Literal

import orjson

from lamina.core.errors import ExtractionError, MissingExtraError
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import BlobValue, InputValue

RowFormat = Literal["jsonl", "parquet"]


def format_of(value: InputValue) -> RowFormat:
    """The format that a file's name or type tells; text is JSONL. Raises `ExtractionError`."""
    if isinstance(value, str):
        return "jsonl"
    if isinstance(value, BlobValue):
        name = (value.filename or "").lower()
        if name.endswith((".jsonl", ".ndjson")) or "ndjson" in value.mime_type or "jsonl" in value.mime_type:
            return "jsonl"
        if name.endswith(".parquet") or "parquet" in value.mime_type:
            return "parquet"
    raise ExtractionError(
        "The format of the rows is not known: name the file .jsonl, .ndjson or .parquet, or set row_format.",
        code="unknown_row_format",
    )


def read_rows(value: InputValue, row_format: RowFormat) -> Iterator[JsonObject | str]:
    """Each row in order: its fields, or in words why it cannot be read.

    Raises `ExtractionError` when the file as a whole is not what it claims.
    """
    if isinstance(value, str):
        value = BlobValue(value.encode(), "application/x-ndjson")
    if not isinstance(value, BlobValue):
        raise ExtractionError("Rows come as a JSONL or Parquet file.", code="wrong_type")
    return _jsonl(value.data) if row_format == "jsonl" else _parquet(value.data)


def _jsonl(data: bytes) -> Iterator[JsonObject | str]:
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.strip():
            yield _json_row(line)


def _json_row(line: bytes) -> JsonObject | str:
    try:
        row: Json = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"is not JSON: {error}"
    return row if isinstance(row, dict) else "is not a JSON object"


def _parquet(data: bytes) -> Iterator[JsonObject | str]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Reading Parquet rows", "parquet") from None
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        for batch in file.iter_batches():
            # through JSON, so that dates and decimals become what documents can hold
            for row in batch.to_pylist():
                yield orjson.loads(orjson.dumps(row, default=str))
    except pyarrow.ArrowException as error:
        raise ExtractionError(f"The file is not Parquet: {error}", code="wrong_form") from error
