"""Sound and video files made while the tests run, by PyAV."""

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000

FORMS = {
    "wav": ("wav", "pcm_s16le", RATE, "audio/wav"),
    "flac": ("flac", "flac", RATE, "audio/flac"),
    "mp3": ("mp3", "libmp3lame", RATE, "audio/mpeg"),
    "ogg": ("ogg", "libopus", 48_000, "audio/ogg"),
    "m4a": ("mp4", "aac", RATE, "audio/mp4"),
    "mka": ("matroska", "libopus", 48_000, "audio/x-matroska"),
    "aiff": ("aiff", "pcm_s16be", RATE, "audio/aiff"),
}
"""Container, codec, rate and MIME type, by the name's ending."""


def encoded(sound: NDArray[np.float32], ending: str) -> bytes:
    """A 16 kHz mono sound as a file of that form."""
    form, codec, rate, _ = FORMS[ending]
    target = io.BytesIO()
    with av.open(target, "w", format=form) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        _write(output, stream, sound)
    return target.getvalue()


def video(seconds: float, sound: NDArray[np.float32] | None = None, *, late: float = 0.0) -> bytes:
    """A Matroska video of one grey, with a sound that begins `late` seconds after it, or none."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        pictures: Any = output.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        stream: Any = output.add_stream("flac", rate=RATE, layout="mono") if sound is not None else None
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        if sound is not None:
            _write(output, stream, sound, round(late * RATE))
    return target.getvalue()


def silence(hours: float) -> bytes:
    """So many hours of silence, in a few megabytes."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        stream: Any = output.add_stream("tta", rate=8000, layout="mono", format="s16")
        nothing = np.zeros((1, 8000), np.int16)
        for second in range(round(hours * 3600)):
            frame = av.AudioFrame.from_ndarray(nothing, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, second * 8000, Fraction(1, 8000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def silent_mp3(hours: float) -> bytes:
    """So many hours of silence as an MP3 file: 72 seconds, which are a thousand frames, over and over."""
    encoder: Any = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 8000, "mono", "s16p", 8000
    frames: list[bytes] = []
    for number in range(1010):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 576), np.int16), format="s16p", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, number * 576, Fraction(1, 8000)
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return b"".join(frames[:1000]) * round(hours * 50)


def noisy(sound: NDArray[np.float32], ratio_db: float, seed: int = 0) -> NDArray[np.float32]:
    """A sound with white noise, at a ratio of signal to noise in dB."""
    power = float(np.square(sound).mean()) / 10 ** (ratio_db / 10)
    noise = np.random.default_rng(seed).normal(0.0, power**0.5, len(sound))
    return (sound + noise).astype(np.float32)


def _write(output: Any, stream: Any, sound: NDArray[np.float32], begin: int = 0) -> None:
    resampler = av.AudioResampler(stream.format, "mono", stream.rate, stream.codec_context.frame_size or None)
    for at in range(0, len(sound), RATE):
        piece = np.ascontiguousarray(sound[None, at : at + RATE], np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, begin + at, Fraction(1, RATE)
        for made in resampler.resample(frame):
            output.mux(stream.encode(made))
    for made in resampler.resample(None):
        output.mux(stream.encode(made))
    output.mux(stream.encode(None))
