"""The parameters of `face_identity_extractor`, as the contract has them."""

from typing import Literal

from pydantic import Field

from lamina.extractors.base import ExtractorParameters


class FaceIdentityExtractorParameters(ExtractorParameters):
    """Which faces are taken, and what is kept of them."""

    extractor_type: Literal["face_identity_extractor"] = Field(
        default="face_identity_extractor", description="Names the extractor that these parameters are for."
    )
    detection_model: Literal["scrfd_500m", "scrfd_2.5g", "scrfd_10g"] = Field(
        default="scrfd_2.5g",
        description="How closely pictures are looked at. The names are the contract's; the weights of SCRFD "
        "may not be used commercially, so that the installation's own face finder serves all three, on "
        "pictures scaled to at most 640, 1,280 or 2,048 pixels.",
    )
    min_face_size: int = Field(default=20, ge=10, le=200, description="Smallest face, in pixels of a side.")
    detection_threshold: float = Field(
        default=0.5, ge=0, le=1, description="How sure the finder must be of a face."
    )
    max_faces_per_image: int | None = Field(
        default=None, ge=1, description="Most faces of one picture; the surest are kept. All when left out."
    )
    normalize_embeddings: bool = Field(
        default=True, description="Vectors have length one; searches by cosine normalise them in any case."
    )
    enable_quality_scoring: bool = Field(
        default=True, description="Score sharpness, size, light and pose of every face, from 0 to 1."
    )
    quality_threshold: float | None = Field(
        default=None, ge=0, le=1, description="Faces below this quality are left out."
    )
    max_video_length: int = Field(
        default=60, ge=1, le=300, description="Seconds of a video that are looked at, from its beginning."
    )
    video_sampling_fps: float | None = Field(
        default=1.0, ge=0.1, le=60, description="Frames of a second that are looked at; one when left out."
    )
    video_deduplication: bool = Field(
        default=True, description="Make one document of the faces of a video that look like one person."
    )
    video_deduplication_threshold: float = Field(
        default=0.8, ge=0, le=1, description="Cosine from which two faces of a video count as one person's."
    )
    output_mode: Literal["per_face", "per_image"] = Field(
        default="per_face",
        description="A document for each face, or one for each picture, with its `faces` and the vector of "
        "the largest.",
    )
    include_face_crops: bool = Field(
        default=True, description="Keep the aligned face, 112 × 112 pixels, as a data URI in `face_crop`."
    )
    include_source_frame_thumbnail: bool = Field(
        default=False, description="Keep a small copy of the whole picture beside the face's own thumbnail."
    )
    store_detection_metadata: bool = Field(
        default=True, description="Keep `bbox`, `landmarks` and `detection_score`."
    )
