"""The parameters of `gemini_multifile_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class GeminiMultifileExtractorParameters(ExtractorParameters):
    """Which input holds the files."""

    extractor_type: Literal["gemini_multifile_extractor"] = Field(
        default="gemini_multifile_extractor",
        description="Names the extractor that these parameters are for.",
    )
    output_dimensionality: int = Field(
        default=3072,
        ge=256,
        le=3072,
        description="Most dimensions that the vector may have; it has as many as the installed model makes. "
        "Fewer than that are refused.",
    )
    task_type: str = Field(
        default="RETRIEVAL_DOCUMENT", description="Without effect here: documents are embedded as documents."
    )
    input_key: Literal["files"] = Field(
        default="files", description="The input that is mapped to the files; here it is `files`."
    )
