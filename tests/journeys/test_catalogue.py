"""The catalogues tell which models extractors use here, and stand when these are missing."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server import RunningServer
from tests.steps import create_bucket, ok, refused, unique

DESCRIBED = {"dimension": 8, "licence": "MIT", "description": "A model whose files were lost."}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose text model is behind an endpoint that there is not; another one lost its files."""
    models = tmp_path_factory.mktemp("models")
    (models / "lost").mkdir()
    (models / "lost" / "model.json").write_text(json.dumps(DESCRIBED))
    env = {"LAMINA_TEXT_EMBEDDING_MODEL": "remote", "LAMINA_MODELS_DIR": str(models)}
    with RunningServer(tmp_path_factory.mktemp("bare") / "data", env=env) as running:
        yield running


def collection(bucket_id: str, **parameters: str) -> dict[str, object]:
    return {
        "collection_name": unique("collection"),
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": {
            "feature_extractor_name": "text_extractor",
            "version": "v1",
            "input_mappings": {"text": "text"},
            "parameters": parameters,
        },
    }


@pytest.mark.parametrize("path", ["/v1/collections/features/extractors", "/v1/discovery/extractors"])
def test_an_extractor_without_its_model_is_listed_with_what_it_lacks(bare: RunningServer, path: str) -> None:
    with bare.anonymous() as anybody:
        listed = ok(anybody.get(path))
    found = {one.get("name") or one["feature_extractor_name"]: one for one in listed}
    text = found["text_extractor"]
    assert text["available"] is False
    assert text["realtime_available"] is False
    assert "set LAMINA_EMBEDDING_ENDPOINT" in text["unavailable_reason"]
    assert text["parameter_schema"]["properties"]["split_by"]
    assert found["passthrough_extractor"]["available"] is True


@pytest.mark.parametrize("path", ["/v1/collections/features/extractors", "/v1/discovery/extractors"])
def test_an_extractor_is_listed_with_the_models_that_it_uses_here(api: httpx.Client, path: str) -> None:
    found = {one.get("name") or one["feature_extractor_name"]: one for one in ok(api.get(path))}
    text = found["text_extractor"]
    assert text["available"] is True
    (model,) = text["models"]
    assert {name: model[name] for name in ("name", "capability", "source", "licence", "dimension")} == {
        "name": "all_minilm_l6_v2_v1",
        "capability": "embed_text",
        "source": "packaged",
        "licence": "Apache-2.0",
        "dimension": 384,
    }
    assert model["usable"] is True
    assert text["serve_apps"] == [{"name": "all_minilm_l6_v2_v1", "status": "RUNNING"}]
    (index,) = text["required_vector_indexes"]
    assert index["feature_uri"] == "mixpeek://text_extractor@v1/all_minilm_l6_v2_v1"
    example = text["example_usage"]["collection"]["feature_extractor"]
    assert example["input_mappings"] == {"text": "<field of type text>"}


def test_a_collection_whose_model_cannot_be_used_is_refused_with_what_to_do(bare: RunningServer) -> None:
    with bare.client() as api:
        bucket = create_bucket(api)["bucket_id"]
        unreachable = refused(api.post("/v1/collections", json=collection(bucket)), 503)
        assert "set LAMINA_EMBEDDING_ENDPOINT" in unreachable["message"]
        body = collection(bucket, embedding_model="lost")
        missing = refused(api.post("/v1/collections", json=body), 422, "ValidationError")
        assert missing["code"] == "model_missing"
        assert "lost" in missing["message"]
        assert "holds no tokenizer.json" in missing["message"]
        assert "`lamina models list` helps" in missing["message"]
        fine = api.post("/v1/collections", json=collection(bucket, embedding_model="all_minilm_l6_v2_v1"))
        ok(fine)


def test_the_refusal_of_a_packaged_model_says_how_to_fetch_it(tmp_path: Path) -> None:
    from lamina.core.errors import ValidationError
    from lamina.extractors.readiness import readiness, require_models
    from lamina.extractors.text_extractor import EXTRACTOR
    from lamina.inference.registry import Models, ModelSettings
    from tests.unit.test_pulling import model_that_is_missing

    models = Models(ModelSettings(tmp_path))
    models._entries["acme_missing"] = model_that_is_missing()
    parameters = EXTRACTOR.Parameters.model_validate({"embedding_model": "acme_missing"})
    with pytest.raises(ValidationError, match="`lamina models pull acme_missing` helps") as caught:
        require_models(EXTRACTOR, parameters, models)
    assert caught.value.code == "model_missing"
    here = readiness(EXTRACTOR, parameters, models)
    assert not here.usable
    assert [one.card.name for one in here.models] == ["acme_missing"]
