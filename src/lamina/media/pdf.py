"""PDF files through PDFium (`pypdfium2`): words, what is drawn, and pages as pictures, within limits.

Every place is (left, top, right, bottom) in points, 1/72 inch, from the top left corner of the page as a
reader shows it: turned as `/Rotate` says, cut to its crop box. PDFium may be used by one thread at a time, so
that every call holds one lock. What a file claims is looked at before it is decoded, against decompression
bombs.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from lamina.core.errors import ExtractionError
from lamina.inference.base import Image
from lamina.media.images import MAX_PIXELS
from lamina.media.pdf_drawings import Drawings, drawings_of
from lamina.media.pdf_words import Affine, Word, words_of

T = TypeVar("T")

MAX_PAGES: Final = 2_000
"""Pages of a file; what has more is refused as a whole."""

MAX_SIDE: Final = 14_400.0
"""Longest side of a page in points: 200 inches, PDF's own limit (ISO 32000-1, annex C)."""

MAX_RENDERED_PIXELS: Final = 12_000_000
"""Largest picture of a page: A4 at 300 dpi has 8.7 megapixels."""

MAX_CHARACTERS: Final = 200_000
"""Characters of a page; a densely printed one has 10,000."""

_HEADER_WITHIN: Final = 1024
"""Bytes among which a file must say that it is a PDF, as readers have it."""

_LOCK: Final = RLock()

_REASONS: Final[Mapping[int, tuple[str, str]]] = {
    pdfium.FPDF_ERR_PASSWORD: ("is protected by a password", "password_protected"),
    pdfium.FPDF_ERR_SECURITY: ("is encrypted in a way that is not supported", "password_protected"),
    pdfium.FPDF_ERR_SUCCESS: ("has no pages", "no_pages"),
}


