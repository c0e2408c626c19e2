"""Pictures: decoding within limits, upright, in RGB; thumbnails; what their files say of them.

Pillow decodes, and OpenCV the usual JPEG. A file's claims are looked at before its pixels are: what is too
large is refused without being decoded, so that a small file cannot fill the memory (a decompression bomb).
"""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.inference.base import Image as Pixels
from lamina.media.exif import photo_facts

MAX_PIXELS: Final = 128_000_000
"""Largest picture that is decoded: 128 megapixels are 512 MB, as Pillow keeps four bytes for each."""

MAX_PIXELS_AT_ONCE: Final = 64_000_000
"""The same for the formats whose decoders hold three copies of a picture at once."""

WORK_SIDE: Final = 2048
"""Longest side that pictures are worked on with; no model looks at more, and boxes are scaled back."""

THUMBNAIL_SIDE: Final = 640
THUMBNAIL_QUALITY: Final = 85

FORMATS: Final = (
    *("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "DIB"),
    *("ICO", "ICNS", "JPEG2000", "PPM"),
)
"""What is decoded. Pillow knows more, some of which runs other programs (EPS) or fits any bytes (TGA)."""

_DECODED_AT_ONCE: Final = frozenset({"WEBP", "AVIF", "JPEG2000"})
_WITH_FRAMES: Final = frozenset({"GIF", "WEBP", "PNG", "AVIF", "TIFF"})
"""Formats of several frames or pages. The second picture of an MPO file is the first once more."""

_TURNS: Final[Mapping[object, Callable[[Pixels], Pixels]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
"""What turns a picture upright, by EXIF's orientation (Exif 2.32, tag 0x0112)."""

_ON_ITS_SIDE: Final = frozenset({5, 6, 7, 8})
_BAND_PIXELS: Final = 4_000_000
_LEFT_TO_SCALE: Final = 1.5
"""How much is left at least for the filter that scales better than averaging does."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, upright. `width` and `height` are its own; `pixels` may be a smaller copy.

    `scale` times a coordinate in `pixels` is the coordinate in the picture itself. `exif` holds what
    `photo_facts` found.
    """

    pixels: Pixels
    width: int
    height: int
    format: str
    frames: int = 1
    exif: JsonObject = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """How many of the picture's own pixels one of `pixels` stands for, along a side."""
        return float(self.width / self.pixels.shape[1])


def read_image(file: BinaryIO, *, side: int = WORK_SIDE, name: str = "image") -> Picture:
    """The first frame of an image file, turned as EXIF says, on white where it is transparent.

    `side` bounds the longest side of `pixels`. Raises `ExtractionError` for what is empty, is no image, is
    truncated, or is larger than `MAX_PIXELS`.
    """
    if not file.read(1):
        raise ExtractionError(f"Input '{name}' is an empty file.", code="empty_input", input=name)
    file.seek(0)
    with _told_apart(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes, which are checked here, and broken metadata
        opened = Image.open(file, formats=FORMATS)
        kind = opened.format or ""
        width, height = opened.size
        _check_size(width, height, kind, name)
        frames = int(getattr(opened, "n_frames", 1)) if kind in _WITH_FRAMES else 1
        exif = opened.getexif()
        orientation = exif.get(ExifTags.Base.Orientation)
        facts = photo_facts(exif)
        size = _fitted(width, height, side)
        opened.draft("RGB", size)  # a JPEG decodes to a fraction of its size where that is enough
        pixels = _decoded(opened, file, size)
        if orientation in _TURNS:
            pixels = np.ascontiguousarray(_TURNS[orientation](pixels))
        if orientation in _ON_ITS_SIDE:
            width, height = height, width
    return Picture(pixels, width, height, "JPEG" if kind == "MPO" else kind, frames, facts)


def reduced(pixels: Pixels, side: int) -> Pixels:
    """A picture averaged over whole pixels until its longer side is about `side`; never enlarged."""
    factor = max(1, max(pixels.shape) // side)
    return pixels if factor == 1 else np.asarray(_picture(pixels).reduce(factor).convert("RGB"), np.uint8)


def thumbnail(pixels: Pixels, *, side: int = THUMBNAIL_SIDE, quality: int = THUMBNAIL_QUALITY) -> bytes:
    """A JPEG of at most `side` pixels along its longer side."""
    small = _picture(pixels)
    small.thumbnail((side, side), Image.Resampling.HAMMING, reducing_gap=2.0)
    target = io.BytesIO()
    small.save(target, "JPEG", quality=quality)
    return target.getvalue()


def _check_size(width: int, height: int, kind: str, name: str) -> None:
    most = MAX_PIXELS_AT_ONCE if kind in _DECODED_AT_ONCE else MAX_PIXELS
    if width * height > most:
        raise ExtractionError(
            f"Input '{name}' has {width} × {height} pixels; of a {kind} file at most {most // 1_000_000} "
            "megapixels are decoded.",
            code="image_too_large",
            input=name,
        )


@contextmanager
def _told_apart(name: str) -> Iterator[None]:
    """Turn what Pillow raises into an `ExtractionError` that says what is wrong with the input."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ExtractionError(
            f"Input '{name}' is not an image that can be read.", code="not_an_image", input=name
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ExtractionError(
            f"Input '{name}' is too large: {error}", code="image_too_large", input=name
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise ExtractionError(
            f"Input '{name}' is a damaged image: {error}.", code="damaged_image", input=name
        ) from error


def _fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """The size that a picture is brought down to."""
    scale = min(1.0, side / max(width, height, 1))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _decoded(opened: Image.Image, file: BinaryIO, size: tuple[int, int]) -> Pixels:
    """A picture of any mode in RGB, brought down to a size.

    OpenCV has Pillow's decoder of JPEG, whose pixels it keeps as arrays do. What it does not take, a damaged
    file above all, is left to Pillow.
    """
    if isinstance(opened, JpegImageFile) and opened.mode == "RGB" and _nearly(opened.size, size):
        pixels = _decoded_by_opencv(file, scale=opened.decoderconfig[0])
        if pixels is not None:
            return pixels if opened.size == size else _interpolated(pixels, size)
    return _shrunk(opened, size)


def _decoded_by_opencv(file: BinaryIO, scale: int) -> Pixels | None:
    """A JPEG at one part in `scale` of its size, or nothing where it is damaged."""
    import cv2  # heavy, and of no use to a server that decodes nothing

    reduced = {
        1: 0,
        2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
        4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
        8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    }[scale]
    file.seek(0)
    content = np.frombuffer(file.read(), np.uint8)
    try:
        pixels = cv2.imdecode(content, reduced | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _shrunk(opened: Image.Image, size: tuple[int, int]) -> Pixels:
    """A picture of any mode in RGB, brought down to a size.

    A large one is converted in bands and averaged on the way, so that only the file's own pixels are
    ever whole in memory.
    """
    brightest = _brightest(opened)
    width, height = opened.size
    factor = int(max(opened.size) / max(size) / _LEFT_TO_SCALE)
    if factor < 2:
        factor, small = 1, _on_white(_eight_bits(opened, brightest))
    else:
        small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
        rows = max(1, _BAND_PIXELS // (width * factor)) * factor
        for top in range(0, height, rows):
            band = _eight_bits(opened.crop((0, top, width, min(top + rows, height))), brightest)
            small.paste(_on_white(band.reduce(factor)), (0, top // factor))
    if small.size == size:
        return _pixels(small)
    if factor == 1 and _nearly(small.size, size):
        return _interpolated(_pixels(small), size)
    # the last column and row may stand for less than the others
    return _pixels(small.resize(size, Image.Resampling.HAMMING, box=(0, 0, width / factor, height / factor)))


def _nearly(had: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether so little is left to scale that no filter is needed."""
    return had[0] < _LEFT_TO_SCALE * wanted[0]


def _interpolated(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A little smaller, where no filter is needed: a fifth of the time that Pillow takes."""
    import cv2  # heavy, and of no use to a server that decodes nothing

    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _pixels(picture: Image.Image) -> Pixels:
    """The array of a picture in RGB. Pillow keeps four bytes for each pixel, and is slow to leave one out."""
    import cv2

    four = np.frombuffer(picture.tobytes("raw", "RGBX"), np.uint8)
    return np.asarray(cv2.cvtColor(four.reshape(picture.height, picture.width, 4), cv2.COLOR_RGBA2RGB))


def _picture(pixels: Pixels) -> Image.Image:
    """The other way, in Pillow's mode "RGBX"."""
    import cv2

    height, width = pixels.shape[:2]
    return Image.frombuffer(
        "RGBX", (width, height), cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), "raw", "RGBX", 0, 1
    )


def _brightest(picture: Image.Image) -> float:
    """What stands for white in a picture of more than 8 bits; 255 in every other."""
    if picture.mode.startswith("I;16"):
        return 65535.0
    if picture.mode not in {"I", "F"}:
        return 255.0
    highest = float(cast("tuple[float, float]", picture.getextrema())[1])
    if not math.isfinite(highest):
        values = np.asarray(picture)
        highest = float(values.max(initial=0.0, where=np.isfinite(values)))
    scales = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
    return next((white for white in scales if highest <= white), highest)


def _eight_bits(picture: Image.Image, brightest: float) -> Image.Image:
    """A picture of any mode in RGB, or in RGBA where it may be transparent."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, np.float32), posinf=brightest, neginf=0.0)
        grey = (values.clip(0.0, brightest) * (255.0 / brightest)).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    transparent = picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info
    wanted = "RGBA" if transparent else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
