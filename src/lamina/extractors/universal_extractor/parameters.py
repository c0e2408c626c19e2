"""The parameters of `universal_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class UniversalExtractorParameters(ExtractorParameters):
    """How much of each kind of file is looked at."""

    extractor_type: Literal["universal_extractor"] = Field(
        default="universal_extractor", description="Names the extractor that these parameters are for."
    )
    output_dimensionality: int = Field(
        default=3072,
        ge=256,
        le=3072,
        description="Most dimensions that vectors may have; they have as many as the installed model makes. "
        "Fewer than that are refused.",
    )
    task_type: str = Field(
        default="RETRIEVAL_DOCUMENT", description="Without effect here: documents are embedded as documents."
    )
    generate_description: bool = Field(
        default=True,
        description="Whether a language model describes pictures and videos; left out where none is chosen.",
    )
    extract_text: bool = Field(
        default=True, description="Whether the words in pictures are read and those in sound written down."
    )
    max_video_segments: int = Field(
        default=10, ge=1, le=50, description="Segments of 30 s of a video or a sound that are looked at."
    )
    max_document_pages: int = Field(
        default=50, ge=1, le=200, description="Pages of a PDF that are looked at."
    )
    max_file_download_mb: int = Field(
        default=500, ge=1, le=1024, description="Largest file in megabytes; larger ones fail."
    )
    max_concurrency: int = Field(
        default=4,
        ge=1,
        le=32,
        description="Without effect here: an installation has as many workers as its settings say.",
    )
