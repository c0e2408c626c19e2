"""Sound of audio and video files: decoded to mono in bounded blocks, cut out, encoded.

Times are in seconds from where the file's presentation begins, so that they agree with those of a video's
pictures: a track that begins late, or has holes, has silence there.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import av
import numpy as np
from av.container import InputContainer

from lamina.core.errors import ExtractionError
from lamina.inference.base import Samples
from lamina.media.containers import MICROSECOND, Track, open_media, origin_of, probe_sound, sound_of, track_of

__all__ = [
    "Clip",
    "Track",
    "blocks",
    "cut",
    "cutting",
    "encode",
    "playable",
    "probe_sound",
    "read_sound",
    "windows",
]

BLOCK_SECONDS: Final = 30.0

LONGEST_READ: Final = 3600.0
"""Seconds that `read_sound` holds at most; 230 MB at 16 kHz."""

_HOLE: Final = 0.1
"""Seconds by which a frame must be late before silence is put before it; less is rounding."""

_SEEK_BEFORE: Final = 1.0
"""Seconds that are decoded before a start, since some codecs need them to come in."""

_DAMAGED_PACKETS: Final = 200
"""Packets that may be skipped before a file counts as damaged."""

_EXACT: Final = frozenset({"flac", "matroska", "mov", "mp3", "w64", "wav"})
"""Containers whose stated duration is exact, so that a shorter sound was cut off."""

_MISSING_SHARE: Final = 0.05
"""Of the stated duration; less is rounding."""


def blocks(
    file: BinaryIO,
    rate: int,
    *,
    name: str = "audio",
    start: float = 0.0,
    seconds: float | None = None,
    block: float = BLOCK_SECONDS,
) -> Iterator[Samples]:
    """The sound as mono float32 at `rate`, in blocks of `block` seconds; the last may be shorter.

    Begins at `start` and ends after `seconds`, or with the file. Holds one block at a time, so the length
    of the file does not matter. Raises `ExtractionError`: `empty_input`, `not_media`, `no_audio`,
    `damaged_audio` when nothing can be decoded, and `truncated_audio` after the last block when the file
    states a longer sound than it holds.
    """
    with open_media(file, name=name) as container:
        track = track_of(container, name)
        decoder = _Decoder(container, rate, name, start)
        wanted = None if seconds is None else round(seconds * rate)
        empty = start == 0.0
        try:
            for piece in _even(decoder.pieces(), round(block * rate), wanted):
                empty = False
                yield piece
        except av.FFmpegError as error:
            raise ExtractionError(
                f"Input '{name}' is damaged: its {track.codec} sound cannot be decoded after "
                f"{decoder.position:.1f} s: {error.strerror}.",
                code="damaged_audio",
                input=name,
            ) from error
        if not decoder.at_end:
            return
        if empty:
            raise ExtractionError(
                f"Input '{name}' is damaged: its {track.codec} track holds no sound that can be decoded.",
                code="damaged_audio",
                input=name,
            )
        _check_whole(file, track, decoder.position, name)


def windows(
    pieces: Iterable[Samples], rate: int, *, length: float, hop: float
) -> Iterator[tuple[float, Samples]]:
    """Windows of `length` seconds that begin every `hop` seconds, with the time at which each begins.

    The last may be shorter; it holds something that no window before it holds. `pieces` follow each other.
    """
    size, step = round(length * rate), max(round(hop * rate), 1)
    held = np.zeros(0, np.float32)
    begin = covered = 0
    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) >= size:
            yield begin / rate, held[:size]
            covered = begin + size
            begin += step
            held = held[step:]
    if len(held) and begin + len(held) > covered:
        yield begin / rate, held


def read_sound(
    file: BinaryIO, rate: int, *, name: str = "audio", start: float = 0.0, seconds: float = LONGEST_READ
) -> Samples:
    """A stretch of the sound in one piece, mono float32. For what is known to be short."""
    found = list(blocks(file, rate, name=name, start=start, seconds=min(seconds, LONGEST_READ)))
    return np.concatenate(found) if found else np.zeros(0, np.float32)


class _Decoder:
    """Decodes one container's sound from `start` on.

    `position` is where it has come to, in seconds; `at_end` tells that the file has no more.
    """

    def __init__(self, container: InputContainer, rate: int, name: str, start: float) -> None:
        self.position = start
        self.at_end = False
        self._container = container
        self._rate = rate
        self._name = name
        self._start = start
        self._origin = origin_of(container)
        self._end = (container.duration or 0) * MICROSECOND + 1.0

    def pieces(self) -> Iterator[Samples]:
        """Stretches of at most a second that follow each other."""
        stream = sound_of(self._container, self._name)
        if self._start > _SEEK_BEFORE:
            with suppress(av.FFmpegError):  # read from the beginning, then, to the same end
                self._container.seek(int((self._start - _SEEK_BEFORE + self._origin) / MICROSECOND))
        resampler: av.AudioResampler | None = None
        form: tuple[object, ...] = ()
        early = 0
        for frame in self._frames(stream):
            moment = self.position if frame.time is None else float(frame.time) - self._origin
            length = frame.samples / frame.sample_rate
            if moment + length <= self._start:
                continue
            if moment > self.position + _HOLE and moment <= self._end:
                yield from self._silence(moment - self.position)
                self.position = moment
            if resampler is None:
                early = max(round((self._start - moment) * self._rate), 0)
            known = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
            if resampler is None or form != known:
                if resampler is not None:  # a broadcast may change its form on the way
                    yield from _resampled(resampler, None)
                resampler, form = av.AudioResampler("flt", "mono", self._rate, self._rate), known
            frame.pts = None
            for piece in _resampled(resampler, frame):
                yield piece[early:]
                early = max(early - len(piece), 0)
            self.position += length - max(self._start - moment, 0.0)
        if resampler is not None:
            yield from _resampled(resampler, None)
        self.at_end = True

    def _frames(self, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        """Decoded frames; packets that make no sense are skipped."""
        damaged = 0
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = packet.decode() if packet is not None else []
            except EOFError:
                return
            except (av.FFmpegError, ValueError):
                damaged += 1
                if damaged > _DAMAGED_PACKETS:
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if frame.samples:
                    yield frame

    def _silence(self, seconds: float) -> Iterator[Samples]:
        left = round(seconds * self._rate)
        while left > 0:
            size = min(left, self._rate)
            yield np.zeros(size, np.float32)
            left -= size


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Samples]:
    for made in resampler.resample(frame):
        piece = made.to_ndarray()[0]
        np.nan_to_num(piece, copy=False, nan=0.0)  # files of floats may hold anything
        yield np.clip(piece, -1.0, 1.0)


def _even(pieces: Iterable[Samples], size: int, wanted: int | None) -> Iterator[Samples]:
    """The same samples in pieces of one size, up to as many as are wanted."""
    held: list[Samples] = []
    count = given = 0
    for piece in pieces:
        held.append(piece if wanted is None else piece[: wanted - given - count])
        count += len(held[-1])
        while count >= size:
            joined = np.concatenate(held)
            yield joined[:size]
            held, count = [joined[size:]], count - size
            given += size
        if wanted is not None and given + count >= wanted:
            break
    if count:
        yield np.concatenate(held)


def _check_whole(file: BinaryIO, track: Track, decoded: float, name: str) -> None:
    """Raise `truncated_audio` when the file states a longer sound than was decoded."""
    exact = bool(_EXACT & set(track.container.split(",")))
    stated = max(track.duration, _wav_seconds(file, track) if track.container == "wav" else 0.0)
    if exact and stated - decoded > max(1.0, _MISSING_SHARE * stated):
        raise ExtractionError(
            f"Input '{name}' is truncated: it states {stated:.1f} s of sound and holds {decoded:.1f} s.",
            code="truncated_audio",
            input=name,
        )


def _wav_seconds(file: BinaryIO, track: Track) -> float:
    """What a WAV file's header says; FFmpeg tells only what is there. 0 where it was left open."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    stated = int.from_bytes(head[4:8], "little") + 8
    if head[:4] != b"RIFF" or not 8 < stated < 0xFFFF_0000 or size <= 44:
        return 0.0
    return track.duration * stated / size


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of sound as a file of its own, and where it lies in its source, in seconds."""

    data: bytes
    content_type: str
    extension: str
    start: float
    end: float


_REMUXED: Final = {
    "aac": ("mp4", "audio/mp4", "m4a"),
    "mp3": ("mp3", "audio/mpeg", "mp3"),
    "opus": ("ogg", "audio/ogg", "ogg"),
    "pcm_s16le": ("wav", "audio/wav", "wav"),
    "vorbis": ("ogg", "audio/ogg", "ogg"),
}
"""Container, MIME type and extension for the packets of a codec, by the codec's name."""

