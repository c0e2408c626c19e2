"""`text_extractor`: every way of splitting, and what it takes as text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Part, Source
from lamina.extractors.text_extractor import EXTRACTOR
from lamina.inference.registry import Models, ModelSettings

STORY = (
    "Dr. Smith paid $3.50 for it. He left!  Was it late?\n\n"
    "Ünïcode 🦛 stays whole. 中文句子。第二句。\n \n\n"
    "The last one has no full stop"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(ModelSettings(models_dir=tmp_path_factory.mktemp("models")))


@pytest.fixture
def extract(models: Models) -> Any:
    def run(text: Any, **parameters: Any) -> list[Part] | ExtractionError:
        made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
        (outcome,) = made.extract([Source("a", {"text": text})])
        return outcome

    return run


def texts(parts: list[Part]) -> list[Any]:
    return [part.fields["text"] for part in parts]


def test_without_splitting_a_text_is_one_document(extract: Any) -> None:
    (part,) = extract(STORY)
    assert part.position == "0"
    assert part.fields == {"text": STORY}
    assert part.lexical == STORY
    assert part.modality == "text"


@pytest.mark.parametrize(
    ("split_by", "size", "overlap", "expected"),
    [
        ("characters", 4, 0, ["abcd", "efgh", "ij"]),
        ("characters", 4, 2, ["abcd", "cdef", "efgh", "ghij"]),
        ("characters", 20, 5, ["abcdefghij"]),
    ],
)
def test_characters(extract: Any, split_by: str, size: int, overlap: int, expected: list[str]) -> None:
    parts = extract("abcdefghij", split_by=split_by, chunk_size=size, chunk_overlap=overlap)
    assert texts(parts) == expected
    assert [part.position for part in parts] == [str(at) for at in range(len(expected))]
    assert [part.fields["chunk_count"] for part in parts] == [len(expected)] * len(expected)


def test_words_keep_what_lies_between_them(extract: Any) -> None:
    parts = extract("one  two\nthree four five", split_by="words", chunk_size=3, chunk_overlap=1)
    assert texts(parts) == ["one  two\nthree", "three four five"]


def test_sentences_know_abbreviations_and_other_scripts(extract: Any) -> None:
    parts = extract(STORY, split_by="sentences", chunk_size=1)
    assert texts(parts) == [
        "Dr. Smith paid $3.50 for it.",
        "He left!",
        "Was it late?",
        "Ünïcode 🦛 stays whole.",
        "中文句子。",
        "第二句。",
        "The last one has no full stop",
    ]


def test_five_sentences_with_one_carried_over(extract: Any) -> None:
    story = " ".join(f"This is sentence number {number}." for number in range(9))
    parts = extract(story, split_by="sentences", chunk_size=5, chunk_overlap=1)
    assert [text.count("sentence") for text in texts(parts)] == [5, 5]
    assert texts(parts)[1].startswith("This is sentence number 4.")


def test_paragraphs_end_at_blank_lines(extract: Any) -> None:
    parts = extract(STORY, split_by="paragraphs", chunk_size=1)
    assert [text.split()[0] for text in texts(parts)] == ["Dr.", "Ünïcode", "The"]
    assert len(extract(STORY, split_by="paragraphs", chunk_size=2)) == 2


def test_pages_end_at_form_feeds(extract: Any) -> None:
    assert texts(extract("one\n\fpage two\f \n\fthree", split_by="pages", chunk_size=1)) == [
        "one",
        "page two",
        "three",
    ]


@pytest.mark.parametrize("split_by", ["characters", "words", "sentences", "paragraphs", "pages", "markdown"])
@pytest.mark.parametrize(
    "text", [STORY, "# Head\n\n" + STORY + "\n\n```py\nx = 1\n```\n", "\n\n  a\r\nb  \n\n"]
)
def test_offsets_point_at_the_chunk_in_its_source(extract: Any, split_by: str, text: str) -> None:
    for part in extract(text, split_by=split_by, chunk_size=3):
        assert text[part.fields["start_char"] : part.fields["end_char"]] == part.fields["text"]


MARKDOWN = """intro before any heading

# Guide

## Install

Run this:

```bash
pip install lamina

# not a heading
```

Then that.

## Use

| a | b |
|---|---|
| 1 | 2 |

Setext
------

