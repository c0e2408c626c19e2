"""`colbert_extractor`: texts in, one document for each chunk, with a vector for each of its tokens."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import ValidationError as PydanticError

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.types import JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, Part, Source, VectorOutput
from lamina.extractors.colbert_extractor.parameters import ColbertExtractorParameters
from lamina.extractors.text_extractor.chunks import split
from lamina.extractors.text_extractor.extractor import TextExtractor, chunk_fields
from lamina.extractors.text_extractor.parameters import TextExtractorParameters
from lamina.extractors.text_extractor.reading import read_text
from lamina.inference.registry import Models

INPUT = "text"


class ColbertExtractor(Extractor):
    """Splits texts and keeps a vector of every token, which a query's tokens are compared with one by one."""

    name: ClassVar[str] = "colbert_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Splits text into chunks and embeds every token of them, for search by late interaction (MaxSim)."
    )
    category: ClassVar[str] = "text"
    icon: ClassVar[str] = "grid"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = TextExtractor.inputs
    Parameters: ClassVar[type[ExtractorParameters]] = ColbertExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._how = _splitting(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse an overlap that is not less than the chunk."""
        try:
            _splitting(parameters)
        except PydanticError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValidationError(
                f"Parameters of {cls.name}: {said}",
                field="feature_extractor.parameters.chunk_overlap",
                code="invalid_parameters",
            ) from error
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """A vector for each token of a chunk, named after the model."""
        card = models.card(models.default("embed_tokens"))
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="multi",
                description=f"A vector for each token of the chunk, by {card.origin}; compared by MaxSim.",
                inputs=[INPUT],
            )
        ]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What `text_extractor` says of chunks."""
        return TextExtractor.output_schema(_splitting(parameters))

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The chunks of each source."""
        outcomes: list[list[Part] | ExtractionError] = []
        for source in sources:
            try:
                outcomes.append(self._parts(source))
            except ExtractionError as error:
                outcomes.append(error)
        return outcomes

    def _parts(self, source: Source) -> list[Part]:
        text = read_text(source.inputs.get(INPUT), INPUT)
        try:
            chunks = split(text, self._how)
        except ValueError as error:
            raise ExtractionError(f"Input '{INPUT}': {error}.", code="wrong_form", input=INPUT) from error
        if not chunks:
            raise ExtractionError(f"Input '{INPUT}' holds no text.", code="empty_input", input=INPUT)
        model = self.models.default("embed_tokens")
        made = self.models.token_embedder(model).embed_documents([chunk.text for chunk in chunks])
        return [
            Part(
                position=str(index),
                fields=chunk_fields(chunk, index, len(chunks)),
                vectors={model: vectors},
                lexical=chunk.text,
                modality="text",
            )
            for index, (chunk, vectors) in enumerate(zip(chunks, made, strict=True))
        ]


def _splitting(parameters: ExtractorParameters) -> TextExtractorParameters:
    """The same as parameters of `text_extractor`."""
    if not isinstance(parameters, ColbertExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of colbert_extractor")
    return TextExtractorParameters(
        split_by=parameters.split_by or "none",
        chunk_size=parameters.chunk_size,
        chunk_overlap=parameters.chunk_overlap,
    )
