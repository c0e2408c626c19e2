"""When each word is said: dynamic time warping over the decoder's attention.

As in openai/whisper's `timing.py` (MIT): the attention of chosen heads, normalised over tokens and smoothed
over time, is the likeness of a token and a moment; the best monotonic path through it gives each its time.
"""

import string
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Word
from lamina.inference.whisper_graph import POSITION_SECONDS, Array, WhisperGraph, positions

_SMOOTHED: Final = 7
_MEDIAN_OF_SEVEN: Final = (
    *((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6)),
    *((2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4)),
)
_LONGEST_WORD: Final = 0.7
_UNSPACED: Final = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages that put no space between words: each character counts as one."""

_ENDS: Final = ".。!！?？"
_PUNCTUATION: Final = frozenset(string.punctuation + "。、，！？：”）…")


def timed_words(
    graph: WhisperGraph, hidden: Array, language: str, texts: Sequence[Sequence[int]], seconds: float
) -> list[list[Word]]:
    """The words of each text of one window, timed from the window's beginning, spaces kept before them."""
    flat = [token for text in texts for token in text]
    if not flat:
        return [[] for _ in texts]
    attention, begin = graph.attention(hidden, language, flat, positions(seconds))
    starts = _starts(attention, begin)
    words: list[list[Word]] = []
    at = 0
    for text in texts:
        found = []
        for said, count in _split(graph, text, language):
            found.append(Word(said, float(starts[at]), float(starts[at + count])))
            at += count
        words.append(_tidy(found))
    return words


def _starts(attention: Array, begin: int) -> NDArray[np.float64]:
    """When each token begins, and the end after the last, in seconds: shape (tokens + 1,)."""
    weights = attention - attention.mean(axis=-2, keepdims=True)
    weights /= attention.std(axis=-2, keepdims=True) + 1e-8
    likeness = _smoothed(weights).mean(axis=0)[begin:-1]
    rows, columns = _path(-likeness.astype(np.float64))
    starts: NDArray[np.float64] = columns[np.diff(rows, prepend=-1) > 0] * np.float64(POSITION_SECONDS)
    return starts


def _smoothed(weights: Array) -> Array:
    """The median of each seven neighbours in time, by the sorting network of Devillard (1998)."""
    width = weights.shape[-1]
    if width < _SMOOTHED:
        return weights
    padded = np.pad(weights, ((0, 0), (0, 0), (_SMOOTHED // 2, _SMOOTHED // 2)), mode="reflect")
    seven = [padded[..., shift : shift + width] for shift in range(_SMOOTHED)]
    for low, high in _MEDIAN_OF_SEVEN:
        seven[low], seven[high] = np.minimum(seven[low], seven[high]), np.maximum(seven[low], seven[high])
    return seven[_SMOOTHED // 2]


def _path(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest monotonic path through (tokens, positions), as rows and columns; a diagonal at a time."""
    height, width = cost.shape
    total = np.full((height + 1, width + 1), np.inf)
    total[0, 0] = 0.0
    step = np.zeros((height + 1, width + 1), np.int8)
    step[0, :], step[:, 0] = 2, 1
    for diagonal in range(2, height + width + 1):
        row = np.arange(max(1, diagonal - width), min(height, diagonal - 1) + 1)
        column = diagonal - row
        both, down, across = total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
        chosen = np.where((both < down) & (both < across), 0, np.where((down < both) & (down < across), 1, 2))
        total[row, column] = cost[row - 1, column - 1] + np.choose(chosen, (both, down, across))
        step[row, column] = chosen
    at, moment = height, width
    path: list[tuple[int, int]] = []
    while at > 0 or moment > 0:
        path.append((at - 1, moment - 1))
        taken = step[at, moment]
        at, moment = at - int(taken != 2), moment - int(taken != 1)
    found = np.array(path[::-1], np.int64)
    return found[:, 0], found[:, 1]


def _split(graph: WhisperGraph, tokens: Sequence[int], language: str) -> list[tuple[str, int]]:
    """Words with how many tokens each has. A token may be but a part of a character."""
    characters: list[tuple[str, int]] = []
    begin = 0
    for end in range(1, len(tokens) + 1):
        text = graph.text(tokens[begin:end])
        if "\ufffd" not in text or end == len(tokens):
            characters.append((text, end - begin))
            begin = end
    if language in _UNSPACED:
        return characters
    words: list[tuple[str, int]] = []
    for text, count in characters:
        if words and not text.startswith(" "):
            words[-1] = (words[-1][0] + text, words[-1][1] + count)
        else:
            words.append((text, count))
    return words


def _tidy(words: Sequence[Word]) -> list[Word]:
    """Punctuation belongs to its word; a word far longer than its neighbours took in a pause."""
    joined: list[Word] = []
    for word in words:
        if joined and word.text.strip() and set(word.text) <= _PUNCTUATION:
            joined[-1] = Word(joined[-1].text + word.text, joined[-1].start, joined[-1].end)
        else:
            joined.append(word)
    lengths = [word.end - word.start for word in joined if word.end > word.start]
    longest = 2 * min(_LONGEST_WORD, float(np.median(lengths))) if lengths else 0.0
    tidy = []
    for place, word in enumerate(joined):
        if word.end - word.start <= longest:
            tidy.append(word)
        elif place == 0 or joined[place - 1].text.rstrip()[-1:] in _ENDS:
            tidy.append(Word(word.text, word.end - longest, word.end))
        elif word.text.rstrip()[-1:] in _ENDS:
            tidy.append(Word(word.text, word.start, word.start + longest))
        else:
            tidy.append(word)
    return tidy
