"""Texts to a vector for each token, to be compared by MaxSim (ColBERT: Khattab and Zaharia, SIGIR 2020)."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamina.core.errors import UnavailableError
from lamina.inference.base import ModelCard, Vectors
from lamina.inference.onnx_text import OnnxEncoder, batches_by_length

if TYPE_CHECKING:
    from lamina.inference.registry import Models

MASK = "[MASK]"


@dataclass(frozen=True, slots=True)
class Interaction:
    """How a late-interaction model was trained to see queries and documents.

    The markers are tokens that stand after the first one. Queries are filled up to `query_length` tokens with
    `[MASK]`, which the others do not see; ColBERT keeps the vectors of these, of the special tokens, and of
    punctuation in queries. Without `query_length` queries are treated like documents, and of both only the
    words are kept.
    """

    query_marker: int | None = None
    document_marker: int | None = None
    query_length: int | None = None


PLAIN = Interaction()


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "OnnxTokenEmbedder":
    """The words' vectors of a packaged encoder that was not trained for late interaction."""
    encoder = OnnxEncoder(card, paths["model"], paths["tokenizer"], threads=models.settings.threads)
    return OnnxTokenEmbedder(card, encoder, PLAIN)


class OnnxTokenEmbedder:
    """Token vectors of an encoder, L2-normalised. Punctuation in documents has none.

    A text always has one vector at least. Raises `UnavailableError` for a tokenizer without `[MASK]` where
    queries are filled up.
    """

    def __init__(self, card: ModelCard, encoder: OnnxEncoder, interaction: Interaction) -> None:
        self.card = card
        self._encoder = encoder
        self._interaction = interaction
        tokenizer = encoder.tokenizer
        if interaction.document_marker is not None:
            tokenizer.enable_truncation(card.max_tokens - 1)
        dropped = [tokenizer.token_to_id(symbol) for symbol in string.punctuation]
        if interaction.query_length is None:
            dropped += tokenizer.encode("").ids  # what stands around every text
        self._dropped = np.array([token for token in dropped if token is not None], np.int64)
        mask = tokenizer.token_to_id(MASK)
        if interaction.query_length is not None and mask is None:
            raise UnavailableError(f"Model '{card.name}' cannot be loaded: its tokenizer has no {MASK}.")
        self._mask: int = mask or 0

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text shape (tokens, dimension)."""
        tokens = [_marked(ids, self._interaction.document_marker) for ids in self._encoder.tokens(texts)]
        return self._embed(tokens, drop=True)

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """The same for queries, filled up where the model wants that."""
        length = self._interaction.query_length
        if length is None:
            return self.embed_documents(texts)
        tokens = [
            _cut(_marked(ids, self._interaction.query_marker), length) for ids in self._encoder.tokens(texts)
        ]
        attended = [len(ids) for ids in tokens]
        filled = [ids + [self._mask] * (length - len(ids)) for ids in tokens]
        return self._embed(filled, drop=False, attended=attended)

    def _embed(
        self, tokens: Sequence[list[int]], *, drop: bool, attended: Sequence[int] | None = None
    ) -> list[Vectors]:
        found: dict[int, Vectors] = {}
        for batch in batches_by_length([len(ids) for ids in tokens]):
            seen = None if attended is None else [attended[position] for position in batch]
            hidden = self._encoder.forward([tokens[position] for position in batch], seen)
            for position, rows in zip(batch, hidden, strict=True):
                ids = np.array(tokens[position])
                kept = ~np.isin(ids, self._dropped) if drop else np.ones(len(ids), bool)
                vectors = rows[: len(ids)][kept if kept.any() else slice(0, 1)]
                lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                found[position] = vectors / np.maximum(lengths, 1e-12)
        return [found[position] for position in range(len(tokens))]


def _marked(ids: list[int], marker: int | None) -> list[int]:
    return ids if marker is None else [*ids[:1], marker, *ids[1:]]


def _cut(ids: list[int], length: int) -> list[int]:
    """At most `length` tokens, the last one kept: it ends the text."""
    return ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
