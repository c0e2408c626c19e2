"""`media/pdf`: words and drawings where they are, and files that must not be opened or decoded."""

import io
import zipfile
from pathlib import Path

import pytest

from lamina.core.errors import ExtractionError
from lamina.inference.packages import PackageFile
from lamina.media.pdf import MAX_RENDERED_PIXELS, open_pdf
from tests.media import located, pages
from tests.pdfs import Line, Sheet, written


def test_words_have_their_places_fonts_and_sizes() -> None:
    sheet = Sheet([Line("Plain words", 72, 100, 12), Line("Bold", 72, 200, 24, bold=True)])
    with open_pdf(written([sheet])) as pdf, pdf.page(1) as page:
        plain, words, bold = page.words()
        assert (page.width, page.height) == (595, 842)
    assert (plain.text, words.text, bold.text) == ("Plain", "words", "Bold")
    assert (plain.size, bold.size) == (12, 24)
    assert (plain.bold, bold.bold) == (False, True)
    left, top, right, bottom = plain.box
    assert left == pytest.approx(72, abs=1)
    assert top < 100 - 6 < 100 < bottom + 1
    assert right < words.box[0] < 150


def test_a_turned_page_is_as_a_reader_shows_it() -> None:
    """Its four letters stand in the corners; the page says that it is shown turned by 90 degrees."""
    with open_pdf(located(pages.ON_ITS_SIDE)) as pdf, pdf.page(1) as page:
        assert (page.width, page.height) == (612, 792)
        words = {word.text: word for word in page.words()}
        picture = page.render(72)
    assert picture.shape == (792, 612, 3)
    assert {word.angle for word in words.values()} == {90}
    for word in words.values():
        left, top, right, bottom = (round(edge) for edge in word.box)
        inked = (picture[top - 2 : bottom + 2, left - 2 : right + 2] < 128).sum()
        assert inked > 5, word
    assert words["a"].box[0] > 500
    assert words["a"].box[1] < 100
    assert words["d"].box[0] < 100
    assert words["d"].box[1] > 700


def test_ruled_lines_and_pictures_are_found() -> None:
    sheet = Sheet(rules=[(50, 100, 300, 100), (50, 100, 50, 200)], picture=(8, 8))
    with open_pdf(written([sheet])) as pdf, pdf.page(1) as page:
        drawn = page.drawings()
    upright, level = sorted(drawn.rules, key=lambda rule: rule[2])
    assert upright == pytest.approx((50, 100, 50, 200), abs=1.5)
    assert level == pytest.approx((50, 100, 300, 100), abs=1.5)
    assert [tuple(round(edge) for edge in box) for box in drawn.pictures] == [(50, 392, 450, 792)]
    assert drawn.pixels == 64


def test_text_that_lies_over_a_scan_is_hidden() -> None:
    with open_pdf(located(pages.SCAN)) as pdf:
        assert pdf.page_count == 6
        with pdf.page(1) as page:
            words = page.words()
    assert all(word.hidden for word in words)
    assert [word.text for word in words[:4]] == ["THE", "SIEGE", "OF", "VICKSBURG."]


def test_it_says_of_itself_what_its_file_says() -> None:
    with open_pdf(located(pages.STATISTICS)) as pdf:
        metadata = pdf.metadata()
        with pdf.page(1) as page:
            assert "Table 324. Arrests by Sex and Age: 2009" in page.text()
    assert metadata["title"] == "Arrests by Sex and Age"
    assert metadata["author"] == "U.S. Census Bureau"


def _zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", "words")
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_zipped(), "is not a PDF"),
        (b"", "is not a PDF"),
        (b"%PDF-1.7\nnothing of the sort", "damaged PDF"),
        (written([Sheet([Line("a", 10, 10)])])[:300], "damaged PDF"),
        (written([]), "no pages|damaged PDF"),
        (written([Sheet()] * 2_001), "has 2,001 pages; at most 2,000"),
    ],
    ids=["zip", "empty", "no PDF within", "truncated", "no pages", "too many pages"],
)
def test_what_cannot_be_opened_says_why(content: bytes, message: str) -> None:
    with pytest.raises(ExtractionError, match=message) as caught, open_pdf(content, "contract"):
        pass
    assert "'contract'" in caught.value.message


@pytest.mark.parametrize(
    ("file", "message"), [(pages.PROTECTED, "protected by a password"), (pages.CORRUPT, "damaged PDF")]
)
def test_files_that_need_a_password_or_are_damaged(file: PackageFile, message: str) -> None:
    with pytest.raises(ExtractionError, match=message), open_pdf(located(file)):
        pass


def test_a_file_is_opened_by_its_path_as_by_its_bytes(tmp_path: Path) -> None:
    place = tmp_path / "a.pdf"
    place.write_bytes(written([Sheet([Line("by its path", 72, 72)])]))
    with open_pdf(place) as pdf, pdf.page(1) as page:
        assert page.text() == "by its path"


def test_a_page_of_miles_is_refused() -> None:
    with (
        open_pdf(written([Sheet(), Sheet(size=(1e6, 1e6))])) as pdf,
        pytest.raises(ExtractionError, match="page 2 is 1000000 × 1000000 points"),
    ):
        pdf.page(2)


def test_a_picture_that_claims_a_gigapixel_is_not_decoded() -> None:
    with open_pdf(written([Sheet(picture=(60_000, 60_000))])) as pdf, pdf.page(1) as page:
        with pytest.raises(ExtractionError, match="pictures of 3,600 megapixels"):
            page.render(72)
        assert page.words() == []


def test_a_large_page_is_rendered_within_bounds() -> None:
    with open_pdf(written([Sheet(size=(14_000, 14_000))])) as pdf, pdf.page(1) as page:
        picture = page.render(300)
    assert picture.shape[0] * picture.shape[1] <= MAX_RENDERED_PIXELS * 1.01
