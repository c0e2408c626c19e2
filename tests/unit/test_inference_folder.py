"""Models from the models folder and from a hub, with a tiny encoder that the test builds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from lamina.core.errors import UnavailableError
from lamina.inference.hub import HUB_MODELS, FolderModel
from lamina.inference.onnx_text import OnnxTextEmbedder
from lamina.inference.registry import Models, ModelSettings
from tests.hub import hub

WORDS = ["[UNK]", "query:", "wing", "plate", "bread"]
TABLE = np.array([[1, 1, 1, 1], [0, 0, 0, 4], [2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 5, 0]], dtype=np.float32)


def build(folder: Path, **described: object) -> None:
    """A model whose token vectors are rows of TABLE, so that pooling can be reckoned by hand."""
    (folder / "onnx").mkdir(parents=True)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["query:"])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"])
        for name in ("input_ids", "attention_mask")
    )
    hidden = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "t", 4])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [ids, mask],
        [hidden],
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "onnx" / "model.onnx"))
    if described:
        (folder / "model.json").write_text(json.dumps(described))


def unit(*row: float) -> np.ndarray:
    vector = np.array(row, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_a_folder_that_describes_itself_is_a_model(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4, query_prefix="query: ", licence="MIT")
    models = Models(ModelSettings(models_dir=tmp_path))
    card = models.card("acme_tiny_v1")
    assert (card.dimension, card.source, card.licence) == (4, "folder", "MIT")
    assert models.available("acme_tiny_v1") == (True, f"in {tmp_path / 'acme_tiny_v1'}")
    embedder = models.text_embedder("acme_tiny_v1")
    documents = embedder.embed_documents(["wing plate", "bread"])
    assert np.allclose(documents, [unit(2, 3, 0, 0), unit(0, 0, 1, 0)], atol=1e-6)


def test_queries_get_the_models_instruction(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4, query_prefix="query: ")
    embedder = Models(ModelSettings(models_dir=tmp_path)).text_embedder("acme_tiny_v1")
    assert np.allclose(embedder.embed_queries(["wing"]), [unit(2, 0, 0, 4)], atol=1e-6)


def test_cls_pooling_takes_the_first_token(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4, pooling="cls")
    embedder = Models(ModelSettings(models_dir=tmp_path)).text_embedder("acme_tiny_v1")
    assert np.allclose(embedder.embed_documents(["plate wing wing"]), [unit(0, 1, 0, 0)], atol=1e-6)


def test_a_dot_product_model_keeps_its_lengths(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4, distance="dot")
    embedder = Models(ModelSettings(models_dir=tmp_path)).text_embedder("acme_tiny_v1")
    assert np.allclose(embedder.embed_documents(["plate"]), [[0, 3, 0, 0]], atol=1e-6)


def test_padding_does_not_change_a_vector(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4)
    embedder = Models(ModelSettings(models_dir=tmp_path)).text_embedder("acme_tiny_v1")
    together = embedder.embed_documents(["wing", "wing plate bread bread"])
    assert np.allclose(together[0], embedder.embed_documents(["wing"])[0], atol=1e-6)


def test_the_files_of_a_hub_model_can_be_given_by_hand(tmp_path: Path) -> None:
    build(tmp_path / "baai_bge_small_en_v1")
    models = Models(ModelSettings(models_dir=tmp_path))
    assert models.available("baai_bge_small_en_v1")[0]
    with pytest.raises(UnavailableError, match="has 384 dimensions"):
        models.text_embedder("baai_bge_small_en_v1")


def test_a_hub_that_cannot_be_reached_says_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    models = Models(ModelSettings(models_dir=tmp_path))
    with pytest.raises(UnavailableError, match=r"could not be downloaded.*can also be put into"):
        models.text_embedder("baai_bge_m3_v1")


def test_a_broken_description_takes_no_other_model_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(tmp_path / "good_v1", dimension=4)
    build(tmp_path / "bad_v1", dimension="many")
    names = [card.name for card in Models(ModelSettings(models_dir=tmp_path)).cards()]
    assert "good_v1" in names
    assert "bad_v1" not in names
    assert "bad_v1" in caplog.text


def test_a_file_that_is_no_model_is_an_unavailable_model(tmp_path: Path) -> None:
    build(tmp_path / "acme_tiny_v1", dimension=4)
    (tmp_path / "acme_tiny_v1" / "onnx" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        Models(ModelSettings(models_dir=tmp_path)).text_embedder("acme_tiny_v1")


def test_a_model_of_the_hub_with_its_data_in_a_file_of_its_own_is_downloaded_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, models_dir = tmp_path / "repository", tmp_path / "models"
    build(repository)
    model = onnx.load(str(repository / "onnx/model.onnx"))
    onnx.save(
        model, str(repository / "onnx/model.onnx"), save_as_external_data=True,
        location="model.onnx_data", size_threshold=0,
    )  # fmt: skip
    (repository / "model.safetensors").write_bytes(b"the same for another library")
    card = replace(HUB_MODELS[0].card, name="tiny_v1", dimension=4)
    entry = FolderModel(card, "nobody/tiny")
    models = Models(ModelSettings(models_dir=models_dir))
    assert entry.check(models) == "will be downloaded from nobody/tiny"
    with hub({"nobody/tiny": repository}, monkeypatch) as fetched:
        embedder = entry.load(models)
        assert isinstance(embedder, OnnxTextEmbedder)
        assert np.allclose(embedder.embed_documents(["plate"]), [unit(0, 3, 0, 0)], atol=1e-6)
        wanted = ["onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json"]
        assert sorted(fetched) == wanted
        entry.load(models)
        assert sorted(fetched) == wanted
    assert entry.check(models) == f"downloaded to {models_dir / 'hub/tiny_v1'}"
    entry.load(models)  # the hub is out of reach, its files are there
