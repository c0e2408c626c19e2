"""Faces: found, told apart, and where they lie."""

import base64
import io
from collections.abc import Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, InputValue, Part, PartialExtractionError, Source
from lamina.extractors.face_identity_extractor import EXTRACTOR
from lamina.extractors.face_identity_extractor.extractor import FaceIdentityExtractor
from lamina.extractors.face_identity_extractor.parameters import FaceIdentityExtractorParameters
from lamina.inference.faces import similarity
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located
from tests.media.faces import ANOTHER, ONE_PERSON
from tests.pdfs import pdf_file

VECTOR = "sface_2021dec_v1"
SAME_PERSON = 0.363
"""Cosine from which OpenCV's documentation takes two faces for one person's."""


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def made(models: Models, **parameters: Any) -> FaceIdentityExtractor:
    return EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)


def photo(file: PackageFile) -> BlobValue:
    return BlobValue(located(file), "image/jpeg", "photo.jpg")


def extract(models: Models, value: InputValue, key: str = "image", **parameters: Any) -> list[Part]:
    (outcome,) = made(models, **parameters).extract([Source("a", {key: value})])
    assert isinstance(outcome, list), outcome
    return outcome


def jpeg(picture: Image.Image, **options: Any) -> BlobValue:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=92, **options)
    return BlobValue(target.getvalue(), "image/jpeg", "made.jpg")


def vector(models: Models, value: InputValue) -> NDArray[np.float32]:
    return extract(models, value)[0].vectors[VECTOR]


def box(part: Part) -> dict[str, float]:
    return cast("dict[str, float]", part.fields["bbox"])


def group(files: Sequence[PackageFile], height: int = 400) -> Image.Image:
    """Portraits side by side."""
    pictures = [Image.open(located(file)).convert("RGB") for file in files]
    pictures = [one.resize((one.width * height // one.height, height)) for one in pictures]
    wide = Image.new("RGB", (sum(one.width for one in pictures), height))
    left = 0
    for one in pictures:
        wide.paste(one, (left, 0))
        left += one.width
    return wide


def test_pictures_of_one_person_are_told_from_those_of_another(models: Models) -> None:
    same = [vector(models, photo(file)) for file in ONE_PERSON]
    other = vector(models, photo(ANOTHER))
    for one, two in combinations(same, 2):
        assert one @ two > SAME_PERSON
    assert all(one @ other < SAME_PERSON for one in same)


def test_every_face_of_a_picture_is_a_document_where_it_lies(models: Models) -> None:
    picture = group([ONE_PERSON[0], ANOTHER])
    parts = extract(models, jpeg(picture))
    assert len(parts) == 2
    centres = sorted((box(part)["left"] + box(part)["right"]) / 2 for part in parts)
    assert centres[0] < picture.width / 2 < centres[1]
    for part in parts:
        assert part.fields["detection_score"] > 0.8  # type: ignore[operator]
        assert 0 < part.fields["quality_score"] <= 1  # type: ignore[operator]
        (file,) = part.blobs
        assert Image.open(io.BytesIO(file.data)).width > 40
        crop = str(part.fields["face_crop"]).removeprefix("data:image/jpeg;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(crop))).size == (112, 112)


def test_boxes_are_in_the_pictures_own_pixels(models: Models) -> None:
    picture = Image.open(located(ONE_PERSON[0])).convert("RGB")
    small = picture.resize((picture.width // 2, picture.height // 2))
    (large,), (half,) = ([box(part) for part in extract(models, jpeg(one))] for one in (picture, small))
    for side, value in large.items():
        assert value == pytest.approx(2 * half[side], abs=0.05 * picture.width)


def test_a_turned_photo_is_the_same_face(models: Models) -> None:
    picture = Image.open(located(ONE_PERSON[0])).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # is to be turned by 90 degrees
    turned = jpeg(picture.rotate(90, expand=True), exif=exif)
    assert vector(models, turned) @ vector(models, jpeg(picture)) > 0.9


def test_a_picture_without_faces_gives_no_documents(models: Models) -> None:
    grey = Image.fromarray(np.random.default_rng(1).integers(0, 255, (400, 600, 3), np.uint8))
    assert extract(models, jpeg(grey)) == []


def test_limits_are_kept(models: Models) -> None:
    picture = jpeg(group([ONE_PERSON[0], ANOTHER, ONE_PERSON[1]]))
    assert len(extract(models, picture)) == 3
    assert len(extract(models, picture, max_faces_per_image=2)) == 2
    assert extract(models, picture, min_face_size=200) == []
    assert extract(models, picture, quality_threshold=1.0) == []
    (part,) = extract(models, picture, output_mode="per_image")
    assert part.fields["face_count"] == 3
    bare = extract(models, picture, store_detection_metadata=False, include_face_crops=False)
    assert not {"bbox", "landmarks", "detection_score", "face_crop"} & set(bare[0].fields)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image", BlobValue(b"", "image/jpeg"), "image"),
        ("image", BlobValue(b"%PDF-1.7", "image/jpeg"), "not an image"),
        ("image", "a text", "takes files"),
        ("pdf", BlobValue(b"not a pdf", "application/pdf"), "pdf"),
        ("video", BlobValue(b"\x89PNG\r\n", "video/mp4"), "video"),
    ],
)
def test_what_cannot_be_read_says_so(models: Models, key: str, value: InputValue, words: str) -> None:
    (outcome,) = made(models).extract([Source("a", {key: value})])
    assert isinstance(outcome, ExtractionError)
    assert words in outcome.message


def test_the_nearest_similarity_turns_scales_and_shifts() -> None:
    points = np.array([[0, 0], [2, 0], [1, 1], [0, 2], [2, 2]], np.float32)
    turned = points @ np.array([[0, 3], [-3, 0]], np.float32) + np.array([5, 7], np.float32)
    found = similarity(points, turned)
    assert np.allclose(points @ found[:, :2].T + found[:, 2], turned, atol=1e-4)


def test_faces_after_a_bad_picture_or_page_are_kept(models: Models) -> None:
    scanned = scan(Image.open(located(ONE_PERSON[0])).convert("RGB"))
    inputs = {"image": [BlobValue(b"none", "image/jpeg"), photo(ONE_PERSON[0])], "pdf": scanned}
    (found,) = made(models).extract([Source("a", cast("Any", inputs))])
    assert isinstance(found, PartialExtractionError)
    assert "not an image" in found.message and "page 1" in found.message
    assert [part.fields.get("page_number") for part in found.parts] == [None, 2]


def scan(picture: Image.Image) -> BlobValue:
    """A PDF with a page that is too large, and one that shows a picture."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 2 /Kids [3 0 R 4 0 R] >>"]
    bodies.append(b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 900000 900000] >>")
    shown = b"/Resources << /XObject << /I 5 0 R >> >> /Contents 6 0 R"
    bodies.append(b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 400] " + shown + b" >>")
    data = jpeg(picture.resize((800, 800))).data
    head = "/Type /XObject /Subtype /Image /Width 800 /Height 800 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    bodies.append(f"<< {head} /Filter /DCTDecode /Length {len(data)} >>\nstream\n".encode() + data)
    bodies[-1] += b"\nendstream"
    drawn = b"400 0 0 400 0 0 cm /I Do"
    bodies.append(b"<< /Length %d >>\nstream\n" % len(drawn) + drawn + b"\nendstream")
    return BlobValue(pdf_file(bodies), "application/pdf")


def test_it_names_the_models_that_it_works_with(models: Models) -> None:
    uses = EXTRACTOR.uses(FaceIdentityExtractorParameters(), models)
    assert set(uses) == {models.default("find_faces"), VECTOR}
