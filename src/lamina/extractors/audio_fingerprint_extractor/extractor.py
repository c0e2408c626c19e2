"""`audio_fingerprint_extractor`: sounds in, one document for each segment of them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from lamina.core.errors import ExtractionError
from lamina.core.types import JsonObject
from lamina.extractors.audio_fingerprint_extractor.parameters import AudioFingerprintExtractorParameters
from lamina.extractors.audio_fingerprint_extractor.segments import Segment, segments
from lamina.extractors.base import (
    BlobValue,
    Extractor,
    ExtractorParameters,
    InputValue,
    Part,
    PartBlob,
    Source,
    VectorOutput,
    values_of,
)
from lamina.extractors.outcomes import outcome
from lamina.inference.registry import Models
from lamina.media.audio import playable

INPUT = "audio"

LARGEST_CLIP = 1 << 20
"""Bytes of a segment's own file; a larger one is not kept, since the source can be played there, too."""


class AudioFingerprintExtractor(Extractor):
    """Finds sounds that sound alike, voices that are one person's, and the recording that a clip is from."""

    name: ClassVar[str] = "audio_fingerprint_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = (
        "Cuts sound into segments, each found by how it sounds, by who speaks, and as the very recording."
    )
    category: ClassVar[str] = "audio"
    icon: ClassVar[str] = "audio-lines"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {INPUT: ["audio", "video"]}
    Parameters: ClassVar[type[ExtractorParameters]] = AudioFingerprintExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """How a segment sounds; and who speaks in it, for segments with speech."""
        sound = models.card(models.default("embed_audio"))
        voice = models.card(models.default("embed_speaker"))
        told = {sound: "How the segment sounds", voice: "Who speaks, where somebody does"}
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="dense",
                description=f"{what}, by {card.origin}.",
                inputs=[INPUT],
            )
            for card, what in told.items()
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The models of its vectors, and the one that hears where somebody speaks."""
        return [*super().uses(parameters, models), models.default("detect_speech")]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """Where the segment lies, how loud it is, whether somebody speaks, and its landmarks."""
        return {
            "start_time": _field("float", "Where the segment begins, in seconds."),
            "end_time": _field("float", "Where it ends."),
            "segment_index": _field("integer", "Its place in the source, from 0."),
            "segment_count": _field("integer", "How many segments the source has."),
            "loudness_db": _field("float", "Root mean square in dB of full scale; -120 is silence."),
            "speech_seconds": _field("float", "How long somebody speaks in it."),
            "landmark_count": _field("integer", "How many landmarks it has."),
            "landmarks": _field("string", "Its landmarks and their times, in base64: see the README."),
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The segments of each source; what a truncated file still holds is kept, beside the error."""
        return [self._take_apart(source) for source in sources]

    def _take_apart(self, source: Source) -> list[Part] | ExtractionError:
        given = source.inputs.get(INPUT)
        several = isinstance(given, list | tuple)
        parts: list[Part] = []
        failure: ExtractionError | None = None
        try:
            for place, value in enumerate(_sounds(values_of(given))):
                found, error = segments(value, INPUT, self._given, self.models)
                prefix = f"{place}." if several else ""
                parts += [self._part(value, segment, len(found), prefix) for segment in found]
                if error is not None:
                    raise error
        except ExtractionError as error:
            failure = error
        return outcome(parts, failure)

    def _part(self, blob: BlobValue, segment: Segment, count: int, prefix: str) -> Part:
        return Part(
            position=f"{prefix}{segment.index}",
            fields={
                "start_time": segment.start,
                "end_time": segment.end,
                "segment_index": segment.index,
                "segment_count": count,
                "loudness_db": segment.loudness_db,
                "speech_seconds": segment.speech_seconds,
                "landmark_count": len(segment.landmarks.hashes),
                "landmarks": segment.landmarks.stored(),
            },
            vectors=dict(segment.vectors),
            lexical=segment.landmarks.words or None,
            modality="audio",
            blobs=_clip(blob, segment),
        )


def _sounds(values: Sequence[InputValue]) -> list[BlobValue]:
    """The files among the values. Raises `ExtractionError` when there are none, or something else is."""
    given = [value for value in values if value is not None and value != ""]
    if not given:
        raise ExtractionError(f"Input '{INPUT}' holds no sound.", code="empty_input", input=INPUT)
    for value in given:
        if not isinstance(value, BlobValue):
            raise ExtractionError(
                f"Input '{INPUT}' is {type(value).__name__} and no file of sound or video.",
                code="wrong_type",
                input=INPUT,
            )
    return [value for value in given if isinstance(value, BlobValue)]


def _clip(blob: BlobValue, segment: Segment) -> list[PartBlob]:
    """The segment as a file of its own, where it is small enough."""
    with blob.open() as file:
        try:
            clip = playable(file, segment.start, segment.end, name=INPUT)
        except ExtractionError:  # decoding from the beginning went over a place that cannot be begun at
            return []
    if len(clip.data) > LARGEST_CLIP:
        return []
    return [PartBlob("segment", clip.data, clip.content_type, f"segment.{clip.extension}", "processed")]


def _own(parameters: ExtractorParameters) -> AudioFingerprintExtractorParameters:
    if not isinstance(parameters, AudioFingerprintExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not those of audio_fingerprint_extractor")
    return parameters


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
