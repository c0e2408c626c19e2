"""Pictures found by words, out of a labeler and a text model that never saw each other (ConSE).

Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", 2013: a picture's
vector is the sum of its labels' text embeddings, weighted by the labels' probabilities. Three
things differ from the paper, each as it was measured best (`bench/quality_images.py --variants`):

- A label's embedding is the middle between those of its name and of a sentence that describes it.
  Descriptions say what kind of thing it is, so that "bird" finds a hummingbird.
- The square roots of all probabilities are the weights, in place of the ten highest probabilities.
- The space is the text model's, moved so that the labels' middle is its origin. All labels share a
  direction that says nothing, and the less sure the labeler is, the more of it a sum holds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Image, ImageLabeler, ModelCard, TextEmbedder, Vectors
from lamina.inference.catalogue.images import CONSE
from lamina.inference.onnx_images import normalised, read_names

if TYPE_CHECKING:
    from lamina.inference.registry import Models

LABELER, TEXT_MODEL = CONSE.parts

_KEPT: Final = "made"
"""Folder of the models folder for what is computed once of models and kept."""


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "ConseEmbedder":
    """ConSE of the packaged labeler and the packaged text model. The labeler is loaded for pictures only."""
    texts = label_texts(read_names(paths["names"]), paths["descriptions"])
    embedder = models.text_embedder(TEXT_MODEL)
    labels = kept_labels(models.settings.models_dir / _KEPT, card.name, texts, embedder)
    return ConseEmbedder(card, models, embedder, labels)


class ConseEmbedder:
    """A `TextImageEmbedder` made of a labeler and a text model.

    `labels` are the labels' embeddings, shape (labels, dimension).
    """

    def __init__(
        self, card: ModelCard, models: "Models", texts: TextEmbedder, labels: NDArray[np.float32]
    ) -> None:
        self.card = card
        self._models = models
        self._texts = texts
        self._origin = labels.mean(axis=0)
        self._labels = labels - self._origin

    @property
    def labeler(self) -> ImageLabeler:
        """The labeler that pictures are looked at with."""
        return self._models.image_labeler(LABELER)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Vectors of pictures, shape (n, dimension), L2-normalised."""
        return self.embed_probabilities(self.labeler.probabilities(images))

    def embed_probabilities(self, probabilities: NDArray[np.float32]) -> Vectors:
        """The same of pictures whose labels are known already, shape (n, labels)."""
        return normalised(np.sqrt(probabilities) @ self._labels)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts as vectors of the pictures' space, shape (n, dimension)."""
        return normalised(self._texts.embed_queries(texts) - self._origin)


def label_texts(names: Sequence[str], descriptions: Path) -> list[tuple[str, str]]:
    """For each label its name, and its name with the first sentence of its description."""
    described: Mapping[str, Mapping[str, str]] = json.loads(descriptions.read_bytes())
    texts = []
    for number, name in enumerate(names):
        sentence = described.get(str(number), {}).get("description", name).split(". ")[0]
        texts.append((name, f"{name}: {sentence}"))
    return texts


def embed_labels(texts: Sequence[tuple[str, str]], embedder: TextEmbedder) -> NDArray[np.float32]:
    """The labels' embeddings: the middle of those of their texts, L2-normalised."""
    every = embedder.embed_documents([text for pair in texts for text in pair])
    return normalised(every[0::2] + every[1::2])


def kept_labels(
    folder: Path, name: str, texts: Sequence[tuple[str, str]], embedder: TextEmbedder
) -> NDArray[np.float32]:
    """The labels' embeddings, computed once for all processes where the folder can be written to."""
    said = json.dumps([embedder.card.name, embedder.card.version, texts])
    path = folder / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.npy"
    try:
        found: NDArray[np.float32] = np.load(path)
        if found.shape == (len(texts), embedder.card.dimension):
            return found
    except (OSError, ValueError, EOFError):
        pass
    made = embed_labels(texts, embedder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, delete=False) as file:
            np.save(file, made)
        Path(file.name).replace(path)
    except OSError:  # a folder that cannot be written to: it is computed again by the next process
        pass
    return made
