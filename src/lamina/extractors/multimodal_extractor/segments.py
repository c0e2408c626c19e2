"""The timeline of a video or a sound, split into segments that follow each other without a gap."""

import math
from collections.abc import Sequence
from typing import BinaryIO, Final

from lamina.core.errors import ExtractionError
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.inference.base import Span
from lamina.media.audio import blocks
from lamina.media.shots import SHOT_SIDE, shot_starts, silences
from lamina.media.video import VideoTrack, every_frame

MOST_SEGMENTS: Final = 4096
"""Of one file: eleven hours in steps of ten seconds."""

SHORTEST: Final = 0.2
"""Seconds; a shorter rest at the end belongs to the segment before it."""

LEVEL_RATE: Final = 8000
"""Samples a second that are enough to hear silence."""


def segments(
    file: BinaryIO,
    given: MultimodalExtractorParameters,
    duration: float,
    track: VideoTrack | None,
    has_sound: bool,
    *,
    name: str,
    shortest: float = SHORTEST,
) -> list[Span]:
    """The segments of a file, in order, none shorter than `shortest` seconds unless the whole is.

    `track` is that of its pictures, None for sound alone.

    Without the sound or the pictures that a method needs, the whole is one stretch, divided by
    `max_segment_duration`. Raises `ExtractionError` (`too_many_segments`).
    """
    if given.split_method == "time":
        return bounded(_every(duration, given.time_split_interval, shortest), name)
    if given.split_method == "scene" and track is not None:
        frames = every_frame(file, track, side=SHOT_SIDE, name=name)
        starts = shot_starts(frames, track.fps, given.scene_threshold)
    elif has_sound:
        heard = blocks(file, LEVEL_RATE, name=name)
        quiet = silences(heard, LEVEL_RATE, given.silence_threshold)
        starts = [(one.start + one.end) / 2 for one in quiet if one.start > 0 and one.end < duration - 0.1]
    else:
        starts = []
    return bounded(_divided(between(starts, duration, shortest), given.max_segment_duration), name)


def _every(duration: float, interval: int | None, shortest: float) -> list[Span]:
    if interval is None or duration <= interval:
        return [Span(0.0, duration)]
    if duration / interval > MOST_SEGMENTS:
        return [Span(0.0, 0.0)] * (MOST_SEGMENTS + 1)
    starts = [float(number * interval) for number in range(1, math.ceil(duration / interval))]
    return between(starts, duration, shortest)


def between(starts: Sequence[float], duration: float, shortest: float = SHORTEST) -> list[Span]:
    """Segments that begin at 0 and at `starts`; one that would be shorter belongs to its neighbour."""
    kept = [0.0]
    for start in starts:
        if start - kept[-1] >= shortest and duration - start >= shortest:
            kept.append(start)
    return [Span(start, end) for start, end in zip(kept, [*kept[1:], duration], strict=True)]


def _divided(spans: Sequence[Span], longest: float | None) -> list[Span]:
    """The same with those that are too long divided into equal parts."""
    found: list[Span] = []
    for span in spans:
        count = max(math.ceil(span.duration / longest - 1e-6), 1) if longest else 1
        if count > MOST_SEGMENTS:
            return [span] * count
        step = span.duration / count
        found += [Span(span.start + at * step, span.start + (at + 1) * step) for at in range(count)]
    return found


def bounded(spans: list[Span], name: str) -> list[Span]:
    """The same; `ExtractionError` (`too_many_segments`) where they are more than `MOST_SEGMENTS`."""
    if len(spans) > MOST_SEGMENTS:
        raise ExtractionError(
            f"Input '{name}' would become more than {MOST_SEGMENTS} segments; make them longer.",
            code="too_many_segments",
            input=name,
        )
    return spans
