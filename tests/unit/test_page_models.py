"""Page models of a hub, with tiny ones that the tests build: they see the colours of a picture's patches.

They have the files, inputs and outputs of ColPali and of ColModernVBERT, as fastembed loads them.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.colqwen_extractor import EXTRACTOR
from lamina.inference import page_entries
from lamina.inference.catalogue.tokens import COLMODERNVBERT, COLPALI
from lamina.inference.page_entries import PageModel
from lamina.inference.registry import Models, ModelSettings
from tests.hub import hub
from tests.pdfs import Line, Sheet, written

Pixels = NDArray[np.uint8]

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
DIMENSION = 128
VOCABULARY = 64

SPECIAL = [
    *("<pad>", "<s>", "<image>", "<|begin_of_text|>", "<end_of_utterance>", "<fake_token_around_image>"),
    *("<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))),
]
WORDS = [*SPECIAL, "[UNK]", *COLOURS]
HALF = {"do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}

PALI_IMAGE, PALI_PATCHES = 257152, 1024
TILE, TILE_PATCHES = 16, 4


def colpali(folder: Path) -> None:
    """448 × 448 pixels become 1024 patches; their tokens stand before the prompt."""
    pooled = [
        helper.make_node(
            "AveragePool", ["pixel_values"], ["squares"], kernel_shape=[14, 14], strides=[14, 14]
        ),
        helper.make_node("Reshape", ["squares", "three_by_patches"], ["channels"]),
        helper.make_node("Transpose", ["channels"], ["patches"], perm=[1, 0]),
    ]
    shape = np.array([3, PALI_PATCHES])
    _network(folder / COLPALI.model_file, pooled, {"three_by_patches": shape}, 4, PALI_IMAGE, 1)
    form = {"image_processor_type": "SiglipImageProcessor", "do_resize": True}
    _forms(folder, {**form, "size": {"height": 448, "width": 448}, **HALF})


def colmodernvbert(folder: Path) -> None:
    """Tiles of 16 × 16 pixels, four tokens each; the whole picture comes as a tile as well."""
    pooled = [
        helper.make_node("ReduceMean", ["pixel_values", "sides"], ["tiles"], keepdims=0),
        helper.make_node("Squeeze", ["tiles", "zero"], ["patches"]),
    ]
    image = WORDS.index("<image>")
    _network(
        folder / COLMODERNVBERT.model_file,
        pooled,
        {"sides": np.array([3, 4]), "zero": np.array([0])},
        5,
        image,
        TILE_PATCHES,
    )
    form = {"image_processor_type": "Idefics3ImageProcessor", "do_resize": True, "do_image_splitting": True}
    sizes = {"size": {"longest_edge": 2 * TILE}, "max_image_size": {"longest_edge": TILE}, "resample": 1}
    _forms(folder, {**form, **sizes, **HALF})
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": TILE_PATCHES}))
    (folder / "config.json").write_text(json.dumps({"vision_config": {"image_size": TILE}}))


def _network(
    file: Path,
    pooled: Sequence[NodeProto],
    constants: dict[str, NDArray[Any]],
    pixel_dimensions: int,
    image_token: int,
    tokens_of_a_patch: int,
) -> None:
    """The token `image_token` has the colour of its patch as its vector, a colour's word that colour."""
    table = np.zeros((VOCABULARY, DIMENSION), np.float32)
    for word, colour in COLOURS.items():
        table[WORDS.index(word), :3] = np.array(colour) / 127.5 - 1
    nodes = [
        *pooled,
        helper.make_node("MatMul", ["patches", "widen"], ["seen"]),
        helper.make_node("Equal", ["input_ids", "image_token"], ["shows"]),
        helper.make_node("Cast", ["shows"], ["shown"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["shown", "one"], ["counted"]),
        helper.make_node("Sub", ["counted", "one"], ["number"]),
        helper.make_node("Max", ["number", "none"], ["place"]),
        helper.make_node("Div", ["place", "tokens_of_a_patch"], ["patch"]),
        helper.make_node("Gather", ["seen", "patch"], ["seen_there"]),
        helper.make_node("Mod", ["input_ids", "vocabulary"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["said_there"]),
        helper.make_node("Unsqueeze", ["shows", "last"], ["shows_there"]),
        helper.make_node("Where", ["shows_there", "seen_there", "said_there"], ["known"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["masks"]),
        helper.make_node("Mul", ["known", "masks"], ["vectors"]),
    ]
    every: dict[str, NDArray[Any]] = {
        **constants,
        "table": table,
        "widen": np.eye(3, DIMENSION, dtype=np.float32),
        "image_token": np.array(image_token),
        "one": np.array(1),
        "none": np.array(0),
        "last": np.array([-1]),
        "vocabulary": np.array(VOCABULARY),
        "tokens_of_a_patch": np.array(tokens_of_a_patch),
    }
    ids, seen = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"])
        for name in ("input_ids", "attention_mask")
    )
    pixels = helper.make_tensor_value_info(
        "pixel_values", TensorProto.FLOAT, [f"p{side}" for side in range(pixel_dimensions)]
    )
    made = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", "t", DIMENSION])
    graph = helper.make_graph(
        nodes,
        "tiny",
        [ids, pixels, seen],
        [made],
        [numpy_helper.from_array(value, name) for name, value in every.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(file))


def _forms(folder: Path, preprocessor: dict[str, Any]) -> None:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens([AddedToken(word) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_max_length": 4096, "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


MODELS = pytest.mark.parametrize(
    ("entry", "build"),
    [
        pytest.param(entry, build, id=entry.card.name)
        for entry, build in ((COLPALI, colpali), (COLMODERNVBERT, colmodernvbert))
    ],
)
Build = Callable[[Path], None]


def halves(left: str, right: str, size: int = 64) -> Pixels:
    """A square of two colours."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:, : size // 2], picture[:, size // 2 :] = COLOURS[left], COLOURS[right]
    return picture


def maxsim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    return float((query @ document.T).max(axis=1).sum())


def chosen(entry: PageModel, models_dir: Path) -> Models:
    return Models(ModelSettings(models_dir=models_dir, choices={"embed_image_tokens": entry.card.name}))


@MODELS
def test_a_query_is_nearest_to_the_picture_in_which_each_of_its_words_is_seen(
    entry: PageModel, build: Build, tmp_path: Path
) -> None:
    build(tmp_path / entry.card.name)
    models = chosen(entry, tmp_path)
    assert models.available(entry.card.name) == (True, f"in {tmp_path / entry.card.name}")
    embedder = models.image_token_embedder()
    pictures = [halves("red", "red"), halves("red", "green"), halves("green", "blue")]
    documents = embedder.embed_images(pictures)
    for vectors in documents:
        assert vectors.dtype == np.float32
        lengths = np.linalg.norm(vectors, axis=1)
        assert np.allclose(lengths[lengths > 0], 1, atol=1e-3)
    (query,) = embedder.embed_queries(["red green"])
    assert query.shape[1] == DIMENSION
    assert [round(maxsim(query, one), 2) for one in documents] == [1.0, 2.0, 1.0]
    (blue,) = embedder.embed_queries(["blue"])
    assert int(np.argmax([maxsim(blue, one) for one in documents])) == 2
    assert embedder.embed_images([]) == embedder.embed_queries([]) == []


@MODELS
def test_neither_a_picture_nor_a_query_depends_on_what_lies_beside_it(
    entry: PageModel, build: Build, tmp_path: Path
) -> None:
    build(tmp_path / entry.card.name)
    embedder = chosen(entry, tmp_path).image_token_embedder()
    wide, square = halves("red", "blue")[:16], halves("green", "blue")
    for together, alone in (
        (embedder.embed_images([wide, square])[0], embedder.embed_images([wide])[0]),
        (embedder.embed_queries(["red", "red green blue"])[0], embedder.embed_queries(["red"])[0]),
    ):
        assert together.shape == alone.shape
        assert np.allclose(together, alone)


def test_pictures_have_the_vectors_that_their_model_cuts_them_into(tmp_path: Path) -> None:
    colpali(tmp_path / COLPALI.card.name)
    colmodernvbert(tmp_path / COLMODERNVBERT.card.name)
    models = Models(ModelSettings(models_dir=tmp_path))
    (patches,) = models.image_token_embedder(COLPALI.card.name).embed_images([halves("red", "blue")])
    assert len(patches) == PALI_PATCHES + 6  # and the prompt
    assert (patches[:PALI_PATCHES, 0] > 0).sum() == PALI_PATCHES // 2
    embedder = models.image_token_embedder(COLMODERNVBERT.card.name)
    square, wide = embedder.embed_images([halves("red", "blue"), halves("red", "blue")[:32]])
    seen = [int((np.linalg.norm(one, axis=1) > 0).sum()) for one in (square, wide)]
    assert seen == [(2 * 2 + 1) * TILE_PATCHES, (1 * 2 + 1) * TILE_PATCHES]


def test_the_extractor_makes_page_vectors_by_the_model_that_was_chosen(tmp_path: Path) -> None:
    colmodernvbert(tmp_path / COLMODERNVBERT.card.name)
    models = chosen(COLMODERNVBERT, tmp_path)
    parameters = EXTRACTOR.validate_parameters({"enable_thumbnails": False}, models)
    (declared,) = EXTRACTOR.vectors(parameters, models)
    assert (declared.output, declared.dimension, declared.kind) == ("colmodernvbert_v1", DIMENSION, "multi")
    pages = written([Sheet([Line("A page", 60, 80, 24)]), Sheet([Line("Another", 60, 80, 24)])])
    made = EXTRACTOR(parameters, models)
    (outcome,) = made.extract([Source("a", {"image": BlobValue(pages, "application/pdf")})])
    assert isinstance(outcome, list)
    assert [part.fields["page_number"] for part in outcome] == [1, 2]
    for part in outcome:
        assert part.vectors["colmodernvbert_v1"].shape == (part.fields["vector_count"], DIMENSION)


@MODELS
def test_the_files_come_from_the_hub_once_asked_for(
    entry: PageModel, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, models_dir = tmp_path / "repository", tmp_path / "models"
    build(repository)
    (repository / "README.md").write_text("A page model.")
    models = chosen(entry, models_dir)
    assert models.available(entry.card.name) == (True, f"will be downloaded from {entry.repository}")
    with hub({entry.repository: repository}, monkeypatch) as fetched:
        assert models.image_token_embedder().embed_queries(["red"])[0].shape[1] == DIMENSION
    wanted = {path.name for path in repository.iterdir()} - {"README.md"}
    assert set(fetched) == wanted
    assert models.available(entry.card.name)[1].startswith("downloaded to ")


def test_a_page_model_that_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = chosen(COLPALI, tmp_path)
    colpali(tmp_path / COLPALI.card.name)
    (tmp_path / COLPALI.card.name / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(UnavailableError, match="'colpali_v1_3' cannot be loaded"):
        models.image_token_embedder()
    monkeypatch.setattr(page_entries, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="hub"):
        COLPALI.check(models)
