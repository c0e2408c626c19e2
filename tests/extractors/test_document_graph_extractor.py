"""`document_graph_extractor`: real pages of known text, tables and order, and pages that cannot be read."""

import base64
import io
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from PIL import Image as Pillow

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.document_graph_extractor import EXTRACTOR
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from lamina.media.pdf import open_pdf
from tests.media import MODELS_DIR, located, pages
from tests.openai import LanguageServer, language_server
from tests.pdfs import Line, Sheet, scanned, written

Outcome = list[Part] | ExtractionError

PROSE = (
    "A page in two columns is read down the left one and then down the right one, whatever the rows that "
    "stand side by side would say when they were read across the white gutter between them. "
) * 6


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


@pytest.fixture
def extract(models: Models) -> Any:
    def run(given: Any, **parameters: Any) -> Outcome:
        if isinstance(given, PackageFile):
            given = located(given)
        if isinstance(given, bytes | Path):
            given = BlobValue(given, "application/pdf", "a.pdf")
        wanted = {"run_text_embedding": False, "generate_thumbnails": False, **parameters}
        made = EXTRACTOR(EXTRACTOR.validate_parameters(wanted, models), models)
        (outcome,) = made.extract([Source("a", {"pdf": given})])
        return outcome

    return run


def kinds(parts: list[Part]) -> list[Any]:
    return [part.fields["object_type"] for part in parts]


def of_kind(parts: list[Part], kind: str) -> list[Mapping[str, Any]]:
    return [part.fields for part in parts if part.fields["object_type"] == kind]


# What is on pages


def test_a_letter_becomes_its_paragraphs_in_order(extract: Any) -> None:
    parts = extract(pages.LETTER)
    assert kinds(parts) == ["paragraph"] * len(parts)
    texts = [part.fields["text"] for part in parts]
    assert texts[1] == "The round pegs in the square holes."
    assert texts[2].split("\n") == [
        "The ones who see things differently. Theyre not fond of rules. And",
        "they have no respect for the status quo. You can quote them,",
        "disagree with them, glorify or vilify them.",
    ]
    assert [part.fields["reading_order"] for part in parts] == list(range(len(parts)))
    assert [part.position for part in parts][:2] == ["page-1-block-0", "page-1-block-1"]
    assert all(part.lexical == part.fields["text"] for part in parts)
    assert {part.fields["confidence_tag"] for part in parts} == {"A"}


def test_a_block_lies_where_its_ink_is(extract: Any) -> None:
    part = extract(pages.LETTER)[1]
    left, top, right, bottom = part.fields["bbox"]
    with open_pdf(located(pages.LETTER)) as pdf, pdf.page(1) as page:
        assert (part.fields["page_width"], part.fields["page_height"]) == (page.width, page.height)
        rows, columns = np.where(page.render(72).min(axis=2)[int(top) - 1 : int(bottom) + 2] < 128)
    assert (columns.min(), columns.max()) == pytest.approx((left, right), abs=14)
    assert rows.max() - rows.min() == pytest.approx(bottom - top, abs=4)


def test_ruled_tables_become_rows(extract: Any) -> None:
    parts = extract(pages.TABLES)
    assert kinds(parts) == ["table"] * 4
    cars, flowers, last_flowers, teeth = (part.fields["table_rows"] for part in parts)
    assert cars[0] == ["", "mpg", "cyl", "disp", "hp", "drat", "wt", "qsec", "vs", "am", "gear", "carb"]
    assert cars[1] == ["Mazda RX4", "21.0", "6", "160.0", "110", "3.90", "2.620", "16.46", "0", "1", "4", "4"]
    assert cars[-1][0] == "Volvo 142E"
    assert len(cars) == 33
    assert flowers[1] == ["5.1", "3.5", "1.4", "0.2", "setosa"]
    assert last_flowers[1][0] == "145"
    assert teeth[1] == ["4.2", "VC", "0.5"]
    assert [part.fields["page_number"] for part in parts] == [1, 2, 2, 3]


