"""Photos of scikit-image. The package is BSD-3-Clause; its documentation states each photo's own terms."""

from typing import Final

from lamina.inference.packages import Archive, PackageFile
from tests.media import Sample

_SCIKIT_IMAGE: Final = Archive(
    "pypi",
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    13_711_217,
)

PHOTOS: Final = {
    name.partition(".")[0]: PackageFile(_SCIKIT_IMAGE, f"skimage/data/{name}", sha256)
    for name, sha256 in {
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "horse.png": "c7fb60789fe394c485f842291ea3b21e50d140f39d6dcb5fb9917cc178225455",
        "no_time_for_that_tiny.gif": "20abe94ba9e45f18de416c5fbef8d1f57a499600be40f9a200fae246010eefce",
    }.items()
}
"""By the file's name: a woman in a space suit, a cat, a cup of coffee, a rocket, a man with a camera …"""

SAMPLES: Final[dict[str, list[Sample]]] = {
    "image": [
        (PHOTOS["chelsea"], "image/png"),
        (PHOTOS["rocket"], "image/jpeg"),
        (PHOTOS["no_time_for_that_tiny"], "image/gif"),
    ]
}
