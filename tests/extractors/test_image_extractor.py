"""`image_extractor`: photos, pages, and what cannot be read of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.image_extractor import EXTRACTOR, pages
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.pdfs import Line, Sheet, written
from tests.unit.test_image_models import two_towers

BY_WORDS, BY_LIKENESS = "conse_mobilenet_v3_minilm_v1", "tinyvit_5m_in22k_v1"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


@pytest.fixture
def extract(models: Models) -> Any:
    def run(*values: Any, **parameters: Any) -> Any:
        made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
        (outcome,) = made.extract([Source("a", {"image": values[0] if len(values) == 1 else list(values)})])
        return outcome

    return run


def photo(name: str, mime_type: str = "image/png", filename: str | None = None) -> BlobValue:
    return BlobValue(located(PHOTOS[name]).read_bytes(), mime_type, filename)


def pdf(*lines: str, encrypted: bool = False) -> BlobValue:
    """A PDF with a page of US letter for each line, printed in Helvetica."""
    count = len(lines)
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, line in enumerate(lines):
        drawn = f"BT /F1 48 Tf 60 600 Td ({line}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * at} 0 R >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    body, offsets = "%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    locked = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4 >> "
    body += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R "
        f"/ID [<00><00>] {locked if encrypted else ''}>>\nstartxref\n{len(body)}\n%%EOF\n"
    )
    return BlobValue(body.encode(), "application/pdf", "letter.pdf")


def test_a_photo_becomes_one_document_with_what_is_known_of_it(extract: Any) -> None:
    (part,) = extract(photo("coffee"))
    assert (part.position, part.modality) == ("0", "image")
    fields = part.fields
    assert (fields["width"], fields["height"], fields["format"], fields["frame_count"]) == (
        600,
        400,
        "PNG",
        1,
    )
    assert fields["labels"][0]["name"] == "espresso"
    assert fields["labels"][0]["probability"] > 0.8
    assert part.lexical == "espresso"
    assert len(fields["phash"]) == 16
    assert len(fields["dominant_colors"]) == 5
    assert fields["dominant_colors"][0]["hex"].startswith("#")
    assert {name: vector.shape for name, vector in part.vectors.items()} == {
        BY_WORDS: (384,),
        BY_LIKENESS: (320,),
    }
    (blob,) = part.blobs
    assert (blob.field, blob.role, blob.content_type) == ("thumbnail", "thumbnail", "image/jpeg")
    assert Image.open(io.BytesIO(blob.data)).size == (600, 400)


def test_without_thumbnails(extract: Any) -> None:
    assert extract(photo("coffee"), enable_thumbnails=False)[0].blobs == []


def test_the_first_frame_of_an_animation(extract: Any) -> None:
    (part,) = extract(photo("no_time_for_that_tiny", "image/gif"))
    assert (part.fields["format"], part.fields["frame_count"]) == ("GIF", 24)


def test_exif_is_told_and_turns_the_photo(extract: Any) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110], exif[0x010E] = 6, "D7000", "Chelsea on her sofa"
    target = io.BytesIO()
    lying = Image.open(located(PHOTOS["chelsea"])).rotate(90, expand=True)
    lying.save(target, "JPEG", exif=exif, quality=95)
    (turned,), (upright,) = extract(BlobValue(target.getvalue(), "image/jpeg")), extract(photo("chelsea"))
    assert (turned.fields["width"], turned.fields["height"]) == (451, 300)
    assert turned.fields["exif"] == {"camera_model": "D7000", "description": "Chelsea on her sofa"}
    assert "Chelsea on her sofa" in turned.lexical
    assert turned.vectors[BY_LIKENESS] @ upright.vectors[BY_LIKENESS] > 0.97
    assert turned.fields["labels"][0]["name"] == upright.fields["labels"][0]["name"]


def test_a_picture_is_told_from_its_bytes(extract: Any) -> None:
    assert extract(photo("coffee", "video/mp4", "clip.mp4"))[0].fields["format"] == "PNG"
    assert extract(BlobValue(pdf("x").content, "image/png", "x.png"))[0].fields["format"] == "PDF"


def test_a_file_on_disk_is_read_where_it_lies(extract: Any) -> None:
    part = extract(BlobValue(located(PHOTOS["rocket"]), "image/jpeg"))[0]
    assert (part.fields["width"], part.fields["height"]) == (640, 427)


def test_every_page_of_a_pdf_becomes_a_document(extract: Any) -> None:
    first, second = extract(pdf("Invoice 4711", "Delivery note"))
    assert [first.position, second.position] == ["0.1", "0.2"]
    assert [first.fields["page_number"], second.fields["page_number"]] == [1, 2]
    assert first.modality == "pdf"
    assert (first.fields["width"], first.fields["height"], first.fields["format"]) == (612, 792, "PDF")
    assert first.lexical.startswith("Invoice 4711")
    assert second.lexical.startswith("Delivery note")
    page = Image.open(io.BytesIO(first.blobs[0].data))
    assert page.size == (495, 640)
    assert np.asarray(page.convert("L")).min() < 60  # the words are drawn


def test_several_files_of_one_object(extract: Any) -> None:
    parts = extract(photo("coffee"), pdf("one", "two"), photo("rocket"))
    assert [part.position for part in parts] == ["0", "1.1", "1.2", "2"]


def test_many_sources_keep_their_order_whatever_fails_among_them(models: Models) -> None:
    made = EXTRACTOR(EXTRACTOR.validate_parameters({}, models), models)
    broken = BlobValue(b"\x89PNG\r\n\x1a\n", "image/png")
    files = [photo("coffee"), broken, pdf("a", "b"), photo("chelsea"), broken] * 3
    outcomes = made.extract([Source(str(at), {"image": file}) for at, file in enumerate(files)])
    kinds = [len(one) if isinstance(one, list) else one.code for one in outcomes]
    assert kinds == [1, "not_an_image", 2, 1, "not_an_image"] * 3
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[10], list)
    assert np.allclose(outcomes[0][0].vectors[BY_WORDS], outcomes[10][0].vectors[BY_WORDS], atol=1e-5)


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (None, "empty_input", "holds no picture"),
        ("https://example.com/cat.png", "wrong_type", "takes files"),
        (BlobValue(b"", "image/png"), "empty_input", "empty file"),
        (BlobValue(b"no picture", "image/png"), "not_an_image", "not an image"),
        (BlobValue(b"%PDF-1.7\nnothing", "application/pdf"), "damaged_pdf", "damaged PDF"),
        (pdf("secret", encrypted=True), "password_protected", "password"),
        (BlobValue(b"no pages", "application/pdf"), "not_a_pdf", "not a PDF"),
    ],
    ids=range(7),
)
def test_what_cannot_be_read_says_why(extract: Any, value: Any, code: str, message: str) -> None:
    outcome = extract(value)
    assert isinstance(outcome, ExtractionError)
    assert (outcome.code, outcome.details["input"]) == (code, "image")
    assert message in outcome.message
    assert "'image'" in outcome.message


def test_a_good_file_beside_a_broken_one_is_kept(extract: Any) -> None:
    outcome = extract(photo("coffee"), BlobValue(b"no picture", "image/png"))
    assert isinstance(outcome, PartialExtractionError)
    assert [part.position for part in outcome.parts] == ["0"]


def test_what_comes_after_a_bad_page_or_file_is_kept(extract: Any) -> None:
    good, bad = Sheet([Line("A page", 100, 100)]), Sheet(size=(1_000_000, 1_000_000))
    pages_of_both = BlobValue(written([good, bad, good, bad]), "application/pdf")
    found = extract(pages_of_both, BlobValue(b"no picture", "image/png"), photo("coffee"))
    assert isinstance(found, PartialExtractionError)
    assert [part.position for part in found.parts] == ["0.1", "0.3", "2"]
    assert found.message.index("page 2") < found.message.index("page 4") < found.message.index("not an image")
    assert found.details["page"] == 2


def test_a_pdf_of_too_many_pages_gives_the_first_ones(extract: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    outcome = extract(pdf("one", "two", "three"))
    assert isinstance(outcome, PartialExtractionError)
    assert outcome.code == "too_many_pages"
    assert [part.fields["page_number"] for part in outcome.parts] == [1, 2]


def test_a_model_of_a_hub_takes_over_where_it_is_chosen(tmp_path: Path) -> None:
    two_towers(tmp_path / "google_siglip_base_v1", 768, size=224, tokens=64)
    (tmp_path / "packages").symlink_to(MODELS_DIR / "packages")
    chosen = Models(ModelSettings(tmp_path, choices={"embed_text_for_image": "google_siglip_base_v1"}))
    parameters = EXTRACTOR.validate_parameters({}, chosen)
    assert [one.output for one in EXTRACTOR.vectors(parameters, chosen)] == [
        "google_siglip_base_v1",
        BY_LIKENESS,
    ]
    (outcome,) = EXTRACTOR(parameters, chosen).extract([Source("a", {"image": photo("coffee")})])
    assert isinstance(outcome, list)
    part: Part = outcome[0]
    assert part.vectors["google_siglip_base_v1"].shape == (768,)
    assert "labels" not in part.fields
