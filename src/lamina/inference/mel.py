"""Spectra on the mel scale, as the models of speech take them."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Samples

SPEECH_RATE: Final = 16_000
"""Samples a second that every speech model here takes."""

WINDOW: Final = 400
HOP: Final = 160
"""25 ms and 10 ms at 16 kHz."""

_LINEAR: Final = 200.0 / 3
_BEND: Final = 1000.0
_LOG_STEP: Final = np.log(6.4) / 27.0
"""Slaney's scale: linear below 1 kHz (200 Hz for 3 mel), logarithmic above (27 mel for a factor of 6.4)."""


@lru_cache(maxsize=8)
def mel_filters(bands: int, window: int = WINDOW, rate: int = SPEECH_RATE) -> NDArray[np.float32]:
    """Triangles of equal area on Slaney's scale, shape (bands, window / 2 + 1): librosa's defaults."""
    low, high = _to_mel(np.array([0.0, rate / 2]))
    edges = _to_hertz(np.linspace(low, high, bands + 2))
    ramps = edges[:, None] - np.linspace(0, rate / 2, window // 2 + 1)[None, :]
    width = np.diff(edges)[:, None]
    triangles = np.maximum(0.0, np.minimum(-ramps[:-2] / width[:-1], ramps[2:] / width[1:]))
    triangles *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return triangles.astype(np.float32)


def power_spectrum(sound: Samples, window: int = WINDOW, hop: int = HOP) -> NDArray[np.float32]:
    """Power of Hann windows, shape (frames, window / 2 + 1); the sound must be one window long at least."""
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[::hop]
    spectrum = np.fft.rfft(frames * taper, axis=1)
    power: NDArray[np.float32] = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power


def mel_spectrum(sound: Samples, bands: int) -> NDArray[np.float32]:
    """Mel power of a 16 kHz sound by frames of 10 ms, centred: shape (frames, bands)."""
    return power_spectrum(np.pad(sound, WINDOW // 2)) @ mel_filters(bands).T


def _to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = 15.0 + np.log(np.maximum(hertz, 1e-9) / _BEND) / _LOG_STEP
    return np.where(hertz >= _BEND, above, hertz / _LINEAR)


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel >= 15.0, _BEND * np.exp(_LOG_STEP * (mel - 15.0)), mel * _LINEAR)
