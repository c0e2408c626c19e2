"""What rows and files become: names, types, kinds, and what cannot be an object."""

import os
from pathlib import Path

import pytest

from lamina.cli.names import name_for
from lamina.cli.row_files import column_names
from lamina.cli.rows import Columns, parsed
from lamina.cli.sources import Item, Unreadable, survey
from lamina.core.fields import FieldType

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def test_rows_of_jsonl_keep_their_types_and_their_line_numbers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"text": "one", "year": 1901, "tags": ["a"]}\n\nnot json\n{"text": "two", "year": null}\n[1]\n'
    )
    corpus = survey([file])
    entries = list(corpus)
    assert corpus.count == len(entries) == 4
    assert corpus.text_field == "text"
    assert corpus.columns.schema("text") == {
        "text": {"type": "text"},
        "year": {"type": "integer"},
        "tags": {"type": "array"},
    }
    assert entries[0] == Item("rows.jsonl:1", {"text": "one", "year": 1901, "tags": ["a"]}, FieldType.TEXT)
    assert isinstance(entries[1], Unreadable)
    assert entries[1].source == "rows.jsonl:3"
    assert entries[2] == Item("rows.jsonl:4", {"text": "two"}, FieldType.TEXT)
    assert isinstance(entries[3], Unreadable)


def test_a_column_of_a_csv_has_one_type_in_all_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        'body,zip,price,open,status\n"a, b",01234,1,true,new\nc,56789,2.5,false,\nd,1,2,3,4,5\n', "utf-8-sig"
    )
    corpus = survey([file])
    good = [entry.fields for entry in corpus if isinstance(entry, Item)]
    assert good == [
        {"body": "a, b", "zip": "01234", "price": 1, "open": True, "status_": "new"},
        {"body": "c", "zip": "56789", "price": 2.5, "open": False},
    ]
    types = {name: field["type"] for name, field in corpus.columns.schema(corpus.text_field).items()}
    assert types == {
        "body": "text",
        "zip": "string",
        "price": "number",
        "open": "boolean",
        "status_": "string",
    }
    assert [entry.source for entry in corpus if isinstance(entry, Unreadable)] == ["rows.csv:4"]


def test_a_folder_is_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (folder / "b.md").write_text("# B\n")
    (folder / "deep" / "a.txt").write_text("A")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    (folder / "thing.bin").write_bytes(b"\0\1\2")
    corpus = survey([folder])
    entries = list(corpus)
    assert [entry.source for entry in entries] == [
        "papers/b.md", "papers/deep/a.txt", "papers/photo.png", "papers/thing.bin",
    ]  # fmt: skip
    assert entries[0] == Item("papers/b.md", {"path": "papers/b.md"}, FieldType.TEXT, text="# B\n")
    assert isinstance(entries[2], Item)
    assert entries[2].kind is FieldType.IMAGE
    assert entries[2].file == folder / "photo.png"
    assert isinstance(entries[3], Unreadable)
    assert corpus.blob_kinds == {FieldType.TEXT, FieldType.IMAGE}


def test_the_text_to_embed_is_the_usual_column_or_the_longest() -> None:
    def chosen(*rows: dict[str, str]) -> str | None:
        columns = Columns()
        for row in rows:
            columns.see(dict(row))
        return columns.text_field(None)

    assert chosen({"id": "a" * 99, "abstract": "short"}) == "abstract"
    assert chosen({"id": "1", "notes": "a longer text"}) == "notes"
    assert chosen() is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("7", 7),
        ("-0", 0),
        ("007", "007"),
        ("1e3", 1000.0),
        ("1.", "1."),
        ("True", True),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("1" * 5000, "1" * 5000),
        ("", ""),
    ],
)
def test_a_cell_is_a_number_only_where_it_is_written_as_one(cell: str, value: object) -> None:
    assert parsed(cell) == value
    assert type(parsed(cell)) is type(value)


def rows_of(file: Path, *lines: str | bytes) -> dict[str, object]:
    """What a file with these lines becomes: the fields of each row by its place, or why it has none."""
    file.write_bytes(b"".join(one if isinstance(one, bytes) else f"{one}\n".encode() for one in lines))
    return {one.source: one.fields if isinstance(one, Item) else one.reason for one in survey([file])}


@pytest.mark.parametrize("other", ["5", '["x"]', '{"en": "x"}', "true"])
def test_a_row_without_text_in_the_text_column_fails_alone(tmp_path: Path, other: str) -> None:
    file = tmp_path / "mixed.jsonl"
    lines = ['{"text": "a cat", "note": "longer than that"}', f'{{"text": {other}}}', '{"text": "a dog"}']
    rows = rows_of(file, *lines)
    assert survey([file]).text_field == "text"
    assert isinstance(rows["mixed.jsonl:1"], dict)
    assert rows["mixed.jsonl:2"] == "'text' is the text to embed, but here it is none"
    assert rows["mixed.jsonl:3"] == {"text": "a dog"}


def test_numbers_in_a_text_column_of_a_csv_are_its_texts(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "text", "1984", "a novel") == {
        "a.csv:2": {"text": "1984"},
        "a.csv:3": {"text": "a novel"},
    }


