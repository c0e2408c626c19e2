"""Raw inference through the typed SDK."""

import base64

import mixpeek
import pytest
from mixpeek.exceptions import UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.media import located
from tests.media.photos import SAMPLES

TEXT_MODEL = "all_minilm_l6_v2_v1"
PICTURES = "tinyvit_5m_in22k_v1"


def ask(sdk: Sdk, **fields: object) -> mixpeek.RawInferenceResponse:
    return sdk.inference.execute_raw_inference(mixpeek.RawInferenceRequest(**fields))


def test_a_text_is_embedded_by_name_and_by_feature_uri(sdk: Sdk) -> None:
    by_name = ask(sdk, inference_name=TEXT_MODEL, inputs={"text": "machine learning"})
    assert len(by_name.data["embedding"]) == 384
    assert (by_name.provider, by_name.model, by_name.cached) == ("lamina", TEXT_MODEL, False)
    assert by_name.latency_ms >= 0
    by_uri = ask(
        sdk, feature_uri=f"mixpeek://text_extractor@v1/{TEXT_MODEL}", inputs={"text": "machine learning"}
    )
    assert by_uri.data == by_name.data
    several = ask(
        sdk,
        provider="lamina",
        model=TEXT_MODEL,
        inputs={"texts": ["machine learning", "bread"]},
        parameters={"embedding_task": "retrieval_document"},
    )
    assert [len(one) for one in several.data["embeddings"]] == [384, 384]


def test_texts_are_reranked(sdk: Sdk) -> None:
    documents = ["A glacier melts.", "Fresh bread cools on the counter."]
    found = ask(
        sdk, inference_name="text_embedding_cosine_v1", inputs={"query": "bakery", "documents": documents}
    )
    assert [one["index"] for one in found.data["results"]] == [1, 0]
    assert found.data["scores"][1] > found.data["scores"][0]


def test_a_picture_is_labelled_and_embedded_in_a_worker(sdk: Sdk) -> None:
    file, _ = SAMPLES["image"][0]
    picture = base64.b64encode(located(file).read_bytes()).decode()
    labels = ask(sdk, inference_name="mobilenet_v3_large_v1", inputs={"image_base64": picture})
    assert len(labels.data["labels"]) == 10
    assert labels.data["labels"][0]["probability"] >= labels.data["labels"][1]["probability"]
    address = f"data:image/jpeg;base64,{picture}"
    vector = ask(sdk, inference_name=PICTURES, inputs={"image_url": address})
    assert len(vector.data["embedding"]) == 320


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inputs": {"text": "a"}}, "Name a model by inference_name"),
        ({"inference_name": "nothing", "inputs": {"text": "a"}}, "There is no model 'nothing' here"),
        ({"provider": "openai", "model": "gpt-4o", "inputs": {"prompts": ["a"]}}, "set LAMINA_CHAT_ENDPOINT"),
        (
            {"provider": "openai", "model": "whisper-1", "inputs": {"audio_url": "http://a"}},
            "no model 'whisper-1'",
        ),
        ({"inference_name": TEXT_MODEL, "inputs": {"prompt": "a"}}, "inputs needs 'text'"),
        ({"inference_name": TEXT_MODEL, "inputs": {"texts": [1]}}, "inputs needs 'texts'"),
        (
            {"feature_uri": "mixpeek://text_extractor@v1/nothing", "inputs": {"text": "a"}},
            "no model 'nothing'",
        ),
        (
            {"inference_name": PICTURES, "inputs": {"text": "a"}},
            "needs image_url or image_base64",
        ),
        ({"inference_name": PICTURES, "inputs": {"image_base64": "%"}}, "valid base64"),
        ({"inference_name": PICTURES, "inputs": {"image_base64": "aGk="}}, "not an image"),
        (
            {"inference_name": PICTURES, "inputs": {"image_url": "http://127.0.0.1/a.png"}},
            "not public",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    sdk: Sdk, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(UnprocessableEntityException) as refusal:
        ask(sdk, **fields)
    assert reason in refusal.value.data.error.message
