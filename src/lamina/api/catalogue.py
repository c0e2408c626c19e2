"""Catalogue entries: extractors as clients see them, with the models that they use here."""

from typing import Literal

from pydantic import Field

from lamina.core.models import Model
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import Extractor
from lamina.extractors.readiness import ModelUse, Readiness, readiness
from lamina.extractors.registry import all_extractors, is_own
from lamina.inference.registry import Models
from lamina.processing.collections import vector_index

_MODALITIES = {
    "image": "image", "video": "video", "audio": "audio", "pdf": "pdf", "excel": "document",
}  # fmt: skip
"""Schema types that are not some kind of text, and what the contract calls them."""


class ModelEntry(Model):
    """A model of an extractor. `state` says where its weights are, or what is missing and how to mend it."""

    name: str
    capability: str
    source: str
    licence: str
    dimension: int | None = None
    usable: bool
    state: str


class ServeApp(Model):
    """`ServeAppStatus` of the contract: a model, and whether it runs."""

    name: str
    status: Literal["RUNNING", "absent"]


class ExtractorEntry(Model):
    """`FeatureExtractorResponseModel` of the contract. `models` and `unavailable_reason` are Lamina's own."""

    feature_extractor_name: str
    version: str
    feature_extractor_id: str
    description: str
    icon: str
    category: str = "general"
    source: str = "builtin"
    input_schema: JsonObject
    output_schema: JsonObject
    parameter_schema: JsonObject | None = None
    supported_input_types: list[str]
    max_inputs: dict[str, int]
    default_parameters: JsonObject
    required_vector_indexes: list[Json] | None = None
    required_payload_indexes: list[Json] | None = None
    position_fields: list[str] = Field(default_factory=list)
    expected_input_types: JsonObject | None = None
    type_mode: str | None = None
    inference_type: str | None = None
    capabilities: list[str] | None = None
    example_usage: JsonObject | None = None
    realtime_available: bool | None = None
    serve_apps: list[ServeApp] | None = None
    models: list[ModelEntry] = Field(default_factory=list)
    available: bool = True
    unavailable_reason: str | None = None


class ExtractorDiscovery(Model):
    """`ExtractorDiscovery` of the contract: the same, told for programs that write configurations."""

    name: str
    version: str
    description: str
    supported_modalities: list[str]
    output_features: list[Json]
    input_schema: JsonObject | None = None
    parameter_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    type_mode: str | None = None
    expected_input_types: JsonObject | None = None
    inference_type: str | None = None
    supported_input_types: list[str] | None = None
    max_inputs: dict[str, int] | None = None
    default_parameters: JsonObject | None = None
    required_vector_indexes: list[Json] | None = None
    position_fields: list[str] | None = None
    capabilities: list[str] | None = None
    example_usage: JsonObject
    realtime_available: bool | None = None
    serve_apps: list[ServeApp] | None = None
    models: list[ModelEntry] = Field(default_factory=list)
    available: bool = True
    unavailable_reason: str | None = None


def extractor_entries(models: Models) -> list[ExtractorEntry]:
    """All of them, by name. Reads checksums and asks endpoints: call it in a thread."""
    return [extractor_entry(one, models) for _, one in sorted(all_extractors().items())]


def extractor_entry(found: type[Extractor], models: Models) -> ExtractorEntry:
    """An extractor with its default parameters and the models that these use here."""
    parameters = found.Parameters()
    here = readiness(found, parameters, models)
    types = list(dict.fromkeys(one for accepted in found.inputs.values() for one in accepted))
    properties: JsonObject = {
        name: {"type": accepted[0], "accepts": list(accepted)} for name, accepted in found.inputs.items()
    }
    outputs: JsonObject = {**found.output_schema(parameters)}
    defaults: JsonObject = parameters.model_dump(mode="json")
    embeds = bool(here.vectors)
    return ExtractorEntry(
        feature_extractor_name=found.name,
        version=found.version,
        feature_extractor_id=found.id(),
        description=found.description,
        icon=found.icon,
        category=found.category,
        source="custom" if is_own(found) else "builtin",
        input_schema={"properties": properties},
        output_schema={"properties": outputs},
        parameter_schema=found.Parameters.model_json_schema(),
        supported_input_types=types,
        max_inputs=dict.fromkeys(types, 1),
        default_parameters=defaults,
        required_vector_indexes=_indexes(found, here),
        required_payload_indexes=[],
        position_fields=["position"],
        expected_input_types={name: accepted[0] for name, accepted in found.inputs.items()},
        type_mode="multimodal" if len(_modalities(types)) > 1 else "type_specific",
        inference_type="embedding" if embeds else None,
        capabilities=["batch", "realtime"] if embeds else ["batch"],
        example_usage=_example(found, defaults),
        realtime_available=here.usable if embeds or not here.usable else None,
        serve_apps=[
            ServeApp(name=one.card.name, status="RUNNING" if one.usable else "absent") for one in here.models
        ],
        models=[_model(one) for one in here.models],
        available=here.usable,
        unavailable_reason=here.lacks,
    )


def discovered(entry: ExtractorEntry) -> ExtractorDiscovery:
    """The entry in the other form."""
    shared = {name: getattr(entry, name) for name in ExtractorDiscovery.model_fields if hasattr(entry, name)}
    return ExtractorDiscovery(
        **shared,
        name=entry.feature_extractor_name,
        supported_modalities=_modalities(entry.supported_input_types),
        output_features=entry.required_vector_indexes or [],
    )


def _indexes(found: type[Extractor], here: Readiness) -> list[Json]:
    indexes: list[Json] = []
    for made in here.vectors:
        index = vector_index(found, made)
        indexes.append(
            {
                "name": index.name,
                "feature_uri": index.feature_uri,
                "description": index.index.description,
                "type": index.type,
                "index": index.index.model_dump(mode="json", exclude_none=True),
            }
        )
    return indexes


def _model(use: ModelUse) -> ModelEntry:
    card = use.card
    return ModelEntry(
        name=card.name,
        capability=card.capability,
        source=card.source,
        licence=card.licence,
        dimension=card.dimension or None,
        usable=use.usable,
        state=use.words,
    )


def _modalities(types: list[str]) -> list[str]:
    return list(dict.fromkeys(_MODALITIES.get(one, "text") for one in types))


def _example(found: type[Extractor], defaults: JsonObject) -> JsonObject:
    """The least that a namespace and a collection say to use it."""
    chosen = {"feature_extractor_name": found.name, "version": found.version}
    inputs: JsonObject = {name: f"<field of type {types[0]}>" for name, types in found.inputs.items()}
    named: JsonObject = {name: value for name, value in defaults.items() if name == "extractor_type"}
    return {
        "namespace": {"feature_extractors": [dict(chosen)]},
        "collection": {"feature_extractor": {**chosen, "input_mappings": inputs, "parameters": named}},
    }