def test_tables_without_rules_between_rows_become_rows(extract: Any) -> None:
    tables = of_kind(extract(pages.STATISTICS), "table")
    assert len(tables) == 2
    by_age = {row[0].strip(" .").lower(): row[1:] for row in tables[0]["table_rows"]}
    assert by_age["total"][:3] == ["11,062.6", "1,540.0", "9,522.6"]
    assert by_age["total"][3:6] == ["8,263.3", "1,071.6", "7,191.7"]
    assert by_age["total"][6:] == ["2,799.2", "468.3", "2,330.9"]
    assert by_age["robbery"][:3] == ["102.1", "25.5", "76.6"]
    (donors,) = of_kind(extract(pages.DONORS), "table")
    assert donors["table_rows"][0] == ["Apellido", "Nombre", "Matricula", "Cuit", "Fecha", "Tipo", "Importe"]
    assert donors["table_rows"][1] == [
        "MENA", "JUAN MARTÍN", "27.083.460", "20-27083460-5", "09/10/2013", "EFECTIVO", "$ 10.000,00",
    ]  # fmt: skip


def test_merged_cells_and_cells_of_several_lines(extract: Any) -> None:
    history = of_kind(extract(pages.MANUAL), "table")[0]["table_rows"]
    assert history[0] == ["Date", "Version", "Description"]
    assert history[5] == [
        "December 2003", "Draft", "Integration of UML model for both LRS and Segmented views of the NHNC1.",
    ]  # fmt: skip
    assert len(history) == 9


def test_headings_running_heads_and_sections(extract: Any) -> None:
    parts = extract(pages.MANUAL, min_text_length=3)
    running = [
        part.fields for part in parts if part.fields["text"].startswith("National Hydro Network, Data Model")
    ]
    assert len(running) > 10
    assert {one["object_type"] for one in running} == {"header"}
    assert all("heading_level" not in one for one in running)
    assert {one["text"] for one in of_kind(parts, "footer")} >= {"GeoBase®"}
    headings = [one for one in of_kind(parts, "header") if "heading_level" in one]
    assert "REVISION HISTORY" in {one["text"] for one in headings}
    history = of_kind(parts, "table")[0]
    assert history["section"] == "REVISION HISTORY"


def test_a_form_of_boxes_is_a_form(extract: Any) -> None:
    (form,) = of_kind(extract(pages.FORM), "form")
    assert "Name of Federal Agency" in form["text"]
    assert "NGMS Agency" in form["text"]


def test_a_figure_has_its_caption(extract: Any) -> None:
    figures = of_kind(extract(pages.TWO_SUBFIGURES), "figure")
    assert [one["text"] for one in figures if one["text"]] == ["Figure 1.1: Bears"]
    assert len(figures) == 2


def _columns(gutter: float) -> Sheet:
    lines = textwrap.wrap(PROSE, 48)
    half = len(lines) // 2
    title = Line("A heading that runs across both columns of the page", 60, 60, 18, bold=True)
    left = [Line(text, 60, 100 + 12 * at) for at, text in enumerate(lines[:half])]
    right = [Line(text, 60 + 220 + gutter, 100 + 12 * at) for at, text in enumerate(lines[half:])]
    foot = [Line("And a last paragraph below, which is as wide as the page is: " + "wide " * 8, 60, 400)]
    # as a careless program writes it: row by row
    body = [line for pair in zip(left, right, strict=False) for line in pair] + right[len(left) :]
    return Sheet([*body, *foot, title])


@pytest.mark.parametrize("gutter", [15, 30])
def test_columns_are_read_one_after_the_other(extract: Any, gutter: float) -> None:
    parts = extract(written([_columns(gutter)]))
    assert kinds(parts)[0] == "header"
    text = " ".join(part.fields["text"].replace("\n", " ") for part in parts[1:-1])
    assert text == " ".join(PROSE.split())
    assert parts[-1].fields["text"].startswith("And a last paragraph below")


def test_lists_and_labels(extract: Any) -> None:
    items = ["• milk from the shop", "• bread and some butter", "• a bag of potatoes"]
    labels = [
        "Name: Ada Lovelace",
        "Born: 10 December 1815",
        "Place of birth: London",
        "Occupation: mathematician",
    ]
    lines = [Line(text, 60, 100 + 14 * at) for at, text in enumerate(items)]
    lines += [Line(text, 60, 250 + 14 * at) for at, text in enumerate(labels)]
    parts = extract(written([Sheet(lines)]))
    assert [(part.fields["object_type"], part.fields["text"].split("\n")) for part in parts] == [
        ("list", items),
        ("form", labels),
    ]


