"""`scrolling_text_extractor`: known words that move or stand over a real clip."""

from typing import Any

import pytest
from jiwer import cer
from PIL import ImageDraw

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.scrolling_text_extractor import EXTRACTOR
from lamina.inference.registry import Models, ModelSettings
from tests.films import Draw, film, font, frames_of
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.media.video import BIKES, BUNNY

NEWS = "BREAKING NEWS: the harbour bridge reopens on Monday after eleven weeks of repairs"
CREDITS = ["Directed by", "Anna Lindqvist", "Music", "Tomas Beran", "Camera", "Maria Okafor"]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def outcome(models: Models, value: Any, **parameters: Any) -> list[Part] | ExtractionError:
    made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
    (found,) = made.extract([Source("a", {"video": value})])
    return found


def texts(models: Models, draw: Draw | None = None, **parameters: Any) -> list[Part]:
    """The texts of the bunny's clip, twice over, with something drawn on it."""
    data = film(frames_of(BUNNY, draw, side=640, times=2))
    found = outcome(models, BlobValue(data, "video/mp4"), **parameters)
    assert isinstance(found, list), found
    return found


def fields(part: Part) -> dict[str, Any]:
    """A document's fields, to be compared with what they are known to be."""
    return dict(part.fields)


def test_a_ticker_is_read_whole_and_a_title_beside_it(models: Models) -> None:
    def draw(canvas: ImageDraw.ImageDraw, seconds: float) -> None:
        canvas.text((640 - seconds * 190, 300), NEWS, "white", font(26), stroke_width=2, stroke_fill="black")
        if 1 <= seconds < 4:
            canvas.text((60, 60), "Quarterly Results 2026", "yellow", font(32))

    ticker, title = texts(models, draw)
    of_ticker, of_title = fields(ticker), fields(title)
    assert cer(NEWS, str(of_ticker["text"])) <= 0.05
    assert of_ticker["text_type"] == "scrolling"
    assert of_ticker["direction"] == "left"
    assert of_ticker["speed"] == pytest.approx(190, rel=0.05)
    left, top, right, bottom = of_ticker["bbox"]
    assert (left, right) == (0, 640)
    assert top <= 305
    assert 325 <= bottom <= 360
    gone = (640 + font(26).getlength(NEWS)) / 190  # the last letters are too few to be followed
    assert gone - 2 <= of_ticker["end_time"] <= gone + 0.5
    assert [one.field for one in ticker.blobs] == ["panorama"]
    assert ticker.lexical == of_ticker["text"]

    assert of_title["text"] == "Quarterly Results 2026"
    assert of_title["text_type"] == "static"
    assert of_title["start_time"] == pytest.approx(1.0, abs=0.5)
    assert of_title["end_time"] == pytest.approx(4.0, abs=1.2)  # as exact as the key frames are dense
    left, top, right, bottom = of_title["bbox"]
    assert 50 <= left <= 65
    assert 50 <= top <= 80
    assert [one.field for one in title.blobs] == ["thumbnail"]


def test_credits_that_rise_are_read_line_by_line(models: Models) -> None:
    def draw(canvas: ImageDraw.ImageDraw, seconds: float) -> None:
        canvas.rectangle((0, 0, 640, 360), "black")
        for number, line in enumerate(CREDITS):
            canvas.text((220, 360 + number * 48 - seconds * 80), line, "white", font(26))

    (rolled,) = texts(models, draw, static_ocr=False)
    assert rolled.fields["direction"] == "up"
    assert rolled.fields["text"] == "\n".join(CREDITS)


def test_text_that_stands_is_not_scrolling_and_can_be_left_out(models: Models) -> None:
    def draw(canvas: ImageDraw.ImageDraw, seconds: float) -> None:
        canvas.text((60, 260), "Serving suggestion", "white", font(28), stroke_width=1, stroke_fill="black")
        canvas.text((60, 292), "Terms apply", "white", font(28), stroke_width=1, stroke_fill="black")

    (text,) = texts(models, draw)
    assert text.fields["text"] == "Serving suggestion\nTerms apply"
    assert text.fields["start_time"] == 0.0
    assert text.fields["end_time"] == pytest.approx(10.6, abs=0.1)
    assert texts(models, draw, static_ocr=False) == []


def test_a_video_without_text_makes_no_document(models: Models) -> None:
    assert texts(models) == []
    assert outcome(models, BlobValue(located(BIKES), "video/mp4"), max_static_frames=2) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "empty_input"),
        ("words", "wrong_form"),
        (BlobValue(b"", "video/mp4"), "empty_input"),
        (BlobValue(b"\x89PNG\r\n\x1a\n" + bytes(64), "video/mp4"), "not_media"),
    ],
)
def test_what_is_no_video_fails_by_name(models: Models, value: Any, code: str) -> None:
    error = outcome(models, value)
    assert isinstance(error, ExtractionError)
    assert error.code == code
    assert "'video'" in error.message


def test_one_of_several_videos_that_is_broken_leaves_the_others_theirs(models: Models) -> None:
    def draw(canvas: ImageDraw.ImageDraw, seconds: float) -> None:
        canvas.text((60, 60), "Still readable", "white", font(32), stroke_width=1, stroke_fill="black")

    good = BlobValue(film(frames_of(BUNNY, draw, side=480)), "video/mp4")
    error = outcome(models, [BlobValue(located(PHOTOS["chelsea"]), "image/png"), good])
    assert isinstance(error, PartialExtractionError)
    (part,) = error.parts
    assert cer("Still readable", str(part.fields["text"])) < 0.2  # small print: a letter may go missing
