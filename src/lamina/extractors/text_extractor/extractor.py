"""`text_extractor`: texts in, one document for each chunk of them, with its vector."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.types import JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, Part, Source, VectorOutput
from lamina.extractors.shaping import check_shape, shape_fields, shape_models, shape_parts
from lamina.extractors.text_extractor.chunks import Chunk, split
from lamina.extractors.text_extractor.parameters import SplitBy, TextExtractorParameters
from lamina.extractors.text_extractor.reading import read_text
from lamina.inference.registry import Models

INPUT = "text"


class TextExtractor(Extractor):
    """Splits texts and embeds every chunk; BM25 finds the same chunks by their words."""

    name: ClassVar[str] = "text_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = "Splits text into chunks and embeds them for semantic and lexical search."
    category: ClassVar[str] = "text"
    icon: ClassVar[str] = "file-text"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        INPUT: [
            "text",
            "string",
            "number",
            "integer",
            "float",
            "boolean",
            "object",
            "array",
            "date",
            "datetime",
        ]
    }
    Parameters: ClassVar[type[ExtractorParameters]] = TextExtractorParameters

    worth_sharing: ClassVar[int] = 128

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse what cannot be done here: YouTube, and shapes where there is no language model."""
        given = _own(parameters)
        if given.source_type != "text":
            raise ValidationError(
                "source_type 'youtube' is not enabled: give the captions as text, in SRT or WebVTT, "
                "with split_by='time_segments'.",
                field="feature_extractor.parameters.source_type",
                code="not_enabled",
            )
        check_shape(given, models, list(_chunk_fields(given.split_by)))
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One dense vector for each chunk, named after its model."""
        card = models.card(_own(parameters).embedding_model or models.default_text_model, "embed_text")
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="dense",
                description=f"Embedding of the chunk by {card.origin}.",
                inputs=[INPUT],
            )
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The text model and, for a `response_shape`, the language model."""
        return [*super().uses(parameters, models), *shape_models(_own(parameters), models)]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """`text`, what the way of splitting adds to it, and the fields of a `response_shape`."""
        given = _own(parameters)
        return {**shape_fields(given), **_chunk_fields(given.split_by)}

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The chunks of each source. All of them are embedded at once, so that batches fill up.

        With a `response_shape`, a language model reads its fields out of each chunk.
        """
        chunked = [self._chunks(source) for source in sources]
        texts = [chunk.text for chunks in chunked if isinstance(chunks, list) for chunk in chunks]
        model = self._given.embedding_model or self.models.default_text_model
        vectors = iter(self._embed(model, texts))
        outcomes = [
            _parts(chunks, model, vectors) if isinstance(chunks, list) else chunks for chunks in chunked
        ]
        return shape_parts(self.models, self._given, outcomes, lambda part: str(part.fields["text"]))

    def _chunks(self, source: Source) -> list[Chunk] | ExtractionError:
        try:
            text = read_text(source.inputs.get(INPUT), INPUT)
            chunks = split(text, self._given)
        except ExtractionError as error:
            return error
        except ValueError as error:
            return ExtractionError(f"Input '{INPUT}': {error}.", code="wrong_form", input=INPUT)
        return chunks or ExtractionError(f"Input '{INPUT}' holds no text.", code="empty_input", input=INPUT)

    def _embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, 0), np.float32)
        embedder = self.models.text_embedder(model)
        if self._given.embedding_task == "retrieval_query":
            return embedder.embed_queries(texts)
        return embedder.embed_documents(texts)


def _parts(chunks: Sequence[Chunk], model: str, vectors: Iterator[NDArray[np.float32]]) -> list[Part]:
    """The documents of one source; takes their vectors, in order, from those of the call."""
    return [
        Part(
            position=str(index),
            fields=chunk_fields(chunk, index, len(chunks)),
            vectors={model: next(vectors)},
            lexical=chunk.text,
            modality="text",
        )
        for index, chunk in enumerate(chunks)
    ]


def _chunk_fields(strategy: SplitBy) -> dict[str, JsonObject]:
    """The fields that a way of splitting gives to documents."""
    fields = {"text": _field("string", "The chunk.")}
    if strategy == "none":
        return fields
    fields["chunk_index"] = _field("integer", "Place of the chunk in its source, from 0.")
    fields["chunk_count"] = _field("integer", "How many chunks the source has.")
    if strategy == "time_segments":
        fields["start_time"] = _field("float", "Where the segment begins, in seconds.")
        fields["end_time"] = _field("float", "Where the segment ends, in seconds.")
        return fields
    fields["start_char"] = _field("integer", "Where the chunk begins in its source, in characters.")
    fields["end_char"] = _field("integer", "Where the chunk ends, not included.")
    if strategy == "markdown":
        fields["heading_path"] = _field("array", "The headings above the chunk, outermost first.")
        fields["chunk_kind"] = _field("string", "`section` for prose, `code` for a fenced code block.")
        fields["code_language"] = _field("string", "The language that the code block names.")
    return fields


def chunk_fields(chunk: Chunk, index: int, count: int) -> JsonObject:
    """What a document says of its chunk and of its place in the source."""
    if chunk.start_char is None and chunk.start_time is None:
        return {"text": chunk.text}
    found: JsonObject = {
        "text": chunk.text,
        "chunk_index": index,
        "chunk_count": count,
        "start_char": chunk.start_char,
        "end_char": chunk.end_char,
        "start_time": chunk.start_time,
        "end_time": chunk.end_time,
        "heading_path": chunk.heading_path,
        "chunk_kind": chunk.chunk_kind,
        "code_language": chunk.code_language,
    }
    return {name: value for name, value in found.items() if value is not None}


def _own(parameters: ExtractorParameters) -> TextExtractorParameters:
    if not isinstance(parameters, TextExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of text_extractor")
    return parameters


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
