"""Listings on a PDF's pages: lines of code, with the indents that their places on the page give them.

A font whose letters are all of one width is told by the widths of words, whatever it is called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from lamina.extractors.course_content_extractor.code import is_code
from lamina.extractors.document_graph_extractor.geometry import around
from lamina.extractors.document_graph_extractor.lines import Piece, rows
from lamina.media.pdf import Page
from lamina.media.pdf_words import Box

_ONE_WIDTH: Final = 0.04
"""Share by which widths of letters may differ in a font of one width: what rounding makes of them."""

_LEAST_WORDS: Final = 4
"""Words of two letters or more that tell whether a font is of one width."""

_OF_ONE_WIDTH, _OTHERWISE = 0.34, 0.67
"""Share of lines that look like code in a listing, in a font of one width and in any other."""

_APART: Final = 3.0
"""Gap between two lines, by their height, from which on they are not of one listing."""

_BLANK: Final = 1.6
"""By the usual distance of lines: from which on an empty one lies between two."""

_NARROWEST: Final = 1.0
"""Points that a letter is taken to be wide at least, whatever the file says of its widths."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing and where it stands on its page, in points."""

    text: str
    box: Box


def listings(page: Page) -> list[Listing]:
    """The listings of a page, from the top. None on a scanned page, which has no words of its own."""
    words = [
        Piece(word.text, word.box, word.size) for word in page.words() if word.angle == 0 and not word.hidden
    ]
    return [_listing(run) for run in _runs(rows(words)) if _is_listing(run)]


Row = list[Piece]


def _runs(lines: Sequence[Row]) -> Iterator[list[Row]]:
    """Lines that follow each other, in letters of one width or looking like code."""
    run: list[Row] = []
    for line in lines:
        fits = is_code(_text(line)) or _of_one_width([line], least=1)
        if run and (not fits or not _goes_on(run, line)):
            yield run
            run = []
        if fits:
            run.append(line)
    if run:
        yield run


def _goes_on(run: Sequence[Row], line: Row) -> bool:
    last = run[-1][0]
    near = line[0].box[1] - last.box[3] < _APART * max(last.height, 1.0)
    alike = _of_one_width([*run, line], least=1) == _of_one_width(run, least=1)
    said = all(is_code(_text(one)) for one in [*run, line])
    return near and (alike or said) and abs(last.size - line[0].size) < 0.5


def _is_listing(run: Sequence[Row]) -> bool:
    if len(run) < 2:
        return False
    share = sum(is_code(_text(line)) for line in run) / len(run)
    return share >= (_OF_ONE_WIDTH if _of_one_width(run, least=_LEAST_WORDS) else _OTHERWISE)


def _of_one_width(run: Sequence[Row], *, least: int) -> bool:
    widths = [_width(word) / word.size for line in run for word in line if len(word.text) > 1 and word.size]
    return len(widths) >= least and max(widths) - min(widths) <= _ONE_WIDTH * max(widths)


def _listing(run: Sequence[Row]) -> Listing:
    left = min(line[0].box[0] for line in run)
    letter = max(float(np.median([_width(word) for line in run for word in line])), _NARROWEST)
    steps = [below[0].box[1] - above[0].box[1] for above, below in pairwise(run)]
    usual = float(np.median(steps)) if steps else 0.0
    lines: list[str] = []
    for number, line in enumerate(run):
        if number and steps[number - 1] > _BLANK * usual:
            lines.append("")
        text = ""
        for word in line:
            column = round((word.box[0] - left) / letter)
            text += " " * max(column - len(text), 1 if text else 0) + word.text
        lines.append(text)
    return Listing("\n".join(lines), around(word.box for line in run for word in line))


def _width(word: Piece) -> float:
    return (word.box[2] - word.box[0]) / len(word.text)


def _text(line: Row) -> str:
    return " ".join(word.text for word in line)
