"""The fields of the documents."""

from lamina.core.types import JsonObject
from lamina.extractors.document_graph_extractor.parameters import DocumentGraphExtractorParameters


def fields_of(given: DocumentGraphExtractorParameters) -> dict[str, JsonObject]:
    """What documents get, as the fields of a bucket schema."""
    fields = {
        "text": _field("text", "The block's text; a table's rows with bars between cells."),
        "text_raw": _field("text", "The text before a language model corrected it."),
        "object_type": _field(
            "string",
            "`paragraph`, `header` (heading or running head), `footer`, `list`, `form`, `table` or `figure`."
            if given.use_layout_detection
            else "`paragraph`; `header` and `footer` for what runs along the edges of pages.",
        ),
        "page_number": _field("integer", "The page, from 1."),
        "block_index": _field("integer", "Place among the blocks of its page, from 0."),
        "reading_order": _field("integer", "Place in the order of reading of the whole file, from 0."),
        "bbox": _field(
            "array",
            "Left, top, right, bottom from the page's top left corner; points, or pixels of a picture.",
        ),
        "page_width": _field("float", "Width of the page, in the unit of bbox."),
        "page_height": _field("float", "Height of the page."),
        "confidence_score": _field("float", "How far the text can be trusted, from 0 to 1."),
        "confidence_tag": _field(
            "string", "The same as a letter: A from 0.8, B from 0.6, C from 0.4, D below."
        ),
        "extraction_method": _field(
            "string", "`native` text, an `ocr_layer` that the file holds, `ocr` of its pixels, or `vlm`."
        ),
        "section": _field("string", "The heading that the block stands under."),
    }
    if given.use_layout_detection:
        fields["heading_level"] = _field("integer", "Of a heading, 1 for the largest.")
        fields["table_rows"] = _field("array", "A table's cells: a list of texts for each row.")
    return fields


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
