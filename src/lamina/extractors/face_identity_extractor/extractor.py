"""`face_identity_extractor`: pictures in, a document for each face, with the vector of whose it is."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, Part, PartBlob, Source, VectorOutput
from lamina.extractors.face_identity_extractor.frames import Frame, Place, frames
from lamina.extractors.face_identity_extractor.parameters import FaceIdentityExtractorParameters
from lamina.extractors.face_identity_extractor.quality import quality
from lamina.extractors.outcomes import joined, outcome
from lamina.inference.base import Face, Image
from lamina.inference.registry import Models
from lamina.media.images import thumbnail

_SIDES: Final = {"scrfd_500m": 640, "scrfd_2.5g": 1280, "scrfd_10g": 2048}
_MARGIN: Final = 0.4
"""How much of a face's size its thumbnail shows around it."""

_FACE_THUMBNAIL: Final = 320


@dataclass(slots=True, eq=False)
class _Found:
    """A face with all that is known of it, and the times at which it was seen."""

    place: Place
    number: int
    face: Face
    aligned: Image
    quality: float | None
    vector: NDArray[np.float32]
    thumbnail: bytes
    picture: bytes | None
    first: float | None = None
    last: float | None = None
    seen: int = 1
    order: tuple[int, int] = field(default=(0, 0))


class FaceIdentityExtractor(Extractor):
    """Finds faces, turns them upright and makes vectors by which those of one person lie near."""

    name: ClassVar[str] = "face_identity_extractor"
    version: ClassVar[str] = "v1"
    description: ClassVar[str] = "Finds faces in images, videos and PDF pages and embeds whose they are."
    category: ClassVar[str] = "image"
    icon: ClassVar[str] = "user"
    inputs: ClassVar[Mapping[str, Sequence[str]]] = {"image": ["image"], "video": ["video"], "pdf": ["pdf"]}
    Parameters: ClassVar[type[ExtractorParameters]] = FaceIdentityExtractorParameters

    def __init__(self, parameters: ExtractorParameters, models: Models) -> None:
        super().__init__(parameters, models)
        self._given = _own(parameters)

    @classmethod
    def vectors(cls, parameters: ExtractorParameters, models: Models) -> Sequence[VectorOutput]:
        """One vector of each face, named after its model."""
        card = models.card(models.default("embed_face"))
        return [
            VectorOutput(
                output=card.name,
                dimension=card.dimension,
                distance=card.distance,
                kind="dense",
                description=f"Embedding of the face by {card.origin}.",
                inputs=list(cls.inputs),
            )
        ]

    @classmethod
    def uses(cls, parameters: ExtractorParameters, models: Models) -> Sequence[str]:
        """The models that find faces and embed them."""
        return [models.default("find_faces"), *super().uses(parameters, models)]

    @classmethod
    def output_schema(cls, parameters: ExtractorParameters) -> dict[str, JsonObject]:
        """What is known of the face, or in `per_image` of all faces of a picture."""
        given = _own(parameters)
        about = {
            "bbox": _field("object", "Left, top, right and bottom, in pixels; in points on pages."),
            "landmarks": _field("array", "Eyes, nose and corners of the mouth as [x, y]."),
            "detection_score": _field("float", "How sure the finder is, from 0 to 1."),
            "quality_score": _field("float", "Sharpness, size, light and pose as one number from 0 to 1."),
            "face_crop": _field("string", "The aligned face, 112 × 112, as a data URI."),
        }
        place = {
            "start_time": _field("float", "When the face is first seen, in seconds of a video."),
            "end_time": _field("float", "When it is last seen."),
            "page_number": _field("integer", "Page of a PDF, from 1."),
        }
        if given.output_mode == "per_image":
            count = {"face_count": _field("integer", "How many faces there are.")}
            return {"faces": _field("array", "The faces, the largest first."), **count, **place}
        return {
            "face_index": _field("integer", "Place of the face in its picture, the surest first."),
            "seen_count": _field("integer", "Frames of a video in which the face was seen."),
            **about,
            **place,
        }

    def extract(self, sources: Sequence[Source]) -> Sequence[list[Part] | ExtractionError]:
        """The faces of each source, which may have none.

        A source of which only a part can be read fails with the documents of that part.
        """
        return [self._one(source) for source in sources]

    def _one(self, source: Source) -> list[Part] | ExtractionError:
        given = self._given
        pictures = frames(
            source,
            _SIDES[given.detection_model],
            given.video_sampling_fps or 1.0,
            float(given.max_video_length),
        )
        found: list[_Found] = []
        errors: list[ExtractionError] = []
        for count, frame in enumerate(pictures):
            if isinstance(frame, ExtractionError):
                errors.append(frame)
            else:
                found += self._faces(frame, count)
        if given.output_mode == "per_image":
            return outcome(self._by_picture(found), joined(errors))
        if given.video_deduplication:
            found = list(_people(found, given.video_deduplication_threshold))
        return outcome([self._part(one) for one in found], joined(errors))

    def _faces(self, frame: Frame, count: int) -> Iterator[_Found]:
        given = self._given
        finder, embedder = self.models.face_finder(), self.models.face_embedder()
        faces = finder.find(
            frame.pixels,
            threshold=given.detection_threshold,
            min_size=max(1, round(given.min_face_size / frame.place.scale)),
        )
        for number, face in enumerate(faces[: given.max_faces_per_image]):
            aligned = embedder.align(frame.pixels, face)
            score = quality(face, aligned) if given.enable_quality_scoring else None
            if score is not None and given.quality_threshold is not None and score < given.quality_threshold:
                continue
            yield _Found(
                place=frame.place,
                number=number,
                face=face,
                aligned=aligned,
                quality=score,
                vector=embedder.embed_faces([aligned])[0],
                thumbnail=thumbnail(_around(frame.pixels, face), side=_FACE_THUMBNAIL),
                picture=thumbnail(frame.pixels) if given.include_source_frame_thumbnail else None,
                first=frame.place.start_time,
                last=frame.place.start_time,
                order=(count, number),
            )

    def _part(self, one: _Found) -> Part:
        fields: JsonObject = {"face_index": one.number, **self._about(one), **_where(one)}
        if one.place.start_time is not None:
            fields["seen_count"] = one.seen
        return self._document(f"{one.order[0]}.{one.order[1]}", fields, one)

    def _by_picture(self, found: Sequence[_Found]) -> list[Part]:
        pictures: dict[int, list[_Found]] = {}
        for one in found:
            pictures.setdefault(one.order[0], []).append(one)
        parts = []
        for count, faces in pictures.items():
            faces.sort(key=lambda one: -_area(one.face))
            about: list[Json] = [self._about(one) for one in faces]
            fields: JsonObject = {"faces": about, "face_count": len(faces), **_where(faces[0])}
            parts.append(self._document(str(count), fields, faces[0]))
        return parts

    def _document(self, position: str, fields: JsonObject, one: _Found) -> Part:
        blobs = [PartBlob("thumbnail", one.thumbnail, "image/jpeg", "thumbnail.jpg", "thumbnail")]
        if one.picture is not None:
            blobs.append(PartBlob("frame", one.picture, "image/jpeg", "frame.jpg", "thumbnail"))
        vectors = {self.models.face_embedder().card.name: one.vector}
        return Part(position, fields, vectors, modality="image", blobs=blobs)

    def _about(self, one: _Found) -> JsonObject:
        scale = one.place.scale
        about: JsonObject = {}
        if self._given.store_detection_metadata:
            sides = zip(("left", "top", "right", "bottom"), one.face.box, strict=True)
            about["bbox"] = {side: round(value * scale, 1) for side, value in sides}
            about["landmarks"] = [[round(float(v) * scale, 1) for v in point] for point in one.face.landmarks]
            about["detection_score"] = round(one.face.score, 4)
        if one.quality is not None:
            about["quality_score"] = round(one.quality, 4)
        if self._given.include_face_crops:
            crop = base64.b64encode(thumbnail(one.aligned)).decode()
            about["face_crop"] = f"data:image/jpeg;base64,{crop}"
        return about


