"""`course_content_extractor`: lectures, slides and source files in, one document for each unit out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Part,
    Source,
    VectorOutput,
    values_of,
)
from lamina.extractors.course_content_extractor.fields import SUMMARY, fields_of
from lamina.extractors.course_content_extractor.lectures import Lectures
from lamina.extractors.course_content_extractor.pages import units_of_pdf
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters
from lamina.extractors.course_content_extractor.units import Unit, units_of_code, units_of_segment
from lamina.extractors.outcomes import outcome
from lamina.extractors.shaping import check_shape, shape_models, shape_parts
from lamina.extractors.text_extractor.reading import read_text
from lamina.extractors.text_extractor.transcripts import Segment, transcript_cues
from lamina.inference.base import Capability
from lamina.inference.registry import Models

INPUTS: Final = ("video", "audio", "pdf", "code")
SUBTITLES: Final = "srt"


@dataclass(frozen=True, slots=True)
class _Summary:
    """What `extractors.shaping` asks the language model for."""

    response_shape: JsonObject | None
    llm_provider: str | None = None
    llm_model: str | None = None
    llm_api_key: str | None = None


class CourseContentExtractor(Extractor):
    """Takes courses apart into what is shown, what is said, what stands on pages, and code."""

    name: ClassVar[str] = "course_content_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Takes lectures, slides and source files apart into units: slides and what is said to them, blocks "
        "of pages, and code."
    )
    category: ClassVar[str] = "multimodal"
    icon: ClassVar[str] = "graduation-cap"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        "video": ["video"],
        "audio": ["audio", "video"],
        "pdf": ["pdf"],
        "code": ["text", "string"],
        SUBTITLES: ["text", "string"],
    }
    Parameters: ClassVar[type[ExtractorParameters]] = CourseContentExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse summaries where no language model is chosen."""
        check_shape(_summary(_own(parameters)), models, [])
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """That of texts and code, and that of what is seen, as far as they are asked for."""
        given = _own(parameters)
        made = []
        if given.run_text_embedding or given.run_code_embedding:
            card = models.card(models.default_text_model)
            made.append((card, f"Embedding of text or code by {card.origin}.", ["text"]))
        if given.run_visual_embedding:
            card = models.card(models.default("embed_text_for_image"))
            made.append(
                (card, f"What is seen, found by words and by pictures: {card.origin}.", ["image", "text"])
            )
        return [
            VectorOutput(card.name, card.dimension, card.distance, "dense", described, inputs)
            for card, described, inputs in made
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The models of its vectors, and those that listen, read and sum up."""
        given = _own(parameters)
        needed: list[Capability] = ["read_text"]
        if given.use_whisper_asr:
            needed += ["detect_speech", "transcribe"]
        return [
            *super().uses(parameters, models),
            *(models.default(one) for one in needed),
            *shape_models(_summary(given), models),
        ]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What kind of unit it is, where it lies, and what it holds."""
        return fields_of(_own(parameters))

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The units of each source; one that cannot be read in part fails with those of the rest.

        The texts of a whole call are embedded at once, so that batches fill up.
        """
        taken = [self._units(source) for source in sources]
        every = [unit for units, _ in taken for unit in units]
        parts = iter(self._parts(every))
        made = [outcome([next(parts) for _ in units], error) for units, error in taken]
        return shape_parts(
            self.models,
            _summary(self._given),
            made,
            lambda part: part.lexical,
            picture_of=lambda part: next((blob.data for blob in part.blobs), None),
        )

    def _units(self, source: Source) -> tuple[list[Unit], ExtractionError | None]:
        units: list[Unit] = []
        failure: ExtractionError | None = None
        values = list(_values(source, INPUTS))
        if not values:
            failure = ExtractionError(
                f"None of the inputs {', '.join(INPUTS)} holds anything.", code="empty_input"
            )
        for key, at, value in values:
            try:
                made, error = self._taken(key, at, value, source)
            except ExtractionError as raised:
                made, error = [], raised
            units += made
            failure = failure or error
        for number, unit in enumerate(units):
            unit.fields["unit_index"] = number
        return units, failure

    def _taken(
        self, key: str, at: str, value: InputValue, source: Source
    ) -> tuple[list[Unit], ExtractionError | None]:
        """The units of one value of the input `key`."""
        if key == "code":
            return units_of_code(value, at, self._given), None
        if not isinstance(value, BlobValue):
            raise ExtractionError(f"Input '{key}' must be a file.", code="wrong_form", input=key)
        if key == "pdf":
            return units_of_pdf(value, at, self._given, self.models)
        lectures = Lectures(self._given, self.models, self._cues(source))
        with value.open() as file:
            drafts = lectures.sound(at, file) if key == "audio" else lectures.video(at, file, name=key)
        model = self.models.default("embed_text_for_image") if self._given.run_visual_embedding else None
        units = [unit for draft in drafts for unit in units_of_segment(draft, self._given, model)]
        return units, None

    def _cues(self, source: Source) -> list[Segment] | None:
        """The subtitles, where they are asked for and there are any."""
        given = source.inputs.get(SUBTITLES)
        wanted = not self._given.use_whisper_asr or self._given.segmentation_method == "srt"
        if not wanted or given in (None, "", []):
            return None
        try:
            return transcript_cues(read_text(given, SUBTITLES))
        except ValueError as error:
            raise ExtractionError(
                f"Input '{SUBTITLES}' holds no SRT and no WebVTT.", code="wrong_form", input=SUBTITLES
            ) from error

    def _parts(self, units: Sequence[Unit]) -> list[Part]:
        """The documents with their vectors."""
        parts = [unit.part() for unit in units]
        wanted = {"text": self._given.run_text_embedding, "code": self._given.run_code_embedding}
        texts = [
            (part, text)
            for unit, part in zip(units, parts, strict=True)
            if (text := unit.text if unit.text and wanted["text"] else unit.code if wanted["code"] else "")
        ]
        if texts:
            model = self.models.default_text_model
            made = self.models.text_embedder(model).embed_documents([text for _, text in texts])
            for (part, _), vector in zip(texts, made, strict=True):
                part.vectors[model] = vector
        if self._given.run_visual_embedding:
            self._embed_pictures(units, parts)
        if not self._given.generate_thumbnails:
            for part in parts:
                part.blobs = []
        return parts

    def _embed_pictures(self, units: Sequence[Unit], parts: Sequence[Part]) -> None:
        model = self.models.default("embed_text_for_image")
        for unit, part in zip(units, parts, strict=True):
            vector = unit.visual
            figure = unit.doc_type == "page" or unit.fields.get("element_type") == "figure"
            if vector is None and figure and (picture := unit.picture) is not None:
                (vector,) = self.models.text_image_embedder(model).embed_images([picture])
            if vector is not None:
                part.vectors[model] = vector


def _values(source: Source, keys: Sequence[str]) -> Iterator[tuple[str, str, InputValue]]:
    """The values of a source, each with its input and its place."""
    for key in keys:
        for number, value in enumerate(values_of(source.inputs.get(key))):
            if value is not None and value != "":
                yield key, f"{key}/{number}", value


def _summary(given: CourseContentExtractorParameters) -> _Summary:
    if not given.enrich_with_llm:
        return _Summary(None)
    wanted: JsonObject = {"type": "string", "description": given.llm_prompt}
    return _Summary({"type": "object", "properties": {SUMMARY: wanted}, "required": [SUMMARY]})


def _own(parameters: ExtractorParameters) -> CourseContentExtractorParameters:
    if not isinstance(parameters, CourseContentExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of course_content_extractor")
    return parameters
