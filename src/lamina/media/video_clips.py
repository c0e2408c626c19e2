"""Stretches of a video as files of their own: their packets as they were encoded, so nothing is lost."""

import io
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import av
from av.container import InputContainer

from lamina.media.containers import open_media, origin_of
from lamina.media.video import Packet, VideoTrack, pictures_of, wind

CLIP_BYTES: Final = 32 << 20
"""Largest clip that is made."""

_ROUNDING: Final = 0.001

_TEMPLATES = dict[int, av.VideoStream | av.AudioStream]


def video_clip(
    file: BinaryIO,
    track: VideoTrack,
    start: float,
    end: float,
    *,
    max_bytes: int = CLIP_BYTES,
    name: str = "video",
) -> bytes | None:
    """An MP4 file of the pictures and sound from `start` to `end`, in seconds.

    It holds what comes from the key frame before `start` on, and an edit list that lets players begin at
    `start` itself. None when it would be larger than `max_bytes`, or when MP4 has no place for the codec.
    """
    keys = track.key_frames
    begin = keys[max(bisect_right(keys, start + _ROUNDING) - 1, 0)] if keys else 0.0
    target = io.BytesIO()
    with open_media(file, name=name) as container:
        try:
            with av.open(target, "w", format="mp4") as output:
                pictures = pictures_of(container, name)
                copies: _TEMPLATES = {pictures.index: output.add_stream_from_template(pictures, opaque=True)}
                for sound in container.streams.audio[:1]:
                    copies[sound.index] = output.add_stream_from_template(sound, opaque=True)
                if begin > 0:
                    wind(container, pictures, begin)
                whole = _copy(container, output, copies, (begin, start, end), max_bytes)
        except (av.FFmpegError, ValueError):  # the codec, or its stream, does not go into MP4
            return None
    data = target.getvalue()
    return data if whole and len(data) <= max_bytes else None


def _copy(
    container: InputContainer,
    output: av.container.OutputContainer,
    copies: _TEMPLATES,
    stretch: tuple[float, float, float],
    max_bytes: int,
) -> bool:
    """Copy packets, with times from the start of the clip. False when there are none, or too many."""
    begin, start, end = stretch
    origin = origin_of(container)
    size = 0
    ended: set[int] = set()
    held: list[Packet] = []
    for packet in _dated(container, list(copies)):
        index = packet.stream.index
        base = float(packet.time_base)
        is_picture = packet.stream.type == "video"
        shown, decoded = (packet.pts or 0) * base - origin, (packet.dts or 0) * base - origin
        if decoded >= end:
            ended.add(index)
            if len(ended) == len(copies):
                break
        if index in ended or shown < (begin if is_picture else start) - _ROUNDING:
            continue
        if shown >= end - _ROUNDING:  # of use only if something is decoded after it that is shown before
            held += [packet] if is_picture else []
            continue
        for kept in [*held, packet] if is_picture else [packet]:
            size += kept.size
            if size > max_bytes:
                return False
            moved = round((start + origin) / base)
            kept.pts, kept.dts = (kept.pts or 0) - moved, (kept.dts or 0) - moved
            kept.stream = cast("av.VideoStream", copies[kept.stream.index])
            output.mux(kept)
        held = [] if is_picture else held
    return size > 0


def _dated(container: InputContainer, streams: list[int]) -> Iterator[Packet]:
    """Packets with their decoding times. Matroska has none for the first ones, which follow from the next."""
    undated: list[Packet] = []
    for packet in cast("Iterator[Packet]", container.demux([container.streams[index] for index in streams])):
        if packet.pts is None:
            continue
        if packet.dts is None:
            undated.append(packet)
            continue
        if packet.stream.type == "video":
            for place, early in enumerate(undated):
                early.dts = packet.dts - (len(undated) - place) * (early.duration or 1)
                yield early
            undated = []
        yield packet
