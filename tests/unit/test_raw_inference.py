"""Each capability asked directly, with the packaged models and real media."""

from typing import Any, get_args

import pytest

from lamina.inference.base import Capability
from lamina.inference.registry import Models, ModelSettings
from lamina.processing.inference import Inference, infer
from tests.media import MODELS_DIR, located, samples

ANSWERS: dict[Capability, set[str]] = {
    "embed_image": {"embedding"},
    "embed_text_for_image": {"embedding"},
    "embed_image_tokens": {"embeddings"},
    "label_image": {"labels"},
    "read_text": {"text", "lines"},
    "find_faces": {"faces"},
    "embed_face": {"faces"},
    "embed_audio": {"embedding"},
    "embed_speaker": {"embedding"},
    "detect_speech": {"speech"},
    "transcribe": {"text", "language", "utterances"},
}


def test_no_capability_is_left_out() -> None:
    texts = {"embed_text", "embed_tokens", "rerank", "chat"}
    assert {*ANSWERS, *texts} == set(get_args(Capability))


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(MODELS_DIR))


@pytest.mark.parametrize("capability", ANSWERS)
def test_a_file_is_answered_by_the_default_of_each_capability(models: Models, capability: Capability) -> None:
    kind = "image" if "image" in capability or "face" in capability or "read" in capability else "audio"
    file, _ = samples()[kind][0]
    asked = Inference(models.default(capability), {}, {}, located(file).read_bytes())
    made = infer(models, asked)
    data: Any = made.data
    assert set(data) == ANSWERS[capability]
    assert made.milliseconds > 0
    if "embedding" in data:
        assert len(data["embedding"]) == models.card(asked.model).dimension
    if capability == "transcribe":
        assert len(data["text"].split()) > 3


def test_token_vectors_are_one_for_each_token(models: Models) -> None:
    made: Any = infer(models, Inference(models.default("embed_tokens"), {"text": "fresh bread"}, {})).data
    (rows,) = made["embeddings"]
    assert len(rows) == 2
    assert len(rows[0]) == models.card(models.default("embed_tokens")).dimension
