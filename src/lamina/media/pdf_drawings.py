"""What is drawn on a PDF page besides text: pictures, ruled lines, other shapes."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pypdfium2
import pypdfium2.raw as pdfium

from lamina.media.pdf_words import Affine, Box

MAX_OBJECTS: Final = 20_000
MAX_SEGMENTS: Final = 100_000
"""What is looked at of one page; drawings with more are charts or maps, of which it tells enough."""

_MAX_DEPTH: Final = 8
"""Of forms within forms."""

_THIN: Final = 3.0
"""Thickest rule in points: wider shapes are areas."""

_SHORTEST: Final = 6.0
"""Shortest rule in points: below are parts of letters, dashes and ticks."""

_STRAIGHT: Final = 0.5

_IDENTITY: Final = Affine(1, 0, 0, 1, 0, 0)

_Raw = Any
"""A handle of PDFium."""


@dataclass(slots=True)
class Drawings:
    """What is drawn. `pixels` counts those of all pictures, as they would be decoded.

    `rules` are straight horizontal and vertical lines, thin boxes; `shapes` are the boxes around everything
    else that is drawn with lines and areas.
    """

    pictures: list[Box] = field(default_factory=list)
    rules: list[Box] = field(default_factory=list)
    shapes: list[Box] = field(default_factory=list)
    pixels: int = 0


def drawings_of(page: pypdfium2.PdfPage, to_points: Affine, size: tuple[float, float]) -> Drawings:
    """The drawings of a page, cut to it."""
    found = Drawings()
    segments = 0
    for kind, raw, matrix in _objects(page):
        to_page = to_points.after(matrix)
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            found.pixels += _pixels(raw)
            _add(found.pictures, _bounds(raw, to_page), size)
        elif kind == pdfium.FPDF_PAGEOBJ_PATH:
            bounds = _bounds(raw, to_page)
            if bounds is None or not _drawn(raw):
                continue
            if _thin(bounds):
                _add(found.rules, bounds, size)
                continue
            segments += max(pdfium.FPDFPath_CountSegments(raw), 0)
            rules = list(_rules(raw, to_page)) if segments <= MAX_SEGMENTS else []
            for rule in rules:
                _add(found.rules, rule, size)
            if not rules:
                _add(found.shapes, bounds, size)
        elif kind == pdfium.FPDF_PAGEOBJ_SHADING:
            _add(found.shapes, _bounds(raw, to_page), size)
    return found


def _objects(page: pypdfium2.PdfPage) -> Iterator[tuple[int, _Raw, Affine]]:
    """Every object with the matrix of the forms that it is in, in the order of drawing."""
    pending: list[tuple[_Raw, Affine, int]] = [
        (pdfium.FPDFPage_GetObject(page, at), _IDENTITY, 0)
        for at in reversed(range(min(pdfium.FPDFPage_CountObjects(page), MAX_OBJECTS)))
    ]
    seen = 0
    while pending and seen < MAX_OBJECTS:
        raw, matrix, depth = pending.pop()
        seen += 1
        kind = pdfium.FPDFPageObj_GetType(raw)
        if kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
            inner = matrix.after(_matrix(raw))
            count = min(pdfium.FPDFFormObj_CountObjects(raw), MAX_OBJECTS)
            pending += [
                (pdfium.FPDFFormObj_GetObject(raw, at), inner, depth + 1) for at in reversed(range(count))
            ]
        elif kind != pdfium.FPDF_PAGEOBJ_TEXT:
            yield kind, raw, matrix


def _rules(path: _Raw, to_page: Affine) -> Iterator[Box]:
    """The straight lines of a path, if it is stroked and made of nothing else."""
    if not _stroked(path):
        return
    to_page = to_page.after(_matrix(path))
    x, y = ctypes.c_float(), ctypes.c_float()
    rules: list[Box] = []
    start = last = (0.0, 0.0)
    for at in range(pdfium.FPDFPath_CountSegments(path)):
        segment = pdfium.FPDFPath_GetPathSegment(path, at)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_BEZIERTO or not pdfium.FPDFPathSegment_GetPoint(segment, x, y):
            return
        here = to_page.point(x.value, y.value)
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            start = here
        else:
            lines = [(last, here)]
            if pdfium.FPDFPathSegment_GetClose(segment):
                lines.append((here, start))
            for one, other in lines:
                rule = _line(one, other)
                if min(rule[2] - rule[0], rule[3] - rule[1]) > _STRAIGHT:
                    return
                if max(rule[2] - rule[0], rule[3] - rule[1]) >= _SHORTEST:
                    rules.append(rule)
        last = here
    yield from rules


def _line(one: tuple[float, float], other: tuple[float, float]) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _thin(box: Box) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height) <= _THIN and max(width, height) >= _SHORTEST


def _add(boxes: list[Box], box: Box | None, size: tuple[float, float]) -> None:
    if box is not None:
        cut = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], size[0]), min(box[3], size[1]))
        if cut[0] <= cut[2] and cut[1] <= cut[3]:
            boxes.append(cut)


def _bounds(raw: _Raw, to_page: Affine) -> Box | None:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not pdfium.FPDFPageObj_GetBounds(raw, left, bottom, right, top):
        return None
    return to_page.box(left.value, bottom.value, right.value, top.value)


def _matrix(raw: _Raw) -> Affine:
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(raw, matrix):
        return _IDENTITY
    return Affine(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)


def _pixels(image: _Raw) -> int:
    width, height = ctypes.c_uint(), ctypes.c_uint()
    if not pdfium.FPDFImageObj_GetImagePixelSize(image, width, height):
        return 0
    return width.value * height.value


def _stroked(path: _Raw) -> bool:
    return _mode(path)[1]


def _drawn(path: _Raw) -> bool:
    fill, stroke = _mode(path)
    return fill or stroke


def _mode(path: _Raw) -> tuple[bool, bool]:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(path, fill, stroke)
    return bool(fill.value), bool(stroke.value)
