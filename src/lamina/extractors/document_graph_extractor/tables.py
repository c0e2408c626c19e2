"""Tables: those that are ruled, by their lines; others by the white between their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.extractors.document_graph_extractor.geometry import area, around, clusters, holds
from lamina.extractors.document_graph_extractor.lines import Piece, joined, pieces_of_words, rows
from lamina.media.pdf_words import Box, Word

_SNAP: Final = 3.0
"""Points within which rules meet, and are of one edge."""

_FILLED: Final = 0.4
"""Share of a grid's cells that hold text, if it is a table."""

_LINES_OF_CELL: Final = 4
"""Lines of text by row of a grid from which its rows are looked for in the text."""

_MIN_ROWS: Final = 3
_CELL_LETTERS: Final = 30
"""Characters of the middle one of a table's cells at most: longer ones are columns of prose."""

_OPEN: Final = 0.8
"""Share of its width that an unruled table fills at most: prose fills more."""

_ROW_GAP: Final = 1.8
"""Largest gap between rows of one unruled table, by the size of the text."""


@dataclass(slots=True)
class Table:
    """A table: its cells by rows, and the pieces of text that it is made of."""

    box: Box
    cells: list[list[str]]
    pieces: list[Piece]


@dataclass(slots=True)
class Grid:
    """Rules that meet each other. `xs` and `ys` are its edges from left to right and from the top down."""

    box: Box
    xs: list[float]
    ys: list[float]
    upright: list[Box]


def grids(rules: Sequence[Box]) -> list[Grid]:
    """Grids of at least two cells that the rules of a page form."""
    found = []
    for members in clusters(rules, _SNAP):
        some = [rules[at] for at in members]
        upright = [rule for rule in some if rule[3] - rule[1] > rule[2] - rule[0]]
        level = [rule for rule in some if rule[3] - rule[1] <= rule[2] - rule[0]]
        if not upright or not level:
            continue
        box = around(some)
        xs = _edges([(rule[0] + rule[2]) / 2 for rule in upright] + [box[0], box[2]])
        ys = _edges([(rule[1] + rule[3]) / 2 for rule in level] + [box[1], box[3]])
        if (len(xs) - 1) * (len(ys) - 1) >= 2:
            found.append(Grid(box, xs, ys, upright))
    return found


def ruled_table(grid: Grid, words: Sequence[Word]) -> Table | None:
    """The table in a grid, or none: it may be a frame, a form or a chart. The words are those within."""
    cells: list[list[str]] = []
    for top, bottom in pairwise(grid.ys):
        middle = (top + bottom) / 2
        walls = [0, *_walls(grid, middle), len(grid.xs) - 1]
        row = [""] * (len(grid.xs) - 1)
        for first, last in pairwise(walls):
            row[first] = _text_in(words, (grid.xs[first], top, grid.xs[last], bottom))
        cells.append(row)
    cells = _without_empty(cells)
    if not cells or len(grid.ys) < 3 or len(cells[0]) < 2:  # two rows at least, though one may be empty
        return None
    if sum(1 for row in cells for cell in row if cell) < _FILLED * len(cells) * len(cells[0]):
        return None
    pieces = pieces_of_words(words)
    lines = rows(pieces)
    if len(lines) > _LINES_OF_CELL * len(cells):  # rules part the head or groups of rows only
        aligned = _table_of(lines)
        if aligned is not None:
            return Table(grid.box, aligned.cells, pieces)
    return Table(grid.box, cells, pieces)


def aligned_tables(pieces: Sequence[Piece]) -> tuple[list[Table], list[Piece]]:
    """Unruled tables among the pieces of one column, and the pieces that are in none."""
    tables: list[Table] = []
    rest: list[Piece] = []
    for run in _runs(rows(pieces)):
        table = _table_of(run) if len(run) >= _MIN_ROWS else None
        if table is None:
            rest += [piece for row in run for piece in row]
        else:
            tables.append(table)
    return tables, rest


