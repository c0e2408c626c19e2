"""A memory for the vectors of queries, since people ask the same thing again."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import TextEmbedder


class RememberedQueries:
    """A text embedder that keeps the vectors of its last `size` queries."""

    def __init__(self, embedder: TextEmbedder, size: int = 1024) -> None:
        self.card = embedder.card
        self._embedder = embedder
        self._size = size
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of documents, shape (n, dimension); not kept."""
        return self._embedder.embed_documents(texts)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, shape (n, dimension), made anew only for those not asked lately."""
        found = self._recall(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            made = dict(zip(missing, self._embedder.embed_queries(missing), strict=True))
            self._remember(made)
            found |= made
        vectors = np.empty((len(texts), self.card.dimension), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = found[text]
        return vectors

    def _recall(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
            for text in found:
                self._known.move_to_end(text)
        return found

    def _remember(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        with self._lock:
            self._known |= vectors
            while len(self._known) > self._size:
                self._known.popitem(last=False)
