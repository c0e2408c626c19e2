"""A page's text and drawings to blocks in the order of reading."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lamina.extractors.document_graph_extractor.blocks import Block, ObjectType, body_size, text_blocks
from lamina.extractors.document_graph_extractor.columns import columns
from lamina.extractors.document_graph_extractor.figures import figures, with_captions
from lamina.extractors.document_graph_extractor.geometry import holds, turned, turned_back
from lamina.extractors.document_graph_extractor.lines import Piece, pieces_of_words
from lamina.extractors.document_graph_extractor.parameters import DocumentGraphExtractorParameters
from lamina.extractors.document_graph_extractor.tables import (
    Table,
    aligned_tables,
    covers_page,
    grids,
    ruled_table,
)
from lamina.media.pdf_drawings import Drawings
from lamina.media.pdf_words import Box, Word

_FIELDS: Final = 3
"""Boxes to write in that make a form out of a frame."""


_ONLY_NUMBER: Final = re.compile(
    r"^[\W_]*(?:page|seite|p\.)?[\W_]*#{1,4}(?:\s*(?:/|of|von)\s*#{1,4})?[\W_]*$"
)
_NUMBERED: Final = re.compile(r"^#{1,4}\s+\D|\D\s+#{1,4}$")
"""The number of a page, and a line that begins or ends with one; digits are written `#`."""


@dataclass(slots=True)
class Content:
    """What is on a page. Text is in `words`, or in `pieces` where OCR read it. `size` is (width, height)."""

    size: tuple[float, float]
    words: Sequence[Word] = ()
    pieces: Sequence[Piece] = ()
    drawings: Drawings = field(default_factory=Drawings)


def lay_out(content: Content, given: DocumentGraphExtractorParameters) -> list[Block]:
    """The blocks of a page; text that runs in another direction than most comes last."""
    if content.pieces:
        return _upright(content, given)
    by_angle: dict[int, list[Word]] = {}
    for word in content.words:
        by_angle.setdefault(word.angle, []).append(word)
    blocks: list[Block] = []
    for angle, words in sorted(by_angle.items(), key=lambda one: (-len(one[1]), one[0])) or [(0, [])]:
        drawings = Drawings() if blocks else content.drawings
        blocks += _turned(Content(content.size, words, drawings=drawings), angle, given)
    return blocks


def _turned(content: Content, angle: int, given: DocumentGraphExtractorParameters) -> list[Block]:
    """Lay out text of one direction in the frame in which it is upright."""
    if angle == 0:
        return _upright(content, given)
    page = content.size
    size = page if angle == 180 else (page[1], page[0])
    words = [
        Word(word.text, turned(word.box, angle, page), word.size, word.bold, word.hidden)
        for word in content.words
    ]
    drawn = content.drawings
    pictures, rules, shapes = (
        [turned(box, angle, page) for box in boxes] for boxes in (drawn.pictures, drawn.rules, drawn.shapes)
    )
    blocks = _upright(Content(size, words, drawings=Drawings(pictures, rules, shapes)), given)
    for block in blocks:
        block.box = turned_back(block.box, angle, page)
    return blocks


def _upright(content: Content, given: DocumentGraphExtractorParameters) -> list[Block]:
    placed: list[Block] = []
    words = list(content.words)
    if given.use_layout_detection:
        placed, words = _ruled(content, words)
        placed, words = _with_figures(content, placed, words)
    pieces = list(content.pieces) or pieces_of_words(words)
    if given.use_layout_detection and content.pieces:
        placed = [block for block in placed if block.kind != "figure"]
    body = body_size(pieces)
    blocks: list[Block] = []
    for column in columns([*pieces, *(_stand_in(block) for block in placed)]):
        inside = [block for block in placed if any(piece.box == block.box for piece in column)]
        text = [piece for piece in column if piece.text]
        tables: list[Table] = []
        if given.use_layout_detection:
            tables, text = aligned_tables(text)
        found = text_blocks(
            text,
            vertical=given.vertical_threshold,
            horizontal=given.horizontal_threshold,
            body=body,
            typed=given.use_layout_detection,
        )
        found += inside
        found += [Block("table", table.box, table.pieces, table.cells) for table in tables]
        blocks += sorted(found, key=lambda block: (block.box[1], block.box[0]))
    return with_captions(blocks) if given.use_layout_detection else blocks


def _stand_in(block: Block) -> Piece:
    """A block as a piece without text, so that it takes part in the order of reading."""
    size = block.pieces[0].size if block.pieces else 10.0
    return Piece("", block.box, size)


def _ruled(content: Content, words: list[Word]) -> tuple[list[Block], list[Word]]:
    """Tables and forms that are ruled, the innermost first, and the words outside of them."""
    blocks: list[Block] = []
    found = grids(content.drawings.rules)
    for grid in sorted(found, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1])):
        inside = [word for word in words if holds(grid.box, word.box)]
        table = ruled_table(grid, inside) if inside else None
        if table is not None:
            blocks.append(Block("table", table.box, table.pieces, table.cells))
        elif len(inside) > _FIELDS and not covers_page(grid.box, content.size) and _is_form(grid.xs, grid.ys):
            blocks.append(Block("form", grid.box, pieces_of_words(inside, gap=3.0)))
        else:
            continue
        words = [word for word in words if not holds(grid.box, word.box)]
    return blocks, words


def _is_form(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Whether a grid has that many boxes: it holds too little text for a table."""
    return len(xs) - 1 >= _FIELDS or len(ys) - 1 >= _FIELDS


