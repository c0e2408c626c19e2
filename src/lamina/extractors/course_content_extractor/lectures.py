"""Segments of a lecture: those of `multimodal_extractor`, split where slides change or between subtitles."""

from collections.abc import Sequence
from typing import BinaryIO, ClassVar, Final

from lamina.core.errors import ExtractionError
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.extractors.multimodal_extractor.segments import between, bounded, segments
from lamina.extractors.multimodal_extractor.speech import Heard
from lamina.extractors.multimodal_extractor.takes import Takes
from lamina.extractors.text_extractor.transcripts import Segment
from lamina.inference.base import Span, Utterance
from lamina.inference.registry import Models
from lamina.media.video import VideoTrack

_OF_SCENES: Final = 0.5
"""Threshold of a scene that one of a slide stands for: white pages differ by no more than their letters."""


class Lectures(Takes):
    """Takes videos and recordings apart. `cues` are their subtitles, if there are any.

    Its units have no clips: those of one segment would have the same one, and `media_fragment` plays it.
    """

    clips: ClassVar[bool] = False

    def __init__(
        self, given: CourseContentExtractorParameters, models: Models, cues: Sequence[Segment] | None
    ) -> None:
        super().__init__(_as_segments(given), models)
        self._course = given
        self._cues = cues
        count = given.ocr_frames_per_segment
        self._frames = [(2 * number + 1) / (2 * count) for number in range(count)]

    def _spans(
        self, file: BinaryIO, duration: float, track: VideoTrack | None, has_sound: bool, *, name: str
    ) -> list[Span]:
        if self._course.segmentation_method != "srt":
            shortest = self._course.shortest
            return segments(file, self._given, duration, track, has_sound, name=name, shortest=shortest)
        if self._cues is None:
            raise ExtractionError(
                "Input 'srt' holds no subtitles, which segmentation_method 'srt' splits by.",
                code="empty_input",
                input="srt",
            )
        starts: list[float] = []
        for cue in self._cues:
            if cue.start - (starts[-1] if starts else 0.0) >= self._course.target:
                starts.append(cue.start)
        return bounded(between(starts, duration, self._course.shortest), name)

    def _hear(self, file: BinaryIO, *, transcribe: bool, name: str) -> Heard:
        if self._course.use_whisper_asr:
            return super()._hear(file, transcribe=True, name=name)
        if self._cues is None:
            return super()._hear(file, transcribe=False, name=name)
        spoken = [Utterance(cue.text, cue.start, cue.end) for cue in self._cues]
        return Heard(speech=[Span(cue.start, cue.end) for cue in self._cues], utterances=spoken)


def _as_segments(given: CourseContentExtractorParameters) -> MultimodalExtractorParameters:
    return MultimodalExtractorParameters(
        split_method="time" if given.segmentation_method == "time" else "scene",
        time_split_interval=max(round(given.target), 1),
        max_segment_duration=given.target,
        scene_detection_threshold=given.scene_detection_threshold * _OF_SCENES,
        run_transcription=given.use_whisper_asr,
        transcription_language=None,
        run_ocr=given.extract_screen_text,
        run_multimodal_embedding=given.run_visual_embedding,
        enable_thumbnails=given.generate_thumbnails,
    )
