"""Where somebody speaks: Silero VAD on ONNX Runtime.

The graph takes 512 new samples of 16 kHz after the last 64 before them, `input` (lanes, 576), and a `state`
(2, lanes, 128); it returns the probability of speech (lanes, 1) and the next state.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import ModelCard, Samples, Span
from lamina.inference.mel import SPEECH_RATE
from lamina.inference.sessions import open_session

if TYPE_CHECKING:
    from lamina.inference.registry import Models

STEP: Final = 512
STEP_SECONDS: Final = STEP / SPEECH_RATE
_CONTEXT: Final = 64

LANE_STEPS: Final = 30 * SPEECH_RATE // STEP
"""A long sound is read as stretches of 30 s side by side, which costs a fifth of one after the other."""

_WARM_UP: Final = 40
"""Steps (1.3 s) of the stretch before that a stretch begins with; what is older no longer counts."""

_MOST_LANES: Final = 32

THRESHOLD: Final = 0.5
_HYSTERESIS: Final = 0.15
SHORTEST_SPEECH: Final = 0.25
SHORTEST_PAUSE: Final = 0.1
PADDING: Final = 0.03
"""Those of Silero's own `get_speech_timestamps`, in seconds."""


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "SileroDetector":
    """The detector; one thread is the fastest for a network this small."""
    return SileroDetector(card, paths["model"])


class SileroDetector:
    """Speech from the probability of each 32 ms, with hysteresis. Keeps no state between calls."""

    def __init__(self, card: ModelCard, path: Path) -> None:
        self.card = card
        self._session = open_session(path, 1, name=card.name)
        self._rate = np.array(SPEECH_RATE, np.int64)

    def detect(self, sound: Samples) -> list[Span]:
        """The stretches with speech, in order, none overlapping."""
        return speech_spans(self.probabilities(sound), len(sound) / SPEECH_RATE)

    def probabilities(self, sound: Samples) -> NDArray[np.float32]:
        """That somebody speaks, for each 32 ms: shape (steps,)."""
        steps = -(-len(sound) // STEP)
        lanes = max(1, -(-steps // LANE_STEPS))
        found = np.empty((lanes, LANE_STEPS), np.float32)
        for first in range(0, lanes, _MOST_LANES):
            some = range(first, min(first + _MOST_LANES, lanes))
            found[some.start : some.stop] = self._lanes(sound, some)
        return found.reshape(-1)[:steps]

    def _lanes(self, sound: Samples, lanes: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities of some stretches, each read from a little before it: shape (lanes, steps)."""
        length = (_WARM_UP + min(LANE_STEPS, -(-len(sound) // STEP))) * STEP
        read = np.zeros((len(lanes), _CONTEXT + length), np.float32)
        for row, lane in zip(read, lanes, strict=True):
            begin = (lane * LANE_STEPS - _WARM_UP) * STEP - _CONTEXT
            piece = sound[max(begin, 0) : begin + len(row)]
            row[max(-begin, 0) : max(-begin, 0) + len(piece)] = piece
        state = np.zeros((2, len(lanes), 128), np.float32)
        found = np.zeros((len(lanes), LANE_STEPS), np.float32)
        for step in range(length // STEP):
            given = {"input": read[:, step * STEP : (step + 1) * STEP + _CONTEXT], "state": state}
            probability, state = self._session.run(["output", "stateN"], {**given, "sr": self._rate})
            if step >= _WARM_UP:
                found[:, step - _WARM_UP] = probability[:, 0]
        return found


def speech_spans(probabilities: NDArray[np.float32], duration: float) -> list[Span]:
    """Speech begins at `THRESHOLD` and ends where it is clearly below it for `SHORTEST_PAUSE` seconds."""
    spans: list[Span] = []
    start = quiet = -1
    for step, probability in enumerate([*probabilities.tolist(), *[0.0] * 4]):
        if probability >= THRESHOLD:
            quiet = -1
            start = step if start < 0 else start
        elif start >= 0 and probability < THRESHOLD - _HYSTERESIS:
            quiet = step if quiet < 0 else quiet
            if (step - quiet + 1) * STEP_SECONDS >= SHORTEST_PAUSE:
                if (quiet - start) * STEP_SECONDS >= SHORTEST_SPEECH:
                    begin = max(start * STEP_SECONDS - PADDING, spans[-1].end if spans else 0.0)
                    spans.append(Span(begin, min(quiet * STEP_SECONDS + PADDING, duration)))
                start = quiet = -1
    return spans
