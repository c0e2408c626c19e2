"""What bytes are is told from the bytes; what a type takes follows from that."""

import pytest

from lamina.core.errors import ValidationError
from lamina.core.fields import FieldType
from lamina.ingest.sniffing import sniff, suits
from tests.unit.files import FILES, OLE, PDF, PNG


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_told_from_its_bytes(name: str) -> None:
    content, expected = FILES[name]
    assert sniff(content) == expected


@pytest.mark.parametrize(
    ("content", "filename", "expected"),
    [
        (b"a,b\n1,2\n", "rows.CSV", "text/csv"),
        (b"# Title", "notes.md", "text/markdown"),
        (b'{"a": 1}', "a.json", "application/json"),
        (OLE, "book.xls", "application/vnd.ms-excel"),
        (OLE, "book.bin", "application/x-ole-storage"),
        (PNG, "photo.csv", "image/png"),
        (PDF, "text.txt", "application/pdf"),
    ],
)
def test_a_name_decides_only_what_the_bytes_leave_open(content: bytes, filename: str, expected: str) -> None:
    assert sniff(content, filename) == expected


@pytest.mark.parametrize(
    ("type", "names"),
    [
        ("image", "png jpeg exif gif webp bmp tiff avif heic heif svg"),
        ("audio", "wav mp3 flac vorbis m4a aac mp4 webm mov"),
        ("video", "mp4 mov 3gp webm mkv avi mpeg theora gif"),
        ("pdf", "pdf"),
        ("excel", "xlsx xls ods"),
        ("text", "text html svg"),
    ],
)
def test_a_type_takes_the_formats_that_extractors_read_for_it(type: str, names: str) -> None:
    for name in names.split():
        found = FILES[name][1]
        assert found is not None
        assert suits(FieldType(type), found), name
    for name in ("docx", "zip", "windows program", "gzip"):
        found = FILES[name][1]
        assert found is not None
        assert not suits(FieldType(type), found), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("json", "object"),
        ("JSON", "object"),
        ("VIDEO", "video"),
        (" Text ", "text"),
        ("datetime", "datetime"),
    ],
)
def test_types_are_read_in_all_their_spellings(text: str, expected: str) -> None:
    assert FieldType.read(text) == FieldType(text) == FieldType(expected)


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"'document'.*string, number.*excel"):
        FieldType.read("document", field="blobs.0.type")
