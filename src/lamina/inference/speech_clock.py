"""Speech without the silence around it, and the way back to where each moment lies in the sound."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from lamina.inference.base import Samples, Span
from lamina.inference.mel import SPEECH_RATE

PADDING: Final = 0.2
"""Seconds around speech that stay, since its beginning and end are often soft."""

KEPT_PAUSE: Final = 1.0
"""Longest silence between two stretches of speech that stays as it is."""

SHORTEST_WINDOW: Final = 15.0
"""Seconds after which a pause may end a window."""


class SpeechClock:
    """The speech of a sound in one piece. Its times run over speech only; `real` gives those of the sound."""

    def __init__(self, sound: Samples, spans: Sequence[Span]) -> None:
        self._sound = sound
        end = len(sound) / SPEECH_RATE
        regions: list[tuple[float, float]] = []
        for span in spans:
            begin, stop = max(span.start - PADDING, 0.0), min(span.end + PADDING, end)
            if regions and begin - regions[-1][1] < KEPT_PAUSE:
                regions[-1] = (regions[-1][0], stop)
            else:
                regions.append((begin, stop))
        self._real = [begin for begin, _ in regions]
        self._clock = [0.0, *np.cumsum([stop - begin for begin, stop in regions]).tolist()]
        pauses = [(before.end + after.start) / 2 for before, after in pairwise(spans)]
        self._pauses = sorted({*(self._to_clock(pause) for pause in pauses), *self._clock[1:]})

    @property
    def duration(self) -> float:
        """Seconds of speech."""
        return float(self._clock[-1])

    def sound(self, start: float, end: float) -> Samples:
        """A stretch of it, by its own times."""
        pieces = [np.zeros(0, np.float32)]
        for real, begin, stop in zip(self._real, self._clock, self._clock[1:], strict=False):
            first, last = max(start, begin), min(end, stop)
            if last > first:
                offset = real - begin
                pieces.append(
                    self._sound[round((first + offset) * SPEECH_RATE) : round((last + offset) * SPEECH_RATE)]
                )
        return np.concatenate(pieces)

    def real(self, moment: float, *, ends: bool = False) -> float:
        """The same moment in the sound; with `ends`, where two stretches meet, the end of the first."""
        place = (bisect_left if ends else bisect_right)(self._clock, moment) - 1
        place = min(max(place, 0), len(self._real) - 1)
        within = min(moment, self._clock[place + 1]) - self._clock[place]
        return round(float(within + self._real[place]), 3)

    def within(self, start: float, end: float) -> tuple[float, float]:
        """A word in the sound: all in the stretch in which its middle lies, since nobody pauses in a word."""
        place = min(max(bisect_right(self._clock, (start + end) / 2) - 1, 0), len(self._real) - 1)
        begin, stop, offset = (
            self._clock[place],
            self._clock[place + 1],
            self._real[place] - self._clock[place],
        )
        return round(max(start, begin) + offset, 3), round(min(max(end, begin), stop) + offset, 3)

    def pause_before(self, latest: float, *, after: float) -> float:
        """The last pause before a time where a window that begins at `after` can end, or that time itself."""
        if latest >= self.duration:
            return self.duration
        place = bisect_right(self._pauses, latest) - 1
        found = self._pauses[place] if place >= 0 else 0.0
        return float(found) if found >= after + SHORTEST_WINDOW else latest

    def _to_clock(self, moment: float) -> float:
        """A moment of the sound on this clock; one within a silence that was left out, where that was."""
        place = max(bisect_right(self._real, moment) - 1, 0)
        return float(min(self._clock[place] + moment - self._real[place], self._clock[place + 1]))
