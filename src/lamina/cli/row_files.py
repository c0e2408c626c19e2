"""`.jsonl` and `.csv` files, row by row: each row's fields, or why it cannot be an object."""

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Final

import orjson

from lamina.cli.rows import field_name, fits_64_bits
from lamina.core.types import JsonObject

Row = tuple[int, JsonObject | str]
"""A line's number, and what it holds: fields, or the reason why it holds none."""

NUL: Final = "holds the character NUL, which no stored text may have"

_LONGEST_CELL: Final = 4 << 20

_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LONG_DIGITS: Final = re.compile(rb"\d{19}")
_STRING_OR_LONG_INTEGER: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{19,}(?![\d.eE])')


def read_jsonl(file: Path) -> Iterator[Row]:
    """The objects of a file with one JSON object to a line. Empty lines are passed over."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                yield number, _json_object(text)


def _json_object(line: bytes) -> JsonObject | str:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    if not isinstance(row, dict):
        return "not a JSON object"
    if b"\\u0000" in line and _NUL_ESCAPE.search(line):
        return NUL
    # The parser makes floats of longer integers, which loses their last digits.
    if _LONG_DIGITS.search(line):
        for found in _STRING_OR_LONG_INTEGER.finditer(line):
            if not found[0].startswith(b'"') and not fits_64_bits(found[0].decode()):
                return f"{found[0][:40].decode()} is an integer of more than 64 bits; write it as a text"
    return row


def read_csv(file: Path) -> Iterator[Row]:
    """The rows of a file under its header. Empty cells are left out; all others are text."""
    csv.field_size_limit(_LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        names = column_names(next(reader, []))
        for cells in reader:
            if cells:
                yield reader.line_num, _csv_row(names, cells)


def _csv_row(names: Sequence[str], cells: Sequence[str]) -> JsonObject | str:
    if len(cells) > len(names):
        return f"{len(cells)} cells under a header of {len(names)}"
    if any("\0" in cell for cell in cells):
        return NUL
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell != ""}


def column_names(header: Sequence[str]) -> list[str]:
    """The fields of a header's columns, each once.

    A column without a name is named by its place, one whose name is taken gets a number: `text`,
    `text_2`, `column_3`.
    """
    given = {field_name(cell.strip()) for cell in header if cell.strip()}
    names: dict[str, None] = {}
    for place, cell in enumerate(header, 1):
        own = field_name(cell.strip()) if cell.strip() else None
        if own is None or own in names:
            own = _free(own or f"column_{place}", given | names.keys())
        names[own] = None
    return list(names)


def _free(name: str, taken: Set[str]) -> str:
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def renamed_columns(file: Path) -> dict[str, str]:
    """The columns of a `.csv` file that could not keep their names: new name, and what happened in words."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        header = next(csv.reader(lines), [])
    said: dict[str, str] = {}
    for place, (cell, name) in enumerate(zip(header, column_names(header), strict=True), 1):
        if not cell.strip():
            said[name] = f"column {place} has no name and becomes '{name}'"
        elif name != field_name(cell.strip()):
            said[name] = f"column {place} is another '{cell.strip()}' and becomes '{name}'"
    return said
