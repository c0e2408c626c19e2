"""Files, folders, `.jsonl` and `.csv` as the objects they become.

A row of a `.jsonl` or `.csv` file is an object with fields. A text file is an object with a text
blob; an image, sound, video, PDF or spreadsheet is an object with an uploaded blob. Each keeps
where it came from, so that loading the same source again finds the same objects.
"""

import codecs
import csv
import mimetypes
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lamina.cli.failures import UsageFailure
from lamina.cli.row_files import NUL, Row, read_csv, read_jsonl, renamed_columns
from lamina.cli.rows import Columns, renamed
from lamina.core.fields import FieldType, type_of_mime_type
from lamina.core.types import JsonObject

ROW_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".csv"})
INLINE_BYTES: Final = 4 << 20
"""Text files up to this size travel inside the request; larger ones are uploaded."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object to be: its fields, and the text or the file that its blob holds.

    `kind` is the schema type of what extractors read in it: `text` for a row and a text file.
    """

    source: str
    fields: JsonObject
    kind: FieldType
    text: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row or a file that cannot become an object, and why."""

    source: str
    reason: str


Entry = Item | Unreadable


@dataclass(slots=True)
class Corpus:
    """Everything found under the paths, surveyed once so that it can be read as a stream.

    Iterating reads the files again, one entry at a time.
    """

    sources: Sequence["Source"]
    columns: Columns = field(default_factory=Columns)
    count: int = 0
    kinds: set[FieldType] = field(default_factory=set)
    longest_text: int = 0
    """Characters, or bytes for a text file."""
    has_rows: bool = False
    has_text_files: bool = False
    text_field: str | None = None
    """The field of rows that is embedded."""
    notes: list[str] = field(default_factory=list)
    """What was read otherwise than it is written, in words."""

    @property
    def blob_kinds(self) -> set[FieldType]:
        """The kinds of blobs that its files become."""
        return self.kinds - {FieldType.OBJECT} - ({FieldType.TEXT} if not self.has_text_files else set())

    def __iter__(self) -> Iterator[Entry]:
        for source in self.sources:
            yield from source.entries(self)


def survey(paths: Iterable[Path], *, text_field: str | None = None) -> Corpus:
    """Look at every path once: what kinds there are, and the types of the rows' fields."""
    return _surveyed(Corpus([source for path in paths for source in _sources(path)]), text_field)


def survey_rows(name: str, rows: Sequence[JsonObject], *, text_field: str) -> Corpus:
    """Rows that are in memory already, as a corpus."""
    return _surveyed(Corpus([_Given(name, rows)]), text_field)


def _surveyed(corpus: Corpus, text_field: str | None) -> Corpus:
    for source in corpus.sources:
        source.survey(corpus)
    if corpus.has_rows:
        corpus.text_field = corpus.columns.text_field(text_field)
        if corpus.text_field is None:
            corpus.kinds.add(FieldType.OBJECT)
        else:
            corpus.kinds.add(FieldType.TEXT)
            corpus.longest_text = max(corpus.longest_text, corpus.columns.longest(corpus.text_field))
        corpus.notes += corpus.columns.notes()
    return corpus


class Source:
    """One file, or some rows: surveyed first, then read."""

    def survey(self, corpus: Corpus) -> None:
        """Add what is in it to the corpus's survey."""
        raise NotImplementedError

    def entries(self, corpus: Corpus) -> Iterator[Entry]:
        """Its objects to be."""
        raise NotImplementedError


def _sources(path: Path) -> Iterator[Source]:
    if not path.exists():
        raise UsageFailure(f"there is no file or folder {path}")
    if not path.is_dir():
        yield _source(path, Path(path.name))
        return
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in inside.parts):
            yield _source(file, path.resolve().name / inside)


def _source(file: Path, shown: Path) -> Source:
    name = readable(shown)
    return _Rows(file, name) if file.suffix.lower() in ROW_SUFFIXES else _File(file, name)


def readable(path: Path) -> str:
    """A path as text. A name may hold any bytes; those that are no UTF-8 become `�`."""
    return os.fsencode(path).decode(errors="replace")


