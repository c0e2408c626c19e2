"""`gemini_multifile_extractor`: everything of an object in one document with one vector.

The contract's model is Gemini's, which reads several files at once. Here every file is embedded in
the installation's space of text and pictures, and the object's vector is the mean of its files'.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, Part, Source, VectorOutput
from lamina.extractors.gemini_multifile_extractor.parameters import GeminiMultifileExtractorParameters
from lamina.extractors.universal_extractor.extractor import UniversalExtractor, values_of
from lamina.extractors.universal_extractor.files import Files
from lamina.extractors.universal_extractor.parameters import UniversalExtractorParameters
from lamina.inference.registry import Models

INPUT: Final = "files"
_MOST_CHARACTERS: Final = 20_000


class GeminiMultifileExtractor(Extractor):
    """One document of each object, found by any of what its files show and say."""

    name: ClassVar[str] = "gemini_multifile_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = "Embeds all files of an object together as one document."
    category: ClassVar[str] = "multimodal"
    icon: ClassVar[str] = "files"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {
        INPUT: ["text", "string", "image", "video", "audio", "pdf"]
    }
    Parameters: ClassVar[type[ExtractorParameters]] = GeminiMultifileExtractorParameters

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse vectors that are shorter than the model makes them."""
        UniversalExtractor.check(_of_files(parameters), models)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One vector of the space of text and pictures."""
        return UniversalExtractor.vectors(_of_files(parameters), models)

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The model of its vector, and those that read and listen."""
        return UniversalExtractor.uses(_of_files(parameters), models)

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """How many files there are, of which kinds, and what they say."""
        return {
            "file_count": {"type": "integer", "description": "How many files the vector is made of."},
            "content_types": {"type": "array", "description": "What they are, in their order."},
            "text": {"type": "text", "description": "The words of all of them, up to 20,000 characters."},
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """One document of each source. A file that cannot be read fails the object: no vector is half."""
        files = Files(_of_files(self.parameters), self.models)
        return [self._one(files, source) for source in sources]

    def _one(self, files: Files, source: Source) -> list[Part] | ExtractionError:
        values = values_of(source, INPUT)
        if not values:
            return ExtractionError(f"Input '{INPUT}' holds nothing.", code="empty_input", input=INPUT)
        try:
            parts = [files.parts(value, str(number)) for number, value in enumerate(values)]
        except ExtractionError as error:
            message = error.message.replace("Input 'content'", f"Input '{INPUT}'")
            return ExtractionError(message, code=error.code, **{**error.details, "input": INPUT})
        model = self.models.default("embed_text_for_image")
        vectors = [_mean([part.vectors[model] for part in some if model in part.vectors]) for some in parts]
        known = [vector for vector in vectors if vector is not None]
        together = _mean(known)
        if together is None:
            return ExtractionError(
                f"Input '{INPUT}' holds nothing that can be embedded.", code="empty_input", input=INPUT
            )
        text = "\n\n".join(part.lexical for some in parts for part in some if part.lexical)
        fields: JsonObject = {
            "file_count": len(values),
            "content_types": [some[0].fields["content_type"] for some in parts],
        }
        if text:
            fields["text"] = text[:_MOST_CHARACTERS]
        pictures = [
            blob for some in parts for part in some for blob in part.blobs if blob.role == "thumbnail"
        ]
        return [
            Part("0", fields, {model: together}, lexical=text or None, modality="other", blobs=pictures[:1])
        ]


def _mean(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The direction of all of them together, L2-normalised."""
    if not vectors:
        return None
    total = np.sum(vectors, axis=0, dtype=np.float32)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)


def _of_files(parameters: ExtractorParameters) -> UniversalExtractorParameters:
    if not isinstance(parameters, GeminiMultifileExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of gemini_multifile_extractor")
    return UniversalExtractorParameters(output_dimensionality=parameters.output_dimensionality)
