"""`scrolling_text_extractor`: one document for each text that moves through a video or stands in it."""

from collections.abc import Mapping, Sequence
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
from lamina.extractors.outcomes import outcome
from lamina.extractors.scrolling_text_extractor.film import Film
from lamina.extractors.scrolling_text_extractor.parameters import ScrollingTextExtractorParameters
from lamina.inference.registry import Models

INPUT: Final = "video"


class ScrollingTextExtractor(Extractor):
    """Finds tickers, credits, titles and captions, reads them, and says when and where they are."""

    name: ClassVar[str] = "scrolling_text_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Reads the text on screen of videos: tickers and credits that move, titles and captions that stand."
    )
    category: ClassVar[str] = "video"
    icon: ClassVar[str] = "captions"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["video"]}
    Parameters: ClassVar[type[ExtractorParameters]] = ScrollingTextExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """None: texts on screen are found by their words."""
        return []

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The model that reads text."""
        return [models.default("read_text")]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """The text, when and where it is, and how it moves."""
        return {
            "text": _field(
                "text", "The text; lines that stand or pass below each other on lines of their own."
            ),
            "text_type": _field("string", "`scrolling` or `static`."),
            "start_time": _field("float", "From when it is on screen, in seconds."),
            "end_time": _field("float", "Until when."),
            "bbox": _field("array", "Left, top, right and bottom of its place, in pixels of the video."),
            "confidence": _field("float", "How sure the reading is, from 0 to 1."),
            "direction": _field("string", "Where a scrolling text moves: `left`, `right`, `up` or `down`."),
            "speed": _field("float", "How fast, in pixels of the video a second."),
            "panorama": _field("image", "File: the whole of a scrolling text."),
            "thumbnail": _field("image", "File: the frame in which a static text was read."),
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The texts of each source. A video without any gives no documents."""
        return [self._one(source) for source in sources]

    def _one(self, source: Source) -> list[Part] | ExtractionError:
        values = [one for one in values_of(source.inputs.get(INPUT)) if one]
        if not values:
            return ExtractionError(f"Input '{INPUT}' holds no video.", code="empty_input", input=INPUT)
        parts: list[Part] = []
        failed: ExtractionError | None = None
        for number, value in enumerate(values):
            try:
                parts += self._texts(str(number), value)
            except ExtractionError as error:
                failed = failed or error
        return outcome(parts, failed)

    def _texts(self, position: str, value: InputValue) -> list[Part]:
        if not isinstance(value, BlobValue):
            raise ExtractionError(f"Input '{INPUT}' must be a file.", code="wrong_form", input=INPUT)
        with value.open() as file:
            return Film(file, self._given, self.models.text_reader(), name=INPUT).parts(position)


def _own(parameters: ExtractorParameters) -> ScrollingTextExtractorParameters:
    if not isinstance(parameters, ScrollingTextExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of scrolling_text_extractor")
    return parameters


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
