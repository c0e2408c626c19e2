"""Words to pieces of lines: what stands together in a row without a wide gap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lamina.extractors.document_graph_extractor.geometry import around, side_by_side
from lamina.inference.base import TextLine
from lamina.media.pdf_words import Box, Word

WIDE_GAP: Final = 1.0
"""By the font's size: wider gaps part pieces. Spaces of justified text stay below it."""

_CHANGE: Final = 1.15

_NO_GAP: Final = 0.1
"""By the font's size: what is closer together is one word, whatever the file says."""

_LINE_OF_READER: Final = 0.72
"""Size of a font by the height of the boxes that OCR puts around its lines."""


@dataclass(slots=True)
class Piece:
    """A line, or the part of one up to a wide gap. `confidence` is the reader's, for text that OCR read."""

    text: str
    box: Box
    size: float
    bold: bool = False
    hidden: bool = False
    confidence: float | None = None

    @property
    def height(self) -> float:
        """In points."""
        return self.box[3] - self.box[1]


def pieces_of_words(words: Iterable[Word], *, gap: float = WIDE_GAP) -> list[Piece]:
    """Words of one direction, upright, as pieces; by rows from the top, and from the left within one."""
    pieces = []
    for row in rows([_of_word(word) for word in words]):
        run = [row[0]]
        for piece in row[1:]:
            if piece.box[0] - run[-1].box[2] > gap * _space(run[-1], piece):
                pieces.append(joined(run))
                run = []
            run.append(piece)
        pieces.append(joined(run))
    return pieces


def pieces_of_reader(lines: Iterable[TextLine], scale: float) -> list[Piece]:
    """What OCR read; `scale` brings its pixels to points."""
    pieces = []
    for line in lines:
        left, top, right, bottom = (edge * scale for edge in line.box)
        size = min(bottom - top, right - left) * _LINE_OF_READER
        pieces.append(Piece(line.text, (left, top, right, bottom), size, confidence=line.confidence))
    return pieces


def rows(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Pieces that stand side by side, rows from the top, and from the left within one."""
    found: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda one: (one.box[1] + one.box[3], one.box[0])):
        for row in reversed(found[-3:]):  # a superscript may have begun a row of its own in between
            if side_by_side(row[0].box, piece.box) > 0.5:
                row.append(piece)
                break
        else:
            found.append([piece])
    return [sorted(row, key=lambda one: one.box[0]) for row in found]


def joined(run: Sequence[Piece]) -> Piece:
    """One piece out of neighbours in a row."""
    if len(run) == 1:
        return run[0]
    text = run[0].text
    for last, piece in pairwise(run):
        text += piece.text if _is_one_word(last, piece) else f" {piece.text}"
    characters = sum(len(piece.text) for piece in run)
    sure = [piece.confidence * len(piece.text) for piece in run if piece.confidence is not None]
    return Piece(
        text,
        around(piece.box for piece in run),
        max(run, key=lambda piece: len(piece.text)).size,
        bold=sum(len(piece.text) for piece in run if piece.bold) > characters / 2,
        hidden=all(piece.hidden for piece in run),
        confidence=sum(sure) / characters if len(sure) == len(run) else None,
    )


def _space(last: Piece, piece: Piece) -> float:
    """The gap that parts two pieces: half as wide where the size of the text changes with it."""
    small, large = sorted((last.size, piece.size))
    return large if large < _CHANGE * small else large / 2


def _is_one_word(last: Piece, piece: Piece) -> bool:
    """Whether two pieces were only drawn apart. Layers of OCR place words too roughly to tell."""
    if piece.hidden or piece.confidence is not None:
        return False
    return abs(piece.box[0] - last.box[2]) < _NO_GAP * piece.size and abs(last.size - piece.size) < 0.5


def _of_word(word: Word) -> Piece:
    return Piece(word.text, word.box, word.size, word.bold, word.hidden)