~~~
plain
~~~
"""


def test_markdown_becomes_sections_and_code(extract: Any) -> None:
    parts = extract(MARKDOWN, split_by="markdown")
    found = [
        (
            part.fields["chunk_kind"],
            part.fields["heading_path"],
            part.fields["text"].split("\n")[0],
            part.fields.get("code_language"),
        )
        for part in parts
    ]
    assert found == [
        ("section", [], "intro before any heading", None),
        ("section", ["Guide", "Install"], "## Install", None),
        ("code", ["Guide", "Install"], "```bash", "bash"),
        ("section", ["Guide", "Install"], "Then that.", None),
        ("section", ["Guide", "Use"], "## Use", None),
        ("code", ["Guide", "Setext"], "~~~", None),
    ]
    assert "# not a heading" in parts[2].fields["text"]
    assert "| 1 | 2 |" in parts[4].fields["text"]


def test_a_long_section_splits_between_paragraphs_and_code_never(extract: Any) -> None:
    paragraphs = "\n\n".join(" ".join(f"w{number}" for _ in range(10)) for number in range(5))
    code = "```\n" + "x = 1\n" * 50 + "```"
    parts = extract(f"# Long\n\n{paragraphs}\n\n{code}", split_by="markdown", chunk_size=25)
    assert [len(set(part.fields["text"].split()) & {f"w{n}" for n in range(5)}) for part in parts] == [
        2,
        2,
        1,
        0,
    ]
    assert parts[3].fields["text"] == code
    assert all(part.fields["heading_path"] == ["Long"] for part in parts)


def test_a_heading_alone_is_still_a_document(extract: Any) -> None:
    assert texts(extract("# Only a title", split_by="markdown")) == ["# Only a title"]
    assert texts(extract("# One\n# Two\ntext", split_by="markdown")) == ["# One", "# Two\ntext"]


SRT = (
    "1\n00:00:01,000 --> 00:00:04,000\nHello <i>there</i>\n\n2\n00:00:31,500 --> 00:00:40,000\nSecond\nline\n"
)
VTT = "WEBVTT\n\n00:01.000 --> 00:04.000\nHello there\n\n00:31.500 --> 00:40.000\nSecond line\n"
MARKS = "[00:01] Hello there\n[0:31.5] Second\nline\n[00:00:40]\n"


@pytest.mark.parametrize("transcript", [SRT, VTT, MARKS], ids=["srt", "vtt", "marks"])
def test_time_segments_of_a_transcript(extract: Any, transcript: str) -> None:
    parts = extract(transcript, split_by="time_segments", segment_length_seconds=30)
    assert texts(parts) == ["Hello there", "Second line"]
    assert [part.fields["start_time"] for part in parts] == [1.0, 31.5]
    assert parts[1].fields["end_time"] == 40.0
    assert "start_char" not in parts[0].fields
    (whole,) = extract(transcript, split_by="time_segments", segment_length_seconds=120)
    assert whole.fields["text"] == "Hello there Second line"


@pytest.mark.parametrize("text", ["no times here", "WEBVTT\n\n", "[12:xx] hm"])
def test_what_is_no_transcript_fails_with_what_is_wanted(extract: Any, text: str) -> None:
    error = extract(text, split_by="time_segments")
    assert isinstance(error, ExtractionError)
    assert "transcript" in error.message or "SRT" in error.message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (42, "42"),
        (True, "true"),
        ({"brand": "Ä"}, '{\n  "brand": "Ä"\n}'),
        (["one", "two"], "one\n\ntwo"),
        (["one", None, 2], "one\n\n2"),
        (BlobValue(b'{"a": 1}', "application/json"), '{"a": 1}'),
        (BlobValue("größer".encode("utf-8-sig"), "text/plain"), "größer"),
        (BlobValue("größer".encode("utf-16"), "text/plain"), "größer"),
        (BlobValue("größer".encode(), "application/octet-stream"), "größer"),
        ([BlobValue(b"one", "text/plain"), "two"], "one\n\ntwo"),
    ],
)
def test_what_counts_as_text(extract: Any, value: Any, expected: str) -> None:
    assert texts(extract(value)) == [expected]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Der größte Käse schmeckt süß. " * 4, "cp1252"),
        ("El niño pequeño soñaba con montañas y ríos. Mañana será otro día, dijo su abuela.", "cp1252"),
        ("A informação não está disponível. São João é uma celebração popular em muitas regiões.", "cp1252"),
        ("Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.", "cp1250"),
        ("Привет, это обычный русский текст про кошек и собак, которые живут в большом городе.", "koi8_r"),
        ("いろはにほへと ちりぬるを わかよたれそ つねならむ うゐのおくやま けふこえて", "shift_jis"),
    ],
)
def test_a_file_without_a_known_encoding_is_guessed(extract: Any, text: str, encoding: str) -> None:
    assert texts(extract(BlobValue(text.encode(encoding), "text/plain"))) == [text]


@pytest.mark.parametrize(
    "value",
    [
        BlobValue(b"%PDF-1.7", "application/pdf", "paper.pdf"),
        BlobValue(b"PK\x03\x04\0\0", "application/octet-stream", "a.bin"),
        BlobValue(b"\xff\xfe\x00\xd8", "text/plain", "half.txt"),
        "lone \ud800 surrogate",
    ],
)
def test_what_is_no_text_fails_by_name(extract: Any, value: Any) -> None:
    error = extract(value)
    assert isinstance(error, ExtractionError)
    assert "'text'" in error.message


@pytest.mark.parametrize("split_by", ["none", "words", "markdown", "pages"])
def test_blank_text_is_an_error_and_no_document(extract: Any, split_by: str) -> None:
    assert isinstance(extract(" \n\f ", split_by=split_by), ExtractionError)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"split_by": "words", "chunk_size": 10, "chunk_overlap": 10}, "must be less than chunk_size"),
        ({"chunk_size": 0}, "chunk_size: .*greater than or equal to 1"),
        ({"chunk_size": 10_001}, "chunk_size: .*less than or equal to 10000"),
        ({"chunk_overlap": 5001}, "chunk_overlap"),
        ({"segment_length_seconds": 29}, "segment_length_seconds"),
        ({"split_by": "lines"}, "split_by: .*'characters'"),
        ({"embedding_task": "poetry"}, "embedding_task"),
        ({"embedding_model": "gemini-embedding-2"}, "gemini-embedding-2.* there are all_minilm_l6_v2_v1"),
        ({"source_type": "youtube"}, "not enabled"),
        ({"response_shape": "names and colours"}, "response_shape needs a language model"),
        ({"response_shape": {"type": "object"}, "llm_provider": "typesafe"}, "'typesafe' is not enabled"),
    ],
)
def test_parameters_that_cannot_be_served_are_refused_at_creation(
    models: Models, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        EXTRACTOR.validate_parameters(parameters, models)


def test_the_whole_contract_enum_of_strategies_is_served(models: Models) -> None:
    accepted = EXTRACTOR.Parameters.model_json_schema()["properties"]["split_by"]["enum"]
    assert sorted(accepted) == sorted(
        ["characters", "words", "sentences", "paragraphs", "pages", "time_segments", "markdown", "none"]
    )


def test_all_sources_of_a_call_are_embedded_at_once(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    embedder = models.text_embedder()
    plain = embedder.embed_documents

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        calls.append(len(texts))
        return plain(texts)

    monkeypatch.setattr(embedder, "embed_documents", counted)
    made = EXTRACTOR(EXTRACTOR.validate_parameters({"split_by": "words", "chunk_size": 1}, models), models)
    outcomes = made.extract(
        [Source("a", {"text": "one two"}), Source("b", {"text": ""}), Source("c", {"text": "three"})]
    )
    assert calls == [3]
    assert [len(outcome) if isinstance(outcome, list) else None for outcome in outcomes] == [2, None, 1]
    (third,) = outcomes[2] if isinstance(outcomes[2], list) else []
    assert np.allclose(third.vectors["all_minilm_l6_v2_v1"], plain(["three"])[0], atol=1e-5)


def test_a_later_schema_matches_the_fields_of_every_strategy(extract: Any) -> None:
    samples = {"time_segments": SRT, "markdown": MARKDOWN}
    for strategy in EXTRACTOR.Parameters.model_json_schema()["properties"]["split_by"]["enum"]:
        schema = EXTRACTOR.output_schema(EXTRACTOR.Parameters.model_validate({"split_by": strategy}))
        parts = extract(samples.get(strategy, STORY), split_by=strategy)
        assert set().union(*(part.fields for part in parts)) == set(schema), strategy
