"""The parameters of `scrolling_text_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class ScrollingTextExtractorParameters(ExtractorParameters):
    """How text on screen is looked for. Pixels are those of the video, as it is seen."""

    extractor_type: Literal["scrolling_text_extractor"] = Field(
        default="scrolling_text_extractor", description="Names the extractor that these parameters are for."
    )
    fps: float = Field(
        default=5.0,
        ge=1.0,
        le=30.0,
        description="Frames looked at for each second. Fast text needs more; the work grows with it.",
    )
    strip_height: int = Field(
        default=40,
        ge=10,
        le=200,
        description="Height in pixels of the strips whose motion is measured; about that of the moving text.",
    )
    min_shift_px: float = Field(
        default=2.0,
        ge=0.5,
        le=20.0,
        description="Least motion between two frames, in pixels, that counts as scrolling.",
    )
    consistency_ratio: float = Field(
        default=0.6,
        ge=0.3,
        le=1.0,
        description="Share of the frames of a stretch of time that must move alike to be scrolling.",
    )
    pad: int = Field(
        default=8, ge=0, le=50, description="Pixels above and below a band that are read with it."
    )
    static_ocr: bool = Field(
        default=True,
        description="Whether text that stands still is read, too: titles, captions, disclaimers.",
    )
    max_static_frames: int = Field(
        default=4,
        ge=1,
        le=12,
        description="How many frames, as unlike each other as can be, are read for standing text.",
    )
