"""`image_extractor`: pictures and pages, found by words and by their likeness."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    Extractor,
    ExtractorParameters,
    Part,
    PartBlob,
    Source,
    VectorOutput,
)
from lamina.extractors.image_extractor.parameters import ImageExtractorParameters
from lamina.extractors.outcomes import joined, outcome
from lamina.inference.base import Capability, Image, Label, ModelCard, Vectors
from lamina.inference.registry import Models

if TYPE_CHECKING:  # the server, which only describes it, loads no decoder
    from lamina.extractors.image_extractor.looks import Look

INPUT: Final = "image"

BATCH: Final = 8
"""Pictures that are held at once, decoded to at most 640 pixels a side."""

MOST_LABELS: Final = 5
LEAST_PROBABILITY: Final = 0.1
"""Of a label that a document gets."""


class ImageExtractor(Extractor):
    """One document for each picture and each page of a PDF."""

    name: ClassVar[str] = "image_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Makes a document of each picture and each page, found by words and by other pictures."
    )
    category: ClassVar[str] = "image"
    icon: ClassVar[str] = "image"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["image", "pdf"]}
    Parameters: ClassVar[type[ExtractorParameters]] = ImageExtractorParameters

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One that words find, and one for likeness alone."""
        by_words = _card(models, "embed_text_for_image")
        by_likeness = _card(models, "embed_image")
        return [
            _output(by_words, ["text", INPUT], f"Found by words and by pictures: {by_words.origin}."),
            _output(by_likeness, [INPUT], f"Found by pictures like it: {by_likeness.origin}."),
        ]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What its file and its looks say of a picture or a page."""
        return {
            "width": _field("number", "Pixels of the picture as it is shown; points (1/72 inch) of a page."),
            "height": _field("number", "The same along the other side."),
            "format": _field("string", "Format of the file, such as JPEG, PNG or PDF."),
            "frame_count": _field(
                "integer", "Frames of an animation, or pages of a TIFF; the first is taken."
            ),
            "page_number": _field("integer", "Number of the page in its PDF, from 1."),
            "dominant_colors": _field("array", "Up to five colours as `hex`, each with its `share`."),
            "phash": _field("string", "Perceptual hash: 64 bits in hexadecimal; near for near copies."),
            "exif": _field("object", "What the camera noted: make, model, time, place, exposure."),
            "labels": _field("array", "What it likely shows: up to five `name`s with their `probability`."),
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The documents of each source. Models look at a bounded number of pictures at once.

        A source of which only a part can be read fails with the documents of that part.
        """
        parts: list[list[Part]] = [[] for _ in sources]
        errors: list[list[ExtractionError]] = [[] for _ in sources]
        every = self._looks(sources, errors)
        while batch := list(islice(every, BATCH)):
            made = self._parts([look for _, look in batch])
            for (index, _), part in zip(batch, made, strict=True):
                parts[index].append(part)
        return [outcome(done, joined(bad)) for done, bad in zip(parts, errors, strict=True)]

    def _looks(
        self, sources: Sequence[Source], errors: Sequence[list[ExtractionError]]
    ) -> Iterator[tuple[int, "Look"]]:
        """The pictures of all sources, each with the place of its source; notes what cannot be read."""
        from lamina.extractors.image_extractor.looks import looks

        for index, source in enumerate(sources):
            for look in looks(source.inputs.get(INPUT), INPUT):
                if isinstance(look, ExtractionError):
                    errors[index].append(look)
                else:
                    yield index, look

    def _parts(self, batch: Sequence["Look"]) -> list[Part]:
        images = [look.pixels for look in batch]
        by_words, labels = self._seen(images)
        by_likeness = self.models.image_embedder().embed_images(images)
        names = [self.models.default("embed_text_for_image"), self.models.default("embed_image")]
        made = []
        for look, shown, *vectors in zip(batch, labels, by_words, by_likeness, strict=True):
            fields = dict(look.fields)
            if shown:
                fields["labels"] = [{"name": one.name, "probability": one.probability} for one in shown]
            made.append(
                Part(
                    position=look.position,
                    fields=fields,
                    vectors=dict(zip(names, vectors, strict=True)),
                    lexical="\n".join([*look.words, *(one.name for one in shown)]) or None,
                    modality=look.modality,
                    blobs=self._blobs(look),
                )
            )
        return made

    def _seen(self, images: Sequence[Image]) -> tuple[Vectors, list[list[Label]]]:
        """The vectors that words find, and the labels where those are made of them: one look for both."""
        from lamina.inference.conse import ConseEmbedder

        embedder = self.models.text_image_embedder()
        if not isinstance(embedder, ConseEmbedder):
            return embedder.embed_images(images), [[] for _ in images]
        probabilities = embedder.labeler.probabilities(images)
        return (
            embedder.embed_probabilities(probabilities),
            [_likely(row, embedder.labeler.names) for row in probabilities],
        )

    def _blobs(self, look: "Look") -> list[PartBlob]:
        from lamina.media.images import thumbnail

        given = self.parameters
        if not isinstance(given, ImageExtractorParameters) or not given.enable_thumbnails:
            return []
        return [
            PartBlob(
                field="thumbnail",
                role="thumbnail",
                data=thumbnail(look.pixels),
                content_type="image/jpeg",
                filename="thumbnail.jpg",
            )
        ]


def _likely(probabilities: NDArray[np.float32], names: Sequence[str]) -> list[Label]:
    first = np.argsort(-probabilities, kind="stable")[:MOST_LABELS]
    return [
        Label(names[label], round(float(probabilities[label]), 4))
        for label in first
        if probabilities[label] >= LEAST_PROBABILITY
    ]


def _card(models: Models, capability: Capability) -> ModelCard:
    return models.card(models.default(capability))


def _output(card: ModelCard, inputs: Sequence[str], description: str) -> VectorOutput:
    return VectorOutput(
        output=card.name,
        dimension=card.dimension,
        distance=card.distance,
        kind="dense",
        description=description,
        inputs=inputs,
    )


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
