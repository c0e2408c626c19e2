"""Videos made while tests run: of real frames or of frames that carry their number, with sound, turned."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, cast

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lamina.inference.packages import PackageFile
from lamina.media.video import every_frame, probe_video
from tests.media import located

Pixels = NDArray[np.uint8]
Draw = Callable[[ImageDraw.ImageDraw, float], None]


def film(
    frames: Iterable[Pixels],
    *,
    fps: int = 25,
    codec: str = "libx264",
    container: str = "mp4",
    key_every: int = 50,
    sound: tuple[NDArray[np.float32], int] | None = None,
    turned: int = 0,
    options: dict[str, str] | None = None,
) -> bytes:
    """A video of these frames. `sound` is mono with its rate; `turned` is how far players turn it."""
    target = io.BytesIO()
    settings = {"preset": "ultrafast", "crf": "18", "bf": "2"} if codec == "libx264" else {}
    with av.open(target, "w", format=container) as output:
        stream = cast("av.VideoStream", output.add_stream(codec, rate=fps))
        stream.pix_fmt = "yuv420p"
        stream.options = {**settings, **(options or {})}
        stream.codec_context.gop_size = key_every
        if turned:
            stream.set_display_rotation(turned)
        speech = output.add_stream("aac", rate=sound[1], layout="mono") if sound else None
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
        if speech is not None and sound is not None:
            samples, rate = sound
            for at in range(0, len(samples), 1024):
                output.mux(speech.encode(_sound(samples[at : at + 1024], rate, at)))
            output.mux(speech.encode(None))
    return target.getvalue()


def frames_of(
    file: PackageFile, draw: Draw | None = None, *, side: int = 1280, times: int = 1
) -> Iterator[Pixels]:
    """The frames of a real video, `times` over, with something drawn on each: `draw(canvas, seconds)`."""
    number = 0
    for _ in range(times):
        with located(file).open("rb") as opened:
            track = probe_video(opened)
            for frame in every_frame(opened, track, side=side):
                yield drawn(frame.pixels, draw, number / track.fps) if draw else frame.pixels
                number += 1


def drawn(pixels: Pixels, draw: Draw, seconds: float) -> Pixels:
    """A frame with something drawn on it."""
    picture = Image.fromarray(pixels)
    draw(ImageDraw.Draw(picture), seconds)
    return np.asarray(picture, np.uint8)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface."""
    return ImageFont.load_default(size)


def numbered(count: int, size: tuple[int, int] = (96, 64)) -> Iterator[Pixels]:
    """Frames that carry their number as bits: white and black fields, the lowest bit on the left."""
    width, height = size
    for number in range(count):
        pixels = np.zeros((height, width, 3), np.uint8)
        for bit in range(12):
            if number >> bit & 1:
                pixels[:, bit * width // 12 : (bit + 1) * width // 12] = 255
        yield pixels


def number_of(pixels: Pixels) -> int:
    """The number that a frame carries."""
    width = pixels.shape[1]
    fields = [pixels[:, bit * width // 12 : (bit + 1) * width // 12].mean() for bit in range(12)]
    return sum(1 << bit for bit, value in enumerate(fields) if value > 127)


def opened(data: bytes) -> BinaryIO:
    """Bytes as a file."""
    return io.BytesIO(data)


def only_sound(samples: NDArray[np.float32], rate: int) -> bytes:
    """An MP4 file without pictures."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=rate, layout="mono")
        for at in range(0, len(samples), 1024):
            output.mux(stream.encode(_sound(samples[at : at + 1024], rate, at)))
        output.mux(stream.encode(None))
    return target.getvalue()


def _sound(samples: NDArray[np.float32], rate: int, at: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, at
    return frame
