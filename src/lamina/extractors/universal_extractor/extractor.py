"""`universal_extractor`: any file or text in, documents of one space out."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, cast

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Part,
    Source,
    VectorOutput,
)
from lamina.extractors.multimodal_extractor.extractor import MultimodalExtractor
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.extractors.outcomes import outcome
from lamina.extractors.universal_extractor.files import INPUT, Files, own
from lamina.extractors.universal_extractor.parameters import UniversalExtractorParameters
from lamina.inference.base import Capability
from lamina.inference.registry import Models

_READERS: Final[Sequence[Capability]] = ("read_text", "detect_speech", "transcribe")


class UniversalExtractor(Extractor):
    """Tells what each file is, and makes it found by words and by pictures in one space."""

    name: ClassVar[str] = "universal_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = "Takes text, images, videos, sound and PDFs apart into one searchable space."
    category: ClassVar[str] = "multimodal"
    icon: ClassVar[str] = "sparkles"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        INPUT: ["text", "string", "image", "video", "audio", "pdf"]
    }
    Parameters: ClassVar[type[ExtractorParameters]] = UniversalExtractorParameters

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse vectors that are shorter than the model makes them."""
        card = models.card(models.default("embed_text_for_image"))
        if own(parameters).output_dimensionality < card.dimension:
            raise ValidationError(
                f"output_dimensionality must be at least {card.dimension}, the length of the vectors of "
                f"'{card.name}', which cannot be shortened.",
                field="feature_extractor.parameters.output_dimensionality",
                code="not_enabled",
            )

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One vector of the space of text and pictures, whatever the file is."""
        card = models.card(models.default("embed_text_for_image"))
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="dense",
                description=f"Found by words and by pictures: {card.origin}.",
                inputs=["text", "image"],
            )
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The model of its vectors, and those that read and listen."""
        names = [models.default("embed_text_for_image")]
        if own(parameters).extract_text:
            names += [models.default(one) for one in _READERS]
        return names

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What kind of file it is, and what is found in it."""
        of_media = MultimodalExtractor.output_schema(
            MultimodalExtractorParameters(run_transcription=True, run_ocr=True, run_video_description=True)
        )
        return {
            "content_type": {
                "type": "string",
                "description": "`text`, `image`, `video`, `audio` or `pdf`.",
            },
            "page_number": {"type": "integer", "description": "Page of a PDF, from 1."},
            **of_media,
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The documents of each source; of one that cannot be read in part, those of the rest."""
        files = Files(own(self.parameters), self.models)
        return [_taken(files, source) for source in sources]


def _taken(files: Files, source: Source) -> list[Part] | ExtractionError:
    parts: list[Part] = []
    failure: ExtractionError | None = None
    for number, value in enumerate(values_of(source, INPUT)):
        try:
            parts += files.parts(value, str(number))
        except ExtractionError as error:
            parts += getattr(error, "parts", ())
            failure = failure or error
    if not parts and failure is None:
        failure = ExtractionError(f"Input '{INPUT}' holds nothing.", code="empty_input", input=INPUT)
    return outcome(parts, failure)


def values_of(source: Source, key: str) -> list[InputValue]:
    """The values of an input that hold anything."""
    given = source.inputs.get(key)
    several = cast("list[InputValue]", list(given) if isinstance(given, list | tuple) else [given])
    return [one for one in several if isinstance(one, BlobValue) or one not in (None, "")]
