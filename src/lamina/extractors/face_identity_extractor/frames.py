"""The pictures of a source: an image itself, the pages of a PDF, frames of a video."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, Source
from lamina.inference.base import Image
from lamina.media.images import read_image
from lamina.media.pdf import open_pdf
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


def frames(source: Source, side: int, fps: float, seconds: float) -> Iterator[Frame]:
    """Every picture of a source's inputs, one after the other.

    Raises `ExtractionError` for what cannot be read.
    """
    given = [(name, blob) for name in INPUTS for blob in _blobs(source, name)]
    if not given:
        raise ExtractionError(
            "None of the inputs 'image', 'video' and 'pdf' holds a file.", code="empty_input", input="image"
        )
    for name, blob in given:
        if name == "image":
            with blob.open() as file:
                picture = read_image(file, side=side, name=name)
            yield Frame(picture.pixels, Place(picture.scale))
        elif name == "pdf":
            yield from _pages(blob, name)
        else:
            yield from _video(blob, name, side, fps, seconds)


def _pages(blob: BlobValue, name: str) -> Iterator[Frame]:
    with open_pdf(blob.content, name) as pdf:
        for number in range(1, min(pdf.page_count, MAX_PAGES) + 1):
            with pdf.page(number) as page:
                pixels = page.render(_DPI)
                yield Frame(pixels, Place(page.width / pixels.shape[1], page_number=number))


def _video(blob: BlobValue, name: str, side: int, fps: float, seconds: float) -> Iterator[Frame]:
    with blob.open() as file:
        track = probe_video(file, name=name)
        times = even_times(0.0, min(track.duration, seconds), fps)
        for frame in frames_at(file, track, times, side=side, name=name):
            yield Frame(frame.pixels, Place(track.width / frame.pixels.shape[1], frame.time))


def _blobs(source: Source, name: str) -> Sequence[BlobValue]:
    value = source.inputs.get(name)
    several = value if isinstance(value, list | tuple) else [value]
    found = []
    for one in several:
        if isinstance(one, BlobValue):
            found.append(one)
        elif one not in (None, ""):
            raise ExtractionError(
                f"Input '{name}' is {type(one).__name__}; face_identity_extractor takes files.",
                code="wrong_type",
                input=name,
            )
    return found
