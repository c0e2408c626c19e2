"""The packaged image models, and the code for two-tower models of a hub."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.inference import hub
from lamina.inference.catalogue.images import CONSE, MOBILENET, NAMES, SIGLIP_BASE, TINYVIT
from lamina.inference.conse import ConseEmbedder, embed_labels, kept_labels, label_texts
from lamina.inference.onnx_images import Form, read_names
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.two_tower_entries import TwoTowerModel
from lamina.media.images import read_image
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def photo(name: str) -> Pixels:
    with located(PHOTOS[name]).open("rb") as file:
        return read_image(file, side=640).pixels


def unit(vectors: NDArray[np.float32]) -> bool:
    return bool(np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5))


# Labels


def test_the_labeler_says_what_photos_show(models: Models) -> None:
    labeler = models.image_labeler()
    found = labeler.probabilities([photo("coffee"), photo("camera"), photo("chelsea")])
    assert found.shape == (3, 1000)
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-4)
    assert labeler.names[int(found[0].argmax())] == "espresso"
    assert labeler.names[int(found[1].argmax())] == "tripod"
    cats = [name for name in labeler.names if "cat" in name.split() or name == "Egyptian Mau"]
    assert found[2][[labeler.names.index(name) for name in cats]].sum() > 0.8


def test_a_picture_is_seen_the_same_whatever_lies_beside_it(models: Models) -> None:
    pictures = [
        photo("coffee"),
        photo("rocket"),
        photo("chelsea"),
        photo("no_time_for_that_tiny"),
        photo("page"),
    ]
    for embed in (models.image_embedder().embed_images, models.text_image_embedder().embed_images):
        together = embed(pictures)
        alone = np.concatenate([embed([one]) for one in pictures])
        assert np.allclose(together, alone, atol=1e-5)
        assert unit(together)
        assert embed([]).shape == (0, together.shape[1])


def test_a_form_crops_the_middle_or_squeezes_the_whole() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 255
    cropped = Form(8, crop=1.0).take([picture])
    assert cropped.shape == (1, 3, 8, 8)
    assert cropped.min() > 0.9
    assert Form(8).take([picture])[0, 0, 4, 0] == 0.0
    squeezed = Form(8, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5), layout="nhwc").take([picture])
    assert squeezed.shape == (1, 8, 8, 3)
    assert squeezed[0, 4, 0].tolist() == [-1.0] * 3
    assert squeezed[0, 4, 4].tolist() == [1.0] * 3


def test_a_form_scales_down_much_as_the_filter_of_pillow_does() -> None:
    picture = photo("rocket")
    assert picture.shape == (427, 640, 3)
    filtered = Image.fromarray(picture).resize((224, 224), Image.Resampling.BICUBIC, box=(133, 27, 507, 401))
    for layout in ("nchw", "nhwc"):
        form = Form(224, crop=0.875, deviation=(1 / 255,) * 3, layout=layout)
        taken = form.take([picture])[0]
        seen = taken.transpose(1, 2, 0) if layout == "nchw" else taken
        assert np.abs(seen - np.asarray(filtered, np.float32)).mean() < 2.5


# Pictures like others


def test_two_views_of_a_motorcycle_are_nearer_than_anything_else(models: Models) -> None:
    names = ["motorcycle_left", "motorcycle_right", "chelsea", "coffee", "rocket", "camera"]
    vectors = models.image_embedder().embed_images([photo(name) for name in names])
    assert vectors.shape == (6, TINYVIT.card.dimension)
    near = vectors[0] @ vectors.T
    assert near[1] > 0.95
    assert near[2:].max() < 0.6


# Words and pictures


def test_words_find_pictures_with_words_that_are_no_labels(models: Models) -> None:
    embedder = models.text_image_embedder()
    assert embedder.card == CONSE.card
    names = ["chelsea", "coffee", "motorcycle_left", "camera"]
    pictures = embedder.embed_images([photo(name) for name in names])
    queries = ["an animal", "something to drink", "a vehicle", "somebody taking a picture"]
    assert not set(queries) & set(models.image_labeler().names)
    texts = embedder.embed_queries(queries)
    assert texts.shape == (4, CONSE.card.dimension)
    assert unit(texts)
    assert (texts @ pictures.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_a_picture_of_one_sure_label_lies_where_that_label_does(models: Models) -> None:
    embedder = models.text_image_embedder()
    assert isinstance(embedder, ConseEmbedder)
    names = models.image_labeler().names
    sure = np.zeros((2, 1000), np.float32)
    sure[0, names.index("espresso")] = sure[1, names.index("tripod")] = 1.0
    vectors = embedder.embed_probabilities(sure)
    scores = vectors @ embedder.embed_queries(["espresso", "tripod"]).T
    assert scores[0, 0] > 0.6 > 0.3 > scores[0, 1]
    assert scores[1, 1] > 0.6 > 0.3 > scores[1, 0]


def test_every_label_has_a_name_and_nearly_every_one_a_description() -> None:
    texts = label_texts(read_names(located(NAMES)), located(CONSE.weights["descriptions"]))
    assert len(texts) == 1000
    assert texts[967][0] == "espresso"
    assert sum(len(described.split()) > 6 for _, described in texts) > 950


class Counting:
    """A text model that counts how often it is asked."""

    card = replace(CONSE.card, name="counting_v1", dimension=4)

    def __init__(self) -> None:
        self.asked = 0

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += 1
        return np.array([[len(text), text.count("a"), 1, 0] for text in texts], np.float32)

    embed_queries = embed_documents


def test_labels_are_embedded_once_for_all_processes(tmp_path: Path) -> None:
    model, texts = Counting(), [("cat", "cat: a cat"), ("dog", "dog: a dog")]
    folder = tmp_path / "made"
    first = kept_labels(folder, "conse", texts, model)
    assert unit(first)
    assert np.array_equal(first, embed_labels(texts, Counting()))
    assert np.array_equal(kept_labels(folder, "conse", texts, model), first)
    assert model.asked == 1
    kept_labels(folder, "conse", [*texts, ("cow", "cow: a cow")], model)
    assert model.asked == 2
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:50])
    assert np.array_equal(kept_labels(folder, "conse", texts, model), first)
    assert model.asked == 3
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written_to_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert kept_labels(tmp_path / "file", "conse", [("cat", "cat")], Counting()).shape == (1, 4)


def test_a_model_whose_weights_are_missing_says_how_to_get_them(tmp_path: Path) -> None:
    empty = Models(ModelSettings(models_dir=tmp_path))
    assert empty.card(CONSE.card.name).dimension == 384
    for name in (CONSE.card.name, MOBILENET.card.name, TINYVIT.card.name):
        ready, why = empty.available(name)
        assert not ready
        assert "lamina models pull" in why


# Two towers


def tower(
    output: str, nodes: Sequence[Any], given: Any, weights: dict[str, NDArray[Any]], path: Path
) -> None:
    """An ONNX file; the last node makes `output`, shape (n, dimension)."""
    graph = helper.make_graph(
        list(nodes),
        "tower",
        [given],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "d"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def two_towers(
    folder: Path, dimension: int, *, size: int, tokens: int, output: str = "pooler_output"
) -> None:
    """Red, green and blue: what a picture mostly is, and what a text says, are the first three numbers."""
    spread = np.zeros((3, dimension), np.float32)
    spread[:, :3] = np.eye(3)
    vision = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "spread"], [output]),
    ]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, size, size])
    tower(output, vision, pixels, {"spread": spread}, folder / "onnx/vision_model.onnx")
    words = {"<unk>": 0, "</s>": 1, "red": 2, "green": 3, "blue": 4}
    table = np.zeros((5, dimension), np.float32)
    table[2:, :3] = 2 * np.eye(3) - 1
    text = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], [output], axes=[1], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", tokens])
    tower(output, text, ids, {"table": table}, folder / "onnx/text_model.onnx")
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def coloured(colour: str) -> Pixels:
    return np.asarray(Image.new("RGB", (30, 20), colour))


def test_siglip_from_the_models_folder_takes_over_where_it_is_chosen(tmp_path: Path) -> None:
    name = SIGLIP_BASE.card.name
    two_towers(tmp_path / name, 768, size=224, tokens=64)
    chosen = Models(ModelSettings(models_dir=tmp_path, choices={"embed_text_for_image": name}))
    assert chosen.available(name) == (True, f"in {tmp_path / name}")
    embedder = chosen.text_image_embedder()
    pictures = embedder.embed_images([coloured("red"), coloured("lime"), coloured("blue")])
    texts = embedder.embed_queries(["green", "the red red one", "blue"])
    assert pictures.shape == texts.shape == (3, 768)
    assert unit(pictures)
    assert unit(texts)
    assert (texts @ pictures.T).argmax(axis=1).tolist() == [1, 0, 2]
    assert embedder.embed_images([]).shape == embedder.embed_queries([]).shape == (0, 768)


def test_texts_longer_than_the_model_takes_are_cut_and_shorter_ones_padded(tmp_path: Path) -> None:
    card = replace(SIGLIP_BASE.card, name="tiny_v1", dimension=3, max_tokens=4)
    two_towers(tmp_path / "tiny_v1", 3, size=8, tokens=4, output="text_embeds")
    embedder: Any = TwoTowerModel(card, "nobody/tiny", size=8).load(
        Models(ModelSettings(models_dir=tmp_path))
    )
    vectors = embedder.embed_queries(["red red red red blue blue blue", "red"])
    assert np.allclose(vectors[0], vectors[1])


def test_files_that_are_not_the_model_are_refused(tmp_path: Path) -> None:
    two_towers(tmp_path / "tiny_v1", 5, size=8, tokens=64)
    models = Models(ModelSettings(models_dir=tmp_path))
    entry = TwoTowerModel(replace(SIGLIP_BASE.card, name="tiny_v1"), "nobody/tiny", size=8)
    embedder: Any = entry.load(models)
    with pytest.raises(UnavailableError, match="768 dimensions"):
        embedder.embed_images([coloured("red")])
    (tmp_path / "tiny_v1/tokenizer.json").write_bytes(b"{}")
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        entry.load(models)


def test_a_hub_model_without_its_files_says_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(ModelSettings(models_dir=tmp_path))
    ready, where = models.available(SIGLIP_BASE.card.name)
    assert (ready, where) == (True, f"will be downloaded from {SIGLIP_BASE.repository}")
    asked: dict[str, Any] = {}

    def snapshot(repository: str, *, local_dir: Path, allow_patterns: list[str]) -> str:
        asked.update(repository=repository, patterns=allow_patterns)
        two_towers(local_dir, 768, size=224, tokens=64)
        return str(local_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert models.text_image_embedder(SIGLIP_BASE.card.name).embed_queries(["red"]).shape == (1, 768)
    assert asked["repository"] == SIGLIP_BASE.repository
    assert {"onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"} <= set(asked["patterns"])
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="hub"):
        SIGLIP_BASE.check(models)
