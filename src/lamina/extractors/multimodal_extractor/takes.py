"""What becomes of a value of each input: a text, a picture, a sound, a video."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, ClassVar, Final, Literal

from lamina.core.errors import ExtractionError
from lamina.extractors.base import InputValue, Part, PartBlob
from lamina.extractors.multimodal_extractor.describing import Describer
from lamina.extractors.multimodal_extractor.looking import Seen, look
from lamina.extractors.multimodal_extractor.outputs import Embedded
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.extractors.multimodal_extractor.segments import segments
from lamina.extractors.multimodal_extractor.speech import Heard, hear
from lamina.extractors.text_extractor.reading import read_text
from lamina.inference.base import Image, Span
from lamina.inference.registry import Models
from lamina.media.audio import cutting, probe_sound
from lamina.media.images import read_image, thumbnail
from lamina.media.video import Frame, VideoTrack, frames_at, probe_video
from lamina.media.video_clips import video_clip

FRAMES: Final = (1 / 6, 1 / 2, 5 / 6)
"""Where in a segment frames are taken, as shares of its length."""

SIDE: Final = 640
READING_SIDE: Final = 1280
"""Longest side of frames, and of those whose text is read."""

BATCH: Final = 8
"""Segments whose frames are looked at, and held, at once."""

CLIPS_BYTES: Final = 64 << 20
"""Bytes of all clips of one file; what comes after is played out of the file itself."""


@dataclass(slots=True)
class Draft:
    """A document without the vectors of its texts, and those texts.

    `phrase` is embedded in the space of text and pictures, where there is no picture. `picture` is the key
    frame as a JPEG, `failure` why something of it is missing.
    """

    part: Part
    phrase: str = ""
    texts: dict[Embedded, str] = field(default_factory=dict)
    picture: bytes | None = None
    failure: ExtractionError | None = None


class Takes:
    """Takes values apart under one set of parameters, for one call."""

    clips: ClassVar[bool] = True
    """Whether segments get files of their own."""

    def __init__(self, given: MultimodalExtractorParameters, models: Models) -> None:
        self._given = given
        self._models = models
        self._describer = Describer(given, models)
        self._frames: Sequence[float] = FRAMES
        self._side = READING_SIDE if given.run_ocr or given.asks_a_language_model else SIDE

    def text(self, position: str, value: InputValue) -> Draft:
        """The document of a text."""
        text = read_text(value, "text")
        return Draft(Part(position, {"text": text}, lexical=text, modality="text"), phrase=text)

    def picture(self, position: str, file: BinaryIO) -> Draft:
        """The document of a picture."""
        pixels = read_image(file, side=self._side, name="image").pixels
        draft = Draft(Part(position, modality="image"))
        (seen,) = self._look([[pixels]])
        self._show(draft, seen, [pixels])
        return draft

    def video(self, position: str, file: BinaryIO, *, name: str) -> list[Draft]:
        """The documents of a video's segments."""
        track = probe_video(file, name=name)
        spans = self._spans(file, track.duration, track, track.has_sound, name=name)
        heard = self._hear(file, transcribe=self._given.transcribes, name=name) if track.has_sound else None
        drafts: list[Draft] = []
        for span, frames, seen in self._seen(file, track, spans, name):
            draft = _draft(position, len(drafts), span, "video")
            draft.part.fields["key_frame_time"] = round(frames[seen.key].time, 3)
            if heard is not None:
                self._say(draft, heard, span, last=span is spans[-1])
            self._show(draft, seen, [frame.pixels for frame in frames])
            drafts.append(draft)
        if self.clips and track.key_frames:
            self._cut(file, track, spans, drafts, name)
        return drafts

    def _cut(
        self, file: BinaryIO, track: VideoTrack, spans: Sequence[Span], drafts: Sequence[Draft], name: str
    ) -> None:
        """Give segments of a video their clips, as long as there is room for them."""
        left = CLIPS_BYTES
        for span, draft in zip(spans, drafts, strict=True):
            clip = video_clip(file, track, span.start, span.end, max_bytes=left, name=name)
            if clip is not None:
                left -= len(clip)
                draft.part.blobs.append(
                    PartBlob("video_segment", clip, "video/mp4", "segment.mp4", "processed")
                )

    def sound(self, position: str, file: BinaryIO) -> list[Draft]:
        """The documents of a sound's segments. Words are all of it that can be embedded."""
        name = "audio"
        track = probe_sound(file, name=name)
        transcribe = self._given.transcribes or self._given.run_multimodal_embedding
        heard = self._hear(file, transcribe=transcribe, name=name)
        duration = heard.duration or track.duration
        drafts: list[Draft] = []
        spans = self._spans(file, duration, None, has_sound=True, name=name)
        for span in spans:
            draft = _draft(position, len(drafts), span, "audio")
            draft.phrase = self._say(draft, heard, span, last=span is spans[-1])
            draft.part.lexical = draft.phrase or None
            drafts.append(draft)
        if self.clips:
            self._cut_sound(file, spans, drafts, name)
        return drafts

    def _cut_sound(self, file: BinaryIO, spans: Sequence[Span], drafts: Sequence[Draft], name: str) -> None:
        """Give segments of a sound their clips, as long as there is room for them."""
        left = CLIPS_BYTES
        with cutting(file, name=name) as cut_out:
            for span, draft in zip(spans, drafts, strict=True):
                if left <= 0:
                    return
                clip = cut_out(span.start, span.end)
                left -= len(clip.data)
                filename = f"segment.{clip.extension}"
                draft.part.blobs.append(
                    PartBlob("audio_segment", clip.data, clip.content_type, filename, "processed")
                )

    def _spans(
        self, file: BinaryIO, duration: float, track: VideoTrack | None, has_sound: bool, *, name: str
    ) -> list[Span]:
        """The segments of a file; `track` is that of its pictures."""
        return segments(file, self._given, duration, track, has_sound, name=name)

    def _hear(self, file: BinaryIO, *, transcribe: bool, name: str) -> Heard:
        """What a file says. Without a speech detector, and without need of it, nobody listens."""
        detectable = transcribe or self._models.available(self._models.default("detect_speech"))[0]
        return hear(
            file,
            self._models.speech_detector() if detectable else None,
            self._models.transcriber() if transcribe else None,
            self._given.language,
            name=name,
        )

    def _say(self, draft: Draft, heard: Heard, span: Span, *, last: bool) -> str:
        """Note what is said in a segment; its text. The last segment has all that comes after."""
        fields = draft.part.fields
        within = Span(span.start, math.inf) if last else span
        if heard.listened:
            fields["has_speech"] = heard.speaks(within)
        text, words = heard.said(within)
        if text:
            fields["transcription"] = text
            fields["words"] = [
                {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                for word in words
            ]
            language = heard.language(within)
            if language is not None:
                fields["language"] = language
            if self._given.run_transcription_embedding:
                draft.texts["transcription"] = text
        return text

    def _seen(
        self, file: BinaryIO, track: VideoTrack, spans: Sequence[Span], name: str
    ) -> Iterator[tuple[Span, Sequence[Frame], Seen]]:
        """Segments with their frames and what these show."""
        count = len(self._frames)
        times = (span.start + share * span.duration for span in spans for share in self._frames)
        frames = frames_at(file, track, times, side=self._side, name=name)
        coming = iter(spans)
        while batch := list(islice(coming, BATCH)):
            shown = list(islice(frames, len(batch) * count))
            if len(shown) < len(batch) * count:
                raise ExtractionError(
                    f"Input '{name}' is damaged: its frames cannot be decoded.",
                    code="damaged_video",
                    input=name,
                )
            groups = [shown[at : at + count] for at in range(0, len(shown), count)]
            seen = self._look([[frame.pixels for frame in group] for group in groups])
            yield from zip(batch, groups, seen, strict=True)

    def _look(self, groups: Sequence[Sequence[Image]]) -> list[Seen]:
        given = self._given
        return look(groups, self._models, embed=given.run_multimodal_embedding, read=given.run_ocr)

    def _show(self, draft: Draft, seen: Seen, images: Sequence[Image]) -> None:
        """Note what is seen: vector, labels, text on screen, description, thumbnail."""
        given, part = self._given, draft.part
        if seen.vector is not None:
            part.vectors[self._models.default("embed_text_for_image")] = seen.vector
        if seen.labels:
            part.fields["labels"] = [
                {"name": one.name, "probability": one.probability} for one in seen.labels
            ]
        if seen.text:
            part.fields["ocr_text"] = seen.text
            if given.run_ocr_embedding:
                draft.texts["ocr"] = seen.text
        if given.run_video_description:
            said = str(part.fields.get("transcription", ""))
            described = self._describer.describe(images, said).strip()
            draft.failure = self._describer.failure
            if described:
                part.fields["description"] = described
            if given.run_description_embedding:
                draft.texts["description"] = described
        if given.enable_thumbnails or given.response_shape is not None:
            draft.picture = thumbnail(images[seen.key])
        if given.enable_thumbnails and draft.picture is not None:
            part.blobs.append(
                PartBlob("thumbnail", draft.picture, "image/jpeg", "thumbnail.jpg", "thumbnail")
            )
        words = [part.fields.get(name) for name in ("transcription", "ocr_text", "description")]
        part.lexical = (
            "\n".join([*(str(one) for one in words if one), *(one.name for one in seen.labels)]) or None
        )


def _draft(position: str, number: int, span: Span, modality: Literal["audio", "video"]) -> Draft:
    start, end = round(span.start, 3), round(span.end, 3)
    return Draft(
        Part(
            f"{position}/{number}",
            {
                "segment_index": number,
                "start_time": start,
                "end_time": end,
                "media_fragment": f"#t={start:g},{end:g}",
            },
            modality=modality,
        )
    )
