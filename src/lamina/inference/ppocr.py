"""Reading text in pictures with PP-OCR: a detector of lines (DBNet), and a recogniser of each (SVTR, CTC).

Follows PaddleOCR's own processing (https://github.com/PaddlePaddle/PaddleOCR, `ppocr/postprocess`), but for
two things that were measured with `bench/quality_pages.py`. The detector looks at a small copy first, and
again at a larger one only where the letters turn out small. Lines are squeezed to `SQUEEZE` of their width,
which saves that share of the recogniser's time; where it is then unsure, it reads the line unsqueezed.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError
from lamina.inference.base import Image, ModelCard, TextLine
from lamina.inference.ctc import Alphabet
from lamina.inference.sessions import open_session

if TYPE_CHECKING:
    from lamina.inference.registry import Models

Quad = NDArray[np.float32]
"""Corners of a line, shape (4, 2), in pixels: its beginning and end above, its end and beginning below."""

FIRST_AREA: Final = 832 * 608
"""Pixels of the copy that the detector looks at first."""

SECOND_AREA: Final = 1760 * 1760
"""Pixels that it looks at again at most."""

SMALL_LETTERS: Final = 9.0
"""Height of lines, in pixels of the copy, below which it is worth looking at a larger one."""

GOOD_LETTERS: Final = 13.0
"""Height that the larger copy is made for."""

MISSED, MISSED_PIXELS = 0.2, 400
"""Share of what is probably text, and number of pixels, outside of all boxes that call for a closer look."""

WORTHWHILE: Final = 1.2
"""Growth of the copy from which another look may show more."""

LARGEST_GROWTH: Final = 2.0
"""How far small pictures are enlarged for the detector."""

SQUEEZE: Final = 0.8
SURE: Final = 0.9
"""Confidence below which a squeezed line is read again in full width."""

READABLE: Final = 0.5
"""Confidence below which a line is not text: PaddleOCR's `drop_score`."""

UPRIGHT: Final = 0.8
"""Confidence below which it is tried whether a line reads better upside down."""

HEIGHT: Final = 48
MIN_WIDTH, MAX_WIDTH = 16, 3200
"""The recogniser's input in pixels; nothing is read of a line that is longer than that."""

_STEP: Final = 32
"""The detector's input is a multiple of it on both sides."""

_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32) * 255
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], np.float32) * 255

_THRESHOLD, _BOX_THRESHOLD, _UNCLIP = 0.3, 0.5, 1.6
"""Of a pixel's and of a box's probability, and how far a box grows: as RapidOCR has them for PP-OCRv6."""

_MISSED_THRESHOLD: Final = 0.2
_MAX_BOXES: Final = 2000
_TALL: Final = 1.5
_SURELY_TALL: Final = 3.0
"""Height by width from which a box may be, and surely is, a line that runs up or down."""


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "PPOCRReader":
    """A reader from the files `detector` and `recogniser`, which carries its characters in its metadata."""
    cv2.setNumThreads(models.settings.threads)
    return PPOCRReader(card, paths["detector"], paths["recogniser"], threads=models.settings.threads)


