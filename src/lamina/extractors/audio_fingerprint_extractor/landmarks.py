"""Landmark fingerprints: the same recording is found again, however noisy, and where in it a clip lies.

After Wang, "An Industrial-Strength Audio Search Algorithm" (ISMIR 2003). The peaks of a spectrogram survive
noise and compression; a pair of peaks — two frequencies and the time between them — is a hash that few other
recordings share. Hashes are words to a lexical search, which finds the recordings that share most of those of
a clip; the time at which each lies tells whether they share them in the same order, and at which offset.

    clip = landmarks(read_sound(file, LANDMARK_RATE))
    clip.words                                       # the text of a lexical query
    match(clip, Landmarks.read(document["landmarks"]))   # Match(offset=2.1, votes=97), or None
"""

import base64
import binascii
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Samples
from lamina.inference.mel import power_spectrum

LANDMARK_RATE: Final = 8_000

_WINDOW: Final = 1024
_HOP: Final = 256
FRAME_SECONDS: Final = _HOP / LANDMARK_RATE
"""32 ms: the unit of a landmark's time."""

_PEAKS_A_SECOND: Final = 30
_AROUND: Final = (7, 21)
"""A peak is the highest of so many frames and frequencies around it."""

_LEAST_PEAK: Final = 0.1
"""Above the mean of its frequency, in nepers; below is the noise of rounding."""

_PARTNERS: Final = 5
_NEAREST, _FARTHEST, _WIDEST = 2, 63, 127
"""Frames to a peak's partner, and how far apart their frequencies may lie."""

_FLOOR: Final = 1e-6
_STORED: Final = np.dtype([("hash", "<u4"), ("frame", "<u2")])

LEAST_VOTES: Final = 6
"""Hashes that must agree on one offset; by chance two or three do."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The hashes of a sound, and the frame at which each lies: two arrays of one length."""

    hashes: NDArray[np.uint32]
    frames: NDArray[np.uint16]

    @property
    def words(self) -> str:
        """The hashes as words for BM25: numbers, which no stemmer touches. Empty where there are none."""
        return " ".join(map(str, np.unique(self.hashes).tolist()))

    def stored(self) -> str:
        """As a document keeps them: base64 of 4 bytes of hash and 2 of frame for each, little-endian."""
        both = np.empty(len(self.hashes), _STORED)
        both["hash"], both["frame"] = self.hashes, self.frames
        return base64.b64encode(both.tobytes()).decode()

    @classmethod
    def read(cls, stored: str) -> "Landmarks":
        """Out of what a document keeps. Raises `ValueError` for anything else."""
        try:
            both = np.frombuffer(base64.b64decode(stored, validate=True), _STORED)
        except binascii.Error as error:
            raise ValueError("not stored landmarks") from error
        return cls(both["hash"].copy(), both["frame"].copy())


@dataclass(frozen=True, slots=True)
class Match:
    """A clip found in a recording: it begins at `offset` seconds of it, and `votes` hashes say so."""

    offset: float
    votes: int


def landmarks(sound: Samples) -> Landmarks:
    """The landmarks of an 8 kHz sound of at most half an hour."""
    times, tones = _peaks(sound)
    hashes: list[int] = []
    frames: list[int] = []
    for place, (time, tone) in enumerate(zip(times, tones, strict=True)):
        partners = 0
        for later, other in zip(times[place + 1 :], tones[place + 1 :], strict=True):
            apart = later - time
            if apart > _FARTHEST or partners == _PARTNERS:
                break
            if apart >= _NEAREST and abs(other - tone) <= _WIDEST:
                hashes.append(tone << 14 | (other - tone + 128) << 6 | apart)
                frames.append(time)
                partners += 1
    return Landmarks(np.array(hashes, np.uint32), np.array(frames, np.uint16))


def match(clip: Landmarks, recording: Landmarks, *, least: int = LEAST_VOTES) -> Match | None:
    """Where a clip lies in a recording, or None when it is not in it.

    Each hash that both have votes for an offset; the same offset many times is no accident. A negative
    offset means that the clip begins before the recording does.
    """
    places: dict[int, list[int]] = {}
    for hash_, frame in zip(recording.hashes.tolist(), recording.frames.tolist(), strict=True):
        places.setdefault(hash_, []).append(frame)
    votes: Counter[int] = Counter()
    for hash_, frame in zip(clip.hashes.tolist(), clip.frames.tolist(), strict=True):
        votes.update(place - frame for place in places.get(hash_, ()))
    if not votes:
        return None
    # a clip that begins within a frame votes for the two offsets beside its own
    best = max(votes, key=lambda offset: (votes[offset] + votes[offset + 1], -offset))
    count = votes[best] + votes[best + 1]
    if count < least:
        return None
    middle = best + votes[best + 1] / count
    return Match(round(middle * FRAME_SECONDS, 3), count)


def _peaks(sound: Samples) -> tuple[list[int], list[int]]:
    """Frames and frequencies of the peaks, in order of time: the loudest of each second."""
    sound = np.pad(sound, (0, max(_WINDOW - len(sound), 0)))
    loudness = np.log(np.sqrt(power_spectrum(sound, _WINDOW, _HOP))[:, : _WINDOW // 2] + _FLOOR)
    loudness -= loudness.mean(axis=0, keepdims=True)  # a steady tone or noise has no peaks
    highest = _highest(_highest(loudness, _AROUND[1], 1), _AROUND[0], 0)
    times, tones = np.nonzero((loudness == highest) & (loudness > _LEAST_PEAK))
    seconds = (times * FRAME_SECONDS).astype(np.int64)
    order = np.lexsort((-loudness[times, tones], seconds))
    rank = np.arange(len(order)) - np.searchsorted(seconds[order], seconds[order])
    kept = np.sort(order[rank < _PEAKS_A_SECOND])
    return times[kept].tolist(), tones[kept].tolist()


def _highest(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """The highest of `size` neighbours along an axis."""
    width = [(0, 0), (0, 0)]
    width[axis] = (size // 2, size // 2)
    padded = np.pad(values, width, constant_values=-np.inf)
    found: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, size, axis=axis).max(
        axis=-1
    )
    return found
