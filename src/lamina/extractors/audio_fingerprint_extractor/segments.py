"""A sound by segments: what it sounds like, where somebody speaks and who, and its landmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.extractors.audio_fingerprint_extractor.landmarks import LANDMARK_RATE, Landmarks, landmarks
from lamina.extractors.audio_fingerprint_extractor.parameters import AudioFingerprintExtractorParameters
from lamina.extractors.base import BlobValue
from lamina.inference.base import Samples, Span
from lamina.inference.mel import SPEECH_RATE
from lamina.inference.registry import Models
from lamina.media.audio import blocks, windows

LEAST_SPEECH = 1.0
"""Seconds of speech that say who speaks; less says little: see `bench/quality_speech.py`."""

SILENCE_DB = -120.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a sound. Times are in seconds; `vectors` are by the models' names."""

    index: int
    start: float
    end: float
    loudness_db: float
    speech_seconds: float
    landmarks: Landmarks
    vectors: Mapping[str, NDArray[np.float32]]


def segments(
    blob: BlobValue, name: str, given: AudioFingerprintExtractorParameters, models: Models
) -> tuple[list[Segment], ExtractionError | None]:
    """The segments of a file, and what went wrong after the last of them, if anything did.

    Raises `ExtractionError` when there is none. Holds all of what is taken apart, 40 MB for ten minutes.
    """
    speech, error = _decoded(blob, name, SPEECH_RATE, given.max_audio_length_sec)
    tones, _ = _decoded(blob, name, LANDMARK_RATE, given.max_audio_length_sec)
    times = [
        Span(start, start + len(window) / SPEECH_RATE)
        for start, window in windows(
            [speech], SPEECH_RATE, length=given.segment_duration_sec, hop=given.segment_hop_sec
        )
    ]
    spans = models.speech_detector().detect(speech)
    voiced = [_voiced(speech, spans, time) for time in times]
    sounds = _sound_vectors(blob, name, models, speech, times)
    voices = iter(_voice_vectors(models, voiced))
    found = []
    for index, time in enumerate(times):
        vectors = {models.default("embed_audio"): sounds[index]}
        if _speaks(voiced[index]):
            vectors[models.default("embed_speaker")] = next(voices)
        found.append(
            Segment(
                index=index,
                start=round(time.start, 3),
                end=round(time.end, 3),
                loudness_db=_loudness(_stretch(speech, time, SPEECH_RATE)),
                speech_seconds=round(len(voiced[index]) / SPEECH_RATE, 3),
                landmarks=landmarks(_stretch(tones, time, LANDMARK_RATE)),
                vectors=vectors,
            )
        )
    return found, error


def _stretch(sound: Samples, time: Span, rate: int) -> Samples:
    return sound[round(time.start * rate) : round(time.end * rate)]


def _decoded(blob: BlobValue, name: str, rate: int, seconds: float) -> tuple[Samples, ExtractionError | None]:
    """The sound up to some seconds, and what ended it too early; raises that when there is none at all."""
    pieces: list[Samples] = []
    with blob.open() as file:
        try:
            pieces.extend(blocks(file, rate, name=name, seconds=seconds))
        except ExtractionError as error:
            if not pieces:
                raise
            return np.concatenate(pieces), error
    return np.concatenate(pieces), None


def _sound_vectors(
    blob: BlobValue, name: str, models: Models, heard: Samples, times: Sequence[Span]
) -> NDArray[np.float32]:
    """How each window sounds, at the rate that the model takes."""
    embedder = models.audio_embedder()
    rate = embedder.sample_rate
    if rate != SPEECH_RATE:
        heard, _ = _decoded(blob, name, rate, times[-1].end)
    return embedder.embed_audio([_stretch(heard, time, rate) for time in times])


def _voice_vectors(models: Models, voiced: Sequence[Samples]) -> NDArray[np.float32]:
    """Who speaks, for the windows in which somebody does."""
    spoken = [speech for speech in voiced if _speaks(speech)]
    return models.speaker_embedder().embed_speakers(spoken) if spoken else np.zeros((0, 0), np.float32)


def _speaks(speech: Samples) -> bool:
    return len(speech) >= LEAST_SPEECH * SPEECH_RATE


def _voiced(sound: Samples, spans: Sequence[Span], time: Span) -> Samples:
    """What is spoken within a window, pauses left out."""
    spoken = [
        Span(max(span.start, time.start), min(span.end, time.end))
        for span in spans
        if span.start < time.end and span.end > time.start
    ]
    return np.concatenate([np.zeros(0, np.float32), *(_stretch(sound, one, SPEECH_RATE) for one in spoken)])


def _loudness(sound: Samples) -> float:
    power = float(np.square(sound, dtype=np.float64).mean()) if len(sound) else 0.0
    return max(round(10 * float(np.log10(max(power, 1e-12))), 1), SILENCE_DB)
