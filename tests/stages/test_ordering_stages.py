"""`sort_attribute`, `sort_relevance` and `score_normalize`."""

import math
from typing import Any

import pytest

from lamina.core.errors import LaminaError
from lamina.retrieval.stages.sort.score_normalize.stage import normalized
from tests.stages.world import applied, numbered


def order(documents: list[dict[str, Any]]) -> str:
    return "".join(document["document_id"] for document in documents)


YEARS = [{"m": {"year": 2}}, {"m": {"year": 3}}, {}, {"m": {"year": 1}}, {"m": {"year": None}}]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "21435"),
        ({"direction": "asc"}, "41235"),
        ({"direction": "asc", "nulls_last": False}, "35412"),
        ({"direction": "desc", "nulls_last": False}, "21435"),
    ],
)
async def test_documents_without_the_field_go_where_they_are_told(
    parameters: dict[str, Any], expected: str
) -> None:
    found = await applied("sort_attribute", numbered(*YEARS), field="m.year", **parameters)
    assert order(found) == expected


async def test_equal_values_keep_their_order_in_both_directions() -> None:
    documents = numbered({"v": 1}, {"v": 2}, {"v": 1}, {"v": 2})
    assert order(await applied("sort_attribute", documents, field="v", direction="asc")) == "1324"
    assert order(await applied("sort_attribute", documents, field="v", direction="desc")) == "2413"


async def test_values_of_several_kinds_have_one_order() -> None:
    documents = numbered({"v": "b"}, {"v": 10}, {"v": [1]}, {"v": "a"}, {"v": 2.5}, {"v": True})
    assert order(await applied("sort_attribute", documents, field="v", direction="asc")) == "652413"


async def test_dates_and_flat_lineage_names_are_found() -> None:
    documents = numbered(
        {"_internal": {"created_at": "2026-01-02T00:00:00Z", "lineage": {"source_object_id": "b"}}},
        {"_internal": {"created_at": "2026-01-10T00:00:00Z", "lineage": {"source_object_id": "a"}}},
    )
    assert order(await applied("sort_attribute", documents, field="created_at")) == "21"
    assert (
        order(await applied("sort_attribute", documents, field="source_object_id", direction="asc")) == "21"
    )


@pytest.mark.parametrize(("missing", "expected"), [("bottom", "4132"), ("top", "2413"), ("preserve", "4213")])
async def test_documents_without_a_score(missing: str, expected: str) -> None:
    documents = numbered({"score": 0.5}, {}, {"score": 0.1}, {"score": 0.9})
    assert order(await applied("sort_relevance", documents, missing_score=missing)) == expected


async def test_any_field_can_be_the_score() -> None:
    documents = numbered({"m": {"s": 1}}, {"m": {"s": 3}}, {"m": {"s": 2}})
    assert order(await applied("sort_relevance", documents, score_field="m.s")) == "231"
    assert order(await applied("sort_relevance", documents, score_field="m.s", direction="asc")) == "132"


async def test_the_retired_feature_address_is_refused() -> None:
    with pytest.raises(LaminaError, match="feature_address"):
        await applied("sort_relevance", [], feature_address="mixpeek://a@v1/b")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("min_max", [0.0, 0.5, 1.0]),
        ("z_score", [-math.sqrt(1.5), 0.0, math.sqrt(1.5)]),
        ("softmax", [math.exp(n) / (math.exp(1) + math.exp(2) + math.exp(3)) for n in (1, 2, 3)]),
        ("l2", [1 / math.sqrt(14), 2 / math.sqrt(14), 3 / math.sqrt(14)]),
    ],
)
def test_normalized_scores_follow_their_formula(method: Any, expected: list[float]) -> None:
    assert normalized([1.0, 2.0, 3.0], method) == [pytest.approx(value) for value in expected]


def test_equal_scores_normalize_to_one_or_zero() -> None:
    assert normalized([2.0, 2.0], "min_max") == [1.0, 1.0]
    assert normalized([2.0, 2.0], "z_score") == [0.0, 0.0]
    assert normalized([0.0], "l2") == [0.0]
    assert normalized([1000.0, 0.0], "softmax") == [1.0, 0.0]


def test_given_bounds_cut_what_lies_outside() -> None:
    assert normalized([-1.0, 0.5, 3.0], "min_max", 0.0, 1.0) == [0.0, 0.5, 1.0]


async def test_normalizing_keeps_the_order_and_can_keep_the_old_score() -> None:
    documents = numbered({"score": 4.0}, {"score": 2.0}, {"score": "none"})
    found = await applied("score_normalize", documents, output_field="m.share")
    assert order(found) == "123"
    assert [document["m"]["share"] for document in found] == [1.0, 0.5, 0.0]
    assert [document["score"] for document in found] == [4.0, 2.0, "none"]
    replaced = await applied("score_normalize", documents)
    assert [document["score"] for document in replaced] == [1.0, 0.5, 0.0]
