"""What is said in a file, and when: heard once from its beginning to its end, whatever its segments are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np

from lamina.inference.base import Samples, Span, SpeechDetector, Transcriber, Utterance, Word
from lamina.media.audio import blocks

RATE: Final = 16_000

STRETCH: Final = 240.0
"""Seconds of sound that are heard at once; they end in a pause where there is one."""

SILENT: Final = 1e-3
"""Largest sample of what nobody needs to listen to: -60 dB of full scale."""

LEAST_SPEECH: Final = 0.25
"""Seconds of speech that make a segment one with speech."""


@dataclass(slots=True)
class Heard:
    """Where somebody speaks and what is said, in seconds from the beginning of the file.

    `listened` is False when only the sound's duration was found.
    """

    listened: bool = True
    duration: float = 0.0
    speech: list[Span] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    languages: list[tuple[float, str]] = field(default_factory=list)

    def speaks(self, segment: Span) -> bool:
        """Whether a segment holds speech; a fraction of a word at its edge does not count."""
        least = min(LEAST_SPEECH, segment.duration / 2)
        return sum(max(_overlap(one, segment), 0.0) for one in self.speech) >= least

    def said(self, segment: Span) -> tuple[str, list[Word]]:
        """The text of a segment and its words: those whose middle lies in it."""
        texts: list[str] = []
        words: list[Word] = []
        for one in self.utterances:
            inside = [word for word in one.words if _holds(segment, word.start, word.end)]
            if len(inside) == len(one.words):  # a text without words counts as one
                if inside or _holds(segment, one.start, one.end):
                    texts.append(one.text)
            elif inside:
                texts.append((" " if " " in one.text else "").join(word.text for word in inside))
            words += inside
        return " ".join(text for text in texts if text).strip(), words

    def language(self, segment: Span) -> str | None:
        """What is spoken in a segment."""
        before = [code for start, code in self.languages if start < segment.end]
        return before[-1] if before else None


def hear(
    file: BinaryIO,
    detector: SpeechDetector | None,
    transcriber: Transcriber | None,
    language: str | None,
    *,
    name: str,
) -> Heard:
    """Listen to the sound of a file, a few minutes at once; `transcriber` writes it down, if given."""
    heard = Heard(detector is not None)
    for start, sound, speech in _stretches(blocks(file, RATE, name=name, block=STRETCH), detector):
        heard.duration = start + len(sound) / RATE
        if not speech:
            continue
        spans = [Span(start + one.start, start + one.end) for one in speech]
        if transcriber is None:
            heard.speech += spans
            continue
        transcript = transcriber.transcribe(sound, language=language)
        said = [_moved(one, start) for one in transcript.utterances]
        heard.utterances += said
        # what a transcriber finds no word in was a noise
        heard.speech += [span for span in spans if any(_overlap(one, span) > 0 for one in said)]
        if transcript.language:
            heard.languages.append((start, transcript.language))
    return heard


def _stretches(
    pieces: Iterable[Samples], detector: SpeechDetector | None
) -> Iterator[tuple[float, Samples, Sequence[Span]]]:
    """Stretches of sound, when they begin, and their speech; nobody is cut off while speaking."""
    held = np.zeros(0, np.float32)
    begin = 0
    for piece in pieces:
        sound = np.concatenate([held, piece])
        speech = _speech(sound, detector)
        end = len(sound)
        if speech and len(sound) / RATE - speech[-1].end < 1.0 and speech[-1].start > STRETCH / 2:
            end = round(speech[-1].start * RATE)
            speech = speech[:-1]
        yield begin / RATE, sound[:end], speech
        held, begin = sound[end:], begin + end
    if len(held):
        yield begin / RATE, held, _speech(held, detector)


def _speech(sound: Samples, detector: SpeechDetector | None) -> list[Span]:
    if detector is None or not len(sound) or max(float(sound.max()), -float(sound.min())) < SILENT:
        return []
    return list(detector.detect(sound))


def _moved(one: Utterance, by: float) -> Utterance:
    words = [Word(word.text, word.start + by, word.end + by) for word in one.words]
    return Utterance(one.text, one.start + by, one.end + by, words)


def _holds(segment: Span, start: float, end: float) -> bool:
    return segment.start <= (start + end) / 2 < segment.end


def _overlap(one: Span | Utterance, other: Span) -> float:
    return min(one.end, other.end) - max(one.start, other.start)
