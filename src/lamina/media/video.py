"""Pictures of video files: what a file holds, and its frames at given times, a few of them in memory at once.

Times are in seconds from where the file's presentation begins, as those of `media.audio` are. Frames are
upright RGB: turned as the file says, with square pixels, and no larger than they are asked for.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias, cast

import av
import numpy as np
from av.container import InputContainer

from lamina.core.errors import ExtractionError
from lamina.inference.base import Image
from lamina.media.containers import MICROSECOND, open_media, origin_of

MAX_PIXELS: Final = 36_000_000
"""Largest frame that is decoded; 8K has 33 million pixels."""

FRAME_SIDE: Final = 1280
"""Longest side of frames, unless a caller asks for another."""

_THREADS: Final = 2

Packet: TypeAlias = "av.Packet[av.VideoStream]"

_EXACT: Final = frozenset({"mov", "matroska"})
"""Containers whose stated duration is exact, so that a shorter video was cut off."""

_INDEXED: Final = frozenset({"mov", "matroska", "avi"})
"""Containers that know where their key frames are."""

_BEFORE: Final = 1.0
"""Seconds before a key frame from which on it is found in the others; decoding begins with it anyway."""

_MISSING_SHARE: Final = 0.05
"""Of the stated duration; less is rounding."""

_DAMAGED_PACKETS: Final = 200
"""Packets that may be skipped, one after the other, before the rest of a file counts as damaged."""

_ALL_DECODED: Final = 0.5
"""Seconds before a wanted time from which on every frame is decoded; before, those that others need."""

_ROUNDING: Final = 0.002


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """What a file's pictures are. `width` and `height` are as they are to be seen, after turning.

    `duration` is that of pictures and sound together, as its packets have it, in seconds. `rotation` is by
    how many degrees stored frames are turned counterclockwise. `key_frames` are the times, in order, of
    frames that decode without others before them; none where the container cannot be wound to a time.
    """

    duration: float
    width: int
    height: int
    fps: float
    codec: str
    container: str
    rotation: int
    has_sound: bool
    key_frames: Sequence[float]


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame and the time from which on it is shown."""

    time: float
    pixels: Image


def probe_video(file: BinaryIO, *, name: str = "video") -> VideoTrack:
    """What a file holds: every packet is looked at, the first frame is decoded.

    Raises `ExtractionError`: `empty_input`, `not_media`, `no_video`, `video_too_large`, `damaged_video` when
    no frame can be decoded, and `truncated_video` when the file states a longer video than it holds.
    """
    with open_media(file, name=name) as container:
        stream = pictures_of(container, name)
        if stream.width * stream.height > MAX_PIXELS:
            raise ExtractionError(
                f"Input '{name}' has frames of {stream.width} × {stream.height} pixels; at most "
                f"{MAX_PIXELS // 1_000_000} megapixels are decoded.",
                code="video_too_large",
                input=name,
            )
        survey = _survey(container, stream)
        if survey.first is None:
            raise ExtractionError(
                f"Input '{name}' is damaged: no frame of its {stream.codec_context.codec.canonical_name} "
                "video can be decoded.",
                code="damaged_video",
                input=name,
            )
        _check_whole(container, survey.end, name)
        rotation = round(survey.first.rotation / 90) * 90 % 360
        width, height = _display_size(stream, survey.first)
        return VideoTrack(
            duration=survey.end,
            width=height if rotation % 180 else width,
            height=width if rotation % 180 else height,
            fps=_rate(stream),
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            rotation=rotation,
            has_sound=any(one.codec_context is not None for one in container.streams.audio),
            key_frames=() if container.format.name == "gif" else tuple(sorted(survey.key_frames)),
        )


def pictures_of(container: InputContainer, name: str) -> av.VideoStream:
    """The first video track that is no cover picture; `ExtractionError` (`no_video`) where there is none."""
    for stream in container.streams.video:
        still = stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.still_image)
        if not still and stream.codec_context is not None:
            return stream
    raise ExtractionError(f"Input '{name}' has no video track.", code="no_video", input=name)


def frames_at(
    file: BinaryIO, track: VideoTrack, times: Iterable[float], *, side: int = FRAME_SIDE, name: str = "video"
) -> Iterator[Frame]:
    """The frames that are shown at these times, which are given in ascending order; one for each.

    Winds forward to the nearest key frame where that saves decoding. After the last frame its picture
    stays. What cannot be decoded is left out, so that damaged files may give fewer frames.
    """
    with open_media(file, name=name) as container:
        reader = _Reader(container, pictures_of(container, name), track)
        for time in times:
            shown = reader.shown_at(time)
            if shown is None:
                return
            yield Frame(shown.time, reader.upright(shown.frame, side))


def every_frame(
    file: BinaryIO, track: VideoTrack, *, side: int = FRAME_SIDE, name: str = "video"
) -> Iterator[Frame]:
    """All frames from the first to the last."""
    with open_media(file, name=name) as container:
        reader = _Reader(container, pictures_of(container, name), track)
        for shown in reader.frames():
            yield Frame(shown.time, reader.upright(shown.frame, side))


def wind(container: InputContainer, stream: av.VideoStream, key_frame: float) -> None:
    """Go to a key frame. Containers without an index are wound to somewhere before it."""
    indexed = bool(_INDEXED & set(container.format.name.split(",")))
    moment = key_frame + origin_of(container) - (0.0 if indexed else _BEFORE)
    container.seek(int(moment / float(stream.time_base or MICROSECOND)) + 1, stream=stream)


