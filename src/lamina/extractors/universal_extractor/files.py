"""What a value is, told from its bytes, and the documents that become of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lamina.core.errors import ExtractionError
from lamina.core.fields import FieldType, type_of_mime_type
from lamina.core.types import JsonObject
from lamina.extractors.base import (
    BlobValue,
    ExtractorParameters,
    InputValue,
    Part,
    PartBlob,
    PartialExtractionError,
    Source,
)
from lamina.extractors.multimodal_extractor.extractor import MultimodalExtractor
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.extractors.text_extractor.chunks import split
from lamina.extractors.text_extractor.parameters import TextExtractorParameters
from lamina.extractors.text_extractor.reading import read_text
from lamina.extractors.universal_extractor.parameters import UniversalExtractorParameters
from lamina.inference.registry import Models
from lamina.ingest.sniffing import HEAD_BYTES, sniff, suits
from lamina.media.audio import cut, probe_sound
from lamina.media.containers import open_media
from lamina.media.images import thumbnail
from lamina.media.pdf import Page, open_pdf
from lamina.media.video import pictures_of, probe_video
from lamina.media.video_clips import video_clip

INPUT: Final = "content"
SEGMENT_SECONDS: Final = 30
_PAGE_DPI: Final = 110.0
_CLIP_BYTES: Final = 1 << 30
_SPLIT: Final = TextExtractorParameters(split_by="words", chunk_size=180, chunk_overlap=30)

Kind = Literal["text", "image", "video", "audio", "pdf"]


def kind_of(value: InputValue) -> Kind:
    """What a value is. `ExtractionError` for a file that is none of what can be taken apart."""
    if not isinstance(value, BlobValue):
        return "text"
    with value.open() as file:
        mime_type = sniff(file.read(HEAD_BYTES), value.filename) or value.mime_type
    if mime_type == "image/gif":
        return "video"
    kinds: dict[FieldType | None, Kind] = {
        FieldType.IMAGE: "image",
        FieldType.VIDEO: "video",
        FieldType.AUDIO: "audio",
        FieldType.PDF: "pdf",
        FieldType.TEXT: "text",
    }
    kind = kinds.get(type_of_mime_type(mime_type))
    if kind == "video" and suits(FieldType.AUDIO, mime_type) and _has_no_pictures(value):
        return "audio"
    if kind is None:
        raise ExtractionError(
            f"Input '{INPUT}' is {mime_type}; text, images, videos, sound and PDFs are taken apart.",
            code="unknown_kind",
            input=INPUT,
        )
    return kind


@dataclass(frozen=True, slots=True)
class Files:
    """Takes values apart, each as what it is, into documents of the space of text and pictures."""

    given: UniversalExtractorParameters
    models: Models

    def parts(self, value: InputValue, position: str) -> list[Part]:
        """The documents of one value.

        `ExtractionError` for what cannot be read, with the documents of the rest where that is a part of it.
        """
        if isinstance(value, BlobValue) and value.size > self.given.max_file_download_mb << 20:
            raise ExtractionError(
                f"Input '{INPUT}' has {value.size >> 20} MB; max_file_download_mb allows "
                f"{self.given.max_file_download_mb}.",
                code="file_too_large",
                input=INPUT,
            )
        kind = kind_of(value)
        made: list[Part] = []
        failure: ExtractionError | None = None
        try:
            made.extend(self._made(kind, value))
        except PartialExtractionError as error:
            made, failure = error.parts, error
        for number, part in enumerate(made):
            part.position = f"{position}.{number}"
            part.fields["content_type"] = kind
        if failure is not None:
            raise failure
        return made

    def _made(self, kind: Kind, value: InputValue) -> Iterator[Part]:
        if kind == "text":
            yield from self._texts([chunk.text for chunk in split(read_text(value, INPUT), _SPLIT)])
            return
        if not isinstance(value, BlobValue):  # only texts are no files
            return
        if kind == "pdf":
            yield from self._pages(value)
        elif kind == "video":
            yield from self._multimodal(kind, self._beginning(value))
        elif kind == "audio":
            yield from self._multimodal(kind, self._first_sound(value))
        else:
            yield from self._multimodal(kind, value)

    def _multimodal(self, kind: Kind, value: BlobValue) -> list[Part]:
        parameters = MultimodalExtractorParameters(
            split_method="time",
            time_split_interval=SEGMENT_SECONDS,
            run_transcription=self.given.extract_text and kind != "image",
            transcription_language=None,
            run_ocr=self.given.extract_text and kind == "image",
            run_video_description=self.given.generate_description and has_chat(self.models),
        )
        (made,) = MultimodalExtractor(parameters, self.models).extract([Source("", {kind: value})])
        if isinstance(made, ExtractionError):
            message = made.message.replace(f"Input '{kind}'", f"Input '{INPUT}'")
            raise _failure(
                message, made, getattr(made, "parts", ())[: self.given.max_video_segments]
            ) from made
        return made[: self.given.max_video_segments]

    def _beginning(self, value: BlobValue) -> BlobValue:
        """A video's part that is looked at, cut out where there is more."""
        seconds = self._seconds
        with value.open() as file:
            track = probe_video(file, name=INPUT)
            if track.duration <= seconds or not track.key_frames:
                return value
            clip = video_clip(file, track, 0.0, seconds, max_bytes=_CLIP_BYTES, name=INPUT)
        return value if clip is None else BlobValue(clip, "video/mp4", value.filename)

    def _first_sound(self, value: BlobValue) -> BlobValue:
        """The same of a sound."""
        with value.open() as file:
            if 0 < probe_sound(file, name=INPUT).duration <= self._seconds:
                return value
            clip = cut(file, 0.0, self._seconds, name=INPUT)
        return BlobValue(clip.data, clip.content_type, value.filename)

    @property
    def _seconds(self) -> float:
        """How much of a video or a sound is looked at."""
        return float(SEGMENT_SECONDS * self.given.max_video_segments)

    def _pages(self, value: BlobValue) -> list[Part]:
        """One document of each page; those that can be read are kept where others cannot."""
        made: list[Part] = []
        failure: ExtractionError | None = None
        with open_pdf(value.content, INPUT) as pdf:
            for number in range(1, min(pdf.page_count, self.given.max_document_pages) + 1):
                try:
                    with pdf.page(number) as page:
                        made.append(self._page(page))
                except ExtractionError as error:
                    failure = failure or error
        if failure is not None:
            raise _failure(failure.message, failure, made) from failure
        return made

    def _page(self, page: Page) -> Part:
        """The document of a page: by its words, or by its looks where it has none."""
        embedder = self.models.text_image_embedder()
        text, pixels = page.text().strip(), page.render(_PAGE_DPI)
        if not text and self.given.extract_text:
            text = "\n".join(line.text for line in self.models.text_reader().read(pixels))
        vectors = embedder.embed_queries([text]) if text else embedder.embed_images([pixels])
        fields: JsonObject = {"page_number": page.number, **({"text": text} if text else {})}
        return Part(
            "",
            fields,
            {embedder.card.name: vectors[0]},
            lexical=text or None,
            modality="pdf",
            blobs=[PartBlob("thumbnail", thumbnail(pixels), "image/jpeg", "thumbnail.jpg", "thumbnail")],
        )

    def _texts(self, texts: list[str]) -> list[Part]:
        if not texts:
            raise ExtractionError(f"Input '{INPUT}' holds no text.", code="empty_input", input=INPUT)
        embedder = self.models.text_image_embedder()
        return [
            Part("", {"text": text}, {embedder.card.name: vector}, lexical=text, modality="text")
            for text, vector in zip(texts, embedder.embed_queries(texts), strict=True)
        ]


def _has_no_pictures(value: BlobValue) -> bool:
    """Whether a container of pictures and sound holds sound alone."""
    with value.open() as file:
        try:
            with open_media(file, name=INPUT) as container:
                pictures_of(container, INPUT)
        except ExtractionError as error:
            return error.code == "no_video"
    return False


def _failure(message: str, error: ExtractionError, parts: Sequence[Part]) -> ExtractionError:
    """An error about this extractor's input, with the documents that could be made all the same."""
    details = {**error.details, "input": INPUT}
    if not parts:
        return ExtractionError(message, code=error.code, **details)
    return PartialExtractionError(message, parts=parts, code=error.code, **details)


def has_chat(models: Models) -> bool:
    """Whether a language model is chosen."""
    return "chat" in models.settings.choices


def own(parameters: ExtractorParameters) -> UniversalExtractorParameters:
    """The parameters, of the type that they have."""
    if not isinstance(parameters, UniversalExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of universal_extractor")
    return parameters