def test_thresholds_say_what_belongs_together(extract: Any) -> None:
    lines = [Line(f"A line of some length, number {at}", 60, 100 + 30 * at) for at in range(3)]
    assert len(extract(written([Sheet(lines)]))) == 3
    assert len(extract(written([Sheet(lines)]), vertical_threshold=25)) == 1
    pair = written([Sheet([Line("Left of the wide gap", 60, 100), Line("and right of the gap", 230, 100)])])
    assert len(extract(pair, horizontal_threshold=60)) == 2
    assert len(extract(pair, horizontal_threshold=120)) == 1


def test_without_layout_detection_there_are_only_paragraphs(extract: Any) -> None:
    parts = extract(pages.TWO_SUBFIGURES, use_layout_detection=False)
    assert set(kinds(parts)) <= {"paragraph", "header", "footer"}
    assert set(kinds(extract(pages.TABLES, use_layout_detection=False))) == {"paragraph"}


def test_short_blocks_are_left_out_as_asked(extract: Any) -> None:
    assert "The Crazy Ones" not in {part.fields["text"] for part in extract(pages.LETTER)}
    everything = extract(pages.LETTER, min_text_length=1)
    assert everything[0].fields["text"].startswith("The Crazy Ones")


# Scans


def _picture(file: PackageFile, number: int = 1, dpi: int = 150) -> Pillow.Image:
    with open_pdf(located(file)) as pdf, pdf.page(number) as page:
        return Pillow.fromarray(page.render(dpi))


def _text(parts: list[Part]) -> str:
    return " ".join(" ".join(str(part.fields["text"]).split()) for part in parts)


def test_a_scanned_letter_is_read(extract: Any) -> None:
    with open_pdf(located(pages.LETTER)) as pdf, pdf.page(1) as page:
        truth = " ".join(page.text().split())
    parts = extract(scanned([_picture(pages.LETTER)], angle=0.7), min_text_length=1)
    assert jiwer.cer(truth, _text(parts)) < 0.03
    assert {part.fields["extraction_method"] for part in parts} == {"ocr"}
    assert all(part.fields["confidence_score"] < 0.85 for part in parts)
    native = extract(pages.LETTER)[1].fields
    read = next(part.fields for part in parts if "round pegs" in str(part.fields["text"]))
    assert read["page_width"] == pytest.approx(native["page_width"], abs=1)
    assert read["bbox"][:2] == pytest.approx(native["bbox"][:2], abs=25)


def test_a_scan_in_two_columns_is_read_one_after_the_other(extract: Any) -> None:
    with open_pdf(written([_columns(30)])) as pdf, pdf.page(1) as page:
        picture = Pillow.fromarray(page.render(150))
    parts = extract(scanned([picture]))
    body = _text(parts[1:-1])
    assert jiwer.cer(" ".join(PROSE.split()), body) < 0.03


def test_a_photo_of_a_page_is_a_page_in_pixels(extract: Any) -> None:
    target = io.BytesIO()
    _picture(pages.LETTER).save(target, "JPEG", quality=85)
    parts = extract(BlobValue(target.getvalue(), "image/jpeg", "letter.jpg"))
    assert "The round pegs in the square holes." in _text(parts)
    assert (parts[0].fields["page_width"], parts[0].fields["page_height"]) == (1275, 1650)
    assert parts[0].fields["page_number"] == 1
    below = [part.fields for part in parts if "crazy enough" in str(part.fields["text"])]
    assert below[0]["bbox"][3] == pytest.approx(329 * 150 / 72, abs=20)


def test_a_layer_of_text_over_a_scan_is_used_where_it_is_good(extract: Any) -> None:
    parts = extract(pages.SCAN)
    assert {part.fields["extraction_method"] for part in parts} == {"ocr_layer"}
    assert "the rebs have succeeded in planting a mortar" in _text(parts).lower()
    assert {part.fields["confidence_tag"] for part in parts} <= {"B", "C"}
    assert {one["text"] for one in of_kind(parts, "header")} >= {"THE SIEGE OF VICKSBURG."}


