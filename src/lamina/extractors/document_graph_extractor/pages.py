"""Pages of an input: a PDF's, or a picture that is one page. Scanned pages are read by OCR."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, InputValue, values_of
from lamina.extractors.document_graph_extractor.confidence import fallen_apart, unreadable
from lamina.extractors.document_graph_extractor.geometry import area
from lamina.extractors.document_graph_extractor.layout import Content
from lamina.extractors.document_graph_extractor.lines import pieces_of_reader
from lamina.inference.base import Image, TextReader
from lamina.media.images import read_image
from lamina.media.pdf import Page, Pdf, is_pdf, open_pdf
from lamina.media.pdf_words import Word

Method = Literal["native", "ocr_layer", "ocr"]
"""Where text comes from: the file's own, a layer of text over a scan, or the pixels."""

MAX_READ_PAGES: Final = 250
"""Pages of one file that are read by OCR: at a second or two each they take the time that a source has."""

_SCAN: Final = 0.6
"""Share of a page that a picture covers, if the page is a scan."""

_FEW: Final = 40
"""Characters below which a page that looks like a scan has no text of its own."""

_GARBAGE: Final = 0.2
"""Share of unreadable characters, or of words of one letter over a scan, from which text is not used."""

_OUTLINED: Final = 20
"""Shapes on a page without any text that may be letters drawn as outlines."""

_LONG_SIDE: Final = 842.0
"""Points that a picture's longer side is taken for, so that distances mean what they mean on paper (A4)."""


@dataclass(slots=True)
class PageOf:
    """A page that was opened. `to_own` times a coordinate in points is one in the page's own unit.

    `size` is in the own unit: points for a PDF, pixels for a picture. `render` draws it at some dpi.
    """

    number: int
    size: tuple[float, float]
    content: Content
    method: Method
    render: Callable[[float], Image]
    to_own: float = 1.0


def file_of(given: InputValue | Sequence[InputValue], name: str) -> BlobValue:
    """The one file of an input; `ExtractionError` for anything else."""
    values = [one for one in values_of(given) if one not in (None, "")]
    if not values:
        raise ExtractionError(f"Input '{name}' holds no file.", code="empty_input", input=name)
    if len(values) > 1:
        raise ExtractionError(
            f"Input '{name}' holds {len(values)} files; one is taken apart at a time.",
            code="several_files",
            input=name,
        )
    if not isinstance(values[0], BlobValue):
        raise ExtractionError(
            f"Input '{name}' is {type(values[0]).__name__}; a PDF or a picture of a page is taken.",
            code="wrong_type",
            input=name,
        )
    if not values[0].size:
        raise ExtractionError(f"Input '{name}' is an empty file.", code="empty_input", input=name)
    return values[0]


def pages_of(
    file: BlobValue, name: str, dpi: float, reader: Callable[[], TextReader]
) -> Iterator[PageOf | ExtractionError]:
    """The pages one after the other, each good only until the next; a page's error in the place of a bad one.

    `reader` is asked for when the first page needs OCR. Raises `ExtractionError` for a file that cannot be
    opened.
    """
    if is_pdf(file.content):
        with open_pdf(file.content, name) as pdf:
            yield from _of_pdf(pdf, name, dpi, reader)
    elif file.mime_type == "application/pdf":
        raise ExtractionError(
            f"Input '{name}' is not a PDF, though it is called one.", code="not_a_pdf", input=name
        )
    else:
        yield _of_picture(file, name, reader())


def _of_pdf(
    pdf: Pdf, name: str, dpi: float, reader: Callable[[], TextReader]
) -> Iterator[PageOf | ExtractionError]:
    read = 0
    for number in range(1, pdf.page_count + 1):
        try:
            with pdf.page(number) as page:
                words, drawings = page.words(), page.drawings()
                size = (page.width, page.height)
                if not needs_reading(page, words):
                    hidden = sum(word.hidden for word in words) > len(words) / 2
                    method: Method = "ocr_layer" if hidden else "native"
                    yield PageOf(number, size, Content(size, words, drawings=drawings), method, page.render)
                    continue
                read += 1
                if read > MAX_READ_PAGES:
                    raise ExtractionError(
                        f"Input '{name}': page {number} is scanned; {MAX_READ_PAGES} such pages are read.",
                        code="too_many_pages",
                        input=name,
                        page=number,
                    )
                picture = page.render(dpi)
                pieces = pieces_of_reader(reader().read(picture), page.width / picture.shape[1])
                yield PageOf(number, size, Content(size, pieces=pieces), "ocr", page.render)
        except ExtractionError as error:
            yield error


def needs_reading(page: Page, words: Sequence[Word]) -> bool:
    """Whether a page's text must come from its pixels: it has none, or none that can be used."""
    text = "".join(word.text for word in words)
    drawings = page.drawings()
    covered = max((area(box) for box in drawings.pictures), default=0.0) / (page.width * page.height)
    if text and unreadable(text) > _GARBAGE:
        return True
    if covered >= _SCAN:
        return len(text) < _FEW or fallen_apart(" ".join(word.text for word in words)) > _GARBAGE
    return not text and (bool(drawings.pictures) or len(drawings.shapes) >= _OUTLINED)


def _of_picture(file: BlobValue, name: str, reader: TextReader) -> PageOf:
    with file.open() as opened:
        picture = read_image(opened, name=name)
    shown = picture.pixels
    points = _LONG_SIDE / max(shown.shape[:2])
    size = (shown.shape[1] * points, shown.shape[0] * points)
    pieces = pieces_of_reader(reader.read(shown), points)
    return PageOf(
        1,
        (float(picture.width), float(picture.height)),
        Content(size, pieces=pieces),
        "ocr",
        lambda _: shown,
        to_own=picture.scale / points,
    )
