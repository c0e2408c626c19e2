"""`course_content_extractor`: a lecture of rendered slides and real speech, pages, and source files."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.course_content_extractor import EXTRACTOR
from lamina.extractors.course_content_extractor.code import code_in, is_code, language_of, pieces
from lamina.extractors.course_content_extractor.parameters import CourseContentExtractorParameters
from lamina.extractors.multimodal_extractor import takes
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from tests.lecture import CODE, FPS, SLIDES, SPOKEN, Lecture, slide
from tests.media import MODELS_DIR, located
from tests.media.pages import LETTER, PROTECTED
from tests.media.sound import AUSTEN
from tests.openai import language_server
from tests.pdfs import Line, Sheet, scanned, written

MINILM, CONSE = "all_minilm_l6_v2_v1", "conse_mobilenet_v3_minilm_v1"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(MODELS_DIR))


@pytest.fixture(scope="module")
def lecture() -> Lecture:
    return Lecture()


def outcome(models: Models, inputs: dict[str, Any], **parameters: Any) -> Any:
    made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
    (found,) = made.extract([Source("a", inputs)])
    return found


def units(models: Models, inputs: dict[str, Any], **parameters: Any) -> list[Part]:
    found = outcome(models, inputs, **parameters)
    assert isinstance(found, list), found
    return found


def of(parts: list[Part], doc_type: str) -> list[Any]:
    return [part.fields for part in parts if part.fields["doc_type"] == doc_type]


def nearest(models: Models, query: str, parts: list[Part], vector: str = MINILM) -> Part:
    embedder = models.text_embedder() if vector == MINILM else models.text_image_embedder()
    (asked,) = embedder.embed_queries([query])
    some = [part for part in parts if vector in part.vectors]
    return max(some, key=lambda part: float(asked @ part.vectors[vector]))


def errors(wanted: str, got: str) -> float:
    """Share of the words wanted that were not said, whatever their order."""
    words = [word.strip(".,;:!?").lower() for word in got.replace("-", " ").split()]
    return sum(word not in words for word in wanted.split()) / len(wanted.split())


# Lectures


@pytest.fixture(scope="module")
def parts(models: Models, lecture: Lecture) -> list[Part]:
    given = {"video": BlobValue(lecture.data, "video/mp4", "lecture.mp4")}
    return units(models, given, min_segment_duration_ms=2000, run_visual_embedding=True)


def test_each_slide_is_a_unit_with_its_text_and_its_times(parts: list[Part], lecture: Lecture) -> None:
    slides = of(parts, "slide")
    assert [one["title"] for one in slides] == [lines[0] for lines in SLIDES]
    assert np.allclose([one["start_time"] for one in slides], lecture.starts, atol=1.5 / FPS)
    ends = [*lecture.starts[1:], lecture.seconds]
    assert np.allclose([one["end_time"] for one in slides], ends, atol=1.5 / FPS)
    assert "Chlorophyll absorbs red and blue" in slides[0]["text_content"]
    assert slides[2]["screen_text"] == slides[2]["text_content"]
    for one in slides:
        assert one["start_time"] <= one["key_frame_time"] <= one["end_time"]
        assert one["media_fragment"] == f"#t={one['start_time']:g},{one['end_time']:g}"
    assert [part.fields["unit_index"] for part in parts] == list(range(len(parts)))


def test_what_is_said_to_a_slide_is_a_unit_beside_it(parts: list[Part], lecture: Lecture) -> None:
    said = of(parts, "transcript")
    assert [one["start_time"] for one in said] == [one["start_time"] for one in of(parts, "slide")]
    for one, words in zip(said, SPOKEN, strict=True):
        assert errors(words, one["text_content"]) < 0.25, one["text_content"]
        assert one["language"] == "en"
        assert one["has_speech"]
        assert (
            one["start_time"] <= one["words"][0]["start"] < one["words"][-1]["end"] <= one["end_time"] + 0.5
        )


def test_code_on_a_slide_is_a_unit_of_its_own(parts: list[Part]) -> None:
    (code,) = of(parts, "code")
    assert code["code_language"] == "python"
    assert code["title"] == "Binary search in Python"
    assert code["code_content"].splitlines()[0].replace(" ", "") == CODE[0].replace(" ", "")
    assert len(code["code_content"].splitlines()) == 3


def test_units_are_found_by_what_is_shown_said_and_programmed(models: Models, parts: list[Part]) -> None:
    wanted = {
        "how plants make sugar out of sunlight": ("slide", "Photosynthesis"),
        "storming of the prison in Paris": ("slide", "The French Revolution"),
        "cold hearted and selfish": ("transcript", "Binary search in Python"),
    }
    for query, (doc_type, title) in wanted.items():
        found = nearest(models, query, parts).fields
        assert (found["doc_type"], found["title"]) == (doc_type, title), query
    for part in parts:
        assert part.modality == "video"
        assert [blob.field for blob in part.blobs] == ["thumbnail"]
        assert (CONSE in part.vectors) == (part.fields["doc_type"] == "slide")
        assert part.lexical and str(part.fields["title"]) in part.lexical


def test_one_document_can_have_all_of_a_segment(models: Models, lecture: Lecture) -> None:
    given = {"video": BlobValue(lecture.data, "video/mp4")}
    whole = units(
        models, given, min_segment_duration_ms=2000, expand_to_granular_docs=False, generate_thumbnails=False
    )
    assert [part.fields["doc_type"] for part in whole] == ["segment"] * 3
    second = whole[1].fields
    assert "selfish" in str(second["text_content"]) and "Binary search" in str(second["text_content"])
    assert str(second["code_content"]).count("\n") == 2
    assert not any(part.blobs for part in whole)


def test_slides_shorter_than_the_shortest_segment_belong_to_those_beside_them(
    models: Models, lecture: Lecture
) -> None:
    given = {"video": BlobValue(lecture.data, "video/mp4")}
    (slide,) = units(models, given, use_whisper_asr=False, run_text_embedding=False)[:1]
    assert (slide.fields["start_time"], slide.fields["title"]) == (0, "Photosynthesis")
    assert "French Revolution" in str(slide.fields["text_content"])
    by_time = {"segmentation_method": "time", "min_segment_duration_ms": 0, "use_whisper_asr": False}
    some = units(models, given, target_segment_duration_ms=4000, extract_screen_text=False, **by_time)
    starts = [float(str(one["start_time"])) for one in of(some, "slide")]
    assert starts == [4.0 * number for number in range(len(starts))]
    assert len(starts) == int(np.ceil(lecture.seconds / 4))


def test_subtitles_say_what_is_said_and_where_segments_end(models: Models, lecture: Lecture) -> None:
    first, second = lecture.starts[1], lecture.starts[2]
    srt = "\n\n".join(
        f"{number}\n00:00:{start:06.3f} --> 00:00:{start + 2:06.3f}\n{text}".replace(".", ",", 2)
        for number, (start, text) in enumerate(
            [(0.5, "On leaves"), (first, "On search"), (second, "On kings")]
        )
    )
    given = {"video": BlobValue(lecture.data, "video/mp4"), "srt": BlobValue(srt.encode(), "text/plain")}
    how: dict[str, Any] = {"segmentation_method": "srt", "use_whisper_asr": False}
    made = units(models, given, target_segment_duration_ms=3000, min_segment_duration_ms=1000, **how)
    said = of(made, "transcript")
    assert [one["transcription"] for one in said] == ["On leaves", "On search", "On kings"]
    assert np.allclose([one["start_time"] for one in said], [0, first, second], atol=0.01)
    lacking = outcome(models, {"video": given["video"]}, **how)
    assert isinstance(lacking, ExtractionError) and "'srt'" in lacking.message
    odd = outcome(models, {**given, "srt": "no subtitles at all"}, **how)
    assert isinstance(odd, ExtractionError) and odd.details["input"] == "srt"


def test_a_recording_becomes_transcripts(models: Models) -> None:
    words = SPOKEN[2]
    with pytest.MonkeyPatch.context() as patched:  # it keeps no clips, so that none may be cut
        patched.setattr(takes, "cutting", None)
        (part,) = units(models, {"audio": BlobValue(located(AUSTEN[words]), "audio/wav")})
    assert (part.fields["doc_type"], part.modality) == ("transcript", "audio")
    assert errors(words, str(part.fields["text_content"])) < 0.25


# Pages

LISTING = """\
def binary_search(items, wanted):
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle] < wanted:
            low = middle + 1

    return low"""

PROSE = [
    "Binary search finds a value in a sorted list by halving, again and again, the part",
    "of the list in which it can still be. It looks at the middle first of all.",
]


def handout(*, typewriter: bool = True) -> bytes:
    lines = [Line("Searching", 60, 80, 26, bold=True)]
    lines += [Line(text, 60, 130 + 14 * at) for at, text in enumerate(PROSE)]
    for at, text in enumerate(LISTING.splitlines()):
        indent = (len(text) - len(text.lstrip())) * 6.0
        lines.append(Line(text.strip(), 80 + indent, 200 + 13 * at, typewriter=typewriter))
    lines.append(Line("Sorting must come first, which takes longer than the search itself does.", 60, 340))
    return written([Sheet(lines), Sheet([Line("Graphs", 60, 80, 26, bold=True), Line(PROSE[0], 60, 130)])])


def test_blocks_of_a_pdf_are_units_and_listings_keep_their_indents(models: Models) -> None:
    parts = units(models, {"pdf": BlobValue(handout(), "application/pdf")})
    (code,) = of(parts, "code")
    assert code["code_content"] == LISTING
    assert (code["code_language"], code["page_number"], code["title"]) == ("python", 1, "Searching")
    elements = of(parts, "element")
    assert [(one["element_type"], one["page_number"]) for one in elements] == [
        ("header", 1), ("paragraph", 1), ("paragraph", 1), ("header", 2), ("paragraph", 2),
    ]  # fmt: skip
    assert not any("middle + 1" in one["text_content"] for one in elements)
    assert elements[1]["text_content"] == "\n".join(PROSE)
    order = [part.fields["doc_type"] for part in parts]
    assert order == ["element", "element", "code", "element", "element", "element"]
    assert nearest(models, "function that looks a number up in an ordered array", parts).fields == code
    assert all(part.blobs[0].field == "thumbnail" for part in parts)


def test_pages_can_be_units(models: Models) -> None:
    given = {"pdf": BlobValue(handout(), "application/pdf")}
    parts = units(models, given, pdf_extraction_mode="per_page", run_visual_embedding=True)
    pages = of(parts, "page")
    assert [(one["page_number"], one["title"]) for one in pages] == [(1, "Searching"), (2, "Graphs")]
    assert "Sorting must come first" in pages[0]["text_content"]
    assert "middle" not in pages[0]["text_content"].replace("the middle first", "")
    assert [one["code_content"] for one in of(parts, "code")] == [LISTING]
    assert [CONSE in part.vectors for part in parts] == [True, False, True]
    whole = units(models, given, pdf_extraction_mode="per_page", expand_to_granular_docs=False)
    assert [part.fields.get("code_content") for part in whole] == [LISTING, None]


def test_prose_is_no_listing_whatever_its_font(models: Models) -> None:
    typed = written([Sheet([Line(text, 60, 80 + 14 * at, typewriter=True) for at, text in enumerate(PROSE)])])
    for file in (BlobValue(typed, "application/pdf"), BlobValue(located(LETTER), "application/pdf")):
        assert of(units(models, {"pdf": file}), "code") == []
    off = units(models, {"pdf": BlobValue(handout(), "application/pdf")}, detect_code_in_pdf=False)
    assert of(off, "code") == []


def test_listings_in_another_font_are_told_by_their_looks(models: Models) -> None:
    (code,) = of(units(models, {"pdf": BlobValue(handout(typewriter=False), "application/pdf")}), "code")
    assert [line.strip() for line in code["code_content"].splitlines()] == [
        line.strip() for line in LISTING.splitlines()
    ]


def test_scanned_slides_are_read(models: Models) -> None:
    pages = scanned([Image.fromarray(slide(SLIDES[0])), Image.fromarray(slide(SLIDES[2]))])
    parts = units(models, {"pdf": BlobValue(pages, "application/pdf")}, pdf_extraction_mode="per_page")
    assert [part.fields["title"] for part in parts] == ["Photosynthesis", "The French Revolution"]
    assert "1789" in str(parts[1].fields["text_content"])


# Source files


def test_source_files_become_their_functions_and_classes(models: Models) -> None:
    source = Path(__file__).parents[2] / "src/lamina/extractors/text_extractor/transcripts.py"
    parts = units(models, {"code": BlobValue(source, "text/x-python", "transcripts.py")})
    named = [str(part.fields["title"]) for part in parts if "title" in part.fields]
    assert named == [
        "Segment",
        "transcript_segments",
        "transcript_cues",
        "_subtitles",
        "_timed_lines",
        "_ended",
    ]
    lines = source.read_text().splitlines()
    for part in parts:
        first, last = int(str(part.fields["start_line"])), int(str(part.fields["end_line"]))
        assert part.fields["code_content"] == "\n".join(lines[first - 1 : last])
        assert (part.fields["code_language"], part.fields["file_name"]) == ("python", "transcripts.py")
    segment = next(part for part in parts if part.fields.get("title") == "Segment")
    assert str(segment.fields["code_content"]).startswith("@dataclass")
    assert nearest(models, "parse SRT subtitles", parts).fields["title"] == "_subtitles"
    (whole,) = units(models, {"code": source.read_text()}, segment_functions=False)
    assert whole.fields["code_language"] == "python"


def test_other_languages_are_split_and_told_apart() -> None:
    go = "package main\n\n// Area of it.\nfunc (s *Square) Area() int {\n\treturn s.a * s.a\n}\n"
    rust = "use std::fmt;\n\npub struct Wing {}\n\nimpl Wing {\n    fn lift(&self) -> f64 { 1.0 }\n}\n"
    script = "const a = 1;\n\nexport default class Wing {\n}\n\nasync function fly() {\n}\n"
    assert [piece.name for piece in pieces(go)] == [None, "Area"]
    assert pieces(go)[1].text.startswith("// Area of it.")
    assert [piece.name for piece in pieces(rust)] == [None, "Wing", "Wing"]
    assert [piece.name for piece in pieces(script)] == [None, "Wing", "fly"]
    assert [language_of(None, text) for text in (go, rust, script)] == ["go", "rust", "javascript"]
    assert language_of("wing.R", "x <- 1") == "r"
    assert language_of("notes", "We meet again on Monday.") is None
    assert pieces("") == []
    began = time.process_time()
    assert language_of(None, "\n" * 1_000_000) is None
    assert pieces("// a\n" * 200_000)[0].start_line == 1
    assert not is_code("a(" * 10_000) and not is_code("for " + ": " * 10_000 + "x")
    assert time.process_time() - began < 5


def test_what_code_looks_like_and_what_not() -> None:
    code = """
        x = 1
        for item in items:
        print(x)
        return total
        int main() {
        }
        items.sort();
        SELECT name FROM people
        import numpy as np
        let y = f(x);
        #include <stdio.h>
    """.strip().splitlines()
    prose = """
        Photosynthesis
        Leaves turn light into sugar
        Return the books to the library on Monday.
        return the books to the library
        What is to be done? Nothing, for now.
        for a while, at least
        1. First of all
        Import duties (in percent)
        e.g. Paris, London
    """.strip().splitlines()
    assert [line for line in code if not is_code(line)] == []
    assert [line for line in prose if is_code(line)] == []
    assert code_in(["Sums", "x = 1", "y = 2", "are easy", "z = 3", "to do"]) == ["x = 1\ny = 2"]


def test_languages_that_are_not_wanted_are_failures(models: Models) -> None:
    found = outcome(models, {"code": "package main\nfunc main() {\n}"}, supported_languages=["python"])
    assert isinstance(found, ExtractionError)
    assert (found.code, "go" in found.message) == ("language_left_out", True)


# Summaries, failures, parameters


@pytest.fixture
def reading(models: Models) -> Iterator[tuple[Models, list[dict[str, Any]]]]:
    with language_server() as server:
        server.reply = lambda body: {"summary": f"On {str(body['messages'][-1]['content'])[:40]}"}
        chat = EndpointSettings(server.url, model="tiny-chat")
        yield Models(ModelSettings(MODELS_DIR, chat=chat)), server.requests


def test_a_language_model_sums_units_up(reading: tuple[Models, list[dict[str, Any]]]) -> None:
    models, requests = reading
    given: dict[str, Any] = {"enrich_with_llm": True, "llm_prompt": "Say it in five words."}
    parts = units(models, {"code": LISTING}, **given)
    assert str(parts[0].fields["summary"]).startswith("On def binary_search")
    schema = requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["summary"]["description"] == "Say it in five words."
    assert "summary" in EXTRACTOR.output_schema(CourseContentExtractorParameters(**given))


def test_what_can_be_read_is_there_beside_what_cannot(models: Models) -> None:
    locked = BlobValue(located(PROTECTED), "application/pdf")
    found = outcome(models, {"pdf": [locked, BlobValue(handout(), "application/pdf")], "code": LISTING})
    assert isinstance(found, PartialExtractionError)
    assert "password" in found.message
    assert {part.position.split("/")[0] for part in found.parts} == {"pdf", "code"}
    assert len({part.position for part in found.parts}) == len(found.parts)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"enrich_with_llm": True}, "needs a language model"),
        ({"min_segment_duration_ms": 5000, "target_segment_duration_ms": 4000}, "at most"),
        ({"supported_languages": ["klingon"]}, "klingon"),
        ({"segmentation_method": "mood"}, "segmentation_method"),
        ({"pdf_extraction_mode": "per_word"}, "pdf_extraction_mode"),
        ({"ocr_frames_per_segment": 0}, "ocr_frames_per_segment"),
    ],
)
def test_what_cannot_be_served_is_refused(models: Models, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EXTRACTOR.validate_parameters(parameters, models)


def test_the_models_that_it_needs_are_those_of_what_is_asked_for(models: Models) -> None:
    uses = EXTRACTOR.uses(CourseContentExtractorParameters(), models)
    assert set(uses) == {MINILM, "whisper_base_v1", "silero_vad_v6", "pp_ocr_v6_tiny"}
    bare = {"run_text_embedding": False, "run_code_embedding": False, "use_whisper_asr": False}
    assert EXTRACTOR.uses(CourseContentExtractorParameters(**bare), models) == ["pp_ocr_v6_tiny"]
