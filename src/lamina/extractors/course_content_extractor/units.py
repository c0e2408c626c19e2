"""What a learning unit is before it has vectors, and the units of segments and of source files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import BlobValue, InputValue, Modality, Part, PartBlob
from lamina.extractors.course_content_extractor.code import code_in, language_of, pieces
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters
from lamina.extractors.multimodal_extractor.takes import Draft
from lamina.extractors.text_extractor.reading import read_text
from lamina.inference.base import Image
from lamina.media.images import read_image

_TITLE_LETTERS: Final = 120
_SPOKEN: Final = ("transcription", "words", "language", "has_speech")
_TIMES: Final = ("start_time", "end_time", "media_fragment")


@dataclass(slots=True)
class Unit:
    """A document to be. `text` or else `code` is embedded, `picture` is what it looks like."""

    position: str
    doc_type: str
    fields: JsonObject
    modality: Modality
    text: str = ""
    code: str = ""
    blobs: list[PartBlob] = field(default_factory=list)
    visual: NDArray[np.float32] | None = None

    @property
    def picture(self) -> Image | None:
        """Its thumbnail's pixels."""
        data = next((blob.data for blob in self.blobs if blob.role == "thumbnail"), None)
        return None if data is None else read_image(BytesIO(data), name="thumbnail").pixels

    def part(self) -> Part:
        """The document, without the vectors of its texts."""
        fields = {"doc_type": self.doc_type, **self.fields}
        if self.text:
            fields["text_content"] = self.text
        if self.code:
            fields["code_content"] = self.code
            language = fields.get("code_language") or language_of(None, self.code)
            fields |= {"code_language": language} if language else {}
        title = str(fields.get("title") or "")
        told = [one for one in (self.text, self.code) if one]
        lexical = "\n".join(told if not title or any(title in one for one in told) else [title, *told])
        return Part(self.position, fields, lexical=lexical or None, modality=self.modality, blobs=self.blobs)


# Lectures


def units_of_segment(
    draft: Draft, given: CourseContentExtractorParameters, visual_model: str | None
) -> Iterator[Unit]:
    """The units of one segment: what is shown, what is said, and code on screen; or one for all of it."""
    told = draft.part.fields
    times: JsonObject = {name: told[name] for name in _TIMES}
    spoken: JsonObject = {name: told[name] for name in _SPOKEN if name in told}
    screen = str(told.get("ocr_text") or "")
    said = str(told.get("transcription") or "")
    title = title_of(screen.splitlines())
    about: JsonObject = {**times, **({"title": title} if title else {})}
    shown: JsonObject = {"screen_text": screen} if screen else {}
    if "key_frame_time" in told:
        shown["key_frame_time"] = told["key_frame_time"]
    codes = code_in(screen.splitlines())
    modality, at = draft.part.modality, draft.part.position
    frame = [blob for blob in draft.part.blobs if blob.role == "thumbnail"]
    seen = draft.part.vectors.get(visual_model) if visual_model else None
    if not given.expand_to_granular_docs:
        text = "\n\n".join(one for one in (said, screen) if one)
        fields = {**about, **shown, **spoken}
        yield Unit(at, "segment", fields, modality, text, "\n\n".join(codes), frame, seen)
        return
    if modality == "video" and (screen or seen is not None or not said):
        fields = {**about, **shown}
        yield Unit(f"{at}/slide", "slide", fields, modality, screen, blobs=frame, visual=seen)
    if said or modality == "audio":
        fields = {**about, **spoken}
        yield Unit(f"{at}/transcript", "transcript", fields, modality, said, blobs=frame)
    for number, code in enumerate(codes):
        yield Unit(f"{at}/code/{number}", "code", {**about}, modality, code=code, blobs=frame)


def title_of(lines: Sequence[str]) -> str | None:
    """The first line with a word in it, if it is short enough for a title."""
    first = next((line.strip() for line in lines if sum(map(str.isalpha, line)) >= 3), "")
    return first if 0 < len(first) <= _TITLE_LETTERS else None


# Source files


def units_of_code(value: InputValue, at: str, given: CourseContentExtractorParameters) -> list[Unit]:
    """The units of a source file: its functions and classes, or the whole."""
    text = read_text(value, "code")
    filename = value.filename if isinstance(value, BlobValue) else None
    language = language_of(filename, text)
    if given.supported_languages is not None and language not in given.supported_languages:
        raise ExtractionError(
            f"Input 'code' is in {language or 'no language that is known'}; supported_languages are "
            f"{', '.join(given.supported_languages) or 'none'}.",
            code="language_left_out",
            input="code",
        )
    units = []
    for number, piece in enumerate(pieces(text, split=given.segment_functions)):
        fields: JsonObject = {"start_line": piece.start_line, "end_line": piece.end_line}
        told = {"title": piece.name, "code_language": language, "file_name": filename}
        fields |= {name: value for name, value in told.items() if value}
        units.append(Unit(f"{at}/{number}", "code", fields, "text", code=piece.text))
    return units
