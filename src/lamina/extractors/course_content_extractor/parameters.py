"""The parameters of `course_content_extractor`: names and defaults are those of the hosted product's."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from lamina.extractors.base import ExtractorParameters
from lamina.extractors.course_content_extractor.code import LANGUAGES

PROMPT = "Summarize what this part of a course teaches in two or three sentences, and name its key concepts."


class CourseContentExtractorParameters(ExtractorParameters):
    """How lectures and pages are split into units, and what is made of each."""

    extractor_type: Literal["course_content_extractor"] = Field(
        default="course_content_extractor", description="Names the extractor that these parameters are for."
    )
    segmentation_method: Literal["scene", "srt", "time"] = Field(
        default="scene",
        description="Where segments of a lecture end: where the slide changes (`scene`; sound alone in its "
        "pauses), after target_segment_duration_ms (`time`), or between two subtitles after that (`srt`).",
    )
    target_segment_duration_ms: int = Field(
        default=120_000,
        ge=1000,
        le=3_600_000,
        description="Length of segments for `time` and `srt`; the longest of `scene`, of which longer ones "
        "are divided evenly. In milliseconds.",
    )
    min_segment_duration_ms: int = Field(
        default=30_000,
        ge=0,
        le=3_600_000,
        description="Shortest segment: a slide that is shown for less belongs to the one beside it. In "
        "milliseconds, at most target_segment_duration_ms.",
    )
    scene_detection_threshold: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="How much the picture must change for a new slide.",
    )
    use_whisper_asr: bool = Field(
        default=True,
        description="Whether speech is written down here. Without, what is said is taken from the subtitles "
        "in the input `srt`, if there are any.",
    )
    expand_to_granular_docs: bool = Field(
        default=True,
        description="Whether the slide, what is said and the code of a segment or page become documents of "
        "their own; without, one document has all of it.",
    )
    ocr_frames_per_segment: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Frames of a segment, evenly spread, whose text is read and that are embedded.",
    )
    extract_screen_text: bool = Field(default=True, description="Whether the text on screen is read (OCR).")
    pdf_extraction_mode: Literal["per_page", "per_element"] = Field(
        default="per_element",
        description="One document for each block of a PDF (paragraph, list, table, figure …), or each page.",
    )
    pdf_render_dpi: int = Field(
        default=150, ge=72, le=300, description="Resolution in which scanned pages are read."
    )
    detect_code_in_pdf: bool = Field(
        default=True, description="Whether listings on pages are found and keep their lines and indents."
    )
    segment_functions: bool = Field(
        default=True,
        description="Whether source files are split at the functions and classes on their outermost level.",
    )
    supported_languages: list[str] | None = Field(
        default=None,
        description="Languages of source files that are taken, of others the object fails; all if left out. "
        f"Known are {', '.join(sorted(set(LANGUAGES.values())))}.",
    )
    run_text_embedding: bool = Field(
        default=True, description="Embed what is said, what stands on slides, and the text of pages."
    )
    run_code_embedding: bool = Field(default=True, description="Embed code, by the text model.")
    run_visual_embedding: bool = Field(
        default=False, description="Embed slides, pages and figures so that words and pictures find them."
    )
    visual_embedding_use_case: str = Field(
        default="lecture", description="Without effect here: one model serves every kind of picture."
    )
    generate_thumbnails: bool = Field(
        default=True,
        description="Make a picture of each slide, page and block, of at most 640 pixels a side.",
    )
    use_cdn: bool = Field(
        default=False,
        description="Without effect here: thumbnails lie in this installation's blob store and are opened by "
        "presigned URLs.",
    )
    enrich_with_llm: bool = Field(
        default=False, description="Whether a language model sums up each document. Needs a model for `chat`."
    )
    llm_prompt: str = Field(
        default=PROMPT, min_length=1, max_length=4000, description="What a summary shall be."
    )

    @field_validator("supported_languages")
    @classmethod
    def _are_known(cls, given: list[str] | None) -> list[str] | None:
        known = set(LANGUAGES.values())
        for language in given or ():
            if language not in known:
                raise ValueError(f"'{language}' is not one of {', '.join(sorted(known))}")
        return given

    @model_validator(mode="after")
    def _shortest_is_not_longer_than_the_target(self) -> Self:
        if self.min_segment_duration_ms > self.target_segment_duration_ms:
            raise ValueError("min_segment_duration_ms must be at most target_segment_duration_ms")
        return self

    @property
    def target(self) -> float:
        """Length of segments in seconds."""
        return self.target_segment_duration_ms / 1000

    @property
    def shortest(self) -> float:
        """Length of the shortest segment in seconds."""
        return self.min_segment_duration_ms / 1000
