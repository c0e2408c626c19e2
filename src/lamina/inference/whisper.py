"""Speech to text with Whisper (Radford et al., 2022) on ONNX Runtime, as Optimum exports it.

Only stretches in which a speech detector hears somebody are read: they are put together, pauses left out,
and read in windows of at most 30 s that end in a pause where there is one. A window's text is kept when it
passes the tests of openai/whisper (`transcribe.py`, MIT); word times come from the decoder's attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lamina.core.errors import ValidationError
from lamina.inference.base import ModelCard, Samples, SpeechDetector, Transcript, Utterance, Word
from lamina.inference.speech_clock import SpeechClock
from lamina.inference.whisper_graph import Array, Guess, WhisperGraph
from lamina.inference.whisper_words import timed_words

if TYPE_CHECKING:
    from lamina.inference.registry import Models

WINDOW_SECONDS: Final = 30.0
TEMPERATURES: Final = (0.0, 0.4, 0.8)
"""A window whose text fails the tests is decoded anew, with more chance each time."""

REPETITIVE: Final = 2.4
"""Text that compresses better than this says the same thing over and over."""

UNSURE: Final = -1.0
"""Mean logarithm of the tokens' probabilities below which a text is doubted."""

NO_SPEECH: Final = 0.6

TOKENS_A_SECOND: Final = 8
"""Nobody speaks faster: bounds what a window can hold."""

_SHORTEST: Final = 0.1
_PAUSE_WITHIN: Final = 2.0
"""Seconds of silence between two words that end an utterance."""


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "Whisper":
    """A packaged Whisper; hears where speech is with the installation's speech detector."""
    graph = WhisperGraph(card.name, paths, threads=models.settings.threads)
    return Whisper(card, graph, models.speech_detector())


class Whisper:
    """Transcribes sounds of any length, 16 kHz. The same sound always gives the same text."""

    def __init__(self, card: ModelCard, graph: WhisperGraph, detector: SpeechDetector) -> None:
        self.card = card
        self._graph = graph
        self._detector = detector

    def transcribe(self, sound: Samples, *, language: str | None = None) -> Transcript:
        """What is said; empty where nobody speaks. Raises `ValidationError` for an unknown language."""
        if language is not None:
            language = self._known(language)
        clock = SpeechClock(sound, self._detector.detect(sound))
        utterances: list[Utterance] = []
        seek = 0.0
        while clock.duration - seek > _SHORTEST:
            stop = clock.pause_before(seek + WINDOW_SECONDS, after=seek)
            hidden = self._graph.encode(clock.sound(seek, stop))
            language = language or self._graph.language(hidden)
            guess = self._guess(hidden, language, stop - seek)
            if guess is None:
                seek = stop
                continue
            pieces, read = self._graph.pieces(guess.tokens, stop - seek)
            texts = [piece.tokens for piece in pieces]
            times = timed_words(self._graph, hidden, language, texts, stop - seek)
            for piece, words in zip(pieces, times, strict=True):
                spoken = _Spoken(piece.text, seek + piece.start, seek + piece.end, words, seek)
                utterances += spoken.utterances(clock)
            seek += read if read > _SHORTEST else stop - seek
        return Transcript(utterances, language if utterances else None)

    def _guess(self, hidden: Array, language: str, seconds: float) -> Guess | None:
        """The tokens of a window, or None when it holds no speech after all."""
        most = 16 + round(seconds * TOKENS_A_SECOND)
        best: Guess | None = None
        for attempt, temperature in enumerate(TEMPERATURES):
            guess = self._graph.decode(hidden, language, temperature, most, seed=attempt)
            if guess.no_speech > NO_SPEECH and guess.log_probability < UNSURE:
                return None
            if guess.compression <= REPETITIVE and guess.log_probability >= UNSURE:
                return guess
            if best is None or _worth(guess) > _worth(best):
                best = guess
        return best

    def _known(self, language: str) -> str:
        code = language.lower().replace("_", "-").split("-")[0]
        if code not in self._graph.languages:
            raise ValidationError(
                f"Language '{language}' is not one of those that {self.card.name} knows, by ISO 639-1: "
                f"{', '.join(sorted(self._graph.languages))}.",
                field="language",
                code="unknown_language",
            )
        return code


def _worth(guess: Guess) -> tuple[bool, float]:
    return guess.compression <= REPETITIVE, guess.log_probability


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A piece of text on the clock of speech, in seconds; its words' times are from `origin`."""

    text: str
    start: float
    end: float
    words: Sequence[Word]
    origin: float

    def utterances(self, clock: SpeechClock) -> list[Utterance]:
        """As it lies in the sound; a long silence between two words makes two of it."""
        words = []
        for word in self.words:
            start, end = clock.within(self.origin + word.start, self.origin + word.end)
            words.append(Word(word.text, start, end))
        if not words:
            text = self.text.strip()
            return [Utterance(text, clock.real(self.start), clock.real(self.end, ends=True))] if text else []
        groups: list[list[Word]] = [[]]
        for word in words:
            if groups[-1] and word.start - groups[-1][-1].end > _PAUSE_WITHIN:
                groups.append([])
            groups[-1].append(word)
        return [_utterance(group, self.text if len(groups) == 1 else None) for group in groups]


def _utterance(words: Sequence[Word], text: str | None) -> Utterance:
    """Words as an utterance; `text` where it is known better than by joining them."""
    joined = "".join(word.text for word in words) if text is None else text
    return Utterance(
        " ".join(joined.split()),
        words[0].start,
        words[-1].end,
        tuple(Word(word.text.strip(), word.start, word.end) for word in words),
    )
