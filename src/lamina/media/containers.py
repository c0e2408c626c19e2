"""Audio and video files: opened within limits, whatever their bytes claim to be.

PyAV decodes; its wheels carry FFmpeg. A file is only ever read as one of `FORMATS`, so that a playlist
or a script for a demuxer cannot make the process open other files or addresses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import av
from av.container import InputContainer

from lamina.core.errors import ExtractionError

FORMATS: Final = (
    *(
        "aac",
        "ac3",
        "aiff",
        "amr",
        "ape",
        "asf",
        "au",
        "avi",
        "caf",
        "dts",
        "dv",
        "eac3",
        "flac",
        "flv",
        "gif",
    ),
    *("h264", "hevc", "ivf", "m4v", "matroska", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf", "nut"),
    *("ogg", "rm", "tta", "voc", "w64", "wav", "webm", "wv"),
)
"""Names of the demuxers that files are read with."""

MICROSECOND: Final = 1e-6
"""Unit of a container's own times, in seconds."""


@dataclass(frozen=True, slots=True)
class Track:
    """What a file says of its sound. `duration` is in seconds, 0 where the file does not tell.

    `tags` are those of the file, in lower case: `title`, `artist`, `album` …
    """

    duration: float
    sample_rate: int
    channels: int
    codec: str
    container: str
    tags: dict[str, str] = field(default_factory=dict)


@contextmanager
def open_media(file: BinaryIO, *, name: str = "media") -> Iterator[InputContainer]:
    """The container in a file, positioned at its beginning.

    Raises `ExtractionError`, naming the input, when there is none. What FFmpeg raises while the
    container is in use is left to the caller.
    """
    file.seek(0)
    if not file.read(1):
        raise ExtractionError(f"Input '{name}' is empty: it has no bytes.", code="empty_input", input=name)
    file.seek(0)
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise ExtractionError(
            f"Input '{name}' is no audio or video file, or one whose beginning or index is missing.",
            code="not_media",
            input=name,
        ) from error
    with container:
        yield container


def probe_sound(file: BinaryIO, *, name: str = "audio") -> Track:
    """What a file says of its first sound track; nothing is decoded.

    Raises `ExtractionError` for what is no audio or video, and with the code `no_audio` where there is
    no sound.
    """
    with open_media(file, name=name) as container:
        return track_of(container, name)


def track_of(container: InputContainer, name: str) -> Track:
    """The same of an open container."""
    stream = sound_of(container, name)
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    return Track(
        duration=length or (container.duration or 0) * MICROSECOND,
        sample_rate=stream.codec_context.sample_rate or 0,
        channels=stream.codec_context.channels or 0,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        tags={key.lower(): value for key, value in container.metadata.items()},
    )


def sound_of(container: InputContainer, name: str) -> av.AudioStream:
    """The first sound track; `ExtractionError` with the code `no_audio` where there is none."""
    for stream in container.streams.audio:
        if stream.codec_context is not None:
            return stream
    raise ExtractionError(f"Input '{name}' has no sound track.", code="no_audio", input=name)


def origin_of(container: InputContainer) -> float:
    """The container's own time, in seconds, at which its presentation begins."""
    return (container.start_time or 0) * MICROSECOND