def _with_figures(content: Content, placed: list[Block], words: list[Word]) -> tuple[list[Block], list[Word]]:
    """Figures with the words that stand in them, added to what is placed."""
    for box in figures(content.drawings, [block.box for block in placed], content.size):
        inside = [word for word in words if holds(box, word.box)]
        words = [word for word in words if not holds(box, word.box)]
        placed.append(Block("figure", box, pieces_of_words(inside)))
    return placed, words


def mark_running(pages: Sequence[tuple[float, list[Block]]]) -> None:
    """Make headers and footers of what stands at the edges of pages; each is (height, blocks).

    Text in the outer eighth that two of the pages share, digits aside, is a running head or foot. So is the
    number of a page, and in the outer twelfth a line with that number, or a short block that keeps apart.
    """
    seen: dict[str, int] = {}
    for height, blocks in pages:
        for key in {_key(block) for block in blocks if _edge(block, height, 8)}:
            seen[key] = seen.get(key, 0) + 1
    for height, blocks in pages:
        for block in blocks:
            kind = _edge(block, height, 8)
            if kind is None or block.cells is not None or block.kind == "figure":
                continue
            outer = _edge(block, height, 12) is not None and len(block.pieces) <= 2
            key = _key(block)
            number = _ONLY_NUMBER.match(key) or (outer and _NUMBERED.search(key))
            repeated = seen[key] > 1 and len(block.pieces) <= 3
            apart = outer and _is_apart(block, blocks, kind)
            if number or repeated or apart:
                block.kind, block.level = kind, None


def _key(block: Block) -> str:
    return "".join("#" if character.isdigit() else character for character in block.text.lower()).strip()


def _edge(block: Block, height: float, part: int) -> ObjectType | None:
    if block.box[3] <= height / part:
        return "header"
    if block.box[1] >= height * (1 - 1 / part):
        return "footer"
    return None


def _is_apart(block: Block, blocks: Sequence[Block], kind: ObjectType) -> bool:
    """Whether a block of one or two lines, no larger than the text, has white between it and the rest."""
    others = [other for other in blocks if other is not block and other.pieces]
    if block.level in {1, 2} or not others:
        return False
    size = block.pieces[0].size
    if kind == "header":
        gap = min(
            (other.box[1] - block.box[3] for other in others if other.box[1] >= block.box[1]), default=0
        )
    else:
        gap = min(
            (block.box[1] - other.box[3] for other in others if other.box[3] <= block.box[3]), default=0
        )
    return gap > 1.5 * size


def within(box: Box, page: tuple[float, float]) -> Box:
    """A box cut to its page."""
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], page[0]), min(box[3], page[1])