def test_a_layer_that_fell_apart_is_not_believed(extract: Any) -> None:
    """The file says `9 Nort h Buon a Vist a Driv e` and `Singapor e 13858 8`."""
    parts = [part for part in extract(pages.BROKEN_LAYER) if part.fields["page_number"] == 1]
    assert {part.fields["extraction_method"] for part in parts} == {"ocr"}
    assert "9 North Buona Vista Drive" in _text(parts)
    assert "Singapore 138588" in _text(parts)


# Files that cannot be read


def _png() -> bytes:
    target = io.BytesIO()
    Pillow.new("RGB", (60, 60), "white").save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pages.PROTECTED, "protected by a password"),
        (pages.CORRUPT, "damaged PDF"),
        (BlobValue(b"PK\x03\x04" + bytes(100), "application/pdf", "a.pdf"), "not a PDF"),
        (BlobValue(b"%PDF-1.4 then nothing", "application/pdf"), "damaged PDF"),
        (BlobValue(b"", "application/pdf"), "empty file"),
        (BlobValue(_png()[:60], "image/png"), "damaged image|not an image"),
        (BlobValue(b"some words", "text/plain"), "not an image"),
        (written([]), "no pages|damaged"),
        (
            written([Sheet([Line("A page among many others", 9, 9)])] * 10_000),
            "has 10,000 pages; at most 2,000",
        ),
        (written([Sheet(size=(1_000_000, 1_000_000))]), "page 1 is 1000000 × 1000000 points"),
        (written([Sheet(picture=(60_000, 60_000))]), "page 1 has pictures of 3,600 megapixels"),
        (pages.BLANK, "holds no text of 20 characters, and no figure"),
        (BlobValue(_png(), "image/png"), "holds no text"),
        ("a string", "is str; a PDF or a picture"),
        (None, "holds no file"),
        ([BlobValue(b"a", "application/pdf"), BlobValue(b"b", "application/pdf")], "holds 2 files"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_read_says_why_and_where(extract: Any, given: Any, message: str) -> None:
    error = extract(given, generate_thumbnails=True)
    assert isinstance(error, ExtractionError)
    assert "'pdf'" in error.message
    assert re.search(message, error.message), error.message


def test_good_pages_are_kept_when_others_are_bad(extract: Any) -> None:
    good = Sheet([Line("The words of a page that is as it should be", 60, 100)])
    bad = [Sheet(size=(1_000_000, 1_000_000)), Sheet(picture=(60_000, 60_000))]
    error = extract(written([good, *bad, good]), generate_thumbnails=True)
    assert isinstance(error, PartialExtractionError)
    assert [part.fields["page_number"] for part in error.parts] == [1, 4]
    assert error.message.startswith("Input 'pdf': 2 of 4 pages could not be read: page 2 is 1000000")
    assert error.details["pages"] == [2, 3]


# What is made beside


def test_each_block_has_its_vector_and_pictures(extract: Any, models: Models) -> None:
    part = extract(pages.LETTER, run_text_embedding=True, generate_thumbnails=True)[1]
    (expected,) = models.text_embedder().embed_documents([part.fields["text"]])
    assert part.vectors["all_minilm_l6_v2_v1"] == pytest.approx(expected, abs=1e-4)
    block, page = part.blobs
    assert (block.field, block.role, block.filename) == ("thumbnail", "thumbnail", "thumbnail.jpg")
    assert (page.field, page.filename) == ("page_thumbnail", "page_thumbnail.jpg")
    width, height = Pillow.open(io.BytesIO(block.data)).size
    left, top, right, bottom = part.fields["bbox"]
    assert (width, height) == pytest.approx((right - left + 4, bottom - top + 4), abs=2)
    assert max(Pillow.open(io.BytesIO(page.data)).size) == 640


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("segment", ["thumbnail"]),
        ("full_page", ["page_thumbnail"]),
        ("both", ["thumbnail", "page_thumbnail"]),
    ],
)
def test_thumbnail_modes(extract: Any, mode: str, fields: list[str]) -> None:
    parts = extract(pages.LETTER, generate_thumbnails=True, thumbnail_mode=mode, thumbnail_dpi=36)
    assert [blob.field for blob in parts[0].blobs] == fields


