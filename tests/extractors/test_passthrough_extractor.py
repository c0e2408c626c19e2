"""`passthrough_extractor`: whole objects, and rows that bring their vectors."""

import io
from typing import Any

import numpy as np
import orjson
import pytest

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, PartialExtractionError, Source
from lamina.extractors.passthrough_extractor import EXTRACTOR
from lamina.inference.registry import Models, ModelSettings

VECTORS: list[Any] = [{"field": "embedding", "name": "clip", "dimensions": 3, "distance": "dot"}]
ROWS: list[Any] = [
    {"sku": "a", "note": "red", "price": 1.5, "tags": ["x"], "embedding": [1, 2, 3]},
    {"sku": "b", "note": "blue", "embedding": [0.5, 0, -1]},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


@pytest.fixture
def extract(models: Models) -> Any:
    def run(value: Any, **parameters: Any) -> Any:
        made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
        return made.extract([Source("a", {"data": value} if value is not None else {})])[0]

    return run


def jsonl(rows: list[Any], filename: str | None = "rows.jsonl") -> BlobValue:
    return BlobValue(b"\n".join(orjson.dumps(row) for row in rows), "text/plain", filename)


def parquet(rows: list[Any]) -> BlobValue:
    pyarrow = pytest.importorskip("pyarrow")
    target = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), target)
    return BlobValue(target.getvalue(), "application/octet-stream", "rows.parquet")


def test_an_object_becomes_one_document_with_no_fields_of_its_own(extract: Any, models: Models) -> None:
    (part,) = extract(None)
    assert (part.position, part.fields, part.vectors, part.lexical) == ("0", {}, {}, None)
    assert EXTRACTOR.vectors(EXTRACTOR.Parameters(), models) == []


@pytest.mark.parametrize("made", [jsonl, parquet])
def test_every_row_becomes_a_document_with_its_vectors(extract: Any, made: Any) -> None:
    parts = extract(made(ROWS), vector_fields=VECTORS)
    assert [part.position for part in parts] == ["0", "1"]
    assert parts[0].fields["sku"] == "a"
    assert parts[0].fields["price"] == 1.5
    assert parts[0].fields["tags"] == ["x"]
    assert all("embedding" not in part.fields for part in parts)
    assert [part.vectors["clip"].tolist() for part in parts] == [[1, 2, 3], [0.5, 0, -1]]
    assert parts[0].vectors["clip"].dtype == np.float32
    assert parts[1].lexical.split() == ["b", "blue"]


def test_the_vectors_are_declared(models: Models) -> None:
    (output,) = EXTRACTOR.vectors(EXTRACTOR.validate_parameters({"vector_fields": VECTORS}, models), models)
    assert (output.output, output.dimension, output.distance) == ("clip", 3, "dot")


@pytest.mark.parametrize(
    "bad",
    [
        {"sku": "c"},
        {"embedding": [1, 2]},
        {"embedding": [1, 2, "x"]},
        {"embedding": "text"},
        {"embedding": [[1, 2, 3]]},
        {"embedding": [1, 2, None]},
        [1, 2, 3],
    ],
)
def test_a_bad_row_fails_alone_and_is_named(extract: Any, bad: Any) -> None:
    error = extract(jsonl([ROWS[0], bad, ROWS[1]]), vector_fields=VECTORS)
    assert isinstance(error, PartialExtractionError)
    assert error.message.startswith("1 of 3 rows failed: row 1 ")
    assert [part.position for part in error.parts] == ["0", "2"]


def test_a_line_that_is_no_json_fails_alone(extract: Any) -> None:
    broken = BlobValue(jsonl(ROWS).data + b"\n\n{oops", "application/x-ndjson")
    error = extract(broken, vector_fields=VECTORS)
    assert isinstance(error, PartialExtractionError)
    assert "row 2 is not JSON" in error.message
    assert len(error.parts) == 2


def test_many_failures_are_counted_and_not_all_listed(extract: Any) -> None:
    error = extract(jsonl([{}] * 50), vector_fields=VECTORS)
    assert error.message.startswith("50 of 50 rows failed")
    assert error.message.endswith("and 40 more.")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "no input holds one"),
        (7, "no input holds one"),
        (jsonl(ROWS, "rows.csv"), "row_format"),
        (BlobValue(b"", "text/plain", "a.jsonl"), "no rows"),
        (BlobValue(b"PAR0", "x/y", "a.parquet"), "not Parquet"),
    ],
)
def test_a_file_that_holds_no_rows_fails_with_what_is_wanted(extract: Any, value: Any, message: str) -> None:
    if message == "not Parquet":
        pytest.importorskip("pyarrow")
    error = extract(value, vector_fields=VECTORS)
    assert isinstance(error, ExtractionError)
    assert message in error.message


def test_the_format_can_be_set(extract: Any) -> None:
    assert len(extract(jsonl(ROWS, "rows.dat"), vector_fields=VECTORS, row_format="jsonl")) == 2
    assert len(extract(jsonl(ROWS).data.decode(), vector_fields=VECTORS)) == 2


@pytest.mark.parametrize(
    "spec",
    [
        {"field": "", "name": "a", "dimensions": 3},
        {"field": "v", "name": "1a", "dimensions": 3},
        {"field": "v", "name": "a" * 65, "dimensions": 3},
        {"field": "v", "name": "a", "dimensions": 0},
        {"field": "v", "name": "a", "dimensions": 3, "distance": "l1"},
        {"field": "v", "name": "a"},
    ],
)
def test_a_wrong_vector_field_is_refused_at_creation(models: Models, spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"vector_fields\.0"):
        EXTRACTOR.validate_parameters({"vector_fields": [spec]}, models)


def test_names_of_vectors_are_unique(models: Models) -> None:
    with pytest.raises(ValidationError, match="must be unique"):
        EXTRACTOR.validate_parameters({"vector_fields": VECTORS * 2}, models)
