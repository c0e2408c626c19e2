"""Files of every kind in one space, one by one and all of an object together."""

from typing import Any

import numpy as np
import pytest

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Extractor, InputValue, Part, PartialExtractionError, Source
from lamina.extractors.gemini_multifile_extractor import EXTRACTOR as MULTIFILE
from lamina.extractors.multimodal_extractor import takes
from lamina.extractors.multimodal_extractor.speech import hear
from lamina.extractors.universal_extractor import EXTRACTOR as UNIVERSAL
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located
from tests.media.pages import LETTER, PROTECTED
from tests.media.photos import PHOTOS
from tests.media.video import BIKES
from tests.pdfs import Line, Sheet, written
from tests.sounds import encoded

CAT: InputValue = BlobValue(located(PHOTOS["chelsea"]), "application/octet-stream")
ROCKET: InputValue = BlobValue(located(PHOTOS["rocket"]), "application/octet-stream")
VIDEO: InputValue = BlobValue(located(BIKES), "application/octet-stream")
PDF: InputValue = BlobValue(located(LETTER), "application/octet-stream")


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def made(kind: type[Extractor], models: Models, key: str, value: Any, **parameters: Any) -> Any:
    extractor = kind(kind.validate_parameters(parameters, models), models)
    (outcome,) = extractor.extract([Source("a", {key: value})])
    return outcome


def universal(models: Models, value: InputValue | list[InputValue], **parameters: Any) -> list[Part]:
    outcome = made(UNIVERSAL, models, "content", value, **{"extract_text": False, **parameters})
    assert isinstance(outcome, list), outcome
    return outcome


@pytest.mark.parametrize(
    ("value", "kind"), [("a text", "text"), (CAT, "image"), (VIDEO, "video"), (PDF, "pdf")]
)
def test_a_file_is_known_by_its_bytes(models: Models, value: InputValue, kind: str) -> None:
    parts = universal(models, value)
    assert {part.fields["content_type"] for part in parts} == {kind}
    name = models.default("embed_text_for_image")
    assert all(part.vectors[name].shape == (models.card(name).dimension,) for part in parts)


def test_words_find_files_of_every_kind_in_one_space(models: Models) -> None:
    parts = universal(models, [CAT, ROCKET, PDF, "The recipe wants flour, butter and sugar."])
    name = models.default("embed_text_for_image")
    vectors = np.array([part.vectors[name] for part in parts])
    kinds = [part.position.partition(".")[0] for part in parts]
    for words, place in (("a cat", "0"), ("a rocket launch", "1"), ("baking a cake", "3")):
        scores = vectors @ models.text_image_embedder().embed_queries([words])[0]
        assert kinds[int(scores.argmax())] == place, words


def test_a_page_is_found_by_its_words(models: Models) -> None:
    (page, *_) = universal(models, PDF)
    assert page.fields["page_number"] == 1
    assert "crazy ones" in str(page.lexical)


def test_long_videos_are_looked_at_as_far_as_asked(models: Models) -> None:
    assert len(universal(models, VIDEO, max_video_segments=1)) == 1


def test_a_container_without_pictures_is_a_sound(models: Models) -> None:
    recording = encoded(np.zeros(32_000, np.float32), "mka")
    for filename in ("a.mka", "a.mkv", None):
        (part,) = universal(models, BlobValue(recording, "application/octet-stream", filename))
        assert (part.fields["content_type"], part.fields["end_time"]) == ("audio", 2.0)


@pytest.mark.parametrize("ending", ["mp3", "wav", "flac"])
def test_of_a_long_sound_the_beginning_is_heard(
    models: Models, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []

    def count(file: Any, *given: Any, **named: Any) -> Any:
        found = hear(file, *given, **named)
        heard.append(found.duration)
        return found

    monkeypatch.setattr(takes, "hear", count)
    sound = BlobValue(encoded(np.zeros(600 * 16_000, np.float32), ending), "application/octet-stream")
    parts = universal(models, sound, max_video_segments=2)
    assert [part.fields["start_time"] for part in parts] == [0.0, 30.0]
    assert max(heard) == pytest.approx(60, abs=0.5)


def test_pages_that_can_be_read_are_kept_where_others_cannot(models: Models) -> None:
    good = Sheet([Line("The words of a page that is as it should be", 60, 100)])
    file = BlobValue(written([good, Sheet(size=(1e6, 1e6)), good]), "application/pdf")
    error = made(UNIVERSAL, models, "content", [file, "still here"])
    assert isinstance(error, PartialExtractionError)
    assert "page 2 is 1000000" in error.message
    assert [part.fields.get("page_number") for part in error.parts] == [1, 3, None]
    assert [part.position for part in error.parts] == ["0.0", "0.1", "1.0"]
    whole = made(MULTIFILE, models, "files", [file])
    assert isinstance(whole, ExtractionError)
    assert not isinstance(whole, PartialExtractionError)


def test_files_that_cannot_be_read_fail_with_what_they_are(models: Models) -> None:
    for value, words in (
        (BlobValue(b"PK\x03\x04" + b"\0" * 40, "application/zip", "a.zip"), "zip"),
        (BlobValue(located(PROTECTED), "application/pdf"), "password"),
        (None, "holds nothing"),
    ):
        outcome = made(UNIVERSAL, models, "content", value)
        assert isinstance(outcome, ExtractionError)
        assert words in outcome.message


def test_vectors_cannot_be_shorter_than_the_model_makes_them(models: Models) -> None:
    for kind in (UNIVERSAL, MULTIFILE):
        with pytest.raises(ValidationError, match="at least 384"):
            kind.validate_parameters({"output_dimensionality": 256}, models)


def test_all_files_of_an_object_are_one_document_found_by_each(models: Models) -> None:
    together = made(MULTIFILE, models, "files", [CAT, ROCKET])
    alone = [made(MULTIFILE, models, "files", one)[0] for one in (CAT, ROCKET)]
    (part,) = together
    assert part.fields["file_count"] == 2
    assert part.fields["content_types"] == ["image", "image"]
    name = models.default("embed_text_for_image")
    assert float(np.linalg.norm(part.vectors[name])) == pytest.approx(1, abs=1e-5)
    both = [float(one.vectors[name] @ part.vectors[name]) for one in alone]
    apart = float(alone[0].vectors[name] @ alone[1].vectors[name])
    assert min(both) > apart


def test_an_object_with_a_file_that_cannot_be_read_fails_whole(models: Models) -> None:
    outcome = made(MULTIFILE, models, "files", [CAT, BlobValue(b"\x89PNG\r\n\x1a\n", "image/png")])
    assert isinstance(outcome, ExtractionError)
    assert "'files'" in outcome.message
