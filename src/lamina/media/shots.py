"""Where one shot of a video ends and the next begins, and where a sound is silent.

Cuts are found by PySceneDetect's detectors (BSD-3), which compare each frame's hue, saturation and lightness
with those of the frame before; frames come decoded and small from `media.video`.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from scenedetect import FrameTimecode  # type: ignore[import-untyped]
from scenedetect.detectors import AdaptiveDetector  # type: ignore[import-untyped]

from lamina.inference.base import Samples, Span
from lamina.media.video import Frame

SHOT_SIDE: Final = 256
"""Longest side of the frames that cuts are looked for in; PySceneDetect itself scales down to that."""

SHORTEST_SHOT: Final = 0.6
"""Seconds; PySceneDetect's default. Cuts that follow sooner are flashes."""

_USUAL_CHANGE: Final = 15.0
_LARGEST_CHANGE: Final = 255.0
"""Changes that thresholds of 0.5 and 1 stand for: PySceneDetect's default, and the largest there is."""

_LEVEL_WINDOW: Final = 0.05
_SHORTEST_SILENCE: Final = 0.5


def shot_starts(frames: Iterable[Frame], fps: float, threshold: float) -> list[float]:
    """Times at which a new shot begins, without the first; frames are at most `SHOT_SIDE` large.

    `threshold` from 0 to 1 is the least change that counts as a cut; it must also stand out from the
    change between the frames around it, so that a moving camera is no cut.
    """
    detector = AdaptiveDetector(
        min_scene_len=max(round(SHORTEST_SHOT * fps), 1), min_content_val=_change(threshold)
    )
    times: list[float] = []
    found: list[float] = []
    for number, frame in enumerate(frames):
        times.append(frame.time)
        bgr = np.ascontiguousarray(frame.pixels[:, :, ::-1])
        cuts = detector.process_frame(FrameTimecode(number, fps), bgr)
        found += [times[cut.frame_num] for cut in cuts]
    if times:
        cuts = detector.post_process(FrameTimecode(len(times), fps))
        found += [times[min(cut.frame_num, len(times) - 1)] for cut in cuts]
    return sorted(set(found))


def _change(threshold: float) -> float:
    """The change that a threshold stands for: it grows by equal factors in equal steps."""
    return float(_USUAL_CHANGE * (_LARGEST_CHANGE / _USUAL_CHANGE) ** (2 * threshold - 1))


def silences(blocks: Iterable[Samples], rate: int, threshold: float) -> list[Span]:
    """The stretches of at least half a second whose level stays below a threshold, in dB of full scale.

    `blocks` follow each other. The level is the root mean square of 50 ms.
    """
    size = round(_LEVEL_WINDOW * rate)
    found: list[Span] = []
    begun: float | None = None
    at = 0.0
    for block in blocks:
        for level in levels(block, size):
            if level < threshold:
                begun = at if begun is None else begun
            elif begun is not None:
                found.append(Span(begun, at))
                begun = None
            at += _LEVEL_WINDOW
    if begun is not None:
        found.append(Span(begun, at))
    return [one for one in found if one.duration >= _SHORTEST_SILENCE]


def levels(sound: Samples, size: int) -> list[float]:
    """The level of each `size` samples, in dB of full scale; -120 where there is nothing."""
    count = -(-len(sound) // size)
    padded = np.zeros(count * size, np.float32)
    padded[: len(sound)] = sound
    power = np.square(padded.reshape(count, size)).mean(axis=1)
    return [float(one) for one in 10.0 * np.log10(np.maximum(power, 1e-12))]
