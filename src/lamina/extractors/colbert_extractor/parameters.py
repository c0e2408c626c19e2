"""The parameters of `colbert_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters
from lamina.extractors.text_extractor.parameters import SplitBy


class ColbertExtractorParameters(ExtractorParameters):
    """How texts are split before each piece gets its token vectors."""

    extractor_type: Literal["colbert_extractor"] = Field(
        default="colbert_extractor", description="Names the extractor that these parameters are for."
    )
    split_by: SplitBy | None = Field(
        default=None,
        description="What a text is split into, as `text_extractor` does it; left out, it stays whole. Of a "
        "piece a model sees its `max_tokens` only.",
    )
    chunk_size: int = Field(
        default=300, ge=1, le=10_000, description="Size of a chunk in the unit of split_by."
    )
    chunk_overlap: int = Field(
        default=0,
        ge=0,
        le=5000,
        description="How much of a chunk's end the next one repeats, in the same unit. Less than chunk_size.",
    )
