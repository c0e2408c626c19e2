"""Every shape of a stage and of an input schema that clients send means the same."""

from typing import Any

import pytest

from lamina.core.errors import ValidationError
from lamina.retrieval.retrievers import AdhocRequest, CreateRequest
from lamina.retrieval.targets import DEFAULT_FEATURE
from tests.stages.world import places

WANTED = {"stage_id": "limit", "parameters": {"limit": 5}}


@pytest.mark.parametrize(
    "stage",
    [
        {"stage_name": "limit", "config": {"stage_id": "limit", "parameters": {"limit": 5}}},
        {
            "stage_name": "limit",
            "stage_type": "group",
            "config": {"stage_id": "limit", "parameters": {"limit": 5}},
        },
        {"stage_name": "limit", "config": {"stage_id": "limit", "limit": 5}},
        {"stage_name": "limit", "stage_id": "limit", "config": {"parameters": {"limit": 5}}},
        {"name": "limit", "config": {"stage_name": "limit", "parameters": {"limit": 5}}},
        {"stage_type": "reduce", "stage_id": "limit", "parameters": {"limit": 5}},
        {"stage_name": "limit", "stage_id": "limit", "parameters": {"limit": 5}},
        {"type": "limit", "limit": 5},
        {"type": "limit", "parameters": {"limit": 5}},
    ],
    ids=range(9),
)
def test_every_shape_of_a_stage_is_the_same_stage(stage: dict[str, Any]) -> None:
    (read,) = AdhocRequest.model_validate({"stages": [stage]}).stages
    assert read.config == WANTED
    assert read.stage_name == "limit"
    assert read.parameters == {"limit": 5}
    written = read.model_dump(exclude_none=True)
    (again,) = AdhocRequest.model_validate({"stages": [written]}).stages
    assert again == read


def test_the_first_clients_search_is_one_search() -> None:
    legacy = {
        "type": "feature_search",
        "feature_extractor": {"type": "text"},
        "query": "red car",
        "collection_ids": ["cars"],
        "limit": 7,
        "min_score": 0.2,
    }
    (read,) = AdhocRequest.model_validate({"stages": [legacy]}).stages
    search = {"feature_uri": DEFAULT_FEATURE, "query": "red car", "min_score": 0.2, "top_k": 7}
    assert read.parameters == {"searches": [search], "final_top_k": 7, "collection_identifiers": ["cars"]}


def test_the_first_clients_search_is_for_text() -> None:
    legacy = {"type": "feature_search", "feature_extractor": {"type": "image"}, "query": "x"}
    with pytest.raises(ValidationError, match="feature_uri"):
        AdhocRequest.model_validate({"stages": [legacy]})


def test_stages_of_one_name_are_told_apart() -> None:
    stages = AdhocRequest.model_validate({"stages": [{"type": "limit"}, {"type": "limit"}]}).stages
    assert [stage.stage_name for stage in stages] == ["limit", "limit_2"]


def test_filters_around_a_stage_are_kept_beside_its_parameters() -> None:
    where = {"color": "red"}
    for stage in (
        {"stage_id": "limit", "parameters": {}, "pre_filters": where},
        {"config": {"stage_id": "limit", "parameters": {}, "pre_filters": where}},
    ):
        (read,) = AdhocRequest.model_validate({"stages": [stage]}).stages
        assert read.config == {"stage_id": "limit", "parameters": {}, "pre_filters": where}


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        ({"stage_name": "x"}, "stages.0.config.stage_id"),
        ({"stage_name": "x", "config": "limit"}, "stages.0.config"),
        (
            {"stage_name": "x", "config": {"stage_id": "limit", "parameters": [1]}},
            "stages.0.config.parameters",
        ),
    ],
)
def test_what_is_no_stage_is_refused_with_its_place(stage: dict[str, Any], at: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        AdhocRequest.model_validate({"stages": [stage]})
    assert places(refusal) == [at]


@pytest.mark.parametrize(
    "schema",
    [
        {"query": {"type": "text", "required": True}},
        {"properties": {"query": {"type": "text", "required": True}}},
        {"type": "object", "properties": {"query": {"type": "text"}}, "required": ["query"]},
    ],
)
def test_an_input_schema_may_be_wrapped(schema: dict[str, Any]) -> None:
    request = CreateRequest.model_validate(
        {"retriever_name": "r", "stages": [{"type": "limit"}], "input_schema": schema}
    )
    assert set(request.input_schema) == {"query"}
    assert request.input_schema["query"].required is True


def test_an_input_may_be_called_properties() -> None:
    schema = {"properties": {"type": "object"}, "query": "string"}
    read = AdhocRequest.model_validate({"stages": [{"type": "limit"}], "input_schema": schema}).input_schema
    assert {name: field.type for name, field in read.items()} == {"properties": "object", "query": "string"}


def test_collection_ids_are_collection_identifiers() -> None:
    body = {"retriever_name": "r", "stages": [{"type": "limit"}]}
    for name in ("collection_ids", "collection_identifiers"):
        assert CreateRequest.model_validate({**body, name: ["a"]}).collection_identifiers == ["a"]


def test_nulls_and_unknown_keys_of_a_request_do_no_harm() -> None:
    body = {"stages": [{"type": "limit"}], "inputs": None, "filters": None, "pagination": None, "what": 1}
    read = AdhocRequest.model_validate(body)
    assert read.inputs == {}
    assert read.model_extra == {"what": 1}
