"""Bands of a picture that move steadily while time goes by: tickers, marquees, credits.

Each strip of a frame is compared with the same strip of the frame before by phase correlation (Kuglin and
Hines, 1975), which finds how far sharp edges such as letters moved, whatever is behind them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Image
from lamina.media.video import Frame

Axis = Literal["horizontal", "vertical"]

Grey = NDArray[np.uint8]
"""Shape (height, width)."""

SMALL: Final = (48, 27)
"""Width and height of the copies by which frames are told apart."""

_LEAST_PAIRS: Final = 4
"""Pairs of frames that must move alike."""

_LEAST_RESPONSE: Final = 0.03
"""Of phase correlation, from 0 to 1; below, the strips have nothing in common."""

_ASIDE: Final = 1.5
"""Pixels that a strip may move across its direction."""

_ALIKE: Final = 0.15
"""By which share speeds may differ that count as one."""

_MOST_SHIFT: Final = 0.4
"""Of a strip's length: faster text cannot be followed."""

_STILL: Final = 1.0
"""Mean difference of grey levels below which a strip did not change."""


@dataclass(frozen=True, slots=True)
class Band:
    """A band that moves. `low` and `high` are its edges across its direction.

    They are in pixels of the frames looked at. `speed` is in pixels a second: to the right or downwards
    when positive.
    """

    axis: Axis
    low: int
    high: int
    start: float
    end: float
    speed: float


@dataclass(slots=True)
class Survey:
    """What was seen of a video: when, how its strips moved, and what it looked like about once a second."""

    strip: int
    times: list[float] = field(default_factory=list)
    shifts: dict[Axis, list[NDArray[np.float32]]] = field(
        default_factory=lambda: {"horizontal": [], "vertical": []}
    )
    """For each pair of neighbouring frames shape (strips, 3): along, across, response."""
    looks: list[tuple[float, NDArray[np.int16]]] = field(default_factory=list)

    def bands(self, least_shift: float, ratio: float) -> list[Band]:
        """The bands, from the top and from the left; those of strips that move alike are joined."""
        found: list[Band] = []
        for axis, shifts in self.shifts.items():
            if shifts:
                found += _joined(list(self._runs(axis, np.stack(shifts), least_shift, ratio)))
        return found

    def _runs(
        self, axis: Axis, shifts: NDArray[np.float32], least_shift: float, ratio: float
    ) -> Iterator[Band]:
        steps = np.maximum(np.diff(np.asarray(self.times)), 1e-3)
        for strip in range(shifts.shape[1]):
            along, across, response = shifts[:, strip].T
            moves = (
                (np.abs(along) >= least_shift) & (np.abs(across) <= _ASIDE) & (response >= _LEAST_RESPONSE)
            )
            speeds = np.where(moves, along / steps, np.nan)
            while (speed := _commonest(speeds)) is not None:
                alike = np.abs(speeds - speed) <= _ALIKE * abs(speed)
                first, last = _steadiest(alike, ratio)
                if np.count_nonzero(alike[first : last + 1]) < _LEAST_PAIRS:
                    break
                yield Band(
                    axis,
                    strip * self.strip,
                    (strip + 1) * self.strip,
                    self.times[first],
                    self.times[last + 1],
                    float(np.median(speeds[first : last + 1][alike[first : last + 1]])),
                )
                speeds[first : last + 1] = np.nan


def survey(frames: Iterable[Frame], strip: int) -> Survey:
    """Look at frames one by one; `strip` is the strips' height in their pixels."""
    found = Survey(strip)
    before: Grey | None = None
    for frame in frames:
        now = grey(frame.pixels)
        found.times.append(frame.time)
        if not found.looks or frame.time - found.looks[-1][0] >= 1.0:
            found.looks.append(
                (frame.time, cv2.resize(now, SMALL, interpolation=cv2.INTER_AREA).astype(np.int16))
            )
        if before is not None:
            found.shifts["horizontal"].append(strip_shifts(before, now, strip))
            found.shifts["vertical"].append(strip_shifts(before.T, now.T, strip))
        before = now
    return found


