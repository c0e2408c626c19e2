"""The parameters of `colqwen_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class ColqwenExtractorParameters(ExtractorParameters):
    """What is made of a picture or page besides its vectors."""

    extractor_type: Literal["colqwen_extractor"] = Field(
        default="colqwen_extractor", description="Names the extractor that these parameters are for."
    )
    enable_thumbnails: bool = Field(
        default=True,
        description="Whether each document gets a thumbnail: a JPEG of at most 640 pixels a side.",
    )
    use_cdn: bool = Field(
        default=False,
        description="Without effect here: thumbnails lie in this installation's blob store and are opened by "
        "presigned URLs.",
    )