def even_times(start: float, end: float, fps: float) -> Iterator[float]:
    """Times of frames sampled at a rate from `start` on, before `end`; at least one."""
    yield start
    count = 1
    while (time := start + count / fps) < end - _ROUNDING:
        yield time
        count += 1


@dataclass(slots=True)
class _Survey:
    first: av.VideoFrame | None
    key_frames: list[float]
    end: float


def _survey(container: InputContainer, stream: av.VideoStream) -> _Survey:
    """Look at every packet; decode until the first frame."""
    origin, step = origin_of(container), 1 / _rate(stream)
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    found, count = _Survey(None, [], 0.0), 0
    for packet in _packets(container, None):
        own = packet.stream.index == stream.index
        if own and found.first is None:
            found.first = next(iter(_decoded(packet)), None)
        if packet.size == 0 or packet.stream.type not in {"video", "audio"}:
            continue
        time = _time(packet, origin)
        if own:
            time = count * step if time is None else time
            count += 1
            if packet.is_keyframe:
                found.key_frames.append(time)
        if time is not None:
            length = float((packet.duration or 0) * (packet.time_base or 0))
            found.end = max(found.end, time + (length or (step if own else 0.0)))
    return found


def _packets(container: InputContainer, stream: av.VideoStream | None) -> Iterator[Packet]:
    """Packets up to the end, or to where the container makes no sense any more."""
    packets = cast("Iterator[Packet]", container.demux(stream) if stream is not None else container.demux())
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError, EOFError):
            return
        if packet is None:
            return
        yield packet


def _decoded(packet: Packet) -> list[av.VideoFrame]:
    """The frames that a packet completes; none where it is damaged."""
    try:
        return list(packet.decode())
    except (av.FFmpegError, ValueError, EOFError):
        return []


def _time(packet: Packet, origin: float) -> float | None:
    moment = packet.pts if packet.pts is not None else packet.dts
    if moment is None or packet.time_base is None:
        return None
    return float(moment * packet.time_base) - origin


def _rate(stream: av.VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or 25)


def _display_size(stream: av.VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height with square pixels, before turning."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 0.1 <= aspect <= 10:
        aspect = 1.0
    return max(round(frame.width * aspect), 1), frame.height


def _check_whole(container: InputContainer, end: float, name: str) -> None:
    exact = bool(_EXACT & set(container.format.name.split(",")))
    stated = (container.duration or 0) * MICROSECOND
    if exact and stated - end > max(1.0, _MISSING_SHARE * stated):
        raise ExtractionError(
            f"Input '{name}' is truncated: it states {stated:.1f} s of video and holds {end:.1f} s.",
            code="truncated_video",
            input=name,
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    time: float
    frame: av.VideoFrame


class _Reader:
    """Goes through one container's pictures forwards, winding over what nobody wants to see."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, track: VideoTrack) -> None:
        self._container = container
        self._stream = stream
        self._track = track
        self._origin = origin_of(container)
        self._target = 0.0
        self._held: _Shown | None = None
        self._ahead: _Shown | None = None
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _THREADS
        self._coming = self.frames()

    def shown_at(self, time: float) -> _Shown | None:
        """The last frame that begins at the time or before it; the first of all where none does."""
        self._target = time
        self._wind(time)
        while True:
            if self._ahead is None:
                self._ahead = next(self._coming, None)
            if self._ahead is None:
                return self._held
            if self._ahead.time > time + _ROUNDING:
                return self._held or self._ahead
            self._held, self._ahead = self._ahead, None

    def frames(self) -> Iterator[_Shown]:
        """Frames from where the container stands. Before `_target`, those that no other needs are skipped."""
        context = self._stream.codec_context
        step, last, damaged = 1 / self._track.fps, -1 / self._track.fps, 0
        for packet in _packets(self._container, self._stream):
            moment = _time(packet, self._origin)
            needless = moment is not None and moment < self._target - _ALL_DECODED
            context.skip_frame = "NONREF" if needless else "DEFAULT"
            frames = _decoded(packet)
            damaged = 0 if frames or needless else damaged + 1
            if damaged > _DAMAGED_PACKETS:
                return
            for frame in frames:
                last = last + step if frame.pts is None else float(frame.time) - self._origin
                yield _Shown(last, frame)

    def upright(self, frame: av.VideoFrame, side: int) -> Image:
        """A frame's pixels, at most `side` along the longer side."""
        width, height = _display_size(self._stream, frame)
        scale = min(side / max(width, height), 1.0)
        small = frame.reformat(
            width=max(round(width * scale), 1),
            height=max(round(height * scale), 1),
            format="rgb24",
            interpolation="AREA",
        )
        pixels = np.asarray(small.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(pixels, self._track.rotation // 90))

    def _wind(self, time: float) -> None:
        """Go on from the last key frame before a time if that lies ahead."""
        keys = self._track.key_frames
        at = bisect_right(keys, time + _ROUNDING) - 1
        here = max((one.time for one in (self._held, self._ahead) if one), default=-1.0)
        if at <= 0 or keys[at] <= here + 1.0:
            return
        try:
            wind(self._container, self._stream, keys[at])
        except av.FFmpegError:  # it cannot be wound: what lies between is decoded
            return
        self._held = self._ahead = None
        self._coming = self.frames()
