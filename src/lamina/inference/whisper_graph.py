"""Whisper's encoder and decoder as graphs, and its tokens.

Encoder: `input_features` (1, 80, 3000) → `last_hidden_state` (1, 1500, width). Decoder, merged: `input_ids`
(1, n), `encoder_hidden_states`, `past_key_values.*`, `use_cache_branch` → `logits` (1, n, vocabulary),
`present.*` and `cross_attentions.L` (1, heads, n, 1500). The rules for timestamps are those of
openai/whisper's `decoding.py` (MIT).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lamina.core.errors import UnavailableError
from lamina.inference.base import Samples
from lamina.inference.mel import HOP, WINDOW, mel_filters, power_spectrum
from lamina.inference.onnx_edits import with_integer_products, with_outputs
from lamina.inference.sessions import open_session

Array = NDArray[np.float32]

BANDS: Final = 80
FRAMES: Final = 3000
"""Mel frames of a window of 30 s; the encoder halves them."""

POSITION_SECONDS: Final = 0.02
"""What one of the encoder's positions stands for, and one step of a timestamp."""

_LATEST_START: Final = 50
"""The first words begin within a second of the window, in steps of a timestamp."""

_LONGEST_LOOP: Final = 16
_LOOPS: Final = 4
"""So many times the same tokens in a row are a loop that would not end."""


@dataclass(frozen=True, slots=True)
class Guess:
    """The tokens of a window, and what speaks for them."""

    tokens: Sequence[int]
    log_probability: float
    no_speech: float
    compression: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a window's text, from `start` to `end` seconds of the window."""

    text: str
    tokens: Sequence[int]
    start: float
    end: float


