"""How far a block's text can be trusted: from 0 to 1, and as a letter."""

import re
from typing import Final, Literal

Tag = Literal["A", "B", "C", "D"]

_TAGS: Final[tuple[tuple[float, Tag], ...]] = ((0.8, "A"), (0.6, "B"), (0.4, "C"))

_UNREADABLE: Final = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""Replacement and control characters, and those of a font's own encoding."""

_UNREADABLE_WEIGHT, _UNREADABLE_MOST = 3.0, 0.7

_BROKEN: Final = re.compile(r"[^\w\s]{5,}|\w*[a-z][A-Z]\w*[a-z][A-Z]\w*|\w*\d[a-z]\d\w*")
"""What OCR leaves behind: runs of signs, case or digits mixed within a word."""

_LETTER_ALONE: Final = re.compile(r"(?<!\S)[^\W\d_](?!\S)")
_ALONE: Final = 0.12
"""Share of words of one letter that languages have; more are words that fell apart."""

_LEADERS: Final = re.compile(r"([.\-_=*·…~])\1{3,}")
_BROKEN_WEIGHT, _BROKEN_MOST = 0.8, 0.3

_LAYER: Final = 0.1
"""Taken off for text that another program's OCR laid over a scan."""


def confidence(text: str, base: float, *, layer: bool = False, reader: float | None = None) -> float:
    """The base less what speaks against the text.

    Unreadable characters take off three times their share, at most 0.7. Signs of bad OCR, and words of one
    letter beyond 12 % of all, take off four fifths of their share, at most 0.3; a layer of another OCR 0.1.
    What was read here (`reader`, its own confidence) starts with the base times that.
    """
    score = base if reader is None else base * reader
    letters = max(sum(not character.isspace() for character in text), 1)
    score -= min(_UNREADABLE_WEIGHT * unreadable(text), _UNREADABLE_MOST)
    plain = _LEADERS.sub(" ", text)
    broken = sum(len(found.group()) for found in _BROKEN.finditer(plain)) / letters
    score -= min(_BROKEN_WEIGHT * (broken + max(fallen_apart(plain) - _ALONE, 0.0)), _BROKEN_MOST)
    return round(min(max(score - (_LAYER if layer else 0.0), 0.0), 1.0), 3)


def tag(score: float) -> Tag:
    """A from 0.8, B from 0.6, C from 0.4, D below."""
    return next((letter for least, letter in _TAGS if score >= least), "D")


def unreadable(text: str) -> float:
    """Share of characters that mean nothing."""
    letters = sum(not character.isspace() for character in text)
    return len(_UNREADABLE.findall(text)) / letters if letters else 0.0


def fallen_apart(text: str) -> float:
    """Share of words that are one letter."""
    words = text.split()
    return len(_LETTER_ALONE.findall(text)) / len(words) if words else 0.0
