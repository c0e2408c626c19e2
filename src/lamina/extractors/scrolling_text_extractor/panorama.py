"""Frames of a moving band put together into one picture, and that picture read piece by piece."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from lamina.extractors.scrolling_text_extractor.motion import Band, Grey, grey, shift
from lamina.inference.base import Image, TextReader
from lamina.media.video import Frame

MOST_PIXELS: Final = 10_000_000
"""Of a panorama; what would come after is left out."""

LONGEST_SIDE: Final = 30_000

_AGREES: Final = 0.25
"""By which share a measured shift may differ from the band's speed; else the speed is taken."""

_PIECE: Final = 16
"""Length of a piece that is read at once, in heights of the band."""

_SHORTEST_PIECE: Final = 640


@dataclass(frozen=True, slots=True)
class Read:
    """What stands in a panorama; `confidence` is the mean of its lines, from 0 to 1."""

    text: str
    confidence: float


def stitch(frames: Iterable[Frame], band: Band, pad: int) -> Image | None:
    """The band's frames laid over each other where they show the same; None when there are too few.

    What stands behind the letters changes and blurs, the letters add up.
    """
    canvas: _Canvas | None = None
    before: tuple[float, Grey] | None = None
    for frame in frames:
        piece = _piece(frame.pixels, band, pad)
        now = grey(piece)
        if canvas is None:
            canvas = _Canvas(piece, band)
        if before is not None:
            expected = band.speed * (frame.time - before[0])
            along = shift(before[1], now)[0]
            canvas.move(along if abs(along - expected) <= _AGREES * abs(expected) else expected)
        if not canvas.add(piece):
            break
        before = (frame.time, now)
    return canvas.picture(band) if canvas is not None else None


def read(panorama: Image, band: Band, reader: TextReader) -> Read:
    """The text of a panorama, read in pieces that end where nothing is written."""
    lines = [
        line
        for piece in pieces(panorama, along=1 if band.axis == "horizontal" else 0)
        for line in reader.read(piece)
    ]
    joint = " " if band.axis == "horizontal" else "\n"
    confidence = float(np.mean([line.confidence for line in lines])) if lines else 0.0
    return Read(joint.join(line.text for line in lines), confidence)


def pieces(picture: Image, *, along: int) -> Iterator[Image]:
    """A long picture cut across its direction into pieces, each at the emptiest place of its last third."""
    across = picture.shape[1 - along]
    longest = max(_PIECE * across, _SHORTEST_PIECE) if along == 1 else max(across, _SHORTEST_PIECE)
    ink = np.abs(np.diff(grey(picture).astype(np.float32), axis=along)).mean(axis=1 - along)
    width = max(across // 6, 3) if along == 1 else 5
    ink = np.convolve(ink, np.ones(width) / width, "same")
    start, length = 0, picture.shape[along]
    while length - start > longest:
        first = start + 2 * longest // 3
        end = first + int(np.argmin(ink[first : start + longest]))
        yield picture[:, start:end] if along == 1 else picture[start:end]
        start = end
    yield picture[:, start:] if along == 1 else picture[start:]


def _piece(pixels: Image, band: Band, pad: int) -> Image:
    """The band of a frame, laid so that it moves along its rows."""
    rows = slice(max(band.low - pad, 0), band.high + pad)
    upright = pixels if band.axis == "horizontal" else pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(upright[rows])


class _Canvas:
    """Sums of pixels, and how many frames each sum has. Grows no further than its bounds."""

    def __init__(self, first: Image, band: Band) -> None:
        height, self._width, _ = first.shape
        wanted = self._width + int(abs(band.speed) * (band.end - band.start) * (1 + _AGREES)) + 8
        self._length = min(wanted, LONGEST_SIDE, max(MOST_PIXELS // height, self._width))
        self._sums = np.zeros((height, self._length, 3), np.float32)
        self._counts = np.zeros(self._length, np.float32)
        self._at = float(self._length - self._width) if band.speed > 0 else 0.0

    def move(self, along: float) -> None:
        """The text moved, so the next frame lies the other way."""
        self._at -= along

    def add(self, piece: Image) -> bool:
        """Lay a frame down; False when it lies outside."""
        left = round(self._at)
        if left < 0 or left + self._width > self._length:
            return False
        self._sums[:, left : left + self._width] += piece
        self._counts[left : left + self._width] += 1
        return True

    def picture(self, band: Band) -> Image:
        """The mean of all frames, as it is read."""
        known = np.flatnonzero(self._counts)
        part = slice(int(known[0]), int(known[-1]) + 1)
        mean = self._sums[:, part] / np.maximum(self._counts[part], 1)[None, :, None]
        pixels = mean.round().astype(np.uint8)
        return pixels if band.axis == "horizontal" else np.ascontiguousarray(pixels.transpose(1, 0, 2))