class _Given(Source):
    """Rows that the caller has."""

    def __init__(self, name: str, rows: Sequence[JsonObject]) -> None:
        self.name = name
        self.rows = rows

    def survey(self, corpus: Corpus) -> None:
        corpus.has_rows = True
        corpus.count += len(self.rows)
        for row in self.rows:
            corpus.columns.see(row)

    def entries(self, corpus: Corpus) -> Iterator[Entry]:
        for number, row in enumerate(self.rows, 1):
            yield _row(f"{self.name}:{number}", row, corpus)


class _Rows(Source):
    """A `.jsonl` or `.csv` file, one object to a row."""

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        self.name = name
        self.is_csv = file.suffix.lower() == ".csv"

    def survey(self, corpus: Corpus) -> None:
        seen: set[str] = set()
        for row in self._read():
            corpus.count += 1
            if not isinstance(row, Unreadable):
                corpus.has_rows = True
                corpus.columns.see(row[1], written=self.is_csv)
                seen.update(row[1])
        if self.is_csv and seen:
            renames = renamed_columns(self.file)
            corpus.notes += [f"{self.name}: {said}" for name, said in renames.items() if name in seen]

    def entries(self, corpus: Corpus) -> Iterator[Entry]:
        for row in self._read():
            if isinstance(row, Unreadable):
                yield row
            else:
                number, fields = row
                typed = corpus.columns.typed(fields) if self.is_csv else fields
                yield _row(f"{self.name}:{number}", typed, corpus)

    def _read(self) -> Iterator[tuple[int, JsonObject] | Unreadable]:
        try:
            for number, row in self._rows():
                if isinstance(row, str):
                    yield Unreadable(f"{self.name}:{number}", row)
                else:
                    yield number, row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            yield Unreadable(self.name, str(error))

    def _rows(self) -> Iterator[Row]:
        return read_csv(self.file) if self.is_csv else read_jsonl(self.file)


class _File(Source):
    """Any other file, one object."""

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        self.name = name

    def survey(self, corpus: Corpus) -> None:
        corpus.count += 1
        try:
            kind, size = file_kind(self.file), self.file.stat().st_size
        except OSError:
            return  # said when it is read
        if kind is not None:
            corpus.kinds.add(kind)
        if kind is FieldType.TEXT:
            corpus.has_text_files = True
            corpus.longest_text = max(corpus.longest_text, size)

    def entries(self, corpus: Corpus) -> Iterator[Entry]:
        try:
            yield self._entry()
        except OSError as error:
            yield Unreadable(self.name, str(error))

    def _entry(self) -> Entry:
        size = self.file.stat().st_size
        if size == 0:
            return Unreadable(self.name, "the file is empty")
        kind = file_kind(self.file)
        if kind is None:
            return Unreadable(
                self.name, "neither text nor an image, audio, video, PDF or spreadsheet that is known"
            )
        fields: JsonObject = {"path": self.name}
        if kind is not FieldType.TEXT or size > INLINE_BYTES:
            return Item(self.name, fields, kind, file=self.file)
        text = _decoded(self.file.read_bytes())
        if text is not None and "\0" in text:
            return Unreadable(self.name, NUL)
        # The server guesses the encoding of a text that does not tell its own.
        return Item(self.name, fields, kind, text=text, file=self.file if text is None else None)


def file_kind(file: Path) -> FieldType | None:
    """The schema type of a file, by its first bytes, or by its name where these say nothing."""
    # Its signatures of formats load here, so that commands without files start faster.
    from lamina.ingest.sniffing import HEAD_BYTES, sniff, suits

    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        return None
    mime_type = sniff(head, file.name) or mimetypes.guess_type(file.name)[0] or ""
    return FieldType.TEXT if suits(FieldType.TEXT, mime_type) else type_of_mime_type(mime_type)


def _decoded(content: bytes) -> str | None:
    """Bytes as text: by their byte order mark, else as UTF-8; None where they are not."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def _row(source: str, row: JsonObject, corpus: Corpus) -> Entry:
    try:
        fields = renamed(row)
    except ValueError as error:
        return Unreadable(source, str(error))
    if corpus.text_field is None:
        return Item(source, fields, FieldType.OBJECT)
    text = fields.get(corpus.text_field)
    if text is not None and not isinstance(text, str):
        return Unreadable(source, f"'{corpus.text_field}' is the text to embed, but here it is none")
    return Item(source, fields, FieldType.TEXT)