class PPOCRReader:
    """Reads the text in pictures, in any direction. `UnavailableError` for files that cannot be loaded.

    >>> PPOCRReader(card, detector, recogniser).read(picture)
    [TextLine(text='Region-based segmentation', confidence=0.99, box=(4.0, 8.0, 301.0, 32.0))]
    """

    def __init__(self, card: ModelCard, detector: Path, recogniser: Path, *, threads: int = 1) -> None:
        self.card = card
        self._detector = open_session(detector, threads, name=card.name)
        self._recogniser = open_session(recogniser, threads, name=card.name)
        listed = self._recogniser.get_modelmeta().custom_metadata_map.get("character")
        if not listed:
            raise UnavailableError(f"Model '{card.name}' does not name its characters: {recogniser}.")
        self._alphabet = Alphabet([*listed.split("\n"), " "])

    def read(self, image: Image) -> list[TextLine]:
        """The lines in reading order: from the top, and from the left within a row."""
        if min(image.shape[:2]) < HEIGHT // 8:
            return []
        picture = np.ascontiguousarray(image[:, :, ::-1])  # PaddleOCR's models were trained on BGR
        return reading_order(self._read_lines(picture, self._find(picture)))

    def _read_lines(self, picture: Image, quads: Sequence[Quad]) -> list[TextLine]:
        found = []
        for quad in quads:
            text, confidence = self._read_line(picture, quad)
            if text.strip() and confidence >= READABLE:
                (left, top), (right, bottom) = quad.min(0), quad.max(0)
                box = (float(left), float(top), float(right), float(bottom))
                found.append(TextLine(text.strip(), confidence, box))
        return found

    # Where lines are

    def _find(self, picture: Image) -> list[Quad]:
        area = picture.shape[0] * picture.shape[1]
        scale = min(math.sqrt(FIRST_AREA / area), LARGEST_GROWTH)
        largest = min(math.sqrt(SECOND_AREA / area), LARGEST_GROWTH)
        quads, missed = self._detect(picture, scale)
        letters = scale * float(np.median([_sides(quad)[1] for quad in quads])) if quads else GOOD_LETTERS
        closer = largest if missed else min(scale * GOOD_LETTERS / letters, largest)
        if (missed or letters < SMALL_LETTERS) and closer > WORTHWHILE * scale:
            quads, _ = self._detect(picture, closer)
        return quads

    def _detect(self, picture: Image, scale: float) -> tuple[list[Quad], bool]:
        """Lines that the detector sees in a copy of that scale, in pixels of the picture.

        Also whether it saw more than it could put boxes around, as it does where letters are too small.
        """
        height, width = picture.shape[:2]
        size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
        copy = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        given = ((copy.astype(np.float32) - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
        probability = _run(self._detector, given)[0, 0]
        growth = np.array([width / size[0], height / size[1]], np.float32)
        limit = np.array([width - 1, height - 1], np.float32)
        boxes = _boxes(probability)
        quads = [np.clip(box * growth, 0, limit).astype(np.float32) for box in boxes]
        return [quad for quad in quads if min(_sides(quad)) > 3], _misses(probability, boxes)

    # What they say

    def _read_line(self, picture: Image, quad: Quad) -> tuple[str, float]:
        """A line's text and how sure that is; of several ways to turn it, the surest."""
        width, height = _sides(quad)
        ways = [quad]
        if height >= _TALL * width:
            turned = np.roll(quad, -1, axis=0)  # begins at the top right: text that runs downwards
            ways = [turned] if height >= _SURELY_TALL * width else [quad, turned]
        best = max((self._read_quad(picture, way) for way in ways), key=lambda read: read[1])
        if best[1] < UPRIGHT:
            upside_down = (self._read_quad(picture, np.roll(way, -2, axis=0)) for way in ways)
            best = max([best, *upside_down], key=lambda read: read[1])
        return best

    def _read_quad(self, picture: Image, quad: Quad) -> tuple[str, float]:
        line = _cut_out(picture, quad)
        text, confidence = self._recognise(line, SQUEEZE)
        return (text, confidence) if confidence >= SURE else self._recognise(line, 1.0)

    def _recognise(self, line: Image, squeeze: float) -> tuple[str, float]:
        height, width = line.shape[:2]
        wanted = min(max(round(HEIGHT * width / height * squeeze), MIN_WIDTH), MAX_WIDTH)
        shrinks = wanted * HEIGHT < width * height
        small = cv2.resize(
            line, (wanted, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        # a line at a time: batches of four took half as long again for each, they leave the cache
        given = (small.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]
        return self._alphabet.decode(_run(self._recogniser, given)[0])


def reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Lines by rows from the top, from the left within one. Those of a row overlap by half their height."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda one: (one.box[1] + one.box[3], one.box[0])):
        if rows and _in_row(line, rows[-1][0]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one.box[0])]


def _in_row(line: TextLine, first: TextLine) -> bool:
    (_, top, _, bottom), (_, its_top, _, its_bottom) = line.box, first.box
    overlap = min(bottom, its_bottom) - max(top, its_top)
    return overlap > 0.5 * min(bottom - top, its_bottom - its_top)


def _boxes(probability: NDArray[np.float32]) -> list[Quad]:
    """Boxes around what is probably text (Liao et al., 2020, "Real-time Scene Text Detection with DB").

    The network marks lines shrunk. A rectangle grows back by area × `_UNCLIP` / perimeter on each side.
    """
    likely = cv2.dilate((probability > _THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(likely, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours[:_MAX_BOXES]:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < 3 or _mean(probability, (centre, (width, height), angle)) < _BOX_THRESHOLD:
            continue
        grown = width * height * _UNCLIP / (width + height)
        box = cv2.boxPoints((centre, (width + grown, height + grown), angle))
        found.append(_ordered(np.asarray(box, np.float32)))
    return found


def _misses(probability: NDArray[np.float32], boxes: Sequence[Quad]) -> bool:
    """Whether much of what is probably text lies in no box."""
    likely = probability > _MISSED_THRESHOLD
    outside = np.ones(probability.shape, np.uint8)
    for box in boxes:
        cv2.fillPoly(outside, [box.astype(np.int32)], (0.0,))
    missed = int(np.count_nonzero(likely & (outside > 0)))
    return missed > max(MISSED * np.count_nonzero(likely), MISSED_PIXELS)


def _mean(probability: NDArray[np.float32], box: tuple[Sequence[float], tuple[float, float], float]) -> float:
    """Mean probability within a turned box."""
    corners = cv2.boxPoints(box)
    height, width = probability.shape
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, [width - 1, height - 1])
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int), 0, [width - 1, height - 1])
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [(corners - [left, top]).astype(np.int32)], (1.0,))
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0])


def _ordered(corners: Quad) -> Quad:
    """Corners from the top left one, clockwise."""
    by_side = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (side[np.argsort(side[:, 1], kind="stable")] for side in (by_side[:2], by_side[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def _sides(quad: Quad) -> tuple[float, float]:
    """Width and height of a line."""
    width = max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[3] - quad[2]))
    height = max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))
    return float(width), float(height)


def _cut_out(picture: Image, quad: Quad) -> Image:
    """The line, laid straight."""
    width, height = (max(round(side), 1) for side in _sides(quad))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.asarray(
        cv2.warpPerspective(
            picture,
            cv2.getPerspectiveTransform(quad, target),
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _run(session: ort.InferenceSession, given: NDArray[np.float32]) -> NDArray[np.float32]:
    name = session.get_inputs()[0].name
    output: NDArray[np.float32] = session.run(None, {name: np.ascontiguousarray(given)})[0]
    return output
