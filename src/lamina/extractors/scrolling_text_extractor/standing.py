"""Text that stands: read in a few frames that differ, then followed through time by its look."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

import cv2
import numpy as np

from lamina.extractors.scrolling_text_extractor.motion import Grey, grey
from lamina.inference.base import Image, TextLine, TextReader
from lamina.media.video import Frame

Box = tuple[float, float, float, float]

_LEAST_LETTERS: Final = 2
_LEAST_CONFIDENCE: Final = 0.6
_SAME: Final = 0.85
"""Likeness of two texts at one place, from 0 to 1, from which on they are one that was read differently."""

_VISIBLE: Final = 0.6
"""Correlation with its look in the frame that it was read in, from which on a text is there."""

_WOBBLE: Final = 3
"""Pixels by which a standing text may tremble."""


@dataclass(slots=True)
class StandingText:
    """A block of lines; `box` in pixels of the frames looked at, `seen` the times of frames that show it."""

    text: str
    confidence: float
    box: Box
    frame: Frame
    seen: dict[float, bool] = field(default_factory=dict)

    def stretch(self, end: float) -> tuple[float, float]:
        """From when to when it is there, around the frame that it was read in. `end` is that of the video."""
        times = sorted(self.seen)
        here = min(range(len(times)), key=lambda at: abs(times[at] - self.frame.time), default=None)
        if here is None:
            return self.frame.time, self.frame.time
        first = last = here
        while first > 0 and self.seen[times[first - 1]]:
            first -= 1
        while last + 1 < len(times) and self.seen[times[last + 1]]:
            last += 1
        return times[first], times[last + 1] if last + 1 < len(times) else end


def standing_texts(
    frames: Iterable[Frame], reader: TextReader, moving: Sequence[tuple[float, float, Box]]
) -> list[StandingText]:
    """The texts of these frames, each once. `moving` are bands and their times that are read elsewhere."""
    found: list[StandingText] = []
    for frame in frames:
        lines = [
            line
            for line in reader.read(frame.pixels)
            if line.confidence >= _LEAST_CONFIDENCE
            and len(re.findall(r"\w", line.text)) >= _LEAST_LETTERS
            and not any(start <= frame.time <= end and _within(line.box, box) for start, end, box in moving)
        ]
        for block in _blocks(lines):
            text = "\n".join(line.text for line in block)
            confidence = float(np.mean([line.confidence for line in block]))
            new = StandingText(text, confidence, _around([line.box for line in block]), frame)
            same = next((one for one in found if _same(one, new)), None)
            if same is None:
                found.append(new)
            elif new.confidence > same.confidence:
                found[found.index(same)] = new
    return found


def follow(frames: Iterable[Frame], texts: Sequence[StandingText]) -> None:
    """Note for each text which frames show it where it was read."""
    looks = [_look(text.frame.pixels, text.box) for text in texts]
    for frame in frames:
        now = grey(frame.pixels)
        for text, look in zip(texts, looks, strict=True):
            text.seen[frame.time] = _shows(now, text.box, look)


def _look(pixels: Image, box: Box) -> Grey:
    left, top, right, bottom = _bounds(box, pixels.shape)
    return grey(np.ascontiguousarray(pixels[top:bottom, left:right]))


def _shows(picture: Grey, box: Box, look: Grey) -> bool:
    left, top, right, bottom = _bounds(box, picture.shape)
    wider = picture[max(top - _WOBBLE, 0) : bottom + _WOBBLE, max(left - _WOBBLE, 0) : right + _WOBBLE]
    if look.std() < 1.0:
        return False
    return float(cv2.matchTemplate(wider, look, cv2.TM_CCOEFF_NORMED).max()) >= _VISIBLE


def _bounds(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side) for side in box)
    left, top = min(max(left, 0), shape[1] - 1), min(max(top, 0), shape[0] - 1)
    return left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0])


def _blocks(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Lines that stand under or beside each other, nearer than a line is high."""
    blocks: list[list[TextLine]] = []
    for line in lines:
        near = [block for block in blocks if any(_near(line.box, other.box) for other in block)]
        joined = [one for block in near for one in block]
        blocks = [*(block for block in blocks if block not in near), [*joined, line]]
    order = {id(line): place for place, line in enumerate(lines)}
    blocks = [sorted(block, key=lambda line: order[id(line)]) for block in blocks]
    return sorted(blocks, key=lambda block: order[id(block[0])])


def _near(one: Box, other: Box) -> bool:
    height = min(one[3] - one[1], other[3] - other[1])
    alike = max(one[3] - one[1], other[3] - other[1]) <= 2 * height
    across = max(one[0], other[0]) - min(one[2], other[2])
    down = max(one[1], other[1]) - min(one[3], other[3])
    return alike and across < height and down < height


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _within(box: Box, band: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return band[0] <= x <= band[2] and band[1] <= y <= band[3]


def _same(one: StandingText, other: StandingText) -> bool:
    if not _within(other.box, one.box):
        return False
    return SequenceMatcher(None, one.text.casefold(), other.text.casefold()).ratio() >= _SAME
