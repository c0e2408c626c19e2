"""`colbert_extractor`: chunks as `text_extractor` has them, with a vector for each token."""

import pytest

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import Source
from lamina.extractors.colbert_extractor import EXTRACTOR
from lamina.inference.registry import Models, ModelSettings
from lamina.processing.collections import vector_index

STORY = "Dr. Smith sells bread. The wing of an aeroplane makes lift."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


def test_each_chunk_has_a_vector_for_each_of_its_words(models: Models) -> None:
    parameters = EXTRACTOR.validate_parameters({"split_by": "sentences", "chunk_size": 1}, models)
    (parts,) = EXTRACTOR(parameters, models).extract([Source("a", {"text": STORY})])
    assert isinstance(parts, list)
    assert [part.fields["text"] for part in parts] == [STORY[:22], STORY[23:]]
    assert [part.vectors["minilm_tokens_v1"].shape for part in parts] == [(4, 384), (8, 384)]
    assert [part.fields["start_char"] for part in parts] == [0, 23]
    assert all(part.lexical == part.fields["text"] for part in parts)


def test_a_text_stays_whole_unless_it_is_to_be_split(models: Models) -> None:
    (parts,) = EXTRACTOR(EXTRACTOR.Parameters(), models).extract([Source("a", {"text": STORY})])
    assert isinstance(parts, list)
    assert [part.fields for part in parts] == [{"text": STORY}]


def test_its_index_holds_many_vectors_of_a_document(models: Models) -> None:
    (made,) = EXTRACTOR.vectors(EXTRACTOR.Parameters(), models)
    index = vector_index(EXTRACTOR, made)
    assert index.feature_uri == "mixpeek://colbert_extractor@v1/minilm_tokens_v1"
    assert (index.type, index.index.type, index.index.dimensions) == ("multi", "multi_dense", 384)
    assert (index.spec.kind, index.spec.size) == ("multi", 384)


def test_what_makes_no_chunks_is_refused(models: Models) -> None:
    with pytest.raises(ValidationError, match="chunk_overlap"):
        EXTRACTOR.validate_parameters({"split_by": "words", "chunk_size": 5, "chunk_overlap": 5}, models)
    parameters = EXTRACTOR.validate_parameters({"split_by": "time_segments"}, models)
    (outcome,) = EXTRACTOR(parameters, models).extract([Source("a", {"text": STORY})])
    assert isinstance(outcome, ExtractionError)
    assert "'text'" in outcome.message
