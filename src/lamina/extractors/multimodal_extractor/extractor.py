"""`multimodal_extractor`: one document for each segment of a video or a sound, each picture and each text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

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
from lamina.extractors.multimodal_extractor import outputs
from lamina.extractors.multimodal_extractor.describing import Shape
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.extractors.multimodal_extractor.takes import Draft, Takes
from lamina.extractors.outcomes import outcome
from lamina.extractors.shaping import check_shape, shape_fields, shape_parts
from lamina.inference.registry import Models


class MultimodalExtractor(Extractor):
    """Splits videos and sound into segments, and makes them found by what is seen, said and read."""

    name: ClassVar[str] = "multimodal_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Splits videos and sound into segments found by what is seen, said and written in them; takes "
        "pictures, GIFs and texts into the same space."
    )
    category: ClassVar[str] = "multimodal"
    icon: ClassVar[str] = "video"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        "video": ["video"],
        "audio": ["audio", "video"],
        "image": ["image"],
        "text": ["text", "string"],
        "gif": ["video", "image"],
    }
    Parameters: ClassVar[type[ExtractorParameters]] = MultimodalExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse what needs a language model where none is chosen."""
        given = _own(parameters)
        if given.run_video_description:
            try:
                models.default("chat")
            except ValidationError as error:
                raise ValidationError(
                    f"run_video_description is not enabled: it needs a language model. {error.message}",
                    field="feature_extractor.parameters.run_video_description",
                    code="not_enabled",
                ) from error
        check_shape(Shape(given.response_shape), models, list(outputs.fields(given)))
        cls.vectors(parameters, models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """That of what is seen, and those of the texts that are asked for."""
        return outputs.vector_outputs(_own(parameters), models)

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """Names of the models that it cannot do without under these parameters."""
        return outputs.models_used(_own(parameters), models)

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """Where a segment lies, and what is found in it."""
        given = _own(parameters)
        return {**shape_fields(Shape(given.response_shape)), **outputs.fields(given)}

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The documents of each source; one that cannot be read in part fails with those of the rest.

        The texts of a whole call are embedded at once, so that batches fill up.
        """
        takes = Takes(self._given, self.models)
        drafts: list[list[Draft]] = [[] for _ in sources]
        errors: dict[int, ExtractionError] = {}
        for index, source in enumerate(sources):
            values = list(_given_inputs(source))
            if not values:
                errors[index] = ExtractionError(
                    f"None of the inputs {', '.join(outputs.INPUTS)} holds anything.", code="empty_input"
                )
            for key, position, value in values:
                try:
                    drafts[index] += _take(takes, key, position, value)
                except ExtractionError as error:
                    errors.setdefault(index, error)
        every = [draft for some in drafts for draft in some]
        self._embed(every)
        outcomes = [_outcome(some, errors.get(index)) for index, some in enumerate(drafts)]
        pictures = {id(draft.part): draft.picture for draft in every}
        return shape_parts(
            self.models,
            Shape(self._given.response_shape),
            outcomes,
            lambda part: part.lexical or "",
            picture_of=lambda part: pictures.get(id(part)),
        )

    def _embed(self, drafts: Sequence[Draft]) -> None:
        """Give documents the vectors of their texts."""
        spoken = [draft for draft in drafts if draft.phrase] if self._given.run_multimodal_embedding else []
        if spoken:
            model = self.models.default("embed_text_for_image")
            vectors = self.models.text_image_embedder(model).embed_queries([one.phrase for one in spoken])
            for draft, vector in zip(spoken, vectors, strict=True):
                draft.part.vectors[model] = vector
        texts = [(draft.part, kind, text) for draft in drafts for kind, text in draft.texts.items() if text]
        if texts:
            model = self.models.default_text_model
            embedder = self.models.text_embedder(model)
            queries = self._given.embedding_task == "retrieval_query"
            embed = embedder.embed_queries if queries else embedder.embed_documents
            for (part, kind, _), vector in zip(texts, embed([text for *_, text in texts]), strict=True):
                part.vectors[outputs.text_output(model, kind)] = vector


def _take(takes: Takes, key: str, position: str, value: InputValue) -> list[Draft]:
    """The documents of one value of the input `key`."""
    if key == "text":
        return [takes.text(position, value)]
    if not isinstance(value, BlobValue):
        raise ExtractionError(f"Input '{key}' must be a file.", code="wrong_form", input=key)
    with value.open() as file:
        match key:
            case "image":
                return [takes.picture(position, file)]
            case "audio":
                return takes.sound(position, file)
            case _:
                return takes.video(position, file, name=key)


def _given_inputs(source: Source) -> Iterator[tuple[str, str, InputValue]]:
    """The values of a source, each with its input and its place."""
    for key in outputs.INPUTS:
        given = source.inputs.get(key)
        several = isinstance(given, list | tuple)
        for number, value in enumerate(cast("Sequence[InputValue]", given if several else [given])):
            if value is not None and value != "":
                yield key, f"{key}/{number}", value


def _outcome(drafts: Sequence[Draft], error: ExtractionError | None) -> list[Part] | ExtractionError:
    failure = error or next((draft.failure for draft in drafts if draft.failure), None)
    return outcome([draft.part for draft in drafts], failure)


def _own(parameters: ExtractorParameters) -> MultimodalExtractorParameters:
    if not isinstance(parameters, MultimodalExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of multimodal_extractor")
    return parameters
