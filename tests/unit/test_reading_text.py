"""OCR: `pp_ocr_v6_tiny` and `pp_ocr_v6_small` read pages whose text is known."""

import jiwer
import numpy as np
import pytest
from PIL import Image as Pillow

from lamina.inference.base import Image, TextLine, TextReader
from lamina.inference.ctc import Alphabet
from lamina.inference.ppocr import reading_order
from lamina.inference.registry import Models, ModelSettings
from lamina.media.pdf import open_pdf
from tests.media import MODELS_DIR, located, pages


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return Models(ModelSettings(models_dir=MODELS_DIR)).text_reader()


@pytest.fixture(scope="module")
def letter() -> tuple[Image, str]:
    """A page at 150 dpi, and its text."""
    with open_pdf(located(pages.LETTER)) as pdf, pdf.page(1) as page:
        return page.render(150), " ".join(page.text().split())


def said(lines: list[TextLine]) -> str:
    return " ".join(line.text for line in lines)


def test_the_default_is_the_small_one_that_is_quick(reader: TextReader) -> None:
    assert reader.card.name == "pp_ocr_v6_tiny"


def test_a_page_is_read_with_few_mistakes(reader: TextReader, letter: tuple[Image, str]) -> None:
    picture, truth = letter
    lines = reader.read(picture)
    assert jiwer.cer(truth, said(lines)) < 0.02
    assert lines[0].text == "The Crazy Ones"
    left, top, right, bottom = lines[0].box
    assert (left, top, right, bottom) == pytest.approx((150, 150, 353, 178), abs=14)
    assert all(line.confidence > 0.85 for line in lines)


@pytest.mark.parametrize("turn", [1, 2, 3], ids=["to the left", "upside down", "to the right"])
def test_a_turned_page_is_read_too(reader: TextReader, letter: tuple[Image, str], turn: int) -> None:
    picture, _ = letter
    text = said(reader.read(np.ascontiguousarray(np.rot90(picture[100:600], turn))))
    for words in ("round pegs in the square holes", "The misfits. The rebels. The troublemakers."):
        assert words in text


def test_small_print_is_looked_at_again(reader: TextReader, letter: tuple[Image, str]) -> None:
    picture, truth = letter
    small = Pillow.fromarray(picture).resize((800, 1035), Pillow.Resampling.LANCZOS)
    wide = Pillow.new("RGB", (1600, 2000), "white")
    wide.paste(small, (700, 900))
    assert jiwer.cer(truth, said(reader.read(np.asarray(wide)))) < 0.03


def test_a_line_alone_is_read_whatever_its_shape(reader: TextReader, letter: tuple[Image, str]) -> None:
    picture, _ = letter
    assert said(reader.read(picture[242:270, 160:800])).startswith("Heres to the crazy ones. The misfits.")


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (500, 3, 3), (64, 64, 3), (900, 900, 3)])
def test_nothing_is_read_where_nothing_is_written(reader: TextReader, shape: tuple[int, ...]) -> None:
    assert reader.read(np.full(shape, 255, np.uint8)) == []


def test_the_larger_model_reads_the_same() -> None:
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    with open_pdf(located(pages.LETTER)) as pdf, pdf.page(1) as page:
        picture = page.render(100)[80:200]
    assert "The round pegs in the square holes." in said(models.text_reader("pp_ocr_v6_small").read(picture))


def test_lines_of_a_row_go_from_the_left() -> None:
    def line(text: str, left: float, top: float) -> TextLine:
        return TextLine(text, 1.0, (left, top, left + 50, top + 10))

    lines = [line("d", 200, 22), line("b", 100, 3), line("a", 0, 0), line("c", 0, 20)]
    assert [one.text for one in reading_order(lines)] == ["a", "b", "c", "d"]


def test_ctc_takes_repeats_for_one_unless_a_blank_parts_them() -> None:
    path = [1, 1, 0, 2, 2, 0, 2, 3]
    probabilities = np.eye(4, dtype=np.float32)[path] * 0.8
    text, confidence = Alphabet(["a", "b", "c"]).decode(probabilities)
    assert text == "abbc"
    assert confidence == pytest.approx(0.8)
    assert Alphabet(["a"]).decode(np.eye(2, dtype=np.float32)[[0, 0]]) == ("", 0.0)
