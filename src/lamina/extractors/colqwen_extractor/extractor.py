"""`colqwen_extractor`: pictures and pages in, one document for each, with a vector for each thing in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Modality,
    Part,
    PartBlob,
    Source,
    VectorOutput,
    values_of,
)
from lamina.extractors.colqwen_extractor.parameters import ColqwenExtractorParameters
from lamina.extractors.outcomes import joined, outcome, told
from lamina.inference.base import Image
from lamina.inference.registry import Models
from lamina.media.images import read_image, thumbnail
from lamina.media.pdf import Page, is_pdf, open_pdf

INPUT: Final = "image"

PAGE_DPI: Final = 150.0
"""Of rendered pages: what the readers and page models of this kind are made for."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """A picture or a page, upright."""

    position: str
    pixels: Image
    modality: Modality
    fields: JsonObject


class ColqwenExtractor(Extractor):
    """Keeps several vectors of a picture or page, which a query's tokens are compared with one by one."""

    name: ClassVar[str] = "colqwen_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Embeds pictures and PDF pages into many vectors each, for search in words by late interaction."
    )
    category: ClassVar[str] = "document"
    icon: ClassVar[str] = "layout"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["image", "pdf"]}
    Parameters: ClassVar[type[ExtractorParameters]] = ColqwenExtractorParameters

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """The vectors of a picture or page, named after the model."""
        card = models.card(models.default("embed_image_tokens"))
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="multi",
                description=f"Vectors of what is in the picture, by {card.origin}; compared by MaxSim.",
                inputs=["text"],
            )
        ]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """The size of the picture, and the number of the page."""
        return {
            "width": _field("number", "Pixels of the picture as it is shown; points (1/72 inch) of a page."),
            "height": _field("number", "The same along the other side."),
            "page_number": _field("integer", "Number of the page in its PDF, from 1."),
            "vector_count": _field("integer", "How many vectors it has; 0 where nothing is recognised."),
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """A document for each picture and page; one at a time is in memory."""
        return [self._outcome(source) for source in sources]

    def _outcome(self, source: Source) -> list[Part] | ExtractionError:
        parts: list[Part] = []
        errors: list[ExtractionError] = []
        for sight in _sights(source.inputs.get(INPUT)):
            if isinstance(sight, ExtractionError):
                errors.append(sight)
            else:
                parts.append(self._part(sight))
        return outcome(parts, joined(errors))

    def _part(self, sight: _Sight) -> Part:
        model = self.models.default("embed_image_tokens")
        (vectors,) = self.models.image_token_embedder(model).embed_images([sight.pixels])
        wanted = isinstance(self.parameters, ColqwenExtractorParameters) and self.parameters.enable_thumbnails
        blobs = []
        if wanted:
            small = thumbnail(sight.pixels)
            blobs.append(PartBlob("thumbnail", small, "image/jpeg", "thumbnail.jpg", role="thumbnail"))
        return Part(
            position=sight.position,
            fields={**sight.fields, "vector_count": len(vectors)},
            vectors={model: vectors} if len(vectors) else {},
            modality=sight.modality,
            blobs=blobs,
        )


def _sights(given: InputValue | Sequence[InputValue]) -> Iterator[_Sight | ExtractionError]:
    """The pictures and pages of an input, decoded when they are asked for; errors in place of bad ones."""
    values = [value for value in values_of(given) if value is not None and value != ""]
    if not values:
        yield ExtractionError(f"Input '{INPUT}' holds no picture.", code="empty_input", input=INPUT)
    for index, value in enumerate(values):
        yield from told(_of_value(value, index))


def _of_value(value: InputValue, index: int) -> Iterator[_Sight | ExtractionError]:
    if not isinstance(value, BlobValue):
        raise ExtractionError(
            f"Input '{INPUT}' is {type(value).__name__}; accepted are files of images and PDFs.",
            code="wrong_type",
            input=INPUT,
        )
    if value.size == 0:
        raise ExtractionError(f"Input '{INPUT}' is an empty file.", code="empty_input", input=INPUT)
    if value.mime_type == "application/pdf" or is_pdf(value.content):
        with open_pdf(value.content, INPUT) as pdf:
            yield from pdf.each_page(partial(_of_page, index))
    else:
        with value.open() as file:
            picture = read_image(file, name=INPUT)
        size: JsonObject = {"width": picture.width, "height": picture.height}
        yield _Sight(str(index), picture.pixels, "image", size)


def _of_page(index: int, page: Page) -> _Sight:
    fields: JsonObject = {"width": page.width, "height": page.height, "page_number": page.number}
    return _Sight(f"{index}.{page.number}", page.render(PAGE_DPI), "pdf", fields)


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