_OPUS_RATE: Final = 48_000
_OPUS_FRAME: Final = 960
_OPUS_OPTIONS: Final = {"compression_level": "4"}
"""Of ten: half the work of the highest, which nobody hears in a preview."""

_OPUS_BITS: Final = 48_000


def cut(file: BinaryIO, start: float, end: float, *, name: str = "audio") -> Clip:
    """A stretch of the sound as it was encoded, without loss: whole packets, so some 20 ms more at the ends.

    The first packets of an MP3 may need what was cut off before them: it can begin a quarter second late.
    Sound of a codec that no common container plays is encoded anew, as Opus. Raises `ExtractionError` as
    `blocks` does, and with the code `damaged_audio` when the stretch holds nothing.
    """
    return _packets(file, start, end, name, _REMUXED) or _encoded(file, start, end, name)


@contextmanager
def cutting(file: BinaryIO, *, name: str = "audio") -> Iterator[Callable[[float, float], Clip]]:
    """`cut` for many stretches of one file, which is opened once.

    Where a file has no index, as MP3, opening it anew for each stretch means reading all that is before it.

    >>> with cutting(file) as cut_out:
    ...     clips = [cut_out(start, start + 10.0) for start in range(0, 60, 10)]
    """
    with open_media(file, name=name) as container:
        stream = sound_of(container, name)
        into = _REMUXED.get(stream.codec_context.codec.canonical_name)

        def cut_out(start: float, end: float) -> Clip:
            nonlocal into
            if into is not None:
                with suppress(av.FFmpegError, ValueError):
                    clip = _remuxed(container, stream, start, end, into)
                    if clip is not None:
                        return clip
            into = None  # from now on the file is read by others, which moves it under the container
            return _encoded(file, start, end, name)

        yield cut_out