def grey(pixels: Image) -> Grey:
    """The grey levels of a picture."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def strip_shifts(before: Grey, after: Grey, strip: int) -> NDArray[np.float32]:
    """How far each strip of rows moved: shape (strips, 3), the shift along and across, and the response."""
    count = max(after.shape[0] // strip, 1)
    found = np.zeros((count, 3), np.float32)
    for number in range(count):
        rows = slice(number * strip, (number + 1) * strip)
        one, other = before[rows], after[rows]
        if float(np.mean(cv2.absdiff(np.ascontiguousarray(one), np.ascontiguousarray(other)))) >= _STILL:
            found[number] = shift(one, other)
    return found


def shift(before: Grey, after: Grey) -> tuple[float, float, float]:
    """How far a picture in grey moved to the right and down, and how sure that is, from 0 to 1."""
    height, width = before.shape
    window = cv2.createHanningWindow((width, height), cv2.CV_32F) if min(before.shape) > 1 else None
    (along, across), response = cv2.phaseCorrelate(
        before.astype(np.float32), after.astype(np.float32), window
    )
    if abs(along) > _MOST_SHIFT * width:
        return 0.0, 0.0, 0.0
    return float(along), float(across), float(response)


def unlike(looks: Sequence[tuple[float, NDArray[np.int16]]], most: int, least: float = 12.0) -> list[float]:
    """Times of the frames that differ most from each other, in order; the first is one of them.

    Each further one is the farthest from those that are taken (Gonzalez, 1985). Frames differ by the
    98th percentile of the difference of their grey levels; less than `least` is the same picture.
    """
    if not looks:
        return []
    pictures = np.stack([look.ravel() for _, look in looks])
    taken = [0]
    nearest = np.full(len(looks), np.inf)
    while len(taken) < most:
        distances = np.percentile(np.abs(pictures - pictures[taken[-1]]), 98, axis=1)
        nearest = np.minimum(nearest, distances)
        farthest = int(np.argmax(nearest))
        if nearest[farthest] < least:
            break
        taken.append(farthest)
    return sorted(looks[index][0] for index in taken)


def _commonest(speeds: NDArray[np.float64]) -> float | None:
    """The speed that most others are like; None when there are too few."""
    known = np.sort(speeds[np.isfinite(speeds)])
    if len(known) < _LEAST_PAIRS:
        return None
    width = _ALIKE * np.abs(known)
    counts = np.searchsorted(known, known + width, "right") - np.searchsorted(known, known - width, "left")
    best = int(np.argmax(counts))
    return float(known[best]) if counts[best] >= _LEAST_PAIRS else None


def _steadiest(alike: NDArray[np.bool_], ratio: float) -> tuple[int, int]:
    """The first and last index of the longest stretch in which more than `ratio` are true (Kadane)."""
    best, here = -1.0, 0.0
    begin, found = 0, (0, 0)
    for index, one in enumerate(alike):
        if here <= 0.0:
            here, begin = 0.0, index
        here += 1.001 - ratio if one else -ratio
        if here > best:
            best, found = here, (begin, index)
    return found


def _joined(bands: list[Band]) -> list[Band]:
    """Bands of neighbouring strips that move alike at the same time, as one."""
    found: list[Band] = []
    for band in sorted(bands, key=lambda one: (one.low, one.start)):
        for index, other in enumerate(found):
            overlap = min(band.end, other.end) - max(band.start, other.start)
            shorter = min(band.end - band.start, other.end - other.start)
            alike = abs(band.speed - other.speed) <= _ALIKE * abs(other.speed)
            if band.low == other.high and alike and overlap >= 0.5 * shorter:
                longer = max(band, other, key=lambda one: one.end - one.start)
                start, end = min(band.start, other.start), max(band.end, other.end)
                found[index] = Band(band.axis, other.low, band.high, start, end, longer.speed)
                break
        else:
            found.append(band)
    return found
