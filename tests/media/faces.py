"""Portraits, five of them of one person: official photographs, as a package's tests carry them."""

from lamina.inference.packages import Archive, PackageFile

_ARCHIVE = Archive(
    "pypi",
    "face_recognition",
    "1.3.0",
    "face_recognition-1.3.0.tar.gz",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    3_182_249,
)


def _photo(name: str, sha256: str) -> PackageFile:
    return PackageFile(_ARCHIVE, f"face_recognition-1.3.0/tests/test_images/{name}.jpg", sha256)


ONE_PERSON = [
    _photo("obama", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    _photo("obama2", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
    _photo("obama3", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
    _photo("obama_partial_face", "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
    _photo("obama_partial_face2", "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028"),
]

ANOTHER = _photo("biden", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c")

SAMPLES = {"image": [(ONE_PERSON[0], "image/jpeg")]}
