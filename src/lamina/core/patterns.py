"""Text as filters see it: letters without case, words, word stems and regular expressions.

Regular expressions run on RE2, whose time is linear in the text whatever the pattern. Stems are
those of the Snowball English stemmer (https://snowballstem.org/algorithms/english/stemmer.html).
"""

import re
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2  # type: ignore[import-untyped]  # has neither stubs nor py.typed
import snowballstemmer  # type: ignore[import-untyped]

_WORD: Final = re.compile(r"\w+")

_KEPT: Final = frozenset("\u0130\u212a")
"""The two letters (capital I with dot, Kelvin sign) whose lower case would contain an ASCII letter."""


def fold(text: str) -> str:
    """The text in lower case, letter by letter.

    A letter outside ASCII never becomes one of ASCII, so that an engine whose `lower` knows only
    ASCII agrees wherever the value it compares with is ASCII.
    """
    if text.isascii():
        return text.lower()
    return "".join([letter if letter in _KEPT else letter.lower() for letter in text])


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)


def stems_of(text: str) -> set[str]:
    """The English stems of the words of a text."""
    return {stem(word) for word in words_of(fold(text))}


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The English stem of a word in lower case."""
    with _stemming:
        return str(_stemmer.stemWord(word))


@lru_cache(maxsize=256)
def compile_pattern(pattern: str, case_sensitive: bool) -> Callable[[str], bool]:
    """Whether a text contains a match of the pattern. Raises `ValueError` for one that is not valid."""
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(_reason(error)) from error
    return lambda text: compiled.search(text) is not None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else str(error)
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


_stemmer = snowballstemmer.stemmer("english")
_stemming = threading.Lock()
