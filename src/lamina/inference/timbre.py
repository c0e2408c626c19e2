"""How a sound sounds, in numbers that need no training: what there is where no learned audio model is.

Statistics of timbre, harmony and rhythm after Tzanetakis & Cook ("Musical genre classification of audio
signals", 2002), with spectral contrast (Jiang et al., 2002). Near vectors mean a like texture — the same
voice and room, the same instrument, the same noise —, never a like meaning.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import ModelCard, Samples
from lamina.inference.mel import SPEECH_RATE, mel_filters, power_spectrum
from lamina.inference.timbre_scale import CENTRES, SPREADS

if TYPE_CHECKING:
    from lamina.inference.registry import Models

Array = NDArray[np.float32]

WINDOW: Final = 1024
HOP: Final = 512
"""64 ms and 32 ms at 16 kHz."""

_BANDS: Final = 64
_CEPSTRA: Final = 20
_CONTRAST_EDGES: Final = (0, 200, 400, 800, 1600, 3200, 8001)
_RHYTHM_LAGS: Final = (8, 12, 16, 20, 25, 31, 39)
"""Frames between two onsets, 0.26 to 1.25 s."""

_LOUDNESS: Final = 0.1
_LIVE: Final = 1e-4
"""Of the loudest frame's energy; what is softer is silence inside of the sound."""

_FLOOR: Final = 1e-6
_MOST: Final = 3.0


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "TimbreEmbedder":
    """The embedder; it has no weights."""
    return TimbreEmbedder(card)


class TimbreEmbedder:
    """Vectors of stretches of 16 kHz sound, whatever their loudness."""

    sample_rate: int = SPEECH_RATE

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def embed_audio(self, windows: Sequence[Samples]) -> Array:
        """Shape (n, 139), L2-normalised; each number scaled by its usual centre and spread."""
        rows = np.array([statistics(window) for window in windows], np.float32)
        scaled = np.clip((rows.reshape(len(windows), -1) - CENTRES) / SPREADS, -_MOST, _MOST)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        vectors: Array = (scaled / np.maximum(lengths, 1e-9)).astype(np.float32)
        return vectors


def statistics(sound: Samples) -> Array:
    """The numbers of one sound before they are scaled, shape (139,)."""
    sound = np.pad(sound, (0, max(WINDOW - len(sound), 0)))
    sound = (sound / (np.sqrt(np.square(sound).mean()) + 1e-4) * _LOUDNESS).astype(np.float32)
    power = power_spectrum(sound, WINDOW, HOP)
    energy = power.sum(axis=1)
    live = energy > _LIVE * energy.max()
    logarithm = np.log(power @ mel_filters(_BANDS, WINDOW).T + _FLOOR)
    onsets = np.concatenate([[0.0], np.maximum(np.diff(logarithm, axis=0), 0.0).mean(axis=1)])
    crossings = np.lib.stride_tricks.sliding_window_view(np.signbit(sound), WINDOW)[::HOP]
    cepstra = logarithm @ _cosines().T
    change = np.abs(np.gradient(cepstra, axis=0)) if len(cepstra) > 1 else np.zeros_like(cepstra)
    frames = np.column_stack(
        [
            cepstra,
            change,
            _chroma(power),
            _contrast(power),
            _shape(power, energy),
            onsets,
            (np.diff(crossings.astype(np.int8), axis=1) != 0).mean(axis=1),
            np.log(energy + _FLOOR),
        ]
    )
    heard = frames[live] if live.any() else frames
    soft = float((energy < 0.5 * energy.mean()).mean())
    numbers = [heard.mean(axis=0), heard.std(axis=0), [soft], _rhythm(onsets), [float(live.mean())]]
    return np.concatenate(numbers).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Array:
    """The discrete cosine transform of log mel bands into cepstra."""
    bands = np.arange(_BANDS) + 0.5
    waves = np.cos(np.pi / _BANDS * bands * np.arange(_CEPSTRA)[:, None])
    transform: Array = (np.sqrt(2 / _BANDS) * waves).astype(np.float32)
    return transform


@lru_cache(maxsize=1)
def _frequencies() -> Array:
    return np.fft.rfftfreq(WINDOW, 1 / SPEECH_RATE).astype(np.float32)


@lru_cache(maxsize=1)
def _pitch_classes() -> Array:
    """How much of a frequency counts as each of the twelve notes, whatever the octave: shape (12, bins)."""
    hertz = _frequencies()
    note = 12 * np.log2(np.maximum(hertz, 1.0) / 440.0)
    away = (note[None] - np.arange(12)[:, None] + 6) % 12 - 6
    weights = np.exp(-0.5 * (away / 0.5) ** 2) / np.maximum(hertz, 1.0)
    return np.where((hertz >= 65) & (hertz <= 4200), weights, 0.0).astype(np.float32)


def _chroma(power: Array) -> Array:
    notes = power @ _pitch_classes().T
    chroma: Array = notes / (notes.max(axis=1, keepdims=True) + np.float32(1e-9))
    return chroma


def _contrast(power: Array) -> Array:
    """By octave how far the loudest fifth of the spectrum stands above the softest."""
    hertz = _frequencies()
    found = []
    for low, high in pairwise(_CONTRAST_EDGES):
        band = np.sort(np.log(power[:, (hertz >= low) & (hertz < high)] + _FLOOR), axis=1)
        fifth = max(1, band.shape[1] // 5)
        found.append(band[:, -fifth:].mean(axis=1) - band[:, :fifth].mean(axis=1))
    return np.stack(found, axis=1)


def _shape(power: Array, energy: Array) -> Array:
    """Where the spectrum's energy lies (centre, spread and 85 % of it, in kHz), and how flat it is."""
    hertz = _frequencies()
    share = power / (energy[:, None] + 1e-9)
    centre = share @ hertz
    spread = np.sqrt(np.maximum(share @ hertz**2 - centre**2, 0.0))
    most = (np.cumsum(share, axis=1) < 0.85).sum(axis=1) * (SPEECH_RATE / WINDOW)
    flat = np.log(power + _FLOOR).mean(axis=1) - np.log(power.mean(axis=1) + _FLOOR)
    return np.column_stack([centre / 1000, spread / 1000, most / 1000, flat]).astype(np.float32)


def _rhythm(onsets: NDArray[np.float64]) -> list[float]:
    """How alike the onsets are to themselves some time later."""
    moved = onsets - onsets.mean()
    strength = float(moved @ moved) + 1e-9
    return [float(moved[lag:] @ moved[:-lag]) / strength if lag < len(moved) else 0.0 for lag in _RHYTHM_LAGS]
