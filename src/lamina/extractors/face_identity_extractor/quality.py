"""How good a picture of a face is, from 0 to 1."""

from typing import Final

import cv2
import numpy as np

from lamina.inference.base import Face, Image

_SHARP: Final = 120.0
"""Variance of the Laplacian of an aligned face from which it counts as sharp (Pech-Pacheco et al., 2000)."""

_LARGE: Final = 112.0
"""Pixels of a face's side from which nothing is gained: the size that the embedder sees."""


def quality(face: Face, aligned: Image) -> float:
    """The geometric mean of sharpness, size, light and pose: one bad property makes a bad picture."""
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)
    sharpness = min(1.0, float(cv2.Laplacian(grey, cv2.CV_64F).var()) / _SHARP)
    left, top, right, bottom = face.box
    size = min(1.0, min(right - left, bottom - top) / _LARGE)
    light = 1.0 - min(1.0, abs(float(grey.mean()) - 128.0) / 128.0) ** 2
    parts = np.clip([sharpness, size, light, pose(face)], 1e-3, 1.0)
    return float(np.exp(np.log(parts).mean()))


def pose(face: Face) -> float:
    """1 for a face that looks into the camera, 0 in profile: how midway the nose is between the eyes."""
    left_eye, right_eye, nose = face.landmarks[:3]
    between = float(np.linalg.norm(right_eye - left_eye))
    if between < 1.0:
        return 0.0
    along = float(np.dot(nose - left_eye, right_eye - left_eye)) / between**2
    return float(np.clip(1.0 - 2.0 * abs(along - 0.5), 0.0, 1.0))
