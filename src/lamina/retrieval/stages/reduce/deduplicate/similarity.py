"""Near-duplicate texts by the overlap of their character trigrams."""

import math
from collections import defaultdict
from typing import Final

_SIZE: Final = 3


class NearDuplicates:
    """Remembers texts and says which are new.

    The similarity of two texts is the Jaccard index of their sets of character trigrams, spaces
    folded: shared ones by all. Only texts that could reach the threshold are compared: of a set of
    n trigrams, one of any n - ⌈t·n⌉ + 1 has to occur in the other text too (the prefix filter of
    Chaudhuri, Ganti and Kaushik, 2006), and the sizes may differ by the factor t at most.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._kept: list[frozenset[str]] = []
        self._holding: defaultdict[str, list[int]] = defaultdict(list)

    def is_new(self, text: str) -> bool:
        """Whether no text kept before is similar enough; if so, this one is kept."""
        grams = trigrams(text)
        if self._kept and any(self._alike(grams, self._kept[other]) for other in self._candidates(grams)):
            return False
        for gram in self._prefix(grams):
            self._holding[gram].append(len(self._kept))
        self._kept.append(grams)
        return True

    def _candidates(self, grams: frozenset[str]) -> set[int]:
        if self._threshold == 0.0:
            return {0}
        return {other for gram in self._prefix(grams) for other in self._holding.get(gram, ())}

    def _prefix(self, grams: frozenset[str]) -> list[str]:
        """Trigrams in one order for all texts, as many as have to be looked at."""
        length = len(grams) - math.ceil(self._threshold * len(grams) - 1e-9) + 1
        return sorted(grams, key=lambda gram: gram[::-1])[:length]

    def _alike(self, first: frozenset[str], second: frozenset[str]) -> bool:
        small, large = sorted((len(first), len(second)))
        if small < self._threshold * large - 1e-9:
            return False
        shared = len(first & second)
        return shared / (small + large - shared) >= self._threshold - 1e-9


def trigrams(text: str) -> frozenset[str]:
    """The character trigrams of a text, with a space around it; never empty."""
    spaced = f" {' '.join(text.split())} "
    if len(spaced) <= _SIZE:
        return frozenset({spaced})
    return frozenset(spaced[start : start + _SIZE] for start in range(len(spaced) - _SIZE + 1))
