"""Transcripts with times: SRT and WebVTT through `pysubs2` (MIT), and lines like `[01:30] words`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pysubs2
from pysubs2.exceptions import Pysubs2Error

_TIMED_LINE = re.compile(r"^\s*[\[(](?:(\d+):)?(\d{1,3}):(\d{2}(?:\.\d+)?)[\])]\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Segment:
    """What is said from `start` to `end`, in seconds."""

    text: str
    start: float
    end: float


def transcript_segments(text: str, seconds: int) -> list[Segment]:
    """A transcript cut into segments of `seconds`; a cue belongs to the one in which it begins.

    Raises `ValueError` when the text is no transcript.
    """
    cues = transcript_cues(text)
    grouped: dict[int, list[Segment]] = {}
    for cue in cues:
        grouped.setdefault(int(cue.start // seconds), []).append(cue)
    return [
        Segment(
            text=" ".join(cue.text for cue in group),
            start=group[0].start,
            end=max(cue.end for cue in group),
        )
        for group in grouped.values()
    ]


def transcript_cues(text: str) -> list[Segment]:
    """The cues of a transcript, in the order of their times. Raises `ValueError` when it is none."""
    return sorted(_timed_lines(text) or _subtitles(text), key=lambda cue: cue.start)


def _subtitles(text: str) -> list[Segment]:
    try:
        lines = pysubs2.SSAFile.from_string(text.removeprefix("\ufeff"))
    except Pysubs2Error as error:
        raise ValueError(
            "split_by='time_segments' wants SRT, WebVTT or lines like '[01:30] words'"
        ) from error
    cues = [
        Segment(" ".join(line.plaintext.split()), line.start / 1000, line.end / 1000)
        for line in lines
        if line.plaintext.strip()
    ]
    if not cues:
        raise ValueError("the transcript has no words")
    return cues


def _timed_lines(text: str) -> list[Segment]:
    """Cues of lines that begin with a time; lines without one go on with the cue before them."""
    marks: list[tuple[float, list[str]]] = []
    for line in text.splitlines():
        found = _TIMED_LINE.match(line)
        if found is not None:
            hours, minutes, seconds, words = found.groups()
            marks.append((int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds), [words]))
        elif marks:
            marks[-1][1].append(line)
    return _ended([(start, " ".join(" ".join(words).split())) for start, words in marks])


def _ended(marks: Sequence[tuple[float, str]]) -> list[Segment]:
    """Each cue ends where the next begins; the last, of unknown length, where it begins."""
    ends = [*(start for start, _ in marks[1:]), *(start for start, _ in marks[-1:])]
    return [
        Segment(words, start, max(start, end))
        for (start, words), end in zip(marks, ends, strict=True)
        if words
    ]