def playable(file: BinaryIO, start: float, end: float, *, name: str = "audio") -> Clip:
    """A stretch of the sound as a small file: its own packets where they are compressed, or else Opus.

    Raises `ExtractionError` as `cut` does.
    """
    compressed = {codec: into for codec, into in _REMUXED.items() if not codec.startswith("pcm")}
    return _packets(file, start, end, name, compressed) or _encoded(file, start, end, name)


def _packets(
    file: BinaryIO, start: float, end: float, name: str, known: Mapping[str, tuple[str, str, str]]
) -> Clip | None:
    """The stretch's own packets, where the codec is known and they can be put into a file."""
    with open_media(file, name=name) as container:
        stream = sound_of(container, name)
        into = known.get(stream.codec_context.codec.canonical_name)
        try:
            return _remuxed(container, stream, start, end, into) if into is not None else None
        except (av.FFmpegError, ValueError):
            return None


def _encoded(file: BinaryIO, start: float, end: float, name: str) -> Clip:
    sound = read_sound(file, _OPUS_RATE, name=name, start=start, seconds=end - start)
    if not len(sound):
        raise ExtractionError(
            f"Input '{name}' has no sound from {start:.1f} to {end:.1f} s.", code="damaged_audio", input=name
        )
    return Clip(encode(sound, _OPUS_RATE), "audio/ogg", "ogg", start, start + len(sound) / _OPUS_RATE)


def _remuxed(
    container: InputContainer, stream: av.AudioStream, start: float, end: float, into: tuple[str, str, str]
) -> Clip | None:
    """The packets of a stretch in a container of their own; None when there are none."""
    form, content_type, extension = into
    origin = origin_of(container)
    container.seek(max(int((start - 0.1 + origin) * 1e6), 0))
    target = io.BytesIO()
    first: int | None = None
    begin = last = start
    with av.open(target, "w", format=form) as output:
        copy = output.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            moment = float(packet.pts * packet.time_base) - origin
            length = float((packet.duration or 0) * packet.time_base)
            if moment >= end:
                break
            if moment + length <= start:
                continue
            if first is None:
                first, begin = packet.pts, moment
            packet.pts -= first
            packet.dts -= first
            packet.stream = copy
            output.mux(packet)
            last = moment + length
    if first is None:
        return None
    return Clip(target.getvalue(), content_type, extension, max(begin, 0.0), last)


def encode(sound: Samples, rate: int, kind: Literal["opus", "wav"] = "opus") -> bytes:
    """A file of a mono sound: Ogg Opus at 48 kbit/s, whatever its rate was, or 16-bit WAV."""
    target = io.BytesIO()
    with av.open(target, "w", format="ogg" if kind == "opus" else "wav") as output:
        if kind == "opus":
            stream = output.add_stream("libopus", rate=_OPUS_RATE, layout="mono", options=_OPUS_OPTIONS)
            stream.bit_rate = _OPUS_BITS
            resampler = av.AudioResampler("flt", "mono", _OPUS_RATE, _OPUS_FRAME)
        else:
            stream = output.add_stream("pcm_s16le", rate=rate, layout="mono")
            resampler = av.AudioResampler("s16", "mono", rate)
        for at in range(0, len(sound), rate):
            piece = np.clip(sound[None, at : at + rate], -1.0, 1.0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate = rate
            for made in resampler.resample(frame):
                output.mux(stream.encode(made))
        for made in resampler.resample(None):
            output.mux(stream.encode(made))
        output.mux(stream.encode(None))
    return target.getvalue()
