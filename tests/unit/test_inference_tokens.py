"""Token vectors: the packaged ones, and a tiny ColBERT that the test builds."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from lamina.core.errors import UnavailableError
from lamina.inference.registry import Models, ModelSettings
from tests.hub import hub

WORDS = ["[PAD]", "[Q]", "[D]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", ".", "wing", "plate", "bread"]


def maxsim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    return float((query @ document.T).max(axis=1).sum())


def build(
    folder: Path,
    *,
    mask: bool = True,
    size: int | None = None,
    file: str = "model.onnx",
    **described: object,
) -> None:
    """A model whose vector of a token has 3 on its axis, and on the last one 0.5 for each token seen."""
    folder.mkdir(parents=True)
    words = [word for word in WORDS if mask or word != "[MASK]"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    ends = [(name, words.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = size or len(words) + 1
    table = np.eye(len(words), size, dtype=np.float32) * 3
    last = np.zeros((1, size), np.float32)
    last[0, -1] = 0.5
    ids, seen = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"])
        for name in ("input_ids", "attention_mask")
    )
    hidden = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", "t", size])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["own"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Unsqueeze", ["count", "axis"], ["counts"]),
        helper.make_node("MatMul", ["counts", "last"], ["added"]),
        helper.make_node("Add", ["own", "added"], ["vectors"]),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(last, "last"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(nodes, "tiny", [ids, seen], [hidden], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / file))
    if described:
        given = {"capability": "embed_tokens", "dimension": size, **described}
        (folder / "model.json").write_text(json.dumps(given))


def tokens_of(vectors: NDArray[np.float32]) -> list[str]:
    return [WORDS[int(row[:-1].argmax())] for row in vectors]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


def test_the_packaged_model_has_a_vector_for_each_word_and_none_for_punctuation(minilm: Models) -> None:
    embedder = minilm.token_embedder()
    assert (embedder.card.name, embedder.card.dimension) == ("minilm_tokens_v1", 384)
    plain, marked, long = embedder.embed_documents(["bread and wine", "bread, and (wine)!", "wing " * 1000])
    assert plain.shape == marked.shape == (3, 384)
    assert len(long) == 254  # of the 256 tokens seen, two only frame the text
    for vectors in (plain, marked, long):
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [one.shape[0] for one in embedder.embed_documents(["...", "", "?!"])] == [1, 1, 1]
    assert np.allclose(embedder.embed_queries(["bread and wine"])[0], plain, atol=1e-5)
    assert embedder.embed_documents([]) == []


def test_a_query_is_nearest_to_the_text_that_has_its_words_in_their_sense(minilm: Models) -> None:
    embedder = minilm.token_embedder()
    (query,) = embedder.embed_queries(["interest rate of the bank"])
    texts = ["The bank raised interest rates again.", "They sat on the bank of the river.", "Bread rises."]
    scores = [maxsim(query, document) for document in embedder.embed_documents(texts)]
    assert scores == sorted(scores, reverse=True)


def test_colbert_marks_both_sides_and_fills_queries_up(tmp_path: Path) -> None:
    build(tmp_path / "tiny", query_marker=1, document_marker=2, query_length=8)
    embedder = Models(ModelSettings(models_dir=tmp_path)).token_embedder("tiny")
    (document,) = embedder.embed_documents(["wing . plate"])
    assert tokens_of(document) == ["[CLS]", "[D]", "wing", "plate", "[SEP]"]
    (query,) = embedder.embed_queries(["wing ."])
    assert tokens_of(query) == ["[CLS]", "[Q]", "wing", ".", "[SEP]", "[MASK]", "[MASK]", "[MASK]"]
    assert query[0, -1] / query[0].max() == pytest.approx(5 * 0.5 / 3)  # the masks are not seen
    (cut,) = embedder.embed_queries(["wing " * 20])
    assert tokens_of(cut) == ["[CLS]", "[Q]", *["wing"] * 5, "[SEP]"]


def test_the_files_of_the_hub_model_can_be_given_by_hand(tmp_path: Path) -> None:
    build(tmp_path / "colbertv2_v1")
    models = Models(ModelSettings(models_dir=tmp_path, choices={"embed_tokens": "colbertv2_v1"}))
    assert models.available("colbertv2_v1") == (True, f"in {tmp_path / 'colbertv2_v1'}")
    with pytest.raises(UnavailableError, match="has 128 dimensions"):
        models.token_embedder()


@pytest.mark.parametrize(
    ("name", "repository", "file", "dimension"),
    [
        ("colbertv2_v1", "colbert-ir/colbertv2.0", "model.onnx", 128),
        ("answerai_colbert_small_v1", "answerdotai/answerai-colbert-small-v1", "vespa_colbert.onnx", 96),
    ],
)
def test_a_colbert_of_the_hub_is_downloaded_and_asked_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, repository: str, file: str, dimension: int
) -> None:
    build(tmp_path / "repository", size=dimension, file=file)
    models = Models(ModelSettings(models_dir=tmp_path / "models", choices={"embed_tokens": name}))
    with hub({repository: tmp_path / "repository"}, monkeypatch):
        embedder = models.token_embedder()
    query, document = embedder.embed_queries(["wing"])[0], embedder.embed_documents(["wing . plate"])[0]
    assert query.shape == (32, dimension)
    assert tokens_of(query) == ["[CLS]", "[Q]", "wing", "[SEP]", *["[MASK]"] * 28]
    assert tokens_of(document) == ["[CLS]", "[D]", "wing", "plate", "[SEP]"]
    (other,) = embedder.embed_documents(["bread . plate"])
    assert maxsim(query, document) > maxsim(query, other)


def test_a_tokenizer_that_cannot_fill_queries_up_is_an_unavailable_model(tmp_path: Path) -> None:
    build(tmp_path / "tiny", mask=False, query_length=8)
    with pytest.raises(UnavailableError, match=r"no \[MASK\]"):
        Models(ModelSettings(models_dir=tmp_path)).token_embedder("tiny")
