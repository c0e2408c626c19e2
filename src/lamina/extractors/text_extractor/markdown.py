"""Markdown by its headings: sections of prose, and fenced code on its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True, slots=True)
class Section:
    """Prose under one heading, or one code block, as a span of characters."""

    start: int
    end: int
    heading_path: Sequence[str]
    kind: Literal["section", "code"]
    code_language: str | None = None


def markdown_sections(text: str, words: int) -> list[Section]:
    """The sections of a text, each of at most some `words` unless one paragraph is longer.

    A heading belongs to the prose under it. One with nothing of its own under it makes no section
    where other sections carry it in their path.
    """
    return list(_Reader(text, words).read())


@dataclass
class _Reader:
    text: str
    words: int
    path: list[tuple[int, str]] = field(default_factory=list)
    heading: tuple[int, int] | None = None
    prose: list[tuple[int, int]] = field(default_factory=list)

    def read(self) -> Iterator[Section]:
        tokens = MarkdownIt("commonmark").enable("table").parse(self.text)
        # lines as markdown-it counts them, which ends them at \n only
        starts = [0, *accumulate(len(line) + 1 for line in self.text.split("\n"))]
        for position, token in enumerate(tokens):
            if token.level or token.map is None:
                continue
            span = starts[token.map[0]], min(starts[token.map[1]], len(self.text))
            if token.type == "heading_open":
                yield from self._end_of_prose(deeper=self._enters_deeper(token))
                self._enter(token, tokens[position + 1].content, span)
            elif token.type == "fence":
                yield from self._end_of_prose(deeper=True)
                language = token.info.split()[0] if token.info.strip() else None
                yield self._section([span], "code", language)
            else:
                yield from self._add(span)
        yield from self._end_of_prose(deeper=False)

    def _enters_deeper(self, heading: Token) -> bool:
        return bool(self.path) and _rank(heading) > self.path[-1][0]

    def _enter(self, heading: Token, title: str, span: tuple[int, int]) -> None:
        self.path = [entry for entry in self.path if entry[0] < _rank(heading)]
        self.path.append((_rank(heading), title.strip()))
        self.heading = span

    def _add(self, block: tuple[int, int]) -> Iterator[Section]:
        """Take a block of prose into the section, ending it first where it would grow too long."""
        gathered = sum(self._count(span) for span in self.prose)
        if self.prose and gathered + self._count(block) > self.words:
            yield from self._end_of_prose(deeper=True)
        self.prose.append(block)

    def _end_of_prose(self, *, deeper: bool) -> Iterator[Section]:
        if self.prose or (self.heading is not None and not deeper):
            yield self._section([*([self.heading] if self.heading else []), *self.prose], "section")
        self.heading, self.prose = None, []

    def _section(
        self, spans: Sequence[tuple[int, int]], kind: Literal["section", "code"], language: str | None = None
    ) -> Section:
        start, end = spans[0][0], spans[-1][1]
        piece = self.text[start:end]
        start += len(piece) - len(piece.lstrip("\n"))
        return Section(
            start, start + len(piece.strip("\n")), [title for _, title in self.path], kind, language
        )

    def _count(self, span: tuple[int, int]) -> int:
        return len(self.text[span[0] : span[1]].split())


def _rank(heading: Token) -> int:
    return int(heading.tag[1])
