"""The units of a PDF: its blocks, its listings, or its pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from lamina.core.errors import ExtractionError
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import BlobValue, Part, PartBlob, PartialExtractionError, Source
from lamina.extractors.course_content_extractor.listings import Listing, listings
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters
from lamina.extractors.course_content_extractor.units import Unit, title_of
from lamina.extractors.document_graph_extractor.extractor import DocumentGraphExtractor
from lamina.extractors.document_graph_extractor.parameters import DocumentGraphExtractorParameters
from lamina.extractors.document_graph_extractor.thumbnails import cut
from lamina.inference.registry import Models
from lamina.media.images import thumbnail
from lamina.media.pdf import Page, open_pdf
from lamina.media.pdf_words import Box

_SMALLEST_BLOCK: Final = 2
"""Characters of a block that is kept: titles of slides are short."""

_PICTURE_DPI: Final = 72.0
_SLACK: Final = 2.0
"""Points by which a part of a listing may stand out of it."""

_PLACES: Final = ("page_number", "page_width", "page_height")
_OF_BLOCKS: Final = (*_PLACES, "bbox", "section", "heading_level", "table_rows")


def units_of_pdf(
    value: BlobValue, at: str, given: CourseContentExtractorParameters, models: Models
) -> tuple[list[Unit], ExtractionError | None]:
    """The units of a PDF: its blocks and listings, or its pages; and what could not be read of it."""
    per_page = given.pdf_extraction_mode == "per_page"
    parameters = DocumentGraphExtractorParameters(
        min_text_length=_SMALLEST_BLOCK,
        run_text_embedding=False,
        fast_mode=True,
        render_dpi=given.pdf_render_dpi,
        generate_thumbnails=given.generate_thumbnails or given.run_visual_embedding,
        thumbnail_mode="full_page" if per_page else "segment",
    )
    (made,) = DocumentGraphExtractor(parameters, models).extract([Source("", {"pdf": value})])
    failure = made if isinstance(made, ExtractionError) else None
    blocks = (
        made if isinstance(made, list) else made.parts if isinstance(made, PartialExtractionError) else []
    )
    if not blocks:
        return [], failure
    units: list[Unit] = []
    with open_pdf(value.content, "pdf") as pdf:
        for number, some in groupby(blocks, key=lambda block: int(str(block.fields["page_number"]))):
            with pdf.page(number) as page:
                codes = _shown(page) if given.detect_code_in_pdf else []
            make = _page_units if per_page else _element_units
            units += make(list(some), codes, f"{at}/page-{number}", given)
    return units, failure


@dataclass(frozen=True, slots=True)
class _Shown:
    """A listing and its picture."""

    listing: Listing
    picture: PartBlob

    def holds(self, block: Part) -> bool:
        """Whether a block is nothing but a part of it."""
        left, top, right, bottom = self.listing.box
        box = _box(block)
        within = box[1] >= top - _SLACK and box[3] <= bottom + _SLACK
        return within and box[0] >= left - _SLACK and box[2] <= right + _SLACK

    def unit(self, position: str, about: JsonObject) -> Unit:
        """The unit of its code."""
        bbox: list[Json] = [round(edge, 2) for edge in self.listing.box]
        fields: JsonObject = {**about, "bbox": bbox, "element_type": "code"}
        return Unit(position, "code", fields, "pdf", code=self.listing.text, blobs=[self.picture])


def _shown(page: Page) -> list[_Shown]:
    found = listings(page)
    if not found:
        return []
    pixels = page.render(_PICTURE_DPI)
    scale = pixels.shape[1] / page.width
    pictures = [thumbnail(cut(pixels, one.box, scale)) for one in found]
    return [
        _Shown(one, PartBlob("thumbnail", picture, "image/jpeg", "thumbnail.jpg", "thumbnail"))
        for one, picture in zip(found, pictures, strict=True)
    ]


def _element_units(
    blocks: Sequence[Part], codes: Sequence[_Shown], at: str, given: CourseContentExtractorParameters
) -> Iterator[Unit]:
    """One unit for each block, and one for each listing in the place of the blocks that it is made of."""
    left = list(codes)
    for number, block in enumerate(blocks):
        about: JsonObject = {name: block.fields[name] for name in _OF_BLOCKS if name in block.fields}
        if "section" in about:
            about["title"] = about["section"]
        code = next((one for one in codes if one.holds(block)), None)
        if code is None:
            about["element_type"] = block.fields["object_type"]
            text = str(block.fields["text"])
            yield Unit(f"{at}/{number}", "element", about, "pdf", text, blobs=block.blobs)
        elif code in left:
            left.remove(code)
            yield code.unit(f"{at}/{number}", about)
    about = {name: blocks[0].fields[name] for name in _PLACES}
    for number, code in enumerate(left):  # within blocks that hold more than it
        yield code.unit(f"{at}/code/{number}", about)


def _page_units(
    blocks: Sequence[Part], codes: Sequence[_Shown], at: str, given: CourseContentExtractorParameters
) -> Iterator[Unit]:
    """One unit for the page, and one for each of its listings where these shall be on their own."""
    headings = [one for one in blocks if "heading_level" in one.fields]
    title = str((headings or blocks)[0].fields["text"]).splitlines()
    about: JsonObject = {name: blocks[0].fields[name] for name in _PLACES}
    named = title_of(title)
    if named:
        about["title"] = named
    prose = [one for one in blocks if not any(code.holds(one) for code in codes)]
    text = "\n\n".join(str(one.fields["text"]) for one in prose if one.fields["text"])
    whole = "" if given.expand_to_granular_docs else "\n\n".join(code.listing.text for code in codes)
    yield Unit(at, "page", about, "pdf", text, whole, blobs=blocks[0].blobs)
    if given.expand_to_granular_docs:
        for number, code in enumerate(codes):
            yield code.unit(f"{at}/code/{number}", about)


def _box(block: Part) -> Box:
    bbox = block.fields["bbox"]
    left, top, right, bottom = (float(str(edge)) for edge in (bbox if isinstance(bbox, list) else []))
    return left, top, right, bottom
