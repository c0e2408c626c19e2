"""`colqwen_extractor`: pictures and pages are found by the words on them, and photos by what they show."""

import numpy as np
import pytest

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.colqwen_extractor import EXTRACTOR
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located
from tests.media.pages import LETTER, PROTECTED, SMALL_TABLE
from tests.media.photos import PHOTOS
from tests.pdfs import Line, Sheet, written

MODEL = "read_minilm_tokens_v1"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def blob(file: PackageFile, type: str) -> BlobValue:
    return BlobValue(located(file), type)


@pytest.fixture(scope="module")
def parts(models: Models) -> dict[str, Part]:
    """A letter, a page of a book, a table and two photos, by name."""
    given = {
        "letter": blob(LETTER, "application/pdf"),
        "book": blob(PHOTOS["page"], "image/png"),
        "table": blob(SMALL_TABLE, "application/pdf"),
        "cat": blob(PHOTOS["chelsea"], "image/png"),
        "rocket": blob(PHOTOS["rocket"], "image/jpeg"),
    }
    made = EXTRACTOR(EXTRACTOR.validate_parameters({}, models), models)
    outcomes = made.extract([Source(name, {"image": value}) for name, value in given.items()])
    assert all(isinstance(one, list) for one in outcomes)
    return {name: one[0] for name, one in zip(given, outcomes, strict=True) if isinstance(one, list)}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("the misfits, rebels and troublemakers", "letter"),
        ("region-based segmentation of an image", "book"),
        ("a cat", "cat"),
        ("missile", "rocket"),
    ],
)
def test_words_find_the_page_that_says_them_and_the_photo_that_shows_them(
    models: Models, parts: dict[str, Part], query: str, wanted: str
) -> None:
    (asked,) = models.image_token_embedder().embed_queries([query])
    scores = {
        name: float((asked @ part.vectors[MODEL].T).max(axis=1).sum())
        for name, part in parts.items()
        if MODEL in part.vectors
    }
    assert max(scores, key=lambda name: scores[name]) == wanted, scores


def test_documents_say_where_they_come_from(parts: dict[str, Part]) -> None:
    letter, cat = parts["letter"], parts["cat"]
    assert (letter.position, letter.modality, letter.fields["page_number"]) == ("0.1", "pdf", 1)
    assert (cat.position, cat.modality, cat.fields["width"], cat.fields["height"]) == ("0", "image", 451, 300)
    assert letter.fields["vector_count"] == len(letter.vectors[MODEL]) > 100
    assert np.allclose(np.linalg.norm(letter.vectors[MODEL], axis=1), 1, atol=1e-5)
    assert [one.field for one in letter.blobs] == ["thumbnail"]


def test_what_cannot_be_opened_fails_with_a_reason(models: Models) -> None:
    made = EXTRACTOR(EXTRACTOR.validate_parameters({"enable_thumbnails": False}, models), models)
    cat, locked = blob(PHOTOS["chelsea"], "image/png"), blob(PROTECTED, "application/pdf")
    whole, protected, half = made.extract(
        [Source("a", {"image": cat}), Source("b", {"image": locked}), Source("c", {"image": [cat, locked]})]
    )
    assert isinstance(whole, list) and whole[0].blobs == []
    assert isinstance(protected, ExtractionError) and "password" in protected.message
    assert isinstance(half, PartialExtractionError) and len(half.parts) == 1


def test_pages_after_a_bad_one_are_kept(models: Models) -> None:
    good, bad = Sheet([Line("A page", 100, 100)]), Sheet(size=(1_000_000, 1_000_000))
    made = EXTRACTOR(EXTRACTOR.validate_parameters({}, models), models)
    pages = BlobValue(written([good, bad, good]), "application/pdf")
    (found,) = made.extract([Source("a", {"image": pages})])
    assert isinstance(found, PartialExtractionError) and "page 2" in found.message
    assert [part.fields["page_number"] for part in found.parts] == [1, 3]