def _runs(found: Sequence[list[Piece]]) -> list[list[list[Piece]]]:
    """Rows of several pieces that follow each other closely, with rows of one piece between them."""
    runs: list[list[list[Piece]]] = [[]]
    for row in found:
        run = runs[-1]
        gap = row[0].box[1] - max(piece.box[3] for piece in run[-1]) if run else 0.0
        if run and (gap > _ROW_GAP * row[0].size or (len(row) == 1 and len(run[-1]) == 1)):
            runs.append([])
        runs[-1].append(row)
    trimmed: list[list[list[Piece]]] = []
    for run in runs:
        first = next((at for at, row in enumerate(run) if len(row) > 1), len(run))
        last = next((at for at in range(len(run), 0, -1) if len(run[at - 1]) > 1), 0)
        parts = [run[:first], run[first:last], run[last:]] if first < last else [run]
        trimmed += [part for part in parts if part]
    return trimmed


def _table_of(run: Sequence[list[Piece]]) -> Table | None:
    several = [row for row in run if len(row) > 1]
    cells = [piece for row in several for piece in row]
    box = around(piece.box for row in run for piece in row)
    if len(several) < _MIN_ROWS or np.median([len(piece.text) for piece in cells]) > _CELL_LETTERS:
        return None
    if sum(piece.box[2] - piece.box[0] for piece in cells) > _OPEN * len(several) * (box[2] - box[0]):
        return None
    edges = _gutters(several, box)
    if not edges:
        return None
    matrix = [_row(row, edges) for row in run]
    matrix = _without_empty(matrix)
    kept = sum(1 for row in matrix if sum(1 for cell in row if cell) > 1)
    if len(matrix[0]) < 2 or kept < _MIN_ROWS or kept < len(matrix) / 2:
        return None
    return Table(box, matrix, [piece for row in run for piece in row])


def _gutters(several: Sequence[list[Piece]], box: Box) -> list[float]:
    """Middles of the white that runs down through nearly all rows."""
    width = int(np.ceil(box[2] - box[0])) + 1
    crossed: NDArray[np.int32] = np.zeros(width + 1, np.int32)
    for row in several:
        for piece in row:
            crossed[int(piece.box[0] - box[0])] += 1
            crossed[min(int(np.ceil(piece.box[2] - box[0])), width)] -= 1
    white = np.cumsum(crossed[:-1]) <= max(len(several) // 10, 0)
    edges, start = [], None
    for at, is_white in enumerate([*white, False]):
        if is_white and start is None:
            start = at
        elif not is_white and start is not None:
            if start > 0 and at < width - 1 and at - start >= 2:
                edges.append(box[0] + (start + at) / 2)
            start = None
    return edges


def _row(row: Sequence[Piece], edges: Sequence[float]) -> list[str]:
    cells: list[list[Piece]] = [[] for _ in range(len(edges) + 1)]
    for piece in row:
        middle = (piece.box[0] + piece.box[2]) / 2
        cells[int(np.searchsorted(edges, middle))].append(piece)
    return [joined(cell).text if cell else "" for cell in cells]


def _walls(grid: Grid, y: float) -> list[int]:
    """Inner edges that a rule marks at that height: where there is none, cells are merged."""
    inner = range(1, len(grid.xs) - 1)
    return [
        at
        for at in inner
        if any(
            abs((rule[0] + rule[2]) / 2 - grid.xs[at]) <= _SNAP and rule[1] - _SNAP <= y <= rule[3] + _SNAP
            for rule in grid.upright
        )
    ]


def _text_in(words: Sequence[Word], cell: Box) -> str:
    inside = [word for word in words if holds(cell, word.box)]
    return " ".join(piece.text for piece in pieces_of_words(inside)) if inside else ""


def _edges(values: Sequence[float]) -> list[float]:
    """Values that lie within `_SNAP` of each other as one."""
    edges: list[list[float]] = []
    for value in sorted(values):
        if edges and value - edges[-1][-1] <= _SNAP:
            edges[-1].append(value)
        else:
            edges.append([value])
    return [sum(some) / len(some) for some in edges]


def _without_empty(cells: list[list[str]]) -> list[list[str]]:
    kept = [row for row in cells if any(row)]
    if not kept:
        return []
    columns = [at for at in range(len(kept[0])) if any(row[at] for row in kept)]
    return [[row[at] for at in columns] for row in kept]


def covers_page(box: Box, page: tuple[float, float]) -> bool:
    """Whether something is as large as the page: a background, a scan, a frame."""
    return area(box) > 0.85 * page[0] * page[1]
