"""The parameters of `text_extractor`, as the contract has them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lamina.core.types import JsonObject
from lamina.extractors.base import ExtractorParameters

SplitBy = Literal[
    "characters", "words", "sentences", "paragraphs", "pages", "time_segments", "markdown", "none"
]

EmbeddingTask = Literal[
    "retrieval_document", "retrieval_query", "semantic_similarity", "classification", "clustering"
]


class TextExtractorParameters(ExtractorParameters):
    """How texts are split and which model embeds the pieces."""

    extractor_type: Literal["text_extractor"] = Field(
        default="text_extractor", description="Names the extractor that these parameters are for."
    )
    source_type: Literal["text", "youtube"] = Field(
        default="text",
        description="What the input holds. Only `text` is served; captions can be given as SRT or VTT.",
    )
    split_by: SplitBy = Field(
        default="none",
        description="What a text is split into. `none` makes one document of it; `pages` splits at form "
        "feeds; `time_segments` wants an SRT, WebVTT or `[mm:ss]` transcript; `markdown` makes one document "
        "of each section under a heading and of each fenced code block.",
    )
    chunk_size: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Size of a chunk in the unit of split_by: characters, words, sentences, paragraphs or "
        "pages; for `markdown` the words of a section, which splits between paragraphs. Unused for `none` "
        "and `time_segments`.",
    )
    chunk_overlap: int = Field(
        default=0,
        ge=0,
        le=5000,
        description="How much of a chunk's end the next one repeats, in the same unit. Less than chunk_size. "
        "Unused for `none`, `time_segments` and `markdown`.",
    )
    segment_length_seconds: int = Field(
        default=120, ge=30, le=600, description="Length of a transcript's segments for `time_segments`."
    )
    language: str = Field(
        default="en",
        min_length=2,
        max_length=35,
        description="ISO 639-1 code of the text's language; its rules find the ends of sentences.",
    )
    extract_captions: bool = Field(default=True, description="Only of use with the source_type `youtube`.")
    response_shape: str | JsonObject | None = Field(
        default=None,
        description="What a language model shall read out of each chunk, as further fields of its document: "
        "a JSON schema of an object, or plain language from which the model makes one.",
    )
    llm_provider: str | None = Field(
        default=None,
        description="Whose language model reads, where llm_api_key is a key for it: `openai`, `google` or "
        "`anthropic`. Without a key it is the installation's chat endpoint, whatever is named.",
    )
    llm_model: str | None = Field(
        default=None,
        description="Name of the language model at its endpoint; the installation's if left out.",
    )
    llm_api_key: str | None = Field(
        default=None,
        description="Key for the language model in place of the installation's: `{{SECRET.name}}` for one "
        "in the organization's vault, or the key itself, which whoever reads the collection sees.",
    )
    embedding_model: str | None = Field(
        default=None,
        description="Name of the model that embeds the chunks, from the list of installed models. "
        "Left out, it is the installation's `text_embedding_model`.",
    )
    embedding_task: EmbeddingTask | None = Field(
        default=None,
        description="What the vectors are for. `retrieval_query` embeds the chunks with the model's "
        "instruction for queries, every other value and none as documents.",
    )

    @model_validator(mode="after")
    def _overlap_is_smaller_than_the_chunk(self) -> Self:
        overlapping = self.split_by in {"characters", "words", "sentences", "paragraphs", "pages"}
        if overlapping and self.chunk_overlap >= self.chunk_size:
            raise ValueError(
                f"chunk_overlap ({self.chunk_overlap}) must be less than chunk_size ({self.chunk_size})"
            )
        return self
