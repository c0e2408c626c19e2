"""Rerankers: those behind an endpoint, and the cosine of the text model's vectors.

Text-embeddings-inference, which answers `/info`, takes `texts` at `/rerank`; Cohere's form, which Infinity,
vLLM, llama.cpp and Jina share, takes `documents` and a model's name at `/rerank` or `/v1/rerank`.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError
from lamina.core.types import Json, JsonObject
from lamina.inference.base import ModelCard, TextEmbedder
from lamina.inference.http import Endpoint
from lamina.inference.settings import EndpointSettings

BATCH: Final = 32
"""Texts in one request: the most that TEI takes unless it is told otherwise."""


class CosineReranker:
    """Scores are the cosine of the query's and the text's vectors: no better order than a search by them."""

    def __init__(self, card: ModelCard, embedder: TextEmbedder) -> None:
        self.card = card
        self._embedder = embedder

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,), in [-1, 1]."""
        if not texts:
            return np.zeros(0, np.float32)
        scores = self._embedder.embed_documents(texts) @ self._embedder.embed_queries([query])[0]
        return np.asarray(scores, np.float32)


class RemoteReranker:
    """A cross-encoder over HTTP. Raises `UnavailableError` when it does not give what was asked for."""

    def __init__(self, card: ModelCard, settings: EndpointSettings, *, longest_wait: float = 8.0) -> None:
        if settings.url is None:
            raise UnavailableError("There is no rerank endpoint: set LAMINA_RERANK_ENDPOINT.")
        self.card = card
        self._endpoint = Endpoint(settings.url, settings.key, purpose="rerank", longest_wait=longest_wait)
        self._model = settings.model
        self._lock = Lock()
        self._form: tuple[str, bool] | None = None

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,), in the endpoint's own scale."""
        scores = np.zeros(len(texts), np.float32)
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            scores[start : start + BATCH] = self._read(self._ask(query, some), len(some))
        return scores

    def _ask(self, query: str, texts: Sequence[str]) -> Json:
        path, tei = self._known()
        if tei:
            return self._endpoint.ask("POST", path, {"query": query, "texts": list(texts), "truncate": True})
        body: JsonObject = {"query": query, "documents": list(texts), "return_documents": False}
        if self._model is not None:
            body["model"] = self._model
        return self._endpoint.ask("POST", path, body)

    def _known(self) -> tuple[str, bool]:
        """The path, and whether TEI is behind it; asked once."""
        with self._lock:
            if self._form is None:
                described = self._endpoint.ask("GET", "/info", missing_ok=True)
                if isinstance(described, dict) and "model_id" in described:
                    self._form = ("/rerank", True)
                else:
                    self._form = (self._path(), False)
            return self._form

    def _path(self) -> str:
        """Where Cohere's form is taken: tried with one text."""
        body: JsonObject = {"query": "a", "documents": ["a"], "return_documents": False}
        if self._model is not None:
            body["model"] = self._model
        for path in ("/rerank", "/v1/rerank"):
            if self._endpoint.ask("POST", path, body, missing_ok=True) is not None:
                return path
        raise UnavailableError(f"{self._endpoint.name} has neither /rerank nor /v1/rerank.")

    def _read(self, answer: Json, count: int) -> NDArray[np.float32]:
        """The scores in the order of the texts, whatever order the answer has."""
        items = answer.get("results") if isinstance(answer, dict) else answer
        scores = np.full(count, np.nan, np.float32)
        for item in items if isinstance(items, list) else ():
            found = _scored(item)
            if found is not None and found[0] < count:
                scores[found[0]] = found[1]
        if np.isnan(scores).any():
            raise UnavailableError(f"{self._endpoint.name} answered no scores for {count} texts.")
        return scores


def _scored(item: Json) -> tuple[int, float] | None:
    """The place and the score of a text, as TEI and as Cohere name it."""
    if not isinstance(item, dict):
        return None
    index, score = item.get("index"), item.get("relevance_score", item.get("score"))
    if not isinstance(index, int) or index < 0 or not isinstance(score, int | float):
        return None
    return index, float(score)
