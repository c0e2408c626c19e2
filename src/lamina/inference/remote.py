"""Text models behind an endpoint: OpenAI's `/v1/embeddings`, or `/embed` of text-embeddings-inference.

Servers that speak the first are many (vLLM, Infinity, llama.cpp, Ollama, …). `RemoteTextEmbedder`
asks which one it talks to: only text-embeddings-inference (TEI) answers `/info` with a `model_id`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError
from lamina.core.types import Json, JsonObject
from lamina.inference.base import ModelCard
from lamina.inference.http import Endpoint
from lamina.inference.remote_entries import ENDPOINT_CHOICE

BATCH: Final = 32
"""Texts in one request: the most that TEI takes unless it is told otherwise."""


class RemoteTextEmbedder:
    """Embeds over HTTP. Raises `UnavailableError` when the endpoint does not give what was asked for."""

    def __init__(
        self,
        card: ModelCard,
        endpoint: str,
        key: str | None,
        *,
        timeout: float = 60.0,
        longest_wait: float = 8.0,
    ) -> None:
        self._endpoint = Endpoint(
            endpoint.rstrip("/").removesuffix("/v1"),
            key,
            purpose="embedding",
            timeout=timeout,
            longest_wait=longest_wait,
        )
        self._tei, self._model = self._identify(card)
        self.card = card
        if not card.dimension:
            self.card = replace(card, origin=self._model, dimension=len(self._request(["dimension"])[0]))

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of documents, shape (n, dimension), L2-normalised."""
        vectors = np.zeros((len(texts), self.card.dimension), np.float32)
        for start in range(0, len(texts), BATCH):
            answered = self._request(texts[start : start + BATCH])
            if answered.shape[1] != self.card.dimension:
                raise UnavailableError(
                    f"{self._endpoint.name} answered vectors of {answered.shape[1]} numbers; "
                    f"'{self.card.name}' has {self.card.dimension}."
                )
            vectors[start : start + BATCH] = answered
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same: these protocols know no difference."""
        return self.embed_documents(texts)

    def _identify(self, card: ModelCard) -> tuple[bool, str]:
        """Whether the endpoint is TEI, and the model's name there."""
        if card.name != ENDPOINT_CHOICE:
            return False, card.name
        described = self._endpoint.ask("GET", "/info", missing_ok=True)
        if isinstance(described, dict) and isinstance(described.get("model_id"), str):
            return True, str(described["model_id"])
        return False, self._endpoint.model("/v1/models")

    def _request(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._tei:
            answer = self._endpoint.ask("POST", "/embed", {"inputs": list(texts), "truncate": True})
        else:
            asked: JsonObject = {"model": self._model, "input": list(texts)}
            answer = self._endpoint.ask("POST", "/v1/embeddings", asked)
        try:
            vectors = np.array(answer if self._tei else _openai_vectors(answer), dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(f"{self._endpoint.name} answered no vectors.") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise UnavailableError(
                f"{self._endpoint.name} answered {vectors.shape} numbers for {len(texts)} texts."
            )
        return vectors


def _openai_vectors(answer: Json) -> list[Json]:
    """The vectors in the order of the inputs, whatever order the answer has."""
    if not isinstance(answer, dict):
        raise TypeError("not an object")
    items = sorted(answer["data"], key=lambda item: item["index"])
    return [item["embedding"] for item in items]
