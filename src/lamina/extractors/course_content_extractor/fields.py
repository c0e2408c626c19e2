"""The fields of the documents."""

from typing import Final

from lamina.core.types import JsonObject
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters

SUMMARY: Final = "summary"


def fields_of(given: CourseContentExtractorParameters) -> dict[str, JsonObject]:
    """What documents may get, as the fields of a bucket schema, and the files that collections can read."""
    found = {
        "doc_type": _field("string", "`slide`, `transcript`, `segment`, `element`, `page` or `code`."),
        "unit_index": _field("integer", "Place of the unit in its object, from 0."),
        "title": _field(
            "string", "The slide's first line, the heading it stands under, or a function's name."
        ),
        "text_content": _field("text", "What is said, what stands on the slide, or the text of the block."),
        "screen_text": _field("text", "The text on screen."),
        "transcription": _field("text", "What is said."),
        "words": _field("array", "The words said: `text`, and `start` and `end` in seconds."),
        "language": _field("string", "What language is spoken, as an ISO 639-1 code."),
        "has_speech": _field("boolean", "Whether somebody speaks."),
        "start_time": _field("float", "Where the segment begins, in seconds."),
        "end_time": _field("float", "Where it ends."),
        "media_fragment": _field(
            "string", "Put behind the URL of the source, it plays the segment: `#t=0,10`."
        ),
        "key_frame_time": _field("float", "When the frame is shown that is the thumbnail."),
        "page_number": _field("integer", "Page of a PDF, from 1."),
        "element_type": _field(
            "string", "`paragraph`, `header`, `footer`, `list`, `form`, `table`, `figure` or `code`."
        ),
        "bbox": _field("array", "Left, top, right, bottom on the page, in points from its top left corner."),
        "page_width": _field("float", "Width of the page in points."),
        "page_height": _field("float", "Height of the page in points."),
        "section": _field("string", "The heading that a block stands under."),
        "heading_level": _field("integer", "Of a heading, 1 for the largest."),
        "table_rows": _field("array", "A table's cells: a list of texts for each row."),
        "code_content": _field("text", "The code."),
        "code_language": _field("string", "The language that it is in, where that can be told."),
        "file_name": _field("string", "Name of the source file."),
        "start_line": _field("integer", "First line in the source file, from 1."),
        "end_line": _field("integer", "Last line."),
    }
    if given.generate_thumbnails:
        found["thumbnail"] = _field("image", "File: the slide or the block.")
        found["page_thumbnail"] = _field("image", "File: the page.")
    if given.enrich_with_llm:
        found[SUMMARY] = _field("text", "What a language model says of it.")
    return found


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