class Page:
    """A page of an open file. `width` and `height` are in points; closed by its `with`."""

    def __init__(self, page: pypdfium2.PdfPage, number: int, name: str) -> None:
        self.number = number
        self._page = page
        self._name = name
        self._drawings: Drawings | None = None
        with _LOCK:
            self.width, self.height = page.get_size()
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise self._refusal(
                f"is {self.width:.0f} × {self.height:.0f} points; "
                f"sides of 1 to {MAX_SIDE:,.0f} points are taken",
                "page_too_large",
            )

    def words(self) -> list[Word]:
        """The words in the order of the file, which is not always that of reading."""
        with _LOCK:
            text = self._page.get_textpage()
            try:
                if text.count_chars() > MAX_CHARACTERS:
                    raise self._refusal(f"has more than {MAX_CHARACTERS:,} characters", "page_too_large")
                return words_of(text, self._to_points(), (self.width, self.height))
            finally:
                text.close()

    def text(self) -> str:
        """All of its text, as PDFium puts it together."""
        with _LOCK:
            text = self._page.get_textpage()
            try:
                if text.count_chars() > MAX_CHARACTERS:
                    raise self._refusal(f"has more than {MAX_CHARACTERS:,} characters", "page_too_large")
                return str(text.get_text_bounded()).replace("\r\n", "\n")
            finally:
                text.close()

    def drawings(self) -> Drawings:
        """Pictures, ruled lines and other shapes on it."""
        if self._drawings is None:
            with _LOCK:
                self._drawings = drawings_of(self._page, self._to_points(), (self.width, self.height))
        return self._drawings

    def render(self, dpi: float) -> Image:
        """The page as a picture, in a lower resolution where `MAX_RENDERED_PIXELS` would be passed."""
        pixels = self.drawings().pixels
        if pixels > MAX_PIXELS:
            raise self._refusal(
                f"has pictures of {pixels / 1e6:,.0f} megapixels; "
                f"at most {MAX_PIXELS // 1_000_000} are decoded",
                "page_too_large",
            )
        exact = 1 - 1e-9  # sides are rounded up, so that 1650.0000001 pixels would be 1651
        scale = exact * min(dpi / 72, math.sqrt(MAX_RENDERED_PIXELS / (self.width * self.height)))
        with _LOCK:
            bitmap = self._page.render(scale=scale, rev_byteorder=True)
            try:
                return np.array(bitmap.to_numpy(), np.uint8)
            finally:
                bitmap.close()

    def close(self) -> None:
        """Let go of what PDFium keeps of it."""
        with _LOCK:
            self._page.close()

    def _to_points(self) -> Affine:
        """From the page's own coordinates; PDFium knows how rotation and crop box enter."""
        unit = 1000  # device pixels of a point: PDFium answers in whole ones
        size = round(self.width * unit), round(self.height * unit)
        places = []
        for point in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
            x, y = ctypes.c_int(), ctypes.c_int()
            pdfium.FPDF_PageToDevice(self._page, 0, 0, *size, 0, *(1000 * each for each in point), x, y)
            places.append((x.value / unit, y.value / unit))
        (x0, y0), (x1, y1), (x2, y2) = places
        return Affine((x1 - x0) / 1000, (y1 - y0) / 1000, (x2 - x0) / 1000, (y2 - y0) / 1000, x0, y0)

    def _refusal(self, why: str, code: str) -> ExtractionError:
        return ExtractionError(
            f"Input '{self._name}': page {self.number} {why}.", code=code, input=self._name, page=self.number
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pdf:
    """An open file. Pages count from 1."""

    def __init__(self, document: pypdfium2.PdfDocument, name: str) -> None:
        self._document = document
        self._name = name
        with _LOCK:
            self.page_count = len(document)

    def page(self, number: int) -> Page:
        """A page; `ExtractionError` for one that is damaged or too large."""
        with _LOCK:
            try:
                page = self._document[number - 1]
            except pypdfium2.PdfiumError as error:
                raise ExtractionError(
                    f"Input '{self._name}': page {number} is damaged.",
                    code="damaged_page",
                    input=self._name,
                    page=number,
                ) from error
        return Page(page, number, self._name)

    def each_page(self, look: Callable[[Page], T], most: int = MAX_PAGES) -> Iterator[T | ExtractionError]:
        """What `look` makes of each of the first `most` pages; a page's error in the place of a bad one."""
        for number in range(1, min(self.page_count, most) + 1):
            made: T | ExtractionError
            try:
                with self.page(number) as page:
                    made = look(page)
            except ExtractionError as error:
                made = error
            yield made

    def metadata(self) -> dict[str, str]:
        """What the file says of itself: `title`, `author`, `subject`, `creationdate` …, as far as it does."""
        with _LOCK:
            found = self._document.get_metadata_dict(skip_empty=True)
        return {key.lower(): value.strip() for key, value in found.items() if value.strip()}


@contextmanager
def open_pdf(content: bytes | Path, name: str = "pdf") -> Iterator[Pdf]:
    """Open a file by its bytes or its path.

    Raises `ExtractionError` for what is no PDF, is damaged, protected by a password, without pages, or has
    more than `MAX_PAGES`.

    >>> with open_pdf(Path("report.pdf")) as pdf, pdf.page(1) as page:
    ...     page.render(150)
    """
    document = _opened(content, name)
    try:
        pdf = Pdf(document, name)
        if pdf.page_count > MAX_PAGES:
            raise ExtractionError(
                f"Input '{name}' has {pdf.page_count:,} pages; at most {MAX_PAGES:,} are taken.",
                code="too_many_pages",
                input=name,
            )
        yield pdf
    finally:
        with _LOCK:
            document.close()


def is_pdf(content: bytes | Path) -> bool:
    """Whether a file says that it is a PDF."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return b"%PDF-" in file.read(_HEADER_WITHIN)
    return b"%PDF-" in content[:_HEADER_WITHIN]


def _opened(content: bytes | Path, name: str) -> pypdfium2.PdfDocument:
    if not is_pdf(content):
        raise ExtractionError(f"Input '{name}' is not a PDF.", code="not_a_pdf", input=name)
    with _LOCK:
        try:
            return pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            why, code = _REASONS.get(error.err_code or -1, ("is a damaged PDF", "damaged_pdf"))
            if error.err_code == pdfium.FPDF_ERR_SUCCESS:
                why, code = _REASONS[pdfium.FPDF_ERR_SUCCESS]
            raise ExtractionError(f"Input '{name}' {why}.", code=code, input=name) from error
