"""The texts of one video: looked at once for what moves, again for each band, and for what stands."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from lamina.core.types import Json
from lamina.extractors.base import Part, PartBlob
from lamina.extractors.scrolling_text_extractor.motion import Band, Survey, survey, unlike
from lamina.extractors.scrolling_text_extractor.panorama import read, stitch
from lamina.extractors.scrolling_text_extractor.parameters import ScrollingTextExtractorParameters
from lamina.extractors.scrolling_text_extractor.standing import Box, follow, standing_texts
from lamina.inference.base import TextReader
from lamina.media.images import thumbnail
from lamina.media.video import Frame, even_times, frames_at, probe_video

SIDE: Final = 1280
"""Longest side of frames that are looked at."""

MOST_BANDS: Final = 8

LEAST_LETTERS: Final = 4
LEAST_CONFIDENCE: Final = 0.6
"""Of a moving text that is kept: a camera that pans moves all, and some of that may look like letters."""

FOLLOWED_FPS: Final = 2.0
"""Frames a second, at most, by which it is seen from when to when a text stands."""

_PANORAMA_SIDE: Final = 8192


class Film:
    """One video under the parameters. Raises `ExtractionError` for what cannot be decoded.

    Frames that are looked at may be smaller than the video's own; `scale` of its pixels are one of theirs.
    """

    def __init__(
        self, file: BinaryIO, given: ScrollingTextExtractorParameters, reader: TextReader, *, name: str
    ) -> None:
        self._file = file
        self._given = given
        self._reader = reader
        self._name = name
        self._track = probe_video(file, name=name)
        width, height = self._track.width, self._track.height
        self._scale = max(max(width, height) / SIDE, 1.0)
        self._size = (width / self._scale, height / self._scale)

    def parts(self, position: str) -> list[Part]:
        """A document for each text: those that move first, each kind in the order in which they come."""
        given = self._given
        seen = survey(self._frames(0.0, self._track.duration, given.fps), self._pixels(given.strip_height))
        bands = seen.bands(given.min_shift_px / self._scale, given.consistency_ratio)
        bands = sorted(bands, key=lambda one: one.start - one.end)[:MOST_BANDS]
        bands.sort(key=lambda one: (one.start, one.low))
        parts: list[Part] = []
        read_bands: list[Band] = []
        for band in bands:
            part = self._scrolling(f"{position}/scrolling/{len(parts)}", band)
            if part is not None:
                parts.append(part)
                read_bands.append(band)
        if given.static_ocr:
            parts += self._standing(position, seen, read_bands)
        return parts

    def _scrolling(self, position: str, band: Band) -> Part | None:
        """The document of a band, None when nothing is written in it."""
        pad = self._pixels(self._given.pad) if self._given.pad else 0
        panorama = stitch(self._frames(band.start, band.end, self._given.fps), band, pad)
        if panorama is None:
            return None
        found = read(panorama, band, self._reader)
        if found.confidence < LEAST_CONFIDENCE or len(re.findall(r"\w", found.text)) < LEAST_LETTERS:
            return None
        ways = ("right", "left") if band.axis == "horizontal" else ("down", "up")
        part = self._part(position, "scrolling", found.text, found.confidence, self._place(band, pad))
        part.fields["start_time"], part.fields["end_time"] = round(band.start, 3), round(band.end, 3)
        part.fields["direction"] = ways[0] if band.speed > 0 else ways[1]
        part.fields["speed"] = round(abs(band.speed) * self._scale, 1)
        picture = thumbnail(panorama, side=_PANORAMA_SIDE)
        part.blobs = [PartBlob("panorama", picture, "image/jpeg", "panorama.jpg", "artifact")]
        return part

    def _standing(self, position: str, seen: Survey, bands: Sequence[Band]) -> list[Part]:
        """The documents of texts that stand."""
        pad = self._pixels(self._given.pad)
        moving = [(band.start, band.end, self._place(band, pad)) for band in bands]
        times = unlike(seen.looks, self._given.max_static_frames)
        frames = frames_at(self._file, self._track, times, side=SIDE, name=self._name)
        texts = standing_texts(frames, self._reader, moving)
        if texts:
            fps = min(self._given.fps, FOLLOWED_FPS)
            follow(self._frames(0.0, self._track.duration, fps), texts)
        parts = []
        for number, text in enumerate(texts):
            part = self._part(f"{position}/static/{number}", "static", text.text, text.confidence, text.box)
            start, end = text.stretch(self._track.duration)
            part.fields["start_time"], part.fields["end_time"] = round(start, 3), round(end, 3)
            picture = thumbnail(text.frame.pixels)
            part.blobs = [PartBlob("thumbnail", picture, "image/jpeg", "thumbnail.jpg", "thumbnail")]
            parts.append(part)
        return parts

    def _part(self, position: str, kind: str, text: str, confidence: float, box: Box) -> Part:
        place: list[Json] = [round(side * self._scale, 1) for side in box]
        fields: dict[str, Json] = {
            "text": text, "text_type": kind, "bbox": place, "confidence": round(confidence, 4)
        }  # fmt: skip
        return Part(position, fields, lexical=text, modality="video")

    def _place(self, band: Band, pad: int) -> Box:
        """The box of a band, in pixels of the frames looked at."""
        width, height = self._size
        low = max(band.low - pad, 0)
        if band.axis == "horizontal":
            return 0.0, float(low), width, min(float(band.high + pad), height)
        return float(low), 0.0, min(float(band.high + pad), width), height

    def _pixels(self, own: int) -> int:
        """A length in the video's own pixels as one in those of the frames looked at."""
        return max(round(own / self._scale), 1)

    def _frames(self, start: float, end: float, fps: float) -> Iterator[Frame]:
        """Frames at a rate; each once, however slow the video is."""
        last = -1.0
        times = even_times(start, end, fps)
        for frame in frames_at(self._file, self._track, times, side=SIDE, name=self._name):
            if frame.time > last:
                yield frame
                last = frame.time
