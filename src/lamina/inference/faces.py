"""Faces: YuNet finds them, SFace makes vectors of whose they are.

Both run on OpenCV's own inference, which their files are made for: ONNX Runtime refuses the way in
which these two store their int8 weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError
from lamina.inference.base import Face, Image, ModelCard, Vectors

if TYPE_CHECKING:
    from lamina.inference.registry import Models

SIDE: Final = 1280
"""Longest side that is looked at. A face of 20 pixels in it is found; larger pictures are scaled down."""

_OVERLAP: Final = 0.3
_MOST: Final = 5000
_ALIGNED: Final = 112
_TEMPLATE: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""Where the five points lie in an aligned face: the template of ArcFace (Deng et al., 2019)."""


def load_finder(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "YuNetFinder":
    """The finder of a packaged file."""
    cv2.setNumThreads(models.settings.threads)
    return YuNetFinder(card, paths["model"])


def load_embedder(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "SFaceEmbedder":
    """The embedder of a packaged file."""
    cv2.setNumThreads(models.settings.threads)
    return SFaceEmbedder(card, paths["model"])


class YuNetFinder:
    """A `FaceFinder` (Wu et al., 2023). Sure of a face from a score of about 0.6 on."""

    def __init__(self, card: ModelCard, path: Path) -> None:
        self.card = card
        self._lock = Lock()  # it keeps the size of its input
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.5, _OVERLAP, _MOST)
        except cv2.error as error:
            raise UnavailableError(f"Model '{card.name}' cannot be loaded: {error}") from error

    def find(self, image: Image, *, threshold: float = 0.5, min_size: int = 20) -> list[Face]:
        """Faces of at least `min_size` pixels, the surest first."""
        height, width = image.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        with self._lock:
            self._detector.setInputSize(size)
            self._detector.setScoreThreshold(max(threshold, 0.05))
            _, rows = self._detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        rows = np.asarray(rows if np.ndim(rows) else np.zeros((0, 15)))  # nothing, where there are none
        found = [_face(row / scale, float(row[14])) for row in rows]
        large = [face for face in found if _side(face) >= min_size and face.score >= threshold]
        return sorted(large, key=lambda face: -face.score)


class SFaceEmbedder:
    """A `FaceEmbedder` (Zhong et al., 2021)."""

    def __init__(self, card: ModelCard, path: Path) -> None:
        self.card = card
        self._lock = Lock()
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise UnavailableError(f"Model '{card.name}' cannot be loaded: {error}") from error

    def align(self, image: Image, face: Face) -> Image:
        """The face cut out and turned upright, 112 × 112."""
        turned = cv2.warpAffine(image, similarity(face.landmarks, _TEMPLATE), (_ALIGNED, _ALIGNED))
        return np.asarray(turned, np.uint8)

    def embed_faces(self, aligned: Sequence[Image]) -> Vectors:
        """Shape (n, 128), L2-normalised."""
        vectors = np.zeros((len(aligned), self.card.dimension), np.float32)
        for row, face in enumerate(aligned):
            given = np.ascontiguousarray(face.transpose(2, 0, 1)[None], np.float32)
            with self._lock:
                self._network.setInput(given, "data")
                vectors[row] = np.asarray(self._network.forward(), np.float32).reshape(-1)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """The turn, scale and shift, shape (2, 3), that bring points nearest to others, by least squares."""
    equations = np.zeros((2 * len(source), 4))
    equations[0::2] = np.column_stack(
        [source[:, 0], -source[:, 1], np.ones(len(source)), np.zeros(len(source))]
    )
    equations[1::2] = np.column_stack(
        [source[:, 1], source[:, 0], np.zeros(len(source)), np.ones(len(source))]
    )
    (a, b, x, y), *_ = np.linalg.lstsq(equations, target.reshape(-1), rcond=None)
    return np.array([[a, -b, x], [b, a, y]])


def _face(row: NDArray[np.float32], score: float) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    landmarks = row[4:14].reshape(5, 2).astype(np.float32)
    return Face((left, top, left + width, top + height), landmarks, score)


def _side(face: Face) -> float:
    left, top, right, bottom = face.box
    return min(right - left, bottom - top)
