"""Image models on ONNX Runtime: what brings pictures into their form, embedders and labelers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lamina.core.errors import UnavailableError
from lamina.inference.base import Image, ModelCard, Vectors
from lamina.inference.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime as ort

    from lamina.inference.registry import Models

BATCH = 1
"""Pictures of one forward pass. More are no faster on a core and take more memory: see `bench/images.py`."""

Numbers = tuple[float, float, float]

_AVERAGED: Final = 4
"""Up to how many times too large a picture is brought to double size and averaged. Pillow's filter takes six
times as long, and its vectors are nearer to these than to those of the photo saved at quality 85."""

IMAGENET_MEAN: Final[Numbers] = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final[Numbers] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a model takes pictures: `size` × `size`, `(value / 255 - mean) / deviation`.

    With `crop` a picture keeps its proportions: its shorter side becomes `size / crop` and the
    middle is taken. Without, it is squeezed into the square.
    """

    size: int
    crop: float | None = None
    mean: Numbers = (0.0, 0.0, 0.0)
    deviation: Numbers = (1.0, 1.0, 1.0)
    layout: Literal["nchw", "nhwc"] = "nchw"

    def take(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Pictures as the model's input, shape (n, 3, size, size) or (n, size, size, 3)."""
        mean, deviation = np.asarray(self.mean, np.float32), np.asarray(self.deviation, np.float32)
        scale, shift = 1 / (255 * deviation), -mean / deviation
        if self.layout == "nchw":
            batch = np.empty((len(images), 3, self.size, self.size), np.float32)
            for values, image in zip(batch, images, strict=True):
                np.multiply(self._fit(image).transpose(2, 0, 1), scale[:, None, None], out=values)
            batch += shift[:, None, None]
            return batch
        # by rows: numpy is slow where the last axis has three numbers
        rows = np.empty((len(images), self.size, self.size * 3), np.float32)
        for values, image in zip(rows, images, strict=True):
            np.multiply(self._fit(image).reshape(self.size, -1), np.tile(scale, self.size), out=values)
        rows += np.tile(shift, self.size)
        return rows.reshape(len(images), self.size, self.size, 3)

    def _fit(self, image: Image) -> Image:
        left, top, right, bottom = box = self._box(image)
        size = (self.size, self.size)
        width, height = right - left, bottom - top
        if min(width, height) < self.size or max(width, height) > _AVERAGED * self.size:
            scaled = Pillow.fromarray(image).resize(
                size, Pillow.Resampling.BICUBIC, box=box, reducing_gap=3.0
            )
            return np.asarray(scaled, np.uint8)
        import cv2  # heavy, and of no use to a process that looks at no pictures

        kept = image[round(top) : round(bottom), round(left) : round(right)]
        doubled = cv2.resize(kept, (2 * self.size, 2 * self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.resize(doubled, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _box(self, image: Image) -> tuple[float, float, float, float]:
        """The part of a picture that the model sees: left, top, right, bottom."""
        height, width = image.shape[:2]
        if self.crop is None:
            return 0.0, 0.0, float(width), float(height)
        kept = min(width, height) * self.crop
        left, top = (width - kept) / 2, (height - kept) / 2
        return left, top, left + kept, top + kept


def load_mobilenet(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "OnnxImageLabeler":
    """MobileNetV3 of Keras, which scales its input itself and answers with probabilities."""
    form = Form(224, crop=0.875, deviation=(1 / 255, 1 / 255, 1 / 255), layout="nhwc")
    names = read_names(paths["names"])
    return OnnxImageLabeler(
        card, open_session(paths["model"], models.settings.threads, name=card.name), form, names
    )


def load_tinyvit(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "OnnxImageEmbedder":
    """TinyViT without its last layer."""
    form = Form(224, crop=0.95, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
    return OnnxImageEmbedder(
        card, open_session(paths["model"], models.settings.threads, name=card.name), form
    )


def read_names(path: Path) -> list[str]:
    """The names of labels, in the order of a model's outputs."""
    names: list[str] = json.loads(path.read_bytes())
    return names


class OnnxImageEmbedder:
    """A backbone whose first output is a vector for each picture, shape (n, dimension)."""

    def __init__(self, card: ModelCard, session: "ort.InferenceSession", form: Form) -> None:
        self.card = card
        self._session = session
        self._form = form
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Vectors of pictures, shape (n, dimension), L2-normalised."""
        vectors = np.zeros((len(images), self.card.dimension), np.float32)
        for start in range(0, len(images), BATCH):
            batch = self._form.take(images[start : start + BATCH])
            made = self._session.run([self._output], {self._input: batch})[0]
            if made.shape != (len(batch), self.card.dimension):
                raise UnavailableError(f"Model '{self.card.name}' answers vectors of shape {made.shape}.")
            vectors[start : start + BATCH] = made
        return normalised(vectors)


class OnnxImageLabeler:
    """A classifier whose first output is a probability for each of `names`."""

    def __init__(
        self, card: ModelCard, session: "ort.InferenceSession", form: Form, names: Sequence[str]
    ) -> None:
        self.card = card
        self.names = names
        self._session = session
        self._form = form
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name

    def probabilities(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Shape (n, names); rows sum to 1."""
        found = np.zeros((len(images), len(self.names)), np.float32)
        for start in range(0, len(images), BATCH):
            batch = self._form.take(images[start : start + BATCH])
            found[start : start + BATCH] = self._session.run([self._output], {self._input: batch})[0]
        return found


def normalised(vectors: NDArray[np.float32]) -> Vectors:
    """Rows of length 1."""
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