def test_the_character_nul_costs_the_row_or_file_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "late.txt").write_bytes(b"words " * 20_000 + b"\0")
    (late,) = survey([tmp_path / "late.txt"])
    assert isinstance(late, Unreadable)
    rows = rows_of(tmp_path / "a.jsonl", r'{"text": "nul\u0000"}', r'{"text": "no nul\\u0000"}')
    cells = rows_of(tmp_path / "a.csv", "text,n", "nul\0,1", "none,2")
    assert "NUL" in str(rows["a.jsonl:1"])
    assert rows["a.jsonl:2"] == {"text": r"no nul\u0000"}
    assert "NUL" in str(cells["a.csv:2"])
    assert cells["a.csv:3"] == {"text": "none", "n": 2}


def test_a_byte_order_mark_begins_no_text(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "one"}\n') == {"a.jsonl:1": {"text": "one"}}
    for name, encoding in (("eight.txt", "utf-8-sig"), ("sixteen.txt", "utf-16")):
        (tmp_path / name).write_text("Ünïcode", encoding)
        (entry,) = survey([tmp_path / name])
        assert isinstance(entry, Item)
        assert entry.text == "Ünïcode"


def test_columns_of_a_csv_without_a_name_of_their_own_get_one_and_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "rag.csv"
    assert rows_of(file, "text,text,,n,a.b,a_b,", "a,b,c,1,d,e,") == {
        "rag.csv:2": {"text": "a", "text_2": "b", "column_3": "c", "n": 1, "a_b": "d", "a_b_2": "e"}
    }
    assert survey([file]).notes == [
        "rag.csv: column 2 is another 'text' and becomes 'text_2'",
        "rag.csv: column 3 has no name and becomes 'column_3'",
        "rag.csv: column 6 is another 'a_b' and becomes 'a_b_2'",
    ]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["a", "a", "a_2", "a"], ["a", "a_3", "a_2", "a_4"]),
        (["", "column_1"], ["column_1_2", "column_1"]),
        (["status", "_x", " a "], ["status_", "x_", "a"]),
        ([], []),
    ],
)
def test_a_header_names_each_column_once(header: list[str], names: list[str]) -> None:
    assert column_names(header) == names


def test_fields_that_would_lose_each_other_are_refused(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.jsonl", '{"a.b": 1, "a_b": 2}', '{"a.b": 1, "a_b": null}')
    assert "'a_b'" in str(rows["a.jsonl:1"])
    assert rows["a.jsonl:2"] == {"a_b": 1}


def test_long_integers_stay_exact_or_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    long = str(2**64)
    assert rows_of(file, "id,most,text", f"{long},{2**64 - 1},x", f"7,{-(2**63)},y") == {
        "a.csv:2": {"id": long, "most": 2**64 - 1, "text": "x"},
        "a.csv:3": {"id": "7", "most": -(2**63), "text": "y"},
    }
    assert survey([file]).notes == ["column 'id' has integers of more than 64 bits and is kept as text"]
    rows = rows_of(
        tmp_path / "a.jsonl",
        f'{{"id": {long}}}',
        f'{{"id": [1, {{"a": -{long}}}]}}',
        f'{{"id": {2**64 - 1}, "least": {-(2**63)}}}',
        f'{{"id": "{long}", "\\"{long}": {long}.5}}',
    )
    assert "more than 64 bits" in str(rows["a.jsonl:1"])
    assert "more than 64 bits" in str(rows["a.jsonl:2"])
    assert rows["a.jsonl:3"] == {"id": 2**64 - 1, "least": -(2**63)}
    assert rows["a.jsonl:4"] == {"id": long, f'"{long}': float(f"{long}.5")}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("film.mp4", PNG, FieldType.IMAGE),
        ("photo.png", b"a pointer to a photo", FieldType.TEXT),
        ("code.ts", b"export const a = 1\n", FieldType.TEXT),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", FieldType.TEXT),
        ("scan", b"%PDF-1.7\n", FieldType.PDF),
        ("voice", b"RIFF\0\0\0\0WAVEfmt ", FieldType.AUDIO),
        ("clip.bin", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", FieldType.VIDEO),
        ("menu.txt", "café crème, déjà vu".encode("latin-1"), FieldType.TEXT),
        ("data.json", b'{"a": 1}', FieldType.TEXT),
        ("thing.bin", b"\0\1\2\3", None),
        ("empty.txt", b"", None),
        ("empty.png", b"", None),
    ],
)
def test_a_file_is_what_its_bytes_are(
    tmp_path: Path, name: str, content: bytes, kind: FieldType | None
) -> None:
    (tmp_path / name).write_bytes(content)
    (entry,) = survey([tmp_path / name])
    assert (entry.kind if isinstance(entry, Item) else None) is kind


def test_a_file_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / os.fsdecode(b"a\xffb.txt")).write_text("words")
    (entry,) = survey([tmp_path / "docs"])
    assert entry.source == "docs/a\ufffdb.txt"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("My Notes (2).jsonl", "my-notes-2"),
        ("a.csv", "a-data"),
        ("日本.txt", "files"),
        ("v" * 99, "v" * 60),
    ],
)
def test_a_bucket_is_named_as_its_path(path: str, name: str) -> None:
    assert name_for(Path(path)) == name


def test_a_folder_keeps_all_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "report.2024").mkdir()
    assert name_for(tmp_path / "report.2024") == "report-2024"
