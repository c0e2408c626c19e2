"""The parameters of `multimodal_extractor`, as the contract has them."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from lamina.core.types import JsonObject
from lamina.extractors.base import ExtractorParameters

SplitMethod = Literal["time", "scene", "silence"]

EmbeddingTask = Literal[
    "retrieval_document", "retrieval_query", "semantic_similarity", "classification", "clustering"
]

SENSITIVITIES: Final = {"low": 0.5, "medium": 0.35, "high": 0.2}
"""The `scene_detection_threshold` that each sensitivity stands for."""

SILENCE_DB: Final = -40

PROMPT: Final = (
    "Watch this video segment carefully and describe exactly what you see. Do not make up or infer details "
    "that are not visible in the footage. Include: who is shown (gender, appearance, actions), what they are "
    "doing, the setting/location, and any products, text, or branding visible on screen."
)


class GenerationConfig(ExtractorParameters):
    """How the language model writes descriptions."""

    candidate_count: int = Field(default=1, description="Without effect here: one answer is asked for.")
    max_output_tokens: int = Field(default=1024, ge=1, description="Longest answer, in tokens.")
    temperature: float = Field(default=0.2, ge=0, le=2, description="Chance in the answer.")
    top_p: float = Field(default=0.8, description="Without effect here: the model's own value holds.")
    video_fps: float | None = Field(
        default=None,
        gt=0,
        le=24,
        description="Without effect here: the model is shown the frames that are embedded.",
    )
    response_mime_type: str | None = Field(
        default=None, description="Without effect here: response_shape asks for JSON."
    )
    response_schema: dict[str, object] | None = Field(
        default=None, description="Without effect here: response_shape asks for JSON."
    )


class MultimodalExtractorParameters(ExtractorParameters):
    """How videos and sound are split, and what is made of each segment."""

    extractor_type: Literal["multimodal_extractor"] = Field(
        default="multimodal_extractor", description="Names the extractor that these parameters are for."
    )
    split_method: SplitMethod = Field(
        default="time",
        description="Where segments end: after a fixed `time`, at each cut (`scene`; sound alone is split as "
        "by `silence`), or in each pause of the sound (`silence`).",
    )
    description_prompt: str = Field(
        default=PROMPT, min_length=1, description="What the language model is asked about a segment."
    )
    time_split_interval: int | None = Field(
        default=10, ge=1, description="Length of segments for `time`, in seconds. null makes one segment."
    )
    silence_db_threshold: int | None = Field(
        default=None,
        ge=-120,
        le=0,
        description="Level below which sound is silence, in dB of full scale; -40 if left out.",
    )
    scene_detection_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How much a picture must change to be a new scene, from 0 to 1. Left out, it is what "
        "`sensitivity` says.",
    )
    run_transcription: bool = Field(
        default=False, description="Whether speech is written down, with the time of each word."
    )
    transcription_language: str | None = Field(
        default="en",
        max_length=35,
        description="ISO 639-1 code of what is spoken. null or an empty text has it detected.",
    )
    run_video_description: bool = Field(
        default=False,
        description="Whether a language model describes each segment. Needs a model for `chat`.",
    )
    run_transcription_embedding: bool = Field(
        default=False,
        description="Whether what is said gets a vector of the text model; it is written down then.",
    )
    run_ocr_embedding: bool = Field(
        default=False,
        description="Whether the text on screen gets a vector of the text model. Needs run_ocr.",
    )
    run_description_embedding: bool = Field(
        default=False,
        description="Whether descriptions get a vector of the text model. Needs run_video_description.",
    )
    run_multimodal_embedding: bool = Field(
        default=True,
        description="Whether each document gets a vector of the space of text and pictures: of its frames, "
        "or of its words where it is a text or sound.",
    )
    run_ocr: bool = Field(default=False, description="Whether the text on screen is read.")
    max_segment_duration: float | None = Field(
        default=30.0,
        ge=1,
        description="Longest segment of `scene` and `silence`, in seconds; longer ones are divided evenly. "
        "null leaves them as they are.",
    )
    sensitivity: str = Field(
        default="low",
        pattern="^(low|medium|high)$",
        description="`low`, `medium` or `high`: how little change makes a new scene.",
    )
    enable_thumbnails: bool = Field(
        default=True, description="Whether each document with pictures gets its key frame as a thumbnail."
    )
    use_cdn: bool = Field(
        default=False,
        description="Without effect here: thumbnails lie in this installation's blob store and are opened by "
        "presigned URLs.",
    )
    generation_config: GenerationConfig = Field(
        default_factory=GenerationConfig, description="How descriptions are written."
    )
    output_dimensionality: int = Field(
        default=3072, ge=1, description="Without effect here: vectors are as long as the model makes them."
    )
    task_type: str = Field(
        default="RETRIEVAL_DOCUMENT", description="Without effect here: documents are embedded as documents."
    )
    response_shape: str | JsonObject | None = Field(
        default=None,
        description="Structured output about each segment, in plain language or as a JSON schema. Needs a "
        "model for `chat`.",
    )
    embedding_task: EmbeddingTask | None = Field(
        default=None,
        description="What the vectors of texts are for. `retrieval_query` embeds them with the model's "
        "instruction for queries, every other value and none as documents.",
    )

    @model_validator(mode="after")
    def _embeds_only_what_is_made(self) -> Self:
        for wanted, needed in (
            ("run_ocr_embedding", "run_ocr"),
            ("run_description_embedding", "run_video_description"),
        ):
            if getattr(self, wanted) and not getattr(self, needed):
                raise ValueError(f"{wanted} needs {needed}")
        return self

    @property
    def transcribes(self) -> bool:
        """Whether speech is written down."""
        return self.run_transcription or self.run_transcription_embedding

    @property
    def asks_a_language_model(self) -> bool:
        """Whether a language model looks at segments."""
        return self.run_video_description or self.response_shape is not None

    @property
    def scene_threshold(self) -> float:
        """How much a picture must change to be a new scene, from 0 to 1."""
        if self.scene_detection_threshold is not None:
            return self.scene_detection_threshold
        return SENSITIVITIES[self.sensitivity]

    @property
    def silence_threshold(self) -> float:
        """Level below which sound is silence, in dB of full scale."""
        return float(SILENCE_DB if self.silence_db_threshold is None else self.silence_db_threshold)

    @property
    def language(self) -> str | None:
        """The language that is spoken, or None to detect it."""
        return (self.transcription_language or "").strip() or None
