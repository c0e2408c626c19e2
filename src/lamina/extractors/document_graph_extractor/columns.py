"""Columns of prose, and so the order of reading (a recursive cut along white space, after Nagy's X-Y tree).

A page is cut along the longest white gutter that has prose on both sides; what lies above it is read before,
what lies below it after, and each part is cut in the same way. Tables have gutters, too, but no prose beside
them: they stay whole.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.extractors.document_graph_extractor.geometry import around
from lamina.extractors.document_graph_extractor.lines import Piece, rows

_GUTTER: Final = 0.8
"""Narrowest gutter, by the size of the text."""

_MIN_ROWS: Final = 3
_FILLED: Final = 0.3
"""Share of the width that the longest piece of the middle row fills, if this is prose."""

_LETTERS, _WORDS = 15, 3
"""Of the middle piece, if it is prose: the cells of tables hold less."""

_MAX_CANDIDATES: Final = 400


class _Cut(NamedTuple):
    above: list[Piece]
    left: list[Piece]
    right: list[Piece]
    below: list[Piece]


def columns(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces in groups that are read one after the other, each one column wide."""
    cut = _best_cut(pieces) if len(pieces) >= 2 * _MIN_ROWS else None
    if cut is None:
        return [list(pieces)] if pieces else []
    return [group for part in cut for group in columns(part)]


def _best_cut(pieces: Sequence[Piece]) -> _Cut | None:
    boxes = np.array([piece.box for piece in pieces], np.float64)
    middles = (boxes[:, 1] + boxes[:, 3]) / 2
    written = np.array([(len(piece.text), _words(piece.text)) for piece in pieces])
    size = float(np.median([piece.size for piece in pieces]))
    best: tuple[float, _Cut] | None = None
    for x, y in _gaps(pieces, _GUTTER * size):
        stretch = _stretch(boxes, middles, x, y)
        if stretch is None:
            continue
        left, right, top, bottom = stretch
        white = boxes[right, 0].min() - boxes[left, 2].max()
        shared = min(boxes[left, 3].max(), boxes[right, 3].max()) - max(
            boxes[left, 1].min(), boxes[right, 1].min()
        )
        if white < _GUTTER * size or shared <= 0 or (best is not None and shared <= best[0]):
            continue
        if not (_is_running(written[left]) and _is_running(written[right])):
            continue
        cut = _Cut(*(_chosen(pieces, who) for who in (middles <= top, left, right, middles >= bottom)))
        if _fills(cut.left) and _fills(cut.right):
            best = (shared, cut)
    return best[1] if best else None


def _chosen(pieces: Sequence[Piece], who: NDArray[np.bool_]) -> list[Piece]:
    return [piece for piece, chosen in zip(pieces, who, strict=True) if chosen]


def _gaps(pieces: Sequence[Piece], width: float) -> list[tuple[float, float]]:
    """Middles of the white between neighbours of a row, those at the same place once for each stretch."""
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for row in rows(pieces):
        for one, other in pairwise(row):
            if other.box[0] - one.box[2] >= width:
                x, y = (one.box[2] + other.box[0]) / 2, (one.box[1] + one.box[3]) / 2
                found.setdefault((round(x / 4), round(y / 40)), (x, y))
    return list(found.values())[:_MAX_CANDIDATES]


def _stretch(
    boxes: NDArray[np.float64], middles: NDArray[np.float64], x: float, y: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float, float] | None:
    """Who is left and right of a vertical line through a point, as far up and down as nothing crosses it."""
    lefts, tops, rights, bottoms = boxes.T
    crossing = (lefts < x) & (rights > x)
    above, below = crossing & (bottoms <= y), crossing & (tops >= y)
    if (crossing & ~above & ~below).any():
        return None
    top = bottoms[above].max() if above.any() else -np.inf
    bottom = tops[below].min() if below.any() else np.inf
    inside = (middles > top) & (middles < bottom)
    left, right = inside & (rights <= x), inside & (lefts >= x)
    if not left.any() or not right.any():
        return None
    return left, right, float(top), float(bottom)


def _is_running(written: NDArray[np.int_]) -> bool:
    """Whether pieces hold running text, by the letters and words of each, and not cells or labels."""
    texts = written[written[:, 0] > 0]
    if len(texts) < _MIN_ROWS:
        return False
    letters, words = np.median(texts, axis=0)
    return bool(letters >= _LETTERS and words >= _WORDS)


def _fills(pieces: Sequence[Piece]) -> bool:
    """Whether there are several rows, and the middle one has a piece as long as lines of a column are."""
    found = rows(pieces)
    whole = around(piece.box for piece in pieces)
    width = max(whole[2] - whole[0], 1.0)
    filled = np.median([max(piece.box[2] - piece.box[0] for piece in row) / width for row in found])
    return bool(len(found) >= _MIN_ROWS and filled >= _FILLED)


def _words(text: str) -> int:
    """Words; in scripts that do not part them two characters count as one."""
    unparted = sum("\u3040" <= character <= "\u9fff" for character in text)
    return len(text.split()) + unparted // 2
