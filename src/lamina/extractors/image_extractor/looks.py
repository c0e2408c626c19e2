"""The pictures of an input, each with what is known of it before a model looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.base import BlobValue, InputValue, Modality
from lamina.extractors.image_extractor.pages import render_pages
from lamina.extractors.outcomes import told
from lamina.inference.base import Image
from lamina.media.colours import dominant_colours
from lamina.media.images import THUMBNAIL_SIDE, read_image, reduced
from lamina.media.pdf import is_pdf
from lamina.media.perceptual_hash import perceptual_hash

SIDE: Final = THUMBNAIL_SIDE
"""Longest side of the copy that is worked on: all that thumbnails and the models need."""

_GLANCE: Final = 96
"""About the longest side of the copy that colours and the hash are taken from, in averaged pixels."""

_PDF: Final = "application/pdf"


@dataclass(slots=True)
class Look:
    """A picture or a page. `words` are those that it is known by so far."""

    position: str
    pixels: Image
    modality: Modality
    fields: JsonObject = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def looks(given: InputValue | Sequence[InputValue], name: str) -> Iterator[Look | ExtractionError]:
    """The pictures of the input `name` and the pages of its PDFs, decoded when they are asked for.

    An error stands in the place of what is neither or cannot be read, and of everything where none is given.
    """
    several = isinstance(given, list | tuple)
    values = cast("Sequence[InputValue]", given if several else [given])
    found = False
    for index, value in enumerate(values):
        if value is None or value == "":
            continue
        found = True
        yield from told(_of_value(value, str(index), name))
    if not found:
        yield ExtractionError(f"Input '{name}' holds no picture.", code="empty_input", input=name)


def _of_value(value: InputValue, position: str, name: str) -> Iterator[Look | ExtractionError]:
    if not isinstance(value, BlobValue):
        raise ExtractionError(
            f"Input '{name}' is {type(value).__name__}; image_extractor takes files of images and PDFs.",
            code="wrong_type",
            input=name,
        )
    if value.size == 0:
        raise ExtractionError(f"Input '{name}' is an empty file.", code="empty_input", input=name)
    if value.mime_type == _PDF or is_pdf(value.content):
        yield from _of_pages(value, position, name)
    else:
        yield _of_image(value, position, name)


def _of_image(value: BlobValue, position: str, name: str) -> Look:
    with value.open() as file:
        picture = read_image(file, side=SIDE, name=name)
    fields: JsonObject = {
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "frame_count": picture.frames,
        **_appearance(picture.pixels),
    }
    if picture.exif:
        fields["exif"] = picture.exif
    described = picture.exif.get("description")
    words = [described] if isinstance(described, str) else []
    return Look(position, picture.pixels, "image", fields, words)


def _of_pages(value: BlobValue, position: str, name: str) -> Iterator[Look | ExtractionError]:
    for page in render_pages(value.content, side=SIDE, name=name):
        if isinstance(page, ExtractionError):
            yield page
            continue
        fields: JsonObject = {
            "width": page.width,
            "height": page.height,
            "format": "PDF",
            "page_number": page.number,
            **_appearance(page.pixels),
        }
        words = [page.words] if page.words else []
        yield Look(f"{position}.{page.number}", page.pixels, "pdf", fields, words)


def _appearance(pixels: Image) -> JsonObject:
    small = reduced(pixels, _GLANCE)
    return {
        "dominant_colors": [{"hex": one.hex, "share": one.share} for one in dominant_colours(small)],
        "phash": perceptual_hash(small),
    }
