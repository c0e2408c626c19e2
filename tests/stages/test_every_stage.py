"""What every stage in the registry promises, whichever it is."""

import json
from importlib import resources
from typing import Any

import jsonschema_rs
import pytest

from lamina.core.errors import ValidationError
from lamina.core.types import JsonObject
from lamina.retrieval import plan
from lamina.retrieval.stages import registry
from lamina.retrieval.stages.base import Stage
from tests.stages.world import World, places

STAGES = registry.all_stages()

pytestmark = pytest.mark.parametrize("stage_id", sorted(STAGES))


def examples(stage_id: str) -> list[dict[str, Any]]:
    return STAGES[stage_id].Parameters.model_json_schema()["examples"]


def compiled(stage_id: str, parameters: dict[str, Any]) -> plan.Plan:
    config: JsonObject = {"stage_id": stage_id, "parameters": parameters}
    return plan.compiled([{"stage_name": "it", "config": config}])


def test_its_folder_stands_under_its_category(stage_id: str) -> None:
    stage = STAGES[stage_id]
    assert stage.__module__ == f"lamina.retrieval.stages.{stage.category}.{stage_id}.stage"
    assert issubclass(stage, Stage)


def test_its_catalogue_entry_is_complete(stage_id: str) -> None:
    entry = STAGES[stage_id].definition()
    assert entry["stage_id"] == stage_id
    assert entry["category"] in ("filter", "sort", "reduce", "apply", "enrich")
    assert entry["description"] and entry["icon"]
    json.dumps(entry)


def test_its_parameter_schema_is_valid_and_accepts_its_examples(stage_id: str) -> None:
    schema = STAGES[stage_id].Parameters.model_json_schema()
    jsonschema_rs.meta.validate(schema)
    assert schema["additionalProperties"] is False
    assert examples(stage_id)
    for example in examples(stage_id):
        jsonschema_rs.validate(schema, example)


def test_every_parameter_is_described(stage_id: str) -> None:
    schema = STAGES[stage_id].Parameters.model_json_schema()
    for model in (schema, *schema.get("$defs", {}).values()):
        for name, field in model.get("properties", {}).items():
            assert field.get("description"), name


def test_its_readme_explains_every_parameter(stage_id: str) -> None:
    package = f"lamina.retrieval.stages.{STAGES[stage_id].category}.{stage_id}"
    readme = resources.files(package).joinpath("README.md").read_text("utf-8")
    assert readme.startswith(f"# {stage_id}\n")
    for name in STAGES[stage_id].Parameters.model_fields:
        assert f"`{name}`" in readme, name


def test_its_examples_compile_and_come_back_unchanged(stage_id: str) -> None:
    for example in examples(stage_id):
        before = json.dumps(example)
        (step,) = compiled(stage_id, example).steps
        assert step.tree.value == json.loads(before)
        parameters = STAGES[stage_id].Parameters.model_validate(example)
        written = parameters.model_dump(mode="json", exclude_unset=True)
        assert STAGES[stage_id].Parameters.model_validate(written) == parameters


def test_it_refuses_unknown_parameters_by_name(stage_id: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        compiled(stage_id, {**examples(stage_id)[0], "no_such_parameter": 1})
    assert places(refusal) == ["stages.0.config.parameters.no_such_parameter"]
    assert "no_such_parameter" in refusal.value.message


async def test_nothing_in_gives_nothing_out(stage_id: str, empty: World) -> None:
    for example in examples(stage_id):
        config = {"stage_id": stage_id, "parameters": example}
        answer = await empty.run({"stage_name": "it", "config": config}, inputs={"query": "red"})
        assert answer["documents"] == []
        assert answer["status"] == "completed"
        assert answer["stage_statistics"]["stages"]["it"]["output_count"] == 0
