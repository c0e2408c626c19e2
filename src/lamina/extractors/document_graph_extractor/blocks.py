"""Lines of one column to blocks: paragraphs, headings, lists and forms."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from lamina.extractors.document_graph_extractor.geometry import around, one_above_the_other
from lamina.extractors.document_graph_extractor.lines import Piece, joined, rows
from lamina.media.pdf_words import Box

ObjectType = Literal["paragraph", "table", "form", "list", "header", "footer", "figure", "handwritten"]

_MARK: Final = re.compile(
    r"^\s*(?:[•◦▪■●○‣⁃∙\uf0b7]\s*|[·\u2013\u2014*\-]\s+|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]\s+)\S"
)
"""How the items of a list begin."""

_LABEL: Final = re.compile(r"^[^:.!?]{2,40}:(?:\s+\S.{0,60})?$|_{4,}|\.{8,}\s*$|☐|☑|☒|\[ ?[xX]? ?\]")
"""What the fields of a form look like."""

_ENDED: Final = re.compile(r"[.!?:;…]['\")\]]?\s*$")

_LARGER: Final = 1.15
"""Size of a heading by that of the text."""

_LEVELS: Final = ((1.8, 1), (1.4, 2), (_LARGER, 3))
_BOLD_LEVEL: Final = 4
_HEADING_LINES, _HEADING_LETTERS = 3, 160

_SPACING: Final = 0.35
"""By the size of the text: how much more than the usual gap between lines ends a paragraph."""

_INDENT: Final = (0.8, 4.0)
"""Range of indents, by the size of the text, with which a paragraph's first line begins."""


@dataclass(slots=True)
class Block:
    """A part of a page, in its order of reading. `pieces` are its lines."""

    kind: ObjectType
    box: Box
    pieces: list[Piece] = field(default_factory=list)
    cells: list[list[str]] | None = None
    level: int | None = None

    @property
    def text(self) -> str:
        """Its lines; a table's rows with its cells between bars."""
        if self.cells is not None:
            return "\n".join(" | ".join(row) for row in self.cells)
        return "\n".join(piece.text for piece in self.pieces)


def text_blocks(
    pieces: Sequence[Piece], *, vertical: float, horizontal: float, body: float, typed: bool
) -> list[Block]:
    """The blocks of one column, from the top.

    `body` is the usual size of text; without `typed` all are paragraphs. `vertical` and `horizontal` are the
    largest gaps in points between lines of a block and pieces of a line.
    """
    lines = _lines(pieces, horizontal)
    usual = _usual_gap(lines, vertical)
    groups: list[list[Piece]] = []
    for line in lines:
        group = next(
            (one for one in reversed(groups[-4:]) if one_above_the_other(one[-1].box, line.box)), None
        )
        if group is not None and _goes_on(group, line, usual, vertical):
            group.append(line)
        else:
            groups.append([line])
    blocks = [_block(group, body, typed) for group in groups]
    return _lists_joined(blocks, vertical) if typed else blocks


def body_size(pieces: Sequence[Piece]) -> float:
    """The size in which most characters are set."""
    sizes: dict[float, int] = {}
    for piece in pieces:
        size = round(piece.size * 2) / 2
        sizes[size] = sizes.get(size, 0) + len(piece.text)
    return max(sizes, key=lambda size: (sizes[size], -size)) if sizes else 0.0


def _lines(pieces: Sequence[Piece], horizontal: float) -> list[Piece]:
    lines = []
    for row in rows(pieces):
        run = [row[0]]
        for piece in row[1:]:
            if piece.box[0] - run[-1].box[2] > horizontal:
                lines.append(joined(run))
                run = []
            run.append(piece)
        lines.append(joined(run))
    return lines


def _usual_gap(lines: Sequence[Piece], vertical: float) -> float:
    """Middle gap between lines that follow each other in one size, as far as they may be of one block."""
    gaps = [
        other.box[1] - one.box[3]
        for one, other in pairwise(lines)
        if one_above_the_other(one.box, other.box) and 0.85 < one.size / max(other.size, 0.1) < 1.18
    ]
    near = [gap for gap in gaps if gap <= vertical]
    return float(np.median(near)) if near else 0.0


def _goes_on(group: Sequence[Piece], line: Piece, usual: float, vertical: float) -> bool:
    """Whether a line belongs to the block above it."""
    last, first = group[-1], group[0]
    gap = line.box[1] - last.box[3]
    larger = max(last.size, line.size) / max(min(last.size, line.size), 0.1)
    tolerance = 1.5 if line.confidence is not None else 1.18  # sizes of lines that OCR found are rough
    if gap > vertical or gap > usual + _SPACING * line.size or larger > tolerance:
        return False
    if last.bold != line.bold and (_is_short(last) or _is_short(line)) and line.confidence is None:
        return False
    if _MARK.match(line.text):
        return False
    indent = (line.box[0] - min(piece.box[0] for piece in group)) / max(line.size, 0.1)
    flush = abs(last.box[0] - first.box[0]) < 0.3 * line.size or len(group) == 1
    begins = _INDENT[0] <= indent <= _INDENT[1] and flush and not _MARK.match(first.text)
    return not (begins and (len(group) > 1 or _ENDED.search(last.text) is not None))


def _is_short(line: Piece) -> bool:
    return len(line.text) <= 80


def _block(group: list[Piece], body: float, typed: bool) -> Block:
    block = Block("paragraph", around(line.box for line in group), group)
    if not typed:
        return block
    text = block.text
    size = joined_size(group)
    short = len(group) <= _HEADING_LINES and len(text) <= _HEADING_LETTERS and any(map(str.isalpha, text))
    read = group[0].confidence is not None
    ratio = size / body if body else 1.0
    if short and ratio >= (_LARGER if not read else 1.5):
        block.kind = "header"
        block.level = next(level for least, level in _LEVELS if ratio >= least)
    elif _MARK.match(group[0].text):
        block.kind = "list"
    elif (
        short
        and not read
        and all(line.bold for line in group)
        and ratio >= 0.95
        and not text.endswith((".", ","))
    ):
        block.kind, block.level = "header", _BOLD_LEVEL
    elif len(group) >= 3 and sum(1 for line in group if _LABEL.search(line.text)) >= 0.6 * len(group):
        block.kind = "form"
    return block


def joined_size(group: Sequence[Piece]) -> float:
    """Size of a block's text: that of its longest line."""
    return max(group, key=lambda line: len(line.text)).size


def _lists_joined(blocks: Sequence[Block], vertical: float) -> list[Block]:
    """Items that follow each other, and numbers alone in a heading's place, made one list."""
    found: list[Block] = []
    for block in blocks:
        last = found[-1] if found else None
        if (
            last is not None
            and last.kind == block.kind == "list"
            and block.box[1] - last.box[3] <= vertical
            and one_above_the_other(last.box, block.box)
        ):
            last.pieces.extend(block.pieces)
            last.box = around((last.box, block.box))
        else:
            found.append(block)
    return found
