"""The pictures of a source: an image itself, the pages of a PDF, frames of a video."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, InputValue, Source
from lamina.extractors.outcomes import told
from lamina.inference.base import Image
from lamina.media.images import read_image
from lamina.media.pdf import Page, open_pdf
from lamina.media.video import even_times, frames_at, probe_video

INPUTS: Final = ("image", "video", "pdf")

MAX_PAGES: Final = 200
_DPI: Final = 150.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies in its source. `scale` times a coordinate in its pixels is one in the source."""

    scale: float = 1.0
    start_time: float | None = None
    page_number: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture, and where it lies."""

    pixels: Image
    place: Place


def frames(source: Source, side: int, fps: float, seconds: float) -> Iterator[Frame | ExtractionError]:
    """Every picture of a source's inputs in turn; an error in the place of what cannot be read."""
    found = False
    for name in INPUTS:
        for value in _values(source, name):
            found = True
            yield from told(_of_value(value, name, side, fps, seconds))
    if not found:
        yield ExtractionError(
            "None of the inputs 'image', 'video' and 'pdf' holds a file.", code="empty_input", input="image"
        )


def _of_value(
    value: InputValue, name: str, side: int, fps: float, seconds: float
) -> Iterator[Frame | ExtractionError]:
    if not isinstance(value, BlobValue):
        raise ExtractionError(
            f"Input '{name}' is {type(value).__name__}; face_identity_extractor takes files.",
            code="wrong_type",
            input=name,
        )
    if name == "image":
        with value.open() as file:
            picture = read_image(file, side=side, name=name)
        yield Frame(picture.pixels, Place(picture.scale))
    elif name == "pdf":
        with open_pdf(value.content, name) as pdf:
            yield from pdf.each_page(_of_page, MAX_PAGES)
    else:
        yield from _video(value, name, side, fps, seconds)


def _of_page(page: Page) -> Frame:
    pixels = page.render(_DPI)
    return Frame(pixels, Place(page.width / pixels.shape[1], page_number=page.number))


def _video(blob: BlobValue, name: str, side: int, fps: float, seconds: float) -> Iterator[Frame]:
    with blob.open() as file:
        track = probe_video(file, name=name)
        times = even_times(0.0, min(track.duration, seconds), fps)
        for frame in frames_at(file, track, times, side=side, name=name):
            yield Frame(frame.pixels, Place(track.width / frame.pixels.shape[1], frame.time))


def _values(source: Source, name: str) -> Sequence[InputValue]:
    value = source.inputs.get(name)
    several = cast("Sequence[InputValue]", value if isinstance(value, list | tuple) else [value])
    return [one for one in several if one is not None and one != ""]
