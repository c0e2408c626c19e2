"""The words of a PDF page, with their places and fonts."""

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

Box = tuple[float, float, float, float]
"""(left, top, right, bottom)."""

BOLD: Final = 600
"""Weight of a font from which it is bold."""

_SPACES: Final = frozenset(map(ord, " \t\r\n\f\v\xa0\u2002\u2003\u2009\u200b\u3000"))
_HYPHEN: Final = 2
"""PDFium's character for a hyphen that only the end of a line brought about."""

_UNKNOWN: Final = frozenset({0, 0xFFFE, 0xFFFF})
_FORCED_BOLD: Final = 1 << 18
"""A font's flag (ISO 32000-1, table 123)."""

_INVISIBLE: Final = 3
"""Text render mode of a layer of text that lies over a scan."""

_GAP: Final = 1.0
"""Space between characters, by the font's size, from which they are of two words whatever the file says."""


class Affine(NamedTuple):
    """x' = a x + c y + e, y' = b x + d y + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point goes."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        """The box around where a box goes."""
        if not (self.b or self.c):
            (x0, y0), (x1, y1) = self.point(left, bottom), self.point(right, top)
            return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
        corners = ((left, bottom), (left, top), (right, bottom), (right, top))
        xs, ys = zip(*(self.point(*corner) for corner in corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def after(self, first: "Affine") -> "Affine":
        """This one applied to what `first` gives."""
        a, b = self.a * first.a + self.c * first.b, self.b * first.a + self.d * first.b
        c, d = self.a * first.c + self.c * first.d, self.b * first.c + self.d * first.d
        return Affine(a, b, c, d, *self.point(first.e, first.f))


@dataclass(frozen=True, slots=True)
class Word:
    """A word. `size` is its font's in points; `hidden` says that it is there but not drawn.

    `angle` is in degrees, clockwise: 90 reads from the top down.
    """

    text: str
    box: Box
    size: float
    bold: bool = False
    hidden: bool = False
    angle: int = 0


def words_of(text: pypdfium2.PdfTextPage, to_points: Affine, page: tuple[float, float]) -> list[Word]:
    """Words as the file has them, those outside of the page left out."""
    fonts = _Fonts(text, to_points)
    words = []
    for characters in _runs(text, to_points):
        first = characters[0]
        left, top = min(one[1] for one in characters), min(one[2] for one in characters)
        right, bottom = max(one[3] for one in characters), max(one[4] for one in characters)
        if 0 <= (left + right) / 2 <= page[0] and 0 <= (top + bottom) / 2 <= page[1]:
            size, bold, hidden, angle = fonts.at(first[0])
            height = right - left if angle in {90, 270} else bottom - top
            written = "".join(_character(one[5]) for one in characters)
            words.append(Word(written, (left, top, right, bottom), size or height, bold, hidden, angle))
    return words


_Character = tuple[int, float, float, float, float, int]
"""Index, left, top, right, bottom, code."""


def _runs(text: pypdfium2.PdfTextPage, to_points: Affine) -> Iterator[list[_Character]]:
    """Characters that belong together: nothing between them says that they do not."""
    raw, rect = text.raw, pdfium.FS_RECTF()
    place = ctypes.byref(rect)
    code_of, box_of = pdfium.FPDFText_GetUnicode, pdfium.FPDFText_GetLooseCharBox
    run: list[_Character] = []
    for index in range(text.count_chars()):
        code = code_of(raw, index)
        if code in _SPACES or not box_of(raw, index, place):
            if run:
                yield run
            run = []
            continue
        box = to_points.box(rect.left, rect.bottom, rect.right, rect.top)
        if run and _apart(run[-1], box):
            yield run
            run = []
        run.append((index, *box, code))
    if run:
        yield run


def _apart(last: _Character, box: Box) -> bool:
    """Whether two characters are too far from each other for one word, along the line or across."""
    _, left, top, right, bottom, _ = last
    size = min(bottom - top, right - left) * 2 if right - left > bottom - top else bottom - top
    across = max(box[0] - right, left - box[2])
    down = max(box[1] - bottom, top - box[3])
    return across > _GAP * size or down > _GAP * size


def _character(code: int) -> str:
    if code == _HYPHEN:
        return "-"
    if code in _UNKNOWN or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return "\ufffd"
    return chr(code)


class _Fonts:
    """Size, weight, visibility and direction of characters; asked once for each word."""

    def __init__(self, text: pypdfium2.PdfTextPage, to_points: Affine) -> None:
        self._raw = text.raw
        self._page_angle = math.degrees(math.atan2(to_points.b, to_points.a))
        self._name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._matrix = pdfium.FS_MATRIX()

    def at(self, index: int) -> tuple[float, bool, bool, int]:
        size = float(pdfium.FPDFText_GetFontSize(self._raw, index))
        if pdfium.FPDFText_GetMatrix(self._raw, index, self._matrix):
            size *= math.hypot(self._matrix.b, self._matrix.d)
        turned = math.degrees(pdfium.FPDFText_GetCharAngle(self._raw, index))
        angle = round((self._page_angle - turned) / 90) * 90 % 360
        return size, self._bold(index), self._hidden(index), angle

    def _bold(self, index: int) -> bool:
        if pdfium.FPDFText_GetFontWeight(self._raw, index) >= BOLD:
            return True
        size = pdfium.FPDFText_GetFontInfo(self._raw, index, self._name, len(self._name), self._flags)
        name = self._name.value.lower() if 0 < size <= len(self._name) else b""
        return bool(self._flags.value & _FORCED_BOLD) or b"bold" in name or b"black" in name

    def _hidden(self, index: int) -> bool:
        found = pdfium.FPDFText_GetTextObject(self._raw, index)
        return bool(found) and pdfium.FPDFTextObj_GetTextRenderMode(found) == _INVISIBLE
