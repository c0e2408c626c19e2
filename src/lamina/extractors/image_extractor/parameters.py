"""The parameters of `image_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class ImageExtractorParameters(ExtractorParameters):
    """What is made of a picture besides its vectors and fields."""

    extractor_type: Literal["image_extractor"] = Field(
        default="image_extractor", description="Names the extractor that these parameters are for."
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
