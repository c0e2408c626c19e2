"""Pictures to the vectors of the words that they show: reading and late interaction put together.

What ColPali and ColQwen learn to see in a page at once is done here by two small models, one after the other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamina.inference.base import Image, ModelCard, TokenEmbedder, Vectors
from lamina.inference.catalogue.images import MOBILENET as LABELS
from lamina.inference.catalogue.ocr import TINY as OCR
from lamina.inference.catalogue.tokens import MINILM_TOKENS as TOKENS

if TYPE_CHECKING:
    from lamina.inference.registry import Models

MAX_VECTORS = 1024
"""Vectors of one picture, as many as ColPali makes of its patches."""

PIECE_WORDS = 120
"""Words that are embedded together; most encoders cut off some 200 to 250 English ones."""

LEAST_PROBABILITY = 0.1
MOST_LABELS = 3


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "ReadTokens":
    """Made of the packaged models for tokens, for reading and for labels."""
    del paths  # it has no files of its own
    return ReadTokens(card, models)


class ReadTokens:
    """Vectors of the words that are read in a picture, or else of the names of what it shows.

    Its parts are loaded when they are first asked for: a search needs the one for texts only.
    """

    def __init__(self, card: ModelCard, models: "Models") -> None:
        self.card = card
        self._models = models

    def embed_images(self, images: Sequence[Image]) -> list[Vectors]:
        """Shape (words, dimension) for each; none for a picture in which nothing is read or recognised."""
        return [self._embed(image) for image in images]

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """Shape (tokens, dimension) for each."""
        return self._tokens().embed_queries(texts)

    def _tokens(self) -> TokenEmbedder:
        return self._models.token_embedder(TOKENS.card.name)

    def _embed(self, image: Image) -> Vectors:
        words = [
            word for line in self._models.text_reader(OCR.card.name).read(image) for word in line.text.split()
        ]
        if not words:
            words = self._shown(image)
        pieces = [" ".join(words[start : start + PIECE_WORDS]) for start in range(0, len(words), PIECE_WORDS)]
        if not pieces:
            return np.zeros((0, self.card.dimension), np.float32)
        return np.concatenate(self._tokens().embed_documents(pieces))[:MAX_VECTORS]

    def _shown(self, image: Image) -> list[str]:
        labeler = self._models.image_labeler(LABELS.card.name)
        (row,) = labeler.probabilities([image])
        likely = np.argsort(-row, kind="stable")[:MOST_LABELS]
        return [labeler.names[label] for label in likely if row[label] >= LEAST_PROBABILITY]
