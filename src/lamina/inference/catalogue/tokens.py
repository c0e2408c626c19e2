"""Models of late interaction: a vector for each token of a text, or for each word that a picture shows."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.catalogue.images import MOBILENET as LABELS
from lamina.inference.catalogue.ocr import TINY as OCR
from lamina.inference.catalogue.text import TOKENIZER, WEIGHTS
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.hub import FolderModel
from lamina.inference.onnx_tokens import Interaction
from lamina.inference.page_entries import PageModel

MINILM_TOKENS: Final = PackagedModel(
    ModelCard(
        name="minilm_tokens_v1",
        capability="embed_tokens",
        dimension=384,
        source="packaged",
        licence="Apache-2.0",
        origin="sentence-transformers/all-MiniLM-L6-v2",
        description="Vectors of the words in a sentence encoder's last layer. Not trained for this, "
        "as ColBERT is.",
        max_tokens=256,
        size_bytes=22_928_619,
    ),
    "lamina.inference.onnx_tokens:load",
    {"model": WEIGHTS, "tokenizer": TOKENIZER},
)

READ_TOKENS: Final = PackagedModel(
    ModelCard(
        name="read_minilm_tokens_v1",
        capability="embed_image_tokens",
        dimension=384,
        source="packaged",
        licence="Apache-2.0",
        origin="PP-OCR or MobileNetV3, then sentence-transformers/all-MiniLM-L6-v2",
        description="Vectors of the words read in a picture, or else of the names of what it shows. Unlike "
        "ColQwen it sees neither layout nor charts.",
        modality="image",
    ),
    "lamina.inference.read_tokens:load",
    parts=(MINILM_TOKENS.card.name, OCR.card.name, LABELS.card.name),
)

# Markers and lengths are those that the models were trained with; both tokenizers are BERT's, whose first
# unused tokens became the markers.
_COLBERT: Final = Interaction(query_marker=1, document_marker=2, query_length=32)

COLBERT: Final = FolderModel(
    card=ModelCard(
        name="colbertv2_v1",
        capability="embed_tokens",
        dimension=128,
        source="hub",
        licence="MIT",
        origin="colbert-ir/colbertv2.0",
        description="ColBERTv2, trained for late interaction on MS MARCO; English.",
        max_tokens=512,
        size_bytes=436_000_000,
    ),
    repository="colbert-ir/colbertv2.0",
    interaction=_COLBERT,
)

ANSWERAI_COLBERT: Final = FolderModel(
    card=ModelCard(
        name="answerai_colbert_small_v1",
        capability="embed_tokens",
        dimension=96,
        source="hub",
        licence="Apache-2.0",
        origin="answerdotai/answerai-colbert-small-v1",
        description="A small ColBERT of 33 million parameters, trained by distillation; English.",
        max_tokens=512,
        size_bytes=133_000_000,
    ),
    repository="answerdotai/answerai-colbert-small-v1",
    interaction=_COLBERT,
    model_files=("vespa_colbert.onnx",),
)

COLMODERNVBERT: Final = PageModel(
    card=ModelCard(
        name="colmodernvbert_v1",
        capability="embed_image_tokens",
        dimension=128,
        source="hub",
        licence="MIT",
        origin="ModernVBERT/colmodernvbert, exported by Qdrant",
        description="Sees pages as ColPali does, with 250 million parameters, which a CPU can bear; English.",
        modality="image",
        size_bytes=1_000_000_000,
    ),
    repository="Qdrant/colmodernvbert",
    model_file="model_v2.onnx",
    further=("processor_config.json",),
)

COLPALI: Final = PageModel(
    card=ModelCard(
        name="colpali_v1_3",
        capability="embed_image_tokens",
        dimension=128,
        source="hub",
        licence="Gemma terms of use",
        origin="vidore/colpali-v1.3, exported by Qdrant in half precision",
        description="ColPali: PaliGemma of 3 billion parameters that sees pages; English.",
        modality="image",
        size_bytes=6_500_000_000,
    ),
    repository="Qdrant/colpali-v1.3-fp16",
    model_file="model.onnx",
    further=("model.onnx_data",),
)

MODELS: Final[Sequence[Entry]] = (
    MINILM_TOKENS, READ_TOKENS, COLBERT, ANSWERAI_COLBERT, COLMODERNVBERT, COLPALI,
)  # fmt: skip
DEFAULTS: Final[Mapping[Capability, str]] = {
    "embed_tokens": MINILM_TOKENS.card.name,
    "embed_image_tokens": READ_TOKENS.card.name,
}
