"""Made-up documents with vectors that lie as those of real texts do: in clusters, in few directions.

Everything comes from a seed. A document has fields for every kind of filter: `category` (100
values, so one holds 1 %), `year`, `rating`, `published`, and `text`, of whose documents 1 % have a
rare word, which no index of the embedded engine can find.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.harness import Record

SIZE = 384
RARE = "palimpsest"
_CLUSTERS = 1_000
_SOURCE = """
the flow of a thin boundary layer over heated wing surface was measured at high speed and small angle results
agree with theory for pressure drag lift shock wave body nose plate experiment method solution velocity
temperature gradient stability vortex tunnel bread oven river market garden window letter sea
"""
_WORDS = _SOURCE.split()


@dataclass(frozen=True, slots=True)
class Corpus:
    """`vectors` has shape (n, 384), `queries` (q, 384); both of length one."""

    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    documents: list[Record]

    def ids(self) -> list[str]:
        """Document ids, in the order of the vectors."""
        return [f"doc_{number:07d}" for number in range(len(self.documents))]

    def nearest(self, query: int, limit: int, within: NDArray[np.bool_] | None = None) -> set[str]:
        """Ids of the documents whose cosine with a query is highest, by comparing with all of them."""
        scores = self.vectors @ self.queries[query]
        if within is not None:
            scores = np.where(within, scores, -2.0)
        best = np.argpartition(-scores, limit)[:limit]
        return {f"doc_{number:07d}" for number in best}


def corpus(documents: int, queries: int, seed: int = 11) -> Corpus:
    """The same for the same numbers."""
    random = np.random.default_rng(seed)
    # The variance of real embeddings falls off over the directions; theirs is about this steep.
    scale = (1.0 / np.sqrt(1.0 + np.arange(SIZE) / 24.0)).astype(np.float32)
    centres = random.standard_normal((_CLUSTERS, SIZE), dtype=np.float32) * scale
    offset = random.standard_normal(SIZE, dtype=np.float32) * scale * 0.4
    popularity = 1.0 / (1.0 + np.arange(_CLUSTERS)) ** 0.6
    chosen = random.choice(_CLUSTERS, documents + queries, p=popularity / popularity.sum())
    noise = random.standard_normal((documents + queries, SIZE), dtype=np.float32) * scale * 0.8
    rows = centres[chosen] + noise + offset
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    payloads = list(_payloads(documents, random))
    return Corpus(np.ascontiguousarray(rows[:documents]), np.ascontiguousarray(rows[documents:]), payloads)


def _payloads(count: int, random: np.random.Generator) -> Iterator[Record]:
    words = random.integers(0, len(_WORDS), (count, 40))
    years = random.integers(1950, 2025, count)
    ratings = random.random(count)
    for number in range(count):
        text = [_WORDS[word] for word in words[number]]
        if number % 100 == 7:
            text[5] = RARE
        yield {
            "title": " ".join(text[:5]),
            "text": " ".join(text),
            "category": f"c{number % 100:02d}",
            "year": int(years[number]),
            "rating": round(float(ratings[number]), 3),
            "published": bool(number % 2),
        }


def short_texts(count: int, seed: int = 7) -> list[str]:
    """Texts of 12 to 20 words; no two alike."""
    random = np.random.default_rng(seed)
    lengths = random.integers(12, 21, count)
    return [" ".join(_WORDS[word] for word in random.integers(0, len(_WORDS), length)) for length in lengths]
