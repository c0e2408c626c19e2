"""Structured extraction by a language model, against a server on loopback that speaks OpenAI's protocol."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import Part, PartialExtractionError, Source
from lamina.extractors.shaping import shape
from lamina.extractors.text_extractor import EXTRACTOR
from lamina.extractors.text_extractor.parameters import TextExtractorParameters
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from tests.openai import LanguageServer, asked, language_server
from tests.server import RunningServer
from tests.steps import create_bucket, finished, ok, unique

SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "words": {"type": "integer", "description": "How many words."},
        "first": {"type": ["string", "null"]},
        "rating": {"type": "number"},
    },
    "required": ["words"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    with language_server() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: LanguageServer) -> None:
    server.requests.clear()
    server.keys.clear()
    server.structured = True
    server.reply = read


@pytest.fixture(scope="module")
def models(server: LanguageServer, tmp_path_factory: pytest.TempPathFactory) -> Models:
    providers = {"openai": f"{server.url}/v1"}
    chat = EndpointSettings(server.url, "sk-installation")
    return Models(ModelSettings(tmp_path_factory.mktemp("models"), chat=chat, chat_providers=providers))


def read(body: dict[str, Any]) -> Any:
    """What a model that counts words would answer; it designs a schema where one is asked for."""
    if "JSON schema of an object" in body["messages"][0]["content"]:
        return {"properties": {"words": {"type": "integer"}, "_secret": {"type": "string"}}}
    words = asked(body).split()
    return {"words": len(words), "first": words[0]}


def extract(models: Models, texts: list[str], **parameters: Any) -> list[list[Part] | ExtractionError]:
    made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
    return list(made.extract([Source(str(at), {"text": text}) for at, text in enumerate(texts)]))


def test_the_fields_of_a_schema_stand_in_the_documents(models: Models, server: LanguageServer) -> None:
    (parts,) = extract(
        models,
        ["Apples ripen. Bread cools slowly."],
        response_shape=SHAPE,
        split_by="sentences",
        chunk_size=1,
    )
    assert isinstance(parts, list)
    assert [(part.fields["words"], part.fields["first"]) for part in parts] == [(2, "Apples"), (3, "Bread")]
    assert [part.fields["chunk_index"] for part in parts] == [0, 1]
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == SHAPE
    assert server.keys == ["Bearer sk-installation"] * 2
    declared = EXTRACTOR.output_schema(TextExtractorParameters(response_shape=SHAPE))
    assert {name: declared[name]["type"] for name in SHAPE["properties"]} == {
        "words": "integer",
        "first": "string",
        "rating": "float",
    }
    assert declared["words"]["description"] == "How many words."


def test_properties_alone_are_read_as_a_schema(models: Models, server: LanguageServer) -> None:
    (parts,) = extract(models, ["One two"], response_shape={"words": {"type": "integer"}})
    assert isinstance(parts, list)
    assert parts[0].fields == {"text": "One two", "words": 2, "first": "One"}


def test_plain_language_becomes_a_schema_once(models: Models, server: LanguageServer) -> None:
    (first, second) = extract(models, ["One two", "Three"], response_shape="how many words there are")
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert (first[0].fields["words"], second[0].fields["words"]) == (2, 1)
    designs = [body for body in server.requests if asked(body) == "how many words there are"]
    assert len(designs) == 1
    schemas = [body["response_format"]["json_schema"]["schema"] for body in server.requests[1:]]
    assert schemas == [{"type": "object", "properties": {"words": {"type": "integer"}}}] * 2
    assert "how many words there are" in server.requests[1]["messages"][0]["content"]


def test_a_failure_of_the_model_is_the_sources_partial_failure(
    models: Models, server: LanguageServer
) -> None:
    server.reply = lambda body: (
        {"words": "many"} if "Bread" in asked(body) or "fit" in asked(body) else read(body)
    )
    good, bad = extract(models, ["Apples ripen", "Bread cools"], response_shape=SHAPE)
    assert isinstance(good, list)
    assert good[0].fields["words"] == 2
    assert isinstance(bad, PartialExtractionError)
    assert bad.code == "unfit_answer"
    assert 'words: "many" is not of type "integer"' in bad.message
    (part,) = bad.parts
    assert part.fields == {"text": "Bread cools"}
    assert part.vectors


def test_a_refusal_is_told_without_the_key(models: Models, server: LanguageServer) -> None:
    server.reply = lambda body: (401, {"error": {"message": "wrong key sk-of-somebody"}})
    (bad,) = extract(models, ["Apples"], response_shape=SHAPE, llm_api_key="sk-of-somebody")
    assert isinstance(bad, PartialExtractionError)
    assert bad.code == "llm_refused"
    assert "answered 401" in bad.message
    assert "sk-of-somebody" not in bad.message
    assert server.keys[-1] == "Bearer sk-of-somebody"


def test_an_endpoint_that_is_gone_is_asked_for_few_documents_only(
    tmp_path: Path, server: LanguageServer
) -> None:
    server.reply = lambda body: (500, {"error": "no"})
    own = Models(ModelSettings(tmp_path, chat=EndpointSettings(server.url, model="tiny-chat")))
    own.chat()._endpoint._longest_wait = 0.01  # type: ignore[attr-defined]
    outcomes = extract(own, [f"text {number}" for number in range(40)], response_shape=SHAPE)
    assert all(isinstance(one, PartialExtractionError) for one in outcomes)
    assert len(server.requests) <= 4 * 8


def test_a_provider_with_a_key_is_asked_instead(models: Models, server: LanguageServer) -> None:
    given = {"llm_provider": "openai", "llm_api_key": "sk-mine", "llm_model": "gpt"}
    (parts,) = extract(models, ["Apples"], response_shape=SHAPE, **given)
    assert isinstance(parts, list)
    assert server.requests[0]["model"] == "gpt"
    assert server.keys == ["Bearer sk-mine"]
    parameters = TextExtractorParameters(response_shape=SHAPE, **given)
    assert EXTRACTOR.uses(parameters, models) == ["all_minilm_l6_v2_v1"]
    assert EXTRACTOR.uses(TextExtractorParameters(response_shape=SHAPE), models) == [
        "all_minilm_l6_v2_v1",
        "remote_chat",
    ]


def test_another_model_of_the_installation_is_asked(models: Models, server: LanguageServer) -> None:
    extract(models, ["Apples"], response_shape=SHAPE, llm_model="large", llm_provider="openai")
    assert server.requests[0]["model"] == "large"
    assert server.keys == ["Bearer sk-installation"]


def test_a_picture_goes_beside_the_text(models: Models, server: LanguageServer) -> None:
    server.reply = lambda body: {"words": 0}
    parameters = TextExtractorParameters(response_shape=SHAPE)
    assert shape(models, parameters, "a photo", picture=b"\xff\xd8jpeg") == {"words": 0}
    words, picture = server.requests[0]["messages"][-1]["content"]
    assert words == {"type": "text", "text": "a photo"}
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,/9hqcGVn")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"response_shape": {"type": "array"}}, "schema of an object"),
        ({"response_shape": {"properties": {"a": {"type": "nonsense"}}}}, "not a JSON schema"),
        ({"response_shape": {"properties": {"text": {"type": "string"}}}}, "the field 'text'"),
        ({"response_shape": {"properties": {"_internal": {}}}}, "the field '_internal'"),
        ({"response_shape": {"properties": {"document_id": {}}}}, "the field 'document_id'"),
        ({"response_shape": " "}, "response_shape is empty"),
        ({"response_shape": "x" * 70_000}, "longer than"),
        ({"response_shape": "x", "llm_provider": "acme", "llm_api_key": "k"}, "'acme' is not enabled"),
    ],
)
def test_a_shape_that_cannot_be_extracted_is_refused(
    models: Models, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        EXTRACTOR.validate_parameters(given, models)
    assert "parameters" in str(caught.value.details["validation_errors"])


def test_a_collection_with_a_shape_makes_documents_that_are_found_by_it(
    server: LanguageServer, tmp_path: Path
) -> None:
    server.reply = lambda body: (400, {"error": "no"}) if "Glacier" in asked(body) else read(body)
    env = {**server.environment, "LAMINA_WORKERS": "1"}
    with RunningServer(tmp_path / "data", env=env) as running, running.client() as api:
        bucket = create_bucket(api, {"properties": {"text": {"type": "text"}}})["bucket_id"]
        for text in ("Apples ripen slowly", "Glacier melts"):
            ok(api.post(f"/v1/buckets/{bucket}/objects", json={"text": text}))
        extractor = {
            "feature_extractor_name": "text_extractor",
            "version": "v1",
            "input_mappings": {"text": "text"},
            "parameters": {"response_shape": SHAPE},
        }
        source = {"type": "bucket", "bucket_ids": [bucket]}
        body = {"collection_name": unique("shaped"), "source": source, "feature_extractor": extractor}
        made = ok(api.post("/v1/collections", json=body))
        assert made["output_schema"]["properties"]["words"]["type"] == "integer"
        assert made["feature_extractor"]["parameters"]["response_shape"] == SHAPE
        started = ok(api.post(f"/v1/collections/{made['collection_id']}/trigger", json={}), 202)
        finished(api, started["task_id"], status="COMPLETED_WITH_ERRORS")
        found = ok(
            api.post(
                f"/v1/collections/{made['collection_id']}/documents/list",
                json={"filters": {"AND": [{"field": "words", "operator": "gte", "value": 3}]}},
            )
        )["results"]
        assert [(one["text"], one["words"]) for one in found] == [("Apples ripen slowly", 3)]
        everything = ok(api.get(f"/v1/collections/{made['collection_id']}/documents"))["results"]
        assert sorted(one["text"] for one in everything) == ["Apples ripen slowly", "Glacier melts"]
        assert "sk-of-the-installation" not in running.log
        assert "sk-of-the-installation" not in json.dumps(everything)