def _people(found: Sequence[_Found], threshold: float) -> Iterator[_Found]:
    """The faces of a video, one for each person: the best picture, with the first and last time."""
    people: list[_Found] = []
    for one in found:
        if one.place.start_time is None:
            yield one
            continue
        alike = max(people, key=lambda other: float(other.vector @ one.vector), default=None)
        if alike is None or float(alike.vector @ one.vector) < threshold:
            people.append(one)
            continue
        best = one if (one.quality or 0.0) > (alike.quality or 0.0) else alike
        best.first, best.last, best.seen = alike.first, one.last, alike.seen + 1
        people[people.index(alike)] = best
    yield from people


def _where(one: _Found) -> JsonObject:
    where: JsonObject = {"start_time": one.first, "end_time": one.last, "page_number": one.place.page_number}
    return {name: value for name, value in where.items() if value is not None}


def _around(pixels: Image, face: Face) -> Image:
    """The face with some of what is around it."""
    left, top, right, bottom = face.box
    margin = _MARGIN * max(right - left, bottom - top)
    height, width = pixels.shape[:2]
    rows = slice(max(0, int(top - margin)), min(height, int(bottom + margin) + 1))
    columns = slice(max(0, int(left - margin)), min(width, int(right + margin) + 1))
    return pixels[rows, columns]


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _own(parameters: ExtractorParameters) -> FaceIdentityExtractorParameters:
    if not isinstance(parameters, FaceIdentityExtractorParameters):
        raise TypeError(f"{type(parameters).__name__} are not the parameters of face_identity_extractor")
    return parameters


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
