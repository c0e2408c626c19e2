"""What a model is, and the capabilities that extractors and retrieval ask for.

Pictures are arrays of shape (height, width, 3), uint8, RGB. Sound is mono, float32 in [-1, 1], shape
(samples,), at the rate that the model's docstring names. Every model may be called from several
threads. All raise `MissingExtraError` when a package is missing, and `UnavailableError` when weights
or an endpoint cannot be reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.core.types import JsonObject

Source = Literal["packaged", "folder", "hub", "remote"]
"""Where the weights are: a Python package, the models folder, a hub, or behind an endpoint."""

Capability = Literal[
    "embed_text",
    "embed_tokens",
    "embed_image",
    "embed_image_tokens",
    "embed_text_for_image",
    "embed_audio",
    "embed_speaker",
    "embed_face",
    "transcribe",
    "detect_speech",
    "read_text",
    "find_faces",
    "label_image",
    "rerank",
    "chat",
]
"""What a model can do. Each has one Protocol below and, where it can be, a default that works offline."""

Modality = Literal["text", "image", "audio", "multimodal"]

Image = NDArray[np.uint8]
"""Shape (height, width, 3), RGB."""

Samples = NDArray[np.float32]
"""Shape (samples,), mono, in [-1, 1]."""

Vectors = NDArray[np.float32]
"""Shape (n, dimension)."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model as the registry names it. `dimension` is the length of its vectors.

    It is 0 for models that make no vectors, and in a list where only an endpoint knows it and was
    not asked yet. `max_tokens` is of use to text models only.
    """

    name: str
    capability: Capability
    dimension: int
    source: Source
    licence: str
    origin: str
    description: str
    distance: Literal["cosine", "dot", "euclidean"] = "cosine"
    max_tokens: int = 512
    size_bytes: int | None = None
    modality: Modality = "text"
    version: str = "v1"
    needs_gpu: bool = False


class TextEmbedder(Protocol):
    """Turns texts into vectors of one space."""

    card: ModelCard

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (n, dimension), L2-normalised where the distance is cosine."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """The same for queries, with the instruction that the model wants before them, if any."""


class TokenEmbedder(Protocol):
    """Turns each text into a vector for each of its tokens, to be compared by MaxSim (ColBERT, 2020)."""

    card: ModelCard

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text shape (tokens, dimension), rows L2-normalised."""

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """The same for queries."""


class ImageTokenEmbedder(Protocol):
    """Turns pictures and queries into several vectors each, to be compared by MaxSim (ColPali, 2024)."""

    card: ModelCard

    def embed_images(self, images: Sequence[Image]) -> list[Vectors]:
        """For each picture shape (patches or words, dimension), rows L2-normalised. There may be no rows."""

    def embed_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text shape (tokens, dimension), at least one row."""


class ImageEmbedder(Protocol):
    """Turns pictures into vectors of one space."""

    card: ModelCard

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Shape (n, dimension), L2-normalised where the distance is cosine."""


class TextImageEmbedder(ImageEmbedder, Protocol):
    """A space in which texts find pictures: an image embedder with a side for queries in words."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts as vectors of the pictures' space, shape (n, dimension)."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a picture may show, with its probability."""

    name: str
    probability: float


class ImageLabeler(Protocol):
    """Says what pictures show, out of a fixed list of names."""

    card: ModelCard
    names: Sequence[str]

    def probabilities(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Shape (n, names); rows sum to 1."""


class AudioEmbedder(Protocol):
    """Turns stretches of sound into vectors of one space."""

    card: ModelCard
    sample_rate: int

    def embed_audio(self, windows: Sequence[Samples]) -> Vectors:
        """Shape (n, dimension), L2-normalised where the distance is cosine."""


class SpeakerEmbedder(Protocol):
    """Turns stretches of speech into vectors that are near when one person speaks. 16 kHz."""

    card: ModelCard

    def embed_speakers(self, utterances: Sequence[Samples]) -> Vectors:
        """Shape (n, dimension), L2-normalised."""


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word and when, in seconds from the start of the sound."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """A spoken sentence, or a part of one, and when."""

    text: str
    start: float
    end: float
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. `language` is an ISO 639-1 code."""

    utterances: Sequence[Utterance]
    language: str | None = None

    @property
    def text(self) -> str:
        """All of it as one text."""
        return " ".join(one.text for one in self.utterances if one.text).strip()


class Transcriber(Protocol):
    """Writes down speech. 16 kHz."""

    card: ModelCard

    def transcribe(self, sound: Samples, *, language: str | None = None) -> Transcript:
        """What is said in a sound of any length; empty where nobody speaks.

        `language` is an ISO 639-1 code that is taken for granted; left out, it is detected.
        """


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Its length in seconds."""
        return self.end - self.start


class SpeechDetector(Protocol):
    """Finds where somebody speaks. 16 kHz."""

    card: ModelCard

    def detect(self, sound: Samples) -> list[Span]:
        """The stretches with speech, in order, none overlapping."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text in a picture: its words, how sure that is (0 to 1), and where.

    `box` is (left, top, right, bottom) in pixels.
    """

    text: str
    confidence: float
    box: tuple[float, float, float, float]


class TextReader(Protocol):
    """Reads the text in pictures (OCR)."""

    card: ModelCard

    def read(self, image: Image) -> list[TextLine]:
        """The lines in reading order: from the top, and from the left within a row."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture. `box` is (left, top, right, bottom) in pixels.

    `landmarks` has shape (5, 2), in pixels: the eyes, the tip of the nose and the corners of the mouth, those
    on the left of the picture first.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float


class FaceFinder(Protocol):
    """Finds faces in pictures."""

    card: ModelCard

    def find(self, image: Image, *, threshold: float = 0.5, min_size: int = 20) -> list[Face]:
        """Faces of at least `min_size` pixels, the surest first."""


class FaceEmbedder(Protocol):
    """Turns faces into vectors that are near when they are of one person."""

    card: ModelCard

    def align(self, image: Image, face: Face) -> Image:
        """The face cut out and turned upright, 112 × 112."""

    def embed_faces(self, aligned: Sequence[Image]) -> Vectors:
        """Shape (n, dimension), L2-normalised."""


class Reranker(Protocol):
    """Scores how well texts answer a query."""

    card: ModelCard

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,); the higher the better."""


class Chat(Protocol):
    """A language model that answers messages."""

    card: ModelCard

    def complete(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        schema: JsonObject | None = None,
        max_tokens: int = 1024,
        temperature: float = 0.0,
    ) -> str:
        """The answer's text; with `schema`, JSON that fits it. Messages are as OpenAI has them."""
