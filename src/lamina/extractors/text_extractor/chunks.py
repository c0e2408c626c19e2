"""Chunks of a text: which pieces each strategy makes.

The units come from libraries that are kept and work offline: sentences from `sentencex` (MIT, of
Wikimedia, 1 MB, some 240 languages, offsets into the text; pysbd rests since 2021 and blingfire
weighs 42 MB), Markdown from `markdown-it-py` (MIT). The general chunkers (chonkie, semchunk,
semantic-text-splitter) measure in tokens or characters only, where the contract counts overlap in
units of the strategy; so units are grouped here.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sentencex import get_sentence_boundaries

from lamina.extractors.text_extractor.markdown import markdown_sections
from lamina.extractors.text_extractor.parameters import TextExtractorParameters
from lamina.extractors.text_extractor.transcripts import transcript_segments

Span: TypeAlias = tuple[int, int]
"""Where a unit begins and ends in its text, in characters."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text. Offsets count characters, times seconds; each where it has a meaning."""

    text: str
    start_char: int | None = None
    end_char: int | None = None
    start_time: float | None = None
    end_time: float | None = None
    heading_path: Sequence[str] | None = None
    chunk_kind: Literal["section", "code"] | None = None
    code_language: str | None = None


def split(text: str, parameters: TextExtractorParameters) -> list[Chunk]:
    """The chunks of a text in order; none is blank.

    Raises `ValueError`, saying what was expected, when the text has not the form that the
    strategy wants.
    """
    match parameters.split_by:
        case "none":
            chunks = [Chunk(text)]
        case "markdown":
            chunks = [
                Chunk(
                    text[section.start : section.end],
                    section.start,
                    section.end,
                    heading_path=section.heading_path,
                    chunk_kind=section.kind,
                    code_language=section.code_language,
                )
                for section in markdown_sections(text, parameters.chunk_size)
            ]
        case "time_segments":
            chunks = [
                Chunk(segment.text, start_time=segment.start, end_time=segment.end)
                for segment in transcript_segments(text, parameters.segment_length_seconds)
            ]
        case unit:
            spans = _UNITS[unit](text, parameters.language)
            chunks = [
                Chunk(text[start:end], start, end)
                for start, end in windows(spans, parameters.chunk_size, parameters.chunk_overlap)
            ]
    return [chunk for chunk in chunks if chunk.text.strip()]


def windows(units: Sequence[Span], size: int, overlap: int) -> Iterator[Span]:
    """Spans of `size` units each; neighbours share `overlap` of them. The last may be shorter."""
    for start in range(0, len(units), size - overlap):
        group = units[start : start + size]
        yield group[0][0], group[-1][1]
        if start + size >= len(units):
            return


def _characters(text: str, _language: str) -> list[Span]:
    return [(position, position + 1) for position in range(len(text))]


def _words(text: str, _language: str) -> list[Span]:
    return [found.span() for found in re.finditer(r"\S+", text)]


def _sentences(text: str, language: str) -> list[Span]:
    bounds = [(each["start_index"], each["end_index"]) for each in get_sentence_boundaries(language, text)]
    return _stripped(text, bounds)


def _paragraphs(text: str, _language: str) -> list[Span]:
    return _stripped(text, _between(text, r"\n[^\S\n]*(?:\n[^\S\n]*)+"))


def _pages(text: str, _language: str) -> list[Span]:
    return _stripped(text, _between(text, r"\f"))


_UNITS: Final[dict[str, Callable[[str, str], list[Span]]]] = {
    "characters": _characters,
    "words": _words,
    "sentences": _sentences,
    "paragraphs": _paragraphs,
    "pages": _pages,
}


def _between(text: str, separator: str) -> list[Span]:
    """The spans that lie between the separators."""
    spans, start = [], 0
    for found in re.finditer(separator, text):
        spans.append((start, found.start()))
        start = found.end()
    return [*spans, (start, len(text))]


def _stripped(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans without white space at their ends; blank ones are dropped."""
    found = []
    for start, end in spans:
        piece = text[start:end]
        first = start + len(piece) - len(piece.lstrip())
        last = start + len(piece.rstrip())
        if first < last:
            found.append((first, last))
    return found
