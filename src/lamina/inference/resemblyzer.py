"""Who speaks: the GE2E speaker encoder (Wan et al., 2018) with Resemblyzer's weights, in numpy.

Mel power of 40 bands → three LSTM layers of 256 → linear, ReLU, unit length. An utterance is read in pieces
of 1.6 s, and its vector is the direction of their mean.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError
from lamina.inference.base import ModelCard, Samples
from lamina.inference.mel import HOP, mel_spectrum
from lamina.inference.torch_files import read_weights

if TYPE_CHECKING:
    from lamina.inference.registry import Models

Array = NDArray[np.float32]

BANDS: Final = 40
PIECE_FRAMES: Final = 160
PIECE: Final = PIECE_FRAMES * HOP
"""1.6 s of samples, what the network was trained on."""

STEP_FRAMES: Final = 80
"""Pieces overlap by half."""

_LEAST_NEW: Final = 0.75
"""Of a last piece that must be sound; the rest is silence."""

_LOUDNESS: Final = 10 ** (-30 / 20)
"""-30 dB, to which Resemblyzer raises soft voices; here loud ones are lowered to it, too."""

_BATCH: Final = 64
_LAYERS: Final = 3


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "SpeakerEncoder":
    """The encoder; reads the weights without running what their file names."""
    try:
        return SpeakerEncoder(card, read_weights(paths["weights"].read_bytes(), "model_state"))
    except (ValueError, KeyError) as error:
        raise UnavailableError(f"Model '{card.name}' cannot be loaded: {error}") from error


class SpeakerEncoder:
    """Vectors of utterances, 16 kHz; wants speech only, 1.6 s or more, with the pauses cut out."""

    def __init__(self, card: ModelCard, weights: Mapping[str, NDArray[np.generic]]) -> None:
        self.card = card
        self._layers = [
            (
                _contiguous(weights[f"lstm.weight_ih_l{layer}"].T),
                _contiguous(weights[f"lstm.weight_hh_l{layer}"].T),
                _contiguous(weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]),  # type: ignore[operator]
            )
            for layer in range(_LAYERS)
        ]
        self._linear = _contiguous(weights["linear.weight"].T), _contiguous(weights["linear.bias"])

    def embed_speakers(self, utterances: Sequence[Samples]) -> Array:
        """Shape (n, 256), L2-normalised. All pieces of all utterances are read side by side."""
        pieces = [_pieces(utterance) for utterance in utterances]
        flat = [piece for some in pieces for piece in some]
        read = [self._read(np.stack(flat[at : at + _BATCH])) for at in range(0, len(flat), _BATCH)]
        ends = np.cumsum([len(some) for some in pieces])
        means = [rows.mean(axis=0) for rows in np.split(np.concatenate(read), ends[:-1])] if read else []
        return _unit(np.array(means, np.float32).reshape(len(means), self.card.dimension))

    def _read(self, mels: Array) -> Array:
        """Vectors of pieces, shape (n, 160, 40) → (n, 256). The gates lie as torch has them: i, f, g, o."""
        count, frames, _ = mels.shape
        width = self._linear[0].shape[0]
        outputs = mels
        hidden = np.zeros((count, width), np.float32)
        for inward, onward, bias in self._layers:
            given = (outputs.reshape(count * frames, -1) @ inward + bias).reshape(count, frames, 4 * width)
            hidden, cell = np.zeros((count, width), np.float32), np.zeros((count, width), np.float32)
            outputs = np.empty((count, frames, width), np.float32)
            for frame in range(frames):
                gates = given[:, frame] + hidden @ onward
                opened = _sigmoid(gates[:, : 2 * width])
                cell = opened[:, width:] * cell + opened[:, :width] * np.tanh(gates[:, 2 * width : 3 * width])
                hidden = _sigmoid(gates[:, 3 * width :]) * np.tanh(cell)
                outputs[:, frame] = hidden
        return _unit(np.maximum(hidden @ self._linear[0] + self._linear[1], 0.0))


def _pieces(utterance: Samples) -> list[Array]:
    """The mel spectra of its pieces, each of shape (160, 40)."""
    loudness = float(np.sqrt(np.square(utterance).mean())) if len(utterance) else 0.0
    sound = utterance * np.float32(_LOUDNESS / loudness) if loudness else utterance
    step = STEP_FRAMES * HOP
    starts = [0, *range(step, max(len(sound) - round(_LEAST_NEW * PIECE), 0) + 1, step)]
    sound = np.pad(sound, (0, max(starts[-1] + PIECE - len(sound), 0)))
    mels = mel_spectrum(sound, BANDS)
    return [mels[start // HOP : start // HOP + PIECE_FRAMES] for start in starts]


def _sigmoid(values: Array) -> Array:
    opened: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1.0))
    return opened


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32(1e-9))
    return unit


def _contiguous(values: NDArray[np.generic]) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
