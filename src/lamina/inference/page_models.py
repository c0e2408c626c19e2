"""Pages seen by a vision model: a vector for each patch of a picture (ColPali: Faysse et al., 2024).

How such a model wants its pictures cut and its prompts put is `fastembed`'s knowledge (Apache-2.0).
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.inference.base import Image, Vectors
from lamina.inference.onnx_images import normalised
from lamina.inference.page_entries import PageModel
from lamina.inference.sessions import providers


class PageEmbedder:
    """An `ImageTokenEmbedder` that sees layout, charts and handwriting, not only words.

    Pictures and texts go through one at a time: a page alone takes gigabytes with the larger models. Raises
    `UnavailableError` when the files are not the model's.
    """

    def __init__(self, model: PageModel, folder: Path, *, threads: int = 1) -> None:
        self.card = model.card
        try:
            from fastembed import LateInteractionMultimodalEmbedding
        except ImportError:
            raise MissingExtraError(f"The model '{self.card.name}'", "hub") from None
        try:
            # It warns of vectors that its older versions made of several pictures at once; here none were.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                self._model = LateInteractionMultimodalEmbedding(
                    model.repository,
                    threads=threads,
                    providers=providers(),
                    cache_dir=str(folder),
                    specific_model_path=str(folder),
                    enable_cpu_mem_arena=False,
                )
        except Exception as error:  # the library has no common error of its own
            raise UnavailableError(f"Model '{self.card.name}' cannot be loaded: {error}") from error

    def embed_images(self, images: Sequence[Image]) -> list[Vectors]:
        """For each picture shape (patches, dimension)."""
        pictures = [Pillow.fromarray(image) for image in images]
        return self._rows(self._model.embed_image(pictures, batch_size=1))

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text shape (tokens, dimension), with those that the model expands a query by."""
        return self._rows(self._model.embed_text(list(texts), batch_size=1))

    def _rows(self, made: Iterable[NDArray[np.generic]]) -> list[Vectors]:
        found = []
        for vectors in made:
            if vectors.ndim != 2 or vectors.shape[1] != self.card.dimension:
                raise UnavailableError(
                    f"Model '{self.card.name}' has {self.card.dimension} dimensions; "
                    f"its file answers vectors of shape {vectors.shape}."
                )
            found.append(normalised(vectors.astype(np.float32)))
        return found