class WhisperGraph:
    """One size of Whisper. Raises `UnavailableError` when its files cannot be loaded."""

    def __init__(self, name: str, paths: Mapping[str, Path], *, threads: int) -> None:
        try:
            encoder = with_outputs(paths["encoder"].read_bytes(), frozenset({"last_hidden_state"}))
            decoder = with_integer_products(paths["decoder"].read_bytes())
            self._tokenizer = Tokenizer.from_file(str(paths["tokenizer"]))
            said: dict[str, Any] = orjson.loads(paths["generation"].read_bytes())
        except Exception as error:  # the tokenizer's library has no common error of its own
            raise UnavailableError(f"Model '{name}' cannot be loaded: {error}") from error
        self._encoder = open_session(encoder, threads, name=name)
        self._decoder = open_session(decoder, threads, name=name)
        self.languages: dict[str, int] = {token[2:-2]: number for token, number in said["lang_to_id"].items()}
        self.alignment_heads = [(int(layer), int(head)) for layer, head in said["alignment_heads"]]
        self.end_of_text: int = said["eos_token_id"]
        self._start: int = said["decoder_start_token_id"]
        self._transcribe: int = said["task_to_id"]["transcribe"]
        self._no_timestamps: int = said["no_timestamps_token_id"]
        self._no_speech = self._no_timestamps - 1
        self._first_stamp = self._no_timestamps + 1
        self._suppressed = np.array([one for one in said["suppress_tokens"] if one >= 0], np.int64)
        self._no_beginning = np.array(said["begin_suppress_tokens"], np.int64)
        caches = {
            one.name: one.shape
            for one in self._decoder.get_inputs()
            if one.name.startswith("past_key_values")
        }
        self._caches = list(caches)
        heads, width = next((shape[1], shape[3]) for shape in caches.values())
        self._empty = np.zeros((1, heads, 0, width), np.float32)

    def encode(self, sound: Samples) -> Array:
        """The encoder's view of at most 30 s of sound, shape (1, 1500, width)."""
        hidden: Array = self._encoder.run(["last_hidden_state"], {"input_features": log_mel(sound)[None]})[0]
        return hidden

    def language(self, hidden: Array) -> str:
        """The likeliest language."""
        logits = self._first([self._start], hidden, ["logits"])[0][0, -1]
        return max(self.languages, key=lambda code: float(logits[self.languages[code]]))

    def decode(self, hidden: Array, language: str, temperature: float, most: int, *, seed: int) -> Guess:
        """A window's tokens, the likeliest at each step, or drawn by chance at a temperature above 0."""
        prompt = [self._start, self.languages[language], self._transcribe]
        growing = [name for name in self._caches if ".decoder." in name]
        present = [_present(name) for name in growing]
        logits, *caches = self._first(prompt, hidden, ["logits", *map(_present, self._caches)])
        no_speech = float(np.exp(_log_softmax(logits[0, 0]))[self._no_speech])
        given: dict[str, Any] = dict(zip(self._caches, caches, strict=True))
        given |= {"encoder_hidden_states": hidden, "use_cache_branch": np.array([True])}
        chance = np.random.default_rng(seed)
        tokens: list[int] = []
        total = 0.0
        while True:
            allowed = self._allowed(logits[0, -1], tokens)
            log_probabilities = _log_softmax(allowed)
            drawn = allowed / temperature + chance.gumbel(size=allowed.shape) if temperature else allowed
            token = int(drawn.argmax())
            total += float(log_probabilities[token])
            if token == self.end_of_text:
                break
            tokens.append(token)
            looped = _loop(tokens)
            if looped:
                del tokens[-looped * (_LOOPS - 1) :]
            if looped or len(tokens) >= most:
                break
            given["input_ids"] = np.array([[token]], np.int64)
            logits, *caches = self._decoder.run(["logits", *present], given)
            given |= dict(zip(growing, caches, strict=True))
        raw = self.text(tokens).encode()
        compression = len(raw) / len(zlib.compress(raw)) if raw else 0.0
        return Guess(tokens, total / (len(tokens) + 1), no_speech, compression)

    def attention(
        self, hidden: Array, language: str, tokens: Sequence[int], positions: int
    ) -> tuple[Array, int]:
        """How the heads that follow the words look at the sound while text tokens are written.

        Shape (heads, rows, positions), rows summing to 1, and the row in which the first token is written.
        The row after the last token's writes the end, and one more follows.
        """
        head = [self._start, self.languages[language], self._transcribe, self._no_timestamps]
        layers = sorted({layer for layer, _ in self.alignment_heads})
        outputs = [f"cross_attentions.{layer}" for layer in layers]
        found = dict(
            zip(layers, self._first([*head, *tokens, self.end_of_text], hidden, outputs), strict=True)
        )
        rows = np.stack([found[layer][0, number] for layer, number in self.alignment_heads])
        rows = rows[:, :, :positions]
        return rows / np.maximum(rows.sum(axis=-1, keepdims=True), 1e-12), len(head) - 1

    def text(self, tokens: Sequence[int]) -> str:
        """The words that tokens stand for; timestamps say nothing."""
        words = [token for token in tokens if token < self.end_of_text]
        return self._tokenizer.decode(words, skip_special_tokens=True)

    def pieces(self, tokens: Sequence[int], length: float) -> tuple[list[Piece], float]:
        """The pieces of a window's text by its timestamps, and up to where in the window they reach.

        Text that a timestamp opens and none closes is read again, with what follows it.
        """
        stamped = [token >= self._first_stamp for token in tokens]
        cuts = [at for at in range(1, len(tokens)) if stamped[at] and stamped[at - 1]]
        if not cuts:
            stamps = [self._seconds(token) for token in tokens if token >= self._first_stamp]
            end = stamps[-1] if len(stamps) > 1 else length
            whole = self._piece(tokens, stamps[0] if stamps else 0.0, min(end, length))
            return [whole] if whole.text.strip() else [], length
        closed = stamped[-2:] == [False, True]
        pieces = []
        for begin, end in zip([0, *cuts], [*cuts, len(tokens)] if closed else cuts, strict=False):
            some = tokens[begin:end]
            piece = self._piece(some, self._seconds(some[0]), min(self._seconds(some[-1]), length))
            if piece.text.strip():
                pieces.append(piece)
        return pieces, length if closed else min(self._seconds(tokens[cuts[-1] - 1]), length)

    def _piece(self, tokens: Sequence[int], start: float, end: float) -> Piece:
        words = [token for token in tokens if token < self.end_of_text]
        return Piece(self.text(words), words, start, max(end, start))

    def _seconds(self, stamp: int) -> float:
        return float(stamp - self._first_stamp) * POSITION_SECONDS

    def _first(self, tokens: Sequence[int], hidden: Array, outputs: Sequence[str]) -> list[Array]:
        """A pass over tokens with nothing remembered."""
        given: dict[str, Any] = dict.fromkeys(self._caches, self._empty)
        given["input_ids"] = np.array([tokens], np.int64)
        given["encoder_hidden_states"] = hidden
        given["use_cache_branch"] = np.array([False])
        found: list[Array] = self._decoder.run(list(outputs), given)
        return found

    def _allowed(self, logits: Array, tokens: Sequence[int]) -> Array:
        """Logits with -∞ for what may not follow: timestamps come in pairs and never go back."""
        allowed = logits.copy()
        allowed[self._suppressed] = -np.inf
        allowed[self._no_timestamps] = -np.inf
        first = self._first_stamp
        if not tokens:
            allowed[self._no_beginning] = -np.inf
            allowed[:first] = -np.inf
            allowed[first + _LATEST_START + 1 :] = -np.inf
            return allowed
        last, before = tokens[-1] >= first, len(tokens) < 2 or tokens[-2] >= first
        if last and before:
            allowed[first:] = -np.inf
        elif last:
            allowed[: self.end_of_text] = -np.inf
        latest = max((token for token in tokens if token >= first), default=first)
        allowed[first : latest if last and not before else latest + 1] = -np.inf
        log_probabilities = _log_softmax(allowed)
        stamps, words = log_probabilities[first:], log_probabilities[:first]
        best = stamps.max()
        if np.isfinite(best) and best + np.log(np.exp(stamps - best).sum()) > words.max():
            allowed[:first] = -np.inf
        return allowed


def log_mel(sound: Samples) -> Array:
    """30 s of sound, cut or followed by silence, as Whisper takes it: shape (80, 3000)."""
    window = np.zeros(FRAMES * HOP, np.float32)
    window[: min(len(sound), len(window))] = sound[: len(window)]
    power = power_spectrum(np.pad(window, WINDOW // 2, mode="reflect"))[:FRAMES]
    logarithm = np.log10(np.maximum(mel_filters(BANDS) @ power.T, 1e-10))
    scaled: Array = ((np.maximum(logarithm, logarithm.max() - 8.0) + 4.0) / 4.0).astype(np.float32)
    return scaled


def positions(seconds: float) -> int:
    """How many of the encoder's positions a stretch of sound takes."""
    return max(1, min(round(seconds / POSITION_SECONDS), FRAMES // 2))


def _present(cache: str) -> str:
    return cache.replace("past_key_values", "present")


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    found: Array = shifted - np.log(np.exp(shifted).sum())
    return found


def _loop(tokens: Sequence[int]) -> int:
    """How many tokens the end of a text repeats `_LOOPS` times in a row; 0 when it does not."""
    for length in range(2, _LONGEST_LOOP + 1):
        repeated = tokens[-length * _LOOPS :]
        if len(repeated) == length * _LOOPS and repeated[:-length] == repeated[length:]:
            return length
    return 0
