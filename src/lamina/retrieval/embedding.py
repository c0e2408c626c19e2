"""Queries to vectors, outside of the event loop."""

import asyncio
from io import BytesIO
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError, ValidationError
from lamina.inference.base import ImageEmbedder
from lamina.inference.registry import Models

EmbeddingTask = Literal[
    "retrieval_query", "retrieval_document", "semantic_similarity", "classification", "none"
]
"""What a text is embedded for. Only a `retrieval_query` gets the model's instruction for queries."""

QUERY_SIDE: Final = 640
"""Longest side of the copy of a picture that is embedded: as `image_extractor` does it."""


class QueryEmbedder:
    """Embeds queries with the collections' own models, which remember the latest texts."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def embed(
        self, model: str, text: str, task: EmbeddingTask = "retrieval_query"
    ) -> NDArray[np.float32]:
        """A text in the space of the model's vectors.

        Shape (d,); (t, d) for a model of token vectors. Raises `ValidationError` where no text can be
        compared with what the model makes.
        """
        return await asyncio.to_thread(self._text, model, text, task)

    async def embed_picture(self, model: str, content: bytes) -> NDArray[np.float32]:
        """A picture in the space of the model's vectors, shape (d,).

        Raises `ValidationError` for bytes that are no picture, and where no picture can be compared with
        what the model makes.
        """
        return await asyncio.to_thread(self._picture, model, content)

    def _text(self, model: str, text: str, task: EmbeddingTask) -> NDArray[np.float32]:
        vector: NDArray[np.float32]
        capability = self._models.card(model).capability
        if capability == "embed_text_for_image":
            vector = self._models.text_image_embedder(model).embed_queries([text])[0]
        elif capability == "embed_tokens":
            tokens = self._models.token_embedder(model)
            vector = (
                tokens.embed_queries([text]) if task == "retrieval_query" else tokens.embed_documents([text])
            )[0]
        elif capability == "embed_image_tokens":
            vector = self._models.image_token_embedder(model).embed_queries([text])[0]
        elif capability == "embed_text":
            texts = self._models.text_embedder(model)
            vector = (
                texts.embed_queries([text]) if task == "retrieval_query" else texts.embed_documents([text])
            )[0]
        else:
            raise ValidationError(
                f"Vectors of '{model}' cannot be compared with a text; search it by a document or a vector.",
                code="no_text_query",
            )
        return vector

    def _picture(self, model: str, content: bytes) -> NDArray[np.float32]:
        from lamina.media.images import read_image

        capability = self._models.card(model).capability
        embedder: ImageEmbedder
        if capability == "embed_text_for_image":
            embedder = self._models.text_image_embedder(model)
        elif capability == "embed_image":
            embedder = self._models.image_embedder(model)
        else:
            raise ValidationError(
                f"Vectors of '{model}' cannot be compared with a picture; search it by a text.",
                code="no_picture_query",
            )
        try:
            picture = read_image(BytesIO(content), side=QUERY_SIDE, name="query")
        except ExtractionError as error:
            raise ValidationError(error.message, code=error.code) from error
        vector: NDArray[np.float32] = embedder.embed_images([picture.pixels])[0]
        return vector
