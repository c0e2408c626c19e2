"""The shapes in which clients write stages, brought to the contract's one.

{"stage_name": …, "config": {"stage_id": …, "parameters": {…}}}     the contract
{"stage_name": …, "stage_id": …, "parameters": {…}}                 no config around it
{"type": "feature_search", "query": "…", "limit": 10, …}            the first clients
"""

from collections.abc import Mapping
from typing import Final

from lamina.core.errors import ValidationError
from lamina.core.types import Json, JsonObject
from lamina.retrieval.targets import DEFAULT_FEATURE

_OF_STAGE: Final = frozenset(
    {"stage_name", "name", "stage_type", "batch_size", "description", "on_error", "output_alias"}
)
_OF_CONFIG: Final = frozenset({"stage_id", "stage_name", "version", "pre_filters", "post_filters"})
_OF_SEARCH: Final = ("min_score", "weight", "lexical", "optional", "on_empty", "top_k", "filters")


def stages(raw: object) -> object:
    """Each stage of a list in the contract's shape; what is no list of objects is left to validation."""
    if not isinstance(raw, list):
        return raw
    named: dict[str, int] = {}
    shaped = []
    for index, stage in enumerate(raw):
        if not isinstance(stage, Mapping):
            return raw
        found = _shaped(stage, index)
        name = str(found["stage_name"])
        named[name] = named.get(name, 0) + 1
        if named[name] > 1:
            found["stage_name"] = f"{name}_{named[name]}"
        shaped.append(found)
    return shaped


def _shaped(stage: Mapping[str, Json], index: int) -> JsonObject:
    config = _config(stage, index)
    shaped: JsonObject = {key: stage[key] for key in _OF_STAGE - {"name"} if stage.get(key) is not None}
    shaped["stage_name"] = stage.get("stage_name") or stage.get("name") or config["stage_id"]
    shaped["config"] = config
    return shaped


def _config(stage: Mapping[str, Json], index: int) -> JsonObject:
    config = stage.get("config")
    if config is not None and not isinstance(config, Mapping):
        raise ValidationError("Input should be an object.", field=f"stages.{index}.config", code="dict_type")
    if config:
        return _of_config(config, stage.get("stage_id"), index)
    stage_id = stage.get("stage_id") or stage.get("type")
    if not isinstance(stage_id, str):
        raise _without_id(index)
    rest = {
        key: value for key, value in stage.items() if key not in _OF_STAGE | {"stage_id", "type", "config"}
    }
    outside: JsonObject = {key: rest.pop(key) for key in ("pre_filters", "post_filters") if key in rest}
    if "parameters" in rest or "type" not in stage:
        parameters = rest.get("parameters", {})
    else:
        parameters = _legacy(stage_id, rest)
    return {"stage_id": stage_id, "parameters": _parameters(parameters, index), **outside}


def _of_config(config: Mapping[str, Json], beside: Json, index: int) -> JsonObject:
    stage_id = config.get("stage_id") or beside or config.get("stage_name")
    if not isinstance(stage_id, str):
        raise _without_id(index)
    if "parameters" in config:
        parameters: Json = config["parameters"]
    else:
        parameters = {key: value for key, value in config.items() if key not in _OF_CONFIG}
    kept = {
        key: config[key] for key in ("version", "pre_filters", "post_filters") if config.get(key) is not None
    }
    return {"stage_id": stage_id, "parameters": _parameters(parameters, index), **kept}


def _parameters(parameters: Json, index: int) -> Json:
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise ValidationError(
            "Input should be an object.", field=f"stages.{index}.config.parameters", code="dict_type"
        )
    return dict(parameters)


def _without_id(index: int) -> ValidationError:
    return ValidationError(
        "A stage needs config.stage_id; GET /v1/retrievers/stages lists them.",
        field=f"stages.{index}.config.stage_id",
        code="missing",
    )


def _legacy(stage_id: str, written: Mapping[str, Json]) -> JsonObject:
    """Parameters that stand in the stage itself. Only a search is written differently there."""
    if stage_id != "feature_search" or "searches" in written:
        return dict(written)
    parameters = dict(written)
    limit = parameters.pop("limit", None)
    extractor = parameters.pop("feature_extractor", None)
    if isinstance(extractor, Mapping) and extractor.get("type", "text") != "text":
        raise ValidationError(
            "A search without a feature_uri is one for text; name the feature_uri to search by.",
            field="feature_extractor.type",
        )
    search: JsonObject = {
        "feature_uri": parameters.pop("feature_uri", DEFAULT_FEATURE),
        "query": parameters.pop("query", ""),
    }
    search.update({key: parameters.pop(key) for key in _OF_SEARCH if key in parameters})
    if limit is not None:
        parameters["final_top_k"] = limit
        search.setdefault("top_k", limit)
    collections = parameters.pop("collection_ids", None)
    if collections:
        parameters["collection_identifiers"] = collections
    return {"searches": [search], **parameters}
