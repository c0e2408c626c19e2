"""What is remembered of what models made: the same content is embedded once, within bounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.extractors.base import BlobValue, Extractor, Part, Source
from lamina.extractors.image_extractor import EXTRACTOR as IMAGE_EXTRACTOR
from lamina.extractors.text_extractor import EXTRACTOR as TEXT_EXTRACTOR
from lamina.inference.base import Vectors
from lamina.inference.memory import InferenceCache, RememberedImages, RememberedTexts
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located
from tests.media.photos import SAMPLES


class Counted:
    """A model of tests that counts what it is asked for."""

    class card:
        name = "counted"
        dimension = 2

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return np.array([[len(text), text.count("a")] for text in texts], np.float32).reshape(-1, 2)

    embed_queries = embed_documents

    def embed_images(self, images: Sequence[Any]) -> Vectors:
        self.asked += list(images)
        return np.array([[image.sum(), image.shape[0]] for image in images], np.float32)


def test_each_content_is_embedded_once_and_comes_in_its_order() -> None:
    model = Counted()
    texts = RememberedTexts(model, InferenceCache(1 << 20))  # type: ignore[arg-type]
    first = texts.embed_documents(["aa", "b", "aa", "ccc"])
    assert first.tolist() == [[2, 2], [1, 0], [2, 2], [3, 0]]
    assert model.asked == ["aa", "b", "ccc"]
    second = texts.embed_documents(["dddd", "ccc", "aa"])
    assert second.tolist() == [[4, 0], [3, 0], [2, 2]]
    assert model.asked == ["aa", "b", "ccc", "dddd"]
    second[:] = 0  # callers may change what they are given
    assert texts.embed_documents(["aa"]).tolist() == [[2, 2]]
    assert texts.embed_documents([]).shape == (0, 2)


def test_pictures_are_told_apart_by_their_pixels_and_shape() -> None:
    model = Counted()
    images = RememberedImages(model, InferenceCache(1 << 20))  # type: ignore[arg-type]
    square, wide = np.zeros((4, 4, 3), np.uint8), np.zeros((2, 8, 3), np.uint8)
    turned = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)[:, ::-1]
    images.embed_images([square, wide, turned])
    images.embed_images([square.copy(), wide, turned.copy()])
    assert len(model.asked) == 3


def test_no_more_is_held_than_there_is_room_for_and_the_latest_stay() -> None:
    model = Counted()
    cache = InferenceCache(3 * 328)
    texts = RememberedTexts(model, cache)  # type: ignore[arg-type]
    texts.embed_documents(["a", "b", "c"])
    texts.embed_documents(["a"])
    texts.embed_documents(["d"])
    assert cache.held <= cache.size
    model.asked.clear()
    texts.embed_documents(["a", "c", "d"])
    assert model.asked == []
    texts.embed_documents(["b"])
    assert model.asked == ["b"]


def test_models_share_the_room_and_know_nothing_of_each_other() -> None:
    one, other = Counted(), Counted()
    cache = InferenceCache(1 << 20)
    RememberedTexts(one, cache).embed_documents(["a"])  # type: ignore[arg-type]
    other.card = type("card", (), {"name": "other", "dimension": 2})  # type: ignore[assignment]
    RememberedTexts(other, cache).embed_documents(["a"])  # type: ignore[arg-type]
    assert other.asked == ["a"]


def runs(models: Models, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each run of an onnxruntime session of these models."""
    import onnxruntime

    counted: list[int] = []
    plain = onnxruntime.InferenceSession.run

    def run(self: Any, *given: Any, **further: Any) -> Any:
        counted.append(1)
        return plain(self, *given, **further)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    return counted


def ingest(kind: type[Extractor], models: Models, sources: list[Source]) -> list[Part]:
    outcomes = kind(kind.Parameters(), models).extract(sources)
    return [part for outcome in outcomes for part in outcome]  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "size"), [("text", 1 << 20), ("image", 1 << 20), ("text", 0)])
def test_the_second_ingest_of_the_same_content_embeds_nothing(
    kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(ModelSettings(MODELS_DIR, cache_bytes=size))
    extractor: type[Extractor] = TEXT_EXTRACTOR
    if kind == "text":
        sources = [Source(str(at), {"text": f"text number {at}"}) for at in range(10)]
    else:
        extractor = IMAGE_EXTRACTOR
        pictures = [located(file) for file, _ in SAMPLES["image"][:3]]
        sources = [Source(one.name, {"image": BlobValue(one.read_bytes(), "image/jpeg")}) for one in pictures]
    counted = runs(models, monkeypatch)
    first = ingest(extractor, models, sources)
    once = len(counted)
    assert once > 0
    second = ingest(extractor, models, sources)
    assert len(counted) == (once if size else 2 * once)
    assert len(first) == len(second) >= len(sources)
    for one, other in zip(first, second, strict=True):
        for name, vector in one.vectors.items():
            assert np.array_equal(vector, other.vectors[name])


def test_the_setting_is_the_processes_memory(tmp_path: Path) -> None:
    from lamina.core.settings import Settings

    assert ModelSettings.of(Settings(data_dir=tmp_path)).cache_bytes == 64 << 20
    assert ModelSettings(tmp_path).cache_bytes == 0
