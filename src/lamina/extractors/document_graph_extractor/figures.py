"""Figures: pictures on a page, and what is drawn with lines and areas."""

import re
from collections.abc import Sequence
from typing import Final

from lamina.extractors.document_graph_extractor.blocks import Block
from lamina.extractors.document_graph_extractor.geometry import around, clusters, holds, one_above_the_other
from lamina.extractors.document_graph_extractor.tables import covers_page
from lamina.media.pdf_drawings import Drawings
from lamina.media.pdf_words import Box

CAPTION: Final = re.compile(
    r"^\s*(?:fig(?:ure|\.)|abb(?:ildung|\.)|image|photo|plate|chart|diagram|illustration)\s*[\dA-Z]{1,3}\b",
    re.I,
)

_SMALLEST: Final = 30.0
"""Shorter side of a picture in points; smaller ones are icons and logos."""

_DRAWN: Final = 50.0
_SHAPES: Final = 8
"""Shorter side, and number of shapes, of a drawing: fewer are boxes behind text."""

_MAX_SHAPES: Final = 3_000
_TOGETHER: Final = 8.0
_CAPTION_WITHIN: Final = 40.0


def figures(drawings: Drawings, taken: Sequence[Box], page: tuple[float, float]) -> list[Box]:
    """Where figures are; `taken` are the places of tables. What is as large as the page is its background."""
    pictures = [
        box
        for box in drawings.pictures
        if min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST and not covers_page(box, page)
    ]
    shapes = [
        box
        for box in drawings.shapes[:_MAX_SHAPES]
        if not covers_page(box, page) and not any(holds(table, box) for table in taken)
    ]
    drawn = []
    for members in clusters(shapes, _TOGETHER):
        box = around(shapes[at] for at in members)
        if len(members) >= _SHAPES and min(box[2] - box[0], box[3] - box[1]) >= _DRAWN:
            drawn.append(box)
    return [
        around(boxes[at] for at in members)
        for boxes in ([*pictures, *drawn],)
        for members in clusters(boxes, 0.0)
    ]


def with_captions(blocks: Sequence[Block]) -> list[Block]:
    """The blocks, with the captions in their figures in place of blocks of their own."""
    kept = list(blocks)
    for figure in [block for block in blocks if block.kind == "figure"]:
        near = [
            block
            for block in kept
            if block.kind != "figure" and CAPTION.match(block.text) and _beside(figure.box, block.box)
        ]
        if near:
            caption = min(near, key=lambda block: _distance(figure.box, block.box))
            figure.pieces = [*caption.pieces, *figure.pieces]
            figure.box = around((figure.box, caption.box))
            kept.remove(caption)
    return kept


def _beside(figure: Box, caption: Box) -> bool:
    return one_above_the_other(figure, caption) and _distance(figure, caption) <= _CAPTION_WITHIN


def _distance(figure: Box, caption: Box) -> float:
    return max(caption[1] - figure[3], figure[1] - caption[3], 0.0)