def _doubtful() -> bytes:
    return written(
        [
            Sheet(
                [
                    Line("q w e r t z u i o p a s d f g h j", 60, 100),
                    Line("A line in order, and long", 60, 300),
                ]
            )
        ]
    )


@pytest.fixture
def language() -> Iterator[LanguageServer]:
    with language_server() as server:
        server.reply = lambda body: "What the page really says."
        yield server


def _corrected(settings: ModelSettings, **parameters: Any) -> list[Part]:
    models = Models(settings)
    given = {"run_text_embedding": False, "generate_thumbnails": False, **parameters}
    made = EXTRACTOR(EXTRACTOR.validate_parameters(given, models), models)
    (parts,) = made.extract([Source("a", {"pdf": BlobValue(_doubtful(), "application/pdf")})])
    assert isinstance(parts, list)
    return parts


def test_doubtful_blocks_are_corrected_where_there_is_a_model(language: LanguageServer) -> None:
    settings = ModelSettings(MODELS_DIR, chat=EndpointSettings(language.url))
    doubtful, sure = _corrected(settings)
    assert doubtful.fields["text"] == doubtful.lexical == "What the page really says."
    assert doubtful.fields["text_raw"] == "q w e r t z u i o p a s d f g h j"
    assert (doubtful.fields["extraction_method"], doubtful.fields["confidence_tag"]) == ("vlm", "A")
    assert sure.fields["extraction_method"] == "native"
    (request,) = language.requests
    text, picture = request["messages"][-1]["content"]
    assert "q w e r t z" in text["text"]
    shown = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    assert Pillow.open(io.BytesIO(shown)).width > 200
    language.requests.clear()
    for nobody in ({"fast_mode": True}, {"use_vlm_correction": False}, {"min_confidence_for_vlm": 0.1}):
        _corrected(settings, **nobody)
    assert language.requests == []


def test_a_key_is_for_the_provider_that_is_named(language: LanguageServer) -> None:
    settings = ModelSettings(MODELS_DIR, chat_providers={"google": language.url})
    doubtful, _ = _corrected(settings, llm_api_key="sk-mine", vlm_model="gemini-of-then")
    assert doubtful.fields["extraction_method"] == "vlm"
    assert language.keys == ["Bearer sk-mine"]
    assert language.requests[0]["model"] == "gemini-of-then"
    with pytest.raises(ValidationError, match="provider 'acme' is not enabled here; there are google"):
        _corrected(settings, llm_api_key="sk-mine", vlm_provider="acme")


def test_a_model_that_does_not_answer_leaves_the_text_as_it_was(language: LanguageServer) -> None:
    language.reply = lambda body: (400, {"error": {"message": "no pictures"}})
    doubtful, _ = _corrected(ModelSettings(MODELS_DIR, chat=EndpointSettings(language.url)))
    assert doubtful.fields["extraction_method"] == "native"
    assert doubtful.fields["text"] == doubtful.fields["text_raw"]


def test_without_a_chat_model_nothing_is_corrected_and_nothing_fails(extract: Any) -> None:
    doubtful, _ = extract(_doubtful())
    assert doubtful.fields["text"] == doubtful.fields["text_raw"]
    assert doubtful.fields["confidence_score"] < 0.6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layout_detector": "docling"}, "docling' is not enabled"),
        ({"layout_detector": "other"}, "layout_detector"),
        ({"thumbnail_mode": "none"}, "'none' is not one of full_page, segment, both"),
        ({"render_dpi": 71}, "render_dpi"),
        ({"thumbnail_dpi": 151}, "thumbnail_dpi"),
        ({"vertical_threshold": 0.5}, "vertical_threshold"),
        ({"horizontal_threshold": 201}, "horizontal_threshold"),
        ({"min_text_length": 0}, "min_text_length"),
        ({"base_confidence": 1.1}, "base_confidence"),
    ],
)
def test_parameters_that_cannot_be_served_are_refused(
    models: Models, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        EXTRACTOR.validate_parameters(parameters, models)
