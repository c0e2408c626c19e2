"""What an extractor is: a folder with one `Extractor`, its parameters and a README."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, TypeAlias, Union, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pydantic import ValidationError as PydanticError

from lamina.core.errors import ExtractionError, ValidationError
from lamina.core.features import FeatureUri
from lamina.core.types import Json, JsonObject
from lamina.inference.registry import Models
from lamina.ingest.fetch_settings import FetchSettings

Modality = Literal["text", "image", "video", "audio", "pdf", "other"]


@dataclass(frozen=True, slots=True)
class BlobValue:
    """A stored blob as an extractor's input: its bytes, or a file that holds them."""

    content: bytes | Path
    mime_type: str
    filename: str | None = None

    @property
    def data(self) -> bytes:
        """All of its bytes."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def open(self) -> BinaryIO:
        """Its bytes as a file to read and seek in; the caller closes it."""
        return self.content.open("rb") if isinstance(self.content, Path) else BytesIO(self.content)


InputValue: TypeAlias = Union["Json", BlobValue]  # not `|`: Json is a string at run time


def values_of(given: InputValue | Sequence[InputValue]) -> Sequence[InputValue]:
    """The values of an input, which may be one value or several."""
    return cast("Sequence[InputValue]", given if isinstance(given, list | tuple) else [given])


@dataclass(frozen=True, slots=True)
class Source:
    """One object or document to take apart: the values of its mapped inputs."""

    source_id: str
    inputs: Mapping[str, InputValue | Sequence[InputValue]]

    @property
    def values(self) -> "list[InputValue]":
        """All values of all inputs."""
        return [one for given in self.inputs.values() for one in values_of(given)]

    @property
    def size(self) -> int:
        """Bytes of its blobs, and characters of its texts."""
        given = self.values
        blobs = sum(one.size for one in given if isinstance(one, BlobValue))
        return blobs + sum(len(one) for one in given if isinstance(one, str))


@dataclass(slots=True)
class PartBlob:
    """A file that the extractor made for a document, a thumbnail for example."""

    field: str
    data: bytes
    content_type: str
    filename: str
    role: Literal["processed", "thumbnail", "artifact", "aux"] = "artifact"


@dataclass(slots=True)
class Part:
    """One document to be. `position` names its place in the source and makes its id.

    `fields` become user fields at the document's root. `vectors` are by output name, shape (d,)
    or (n, d) float32. `lexical` is the text that BM25 shall find it by.
    """

    position: str
    fields: JsonObject = field(default_factory=dict)
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    lexical: str | None = None
    modality: Modality = "other"
    blobs: list[PartBlob] = field(default_factory=list)


class PartialExtractionError(ExtractionError):
    """Some of a source could not be taken apart. The `parts` that could are good documents."""

    def __init__(
        self, message: str, *, parts: Sequence[Part] = (), code: str | None = None, **details: Json
    ) -> None:
        super().__init__(message, code=code, **details)
        self.parts = list(parts)


@dataclass(frozen=True, slots=True)
class VectorOutput:
    """A vector that the extractor makes. `output` is the model's name.

    A document that has two vectors of one model has them under names of their own; `model` says then
    which model it is, so that queries are embedded with it.
    """

    output: str
    dimension: int
    distance: Literal["cosine", "dot", "euclidean"]
    kind: Literal["dense", "multi"]
    description: str
    inputs: Sequence[str]
    model: str | None = None


class ExtractorParameters(BaseModel):
    """Base of the parameter models. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")


class Extractor(ABC):
    """Takes sources apart. Lives in a worker process; one instance serves many batches.

    `Parameters` is the documentation, the validation and the catalogue entry of its parameters.
    `fetching` is how those fetch that read the web; a worker sets it as its installation wants it.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "v1"
    description: ClassVar[str]
    category: ClassVar[str]
    icon: ClassVar[str] = "box"
    inputs: ClassVar[Mapping[str, Sequence[str]]]
    """Input keys with the schema types each accepts: `{"text": ["text", "string"]}`."""

    Parameters: ClassVar[type[ExtractorParameters]]

    most_at_once: ClassVar[int] = 1 << 16
    """Sources that one call gets; 1 where a source may need the whole time that a call may take."""

    worth_sharing: ClassVar[int] = 8
    """Sources for which it pays to ask another process: some tenths of a second of work."""

    cpus: ClassVar[float] = 1.0
    gpus: ClassVar[float] = 0.0
    """What a worker for it takes of a cluster's machine; a share of a GPU is one that several use."""

    fetching: FetchSettings = FetchSettings()

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        self.parameters = parameters
        self.models = models

    @classmethod
    def validate_parameters(cls, given: Mapping[str, Json], models: Models) -> ExtractorParameters:
        """The parameters, checked as they are when a collection is created.

        Raises `ValidationError` naming the parameter and what is accepted.
        """
        try:
            parameters = cls.Parameters.model_validate(given)
        except PydanticError as error:
            raise _wrong_parameters(cls.name, error) from error
        cls.check(parameters, models)
        return parameters

    @classmethod
    def check(cls, parameters: ExtractorParameters, models: Models) -> None:
        """Refuse what is well formed but cannot be done here. Raises `ValidationError`."""
        cls.vectors(parameters, models)

    @classmethod
    @abstractmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """The vectors that documents get under these parameters, the primary one first."""

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """Names of the models that it cannot do without under these parameters.

        Those of its vectors, unless it says otherwise. The catalogue shows them, and no collection is
        created while one is missing.
        """
        return [made.model or made.output for made in cls.vectors(parameters, models)]

    @classmethod
    @abstractmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """The fields that documents get besides those passed through, as bucket schema fields."""

    @abstractmethod
    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The parts of each source, or why it could not be taken apart, in the order given."""

    @classmethod
    def id(cls) -> str:
        """`{name}_{version}`, the contract's `feature_extractor_id`."""
        return f"{cls.name}_{cls.version}"

    @classmethod
    def feature_uri(cls, output: str) -> FeatureUri:
        """The URI of one of its vectors."""
        return FeatureUri(cls.name, cls.version, output)


def _wrong_parameters(name: str, error: PydanticError) -> ValidationError:
    details: list[Json] = [
        {
            "type": each["type"],
            "location": ["body", "feature_extractor", "parameters", *each["loc"]],
            "message": each["msg"].removeprefix("Value error, "),
        }
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return ValidationError(
        f"Parameters of {name}: {f'{where}: ' if where else ''}{said}",
        code="invalid_parameters",
        validation_errors=details,
    )
