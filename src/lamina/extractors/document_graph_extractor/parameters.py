"""The parameters of `document_graph_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field, field_validator

from lamina.extractors.base import ExtractorParameters

THUMBNAIL_MODES = ("full_page", "segment", "both")


class DocumentGraphExtractorParameters(ExtractorParameters):
    """How pages are taken apart, when their text is doubted, and what is made beside it."""

    extractor_type: Literal["document_graph_extractor"] = Field(
        default="document_graph_extractor", description="Names the extractor that these parameters are for."
    )
    use_layout_detection: bool = Field(
        default=True,
        description="Look for tables, lists, forms, headings, running heads and figures. Without it every "
        "block is a paragraph, and pictures make no blocks.",
    )
    layout_detector: Literal["pymupdf", "docling"] = Field(
        default="pymupdf",
        description="`pymupdf` stands for rules over the geometry of the page (done here on PDFium). "
        "`docling` is refused: no such model is served.",
    )
    vertical_threshold: float = Field(
        default=15.0,
        ge=1.0,
        le=100.0,
        description="Largest gap in points between two lines of one block. A gap that is clearly wider than "
        "the others around it ends a paragraph before that.",
    )
    horizontal_threshold: float = Field(
        default=50.0,
        ge=1.0,
        le=200.0,
        description="Largest gap in points between two pieces of one line; what is further apart is of "
        "different blocks.",
    )
    min_text_length: int = Field(
        default=20,
        ge=1,
        le=500,
        description="Blocks of text with fewer characters are left out. Figures and tables stay.",
    )
    base_confidence: float = Field(
        default=0.85,
        ge=0.0,
        le=1.0,
        description="Confidence in text that the file holds; what speaks against it is subtracted. Text read "
        "from pictures starts with this times the reader's own confidence.",
    )
    min_confidence_for_vlm: float = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        description="Blocks below this confidence are shown to the language model, if there is one.",
    )
    use_vlm_correction: bool = Field(
        default=True,
        description="Let a language model that sees pictures correct doubtful blocks. Done only where the "
        "installation has chosen a chat model; without one, nothing is corrected and nothing fails.",
    )
    fast_mode: bool = Field(default=False, description="Never ask a language model.")
    vlm_provider: str = Field(
        default="google",
        description="Whose language model, where llm_api_key is a key for it: `google`, `openai`, "
        "`anthropic` or another of the installation's chat_providers. Of no effect without a key.",
    )
    vlm_model: str = Field(
        default="gemini-2.5-flash",
        description="The provider's model, where llm_api_key is given. Without a key it is the "
        "installation's own chat model, whatever is named here.",
    )
    llm_api_key: str | None = Field(
        default=None,
        description="A key for vlm_provider, or `{{SECRET.name}}` for one of the vault's.",
    )
    run_text_embedding: bool = Field(
        default=True,
        description="Embed each block's text. Without it blocks have no vectors, and only BM25 finds them.",
    )
    render_dpi: int = Field(
        default=150,
        ge=72,
        le=300,
        description="Resolution in which pages are read by OCR and shown to the language model.",
    )
    generate_thumbnails: bool = Field(default=True, description="Make pictures of blocks and pages.")
    thumbnail_mode: str = Field(
        default="both",
        description="`segment` makes a picture of each block, `full_page` one of its page, `both` both.",
        json_schema_extra={"enum": list(THUMBNAIL_MODES)},
    )
    thumbnail_dpi: int = Field(
        default=72, ge=36, le=150, description="Resolution of the pictures; their longest side is 640 pixels."
    )

    @field_validator("thumbnail_mode")
    @classmethod
    def _is_a_mode(cls, given: str) -> str:
        if given not in THUMBNAIL_MODES:
            raise ValueError(f"'{given}' is not one of {', '.join(THUMBNAIL_MODES)}")
        return given
