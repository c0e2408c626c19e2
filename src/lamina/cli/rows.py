"""The columns of rows: their names, their types, and which of them holds the text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from lamina.cli.failures import UsageFailure
from lamina.core.fields import FieldType
from lamina.core.types import Json, JsonObject

_TEXT_NAMES: Final = ("text", "content", "body", "abstract", "description", "summary", "title")

_OWN_NAMES: Final = frozenset(
    {
        "object_id", "bucket_id", "blobs", "status", "error", "source_details", "content_hash", "created_at",
        "updated_at", "document_count", "edges", "unique_value", "idempotency_key", "size_bytes", "warnings",
        "key_prefix", "skip_duplicates", "canonicalize_source", "force_remirror", "auto_process",
        "document_id", "collection_id", "document_blobs", "score",
    }
)  # fmt: skip
"""Names that objects and documents have for themselves."""

_INTEGER: Final = re.compile(r"-?(0|[1-9]\d*)")
_FLOAT: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_MOST_DIGITS: Final = 20
"""Characters of the longest integers of 64 bits, the sign among them."""
_BOOLEANS: Final = {"true": True, "false": False}

_TYPES: Final[Mapping[type, FieldType]] = {
    bool: FieldType.BOOLEAN,
    int: FieldType.INTEGER,
    float: FieldType.FLOAT,
    str: FieldType.STRING,
    dict: FieldType.OBJECT,
    list: FieldType.ARRAY,
}


def field_name(name: str) -> str:
    """The name that a column's field gets: its own, with `_` after those that are taken, no dots."""
    plain = name.lstrip("_").replace(".", "_") or "field"
    return f"{plain}_" if plain in _OWN_NAMES or name.startswith("_") else plain


def renamed(row: JsonObject) -> JsonObject:
    """The row under the names that an object's fields may have, without nulls.

    Raises `ValueError` where two of its values would have the same name.
    """
    fields: JsonObject = {}
    for name, value in row.items():
        if value is None:
            continue
        if field_name(name) in fields:
            raise ValueError(f"'{name}' and another of its fields would both become '{field_name(name)}'")
        fields[field_name(name)] = value
    return fields


@dataclass(slots=True)
class _Column:
    types: set[FieldType] = field(default_factory=set)
    written: bool = False
    """Whether its values are read from the text of cells."""
    values: int = 0
    texts: int = 0
    """Values that are read as texts."""
    characters: int = 0
    longest: int = 0
    has_long_integers: bool = False

    @property
    def type(self) -> FieldType | None:
        """The one type that all values have; None where they differ."""
        if len(self.types) == 1:
            return next(iter(self.types))
        if self.types == {FieldType.INTEGER, FieldType.FLOAT}:
            return FieldType.NUMBER
        return FieldType.STRING if self.written else None

    @property
    def holds_text(self) -> bool:
        """Whether there is something in it to embed, in some rows at least."""
        return self.texts > 0 or self.type is FieldType.STRING


@dataclass(slots=True)
class Columns:
    """The columns of all rows seen."""

    _columns: dict[str, _Column] = field(default_factory=dict)

    def see(self, row: JsonObject, *, written: bool = False) -> None:
        """Count a row in. `written` says that its values are the text of cells."""
        for name, value in row.items():
            if value is None:
                continue
            column = self._columns.setdefault(field_name(name), _Column(written=written))
            kind = _TYPES[type(parsed(value) if written and isinstance(value, str) else value)]
            column.types.add(kind)
            column.values += 1
            column.texts += kind is FieldType.STRING
            if isinstance(value, str):
                column.characters += len(value)
                column.longest = max(column.longest, len(value))
                column.has_long_integers |= written and _is_long_integer(value)

    def typed(self, row: JsonObject) -> JsonObject:
        """A row of cells with each value in its column's type."""
        return {name: self._typed(name, value) for name, value in row.items()}

    def schema(self, text_field: str | None) -> dict[str, JsonObject]:
        """The columns as properties of a bucket schema; a column of several types is left free."""
        types = {name: column.type for name, column in self._columns.items()}
        if text_field is not None:
            types[text_field] = FieldType.TEXT
        return {name: {"type": type.value} for name, type in types.items() if type is not None}

    def longest(self, name: str) -> int:
        """Characters of a column's longest value."""
        return self._columns[name].longest

    def text_field(self, wanted: str | None) -> str | None:
        """The column to embed: the one wanted, one with a usual name, or the one with the longest texts.

        Not every value of the first two need be a text: the rows with another fail alone.
        """
        if wanted is not None:
            texts = [name for name, one in self._columns.items() if one.holds_text]
            if field_name(wanted) not in texts:
                raise UsageFailure(
                    f"no column '{wanted}' holds text; {', '.join(sorted(texts)) or 'none'} does"
                )
            return field_name(wanted)
        for name in _TEXT_NAMES:
            if name in self._columns and self._columns[name].holds_text:
                return name
        pure = {
            name: one
            for name, one in self._columns.items()
            if one.type is FieldType.STRING and not one.has_long_integers
        }
        return max(pure, key=lambda name: pure[name].characters / pure[name].values, default=None)

    def notes(self) -> list[str]:
        """What was read otherwise than it is written, in words."""
        return [
            f"column '{name}' has integers of more than 64 bits and is kept as text"
            for name, column in self._columns.items()
            if column.has_long_integers
        ]

    def _typed(self, name: str, value: Json) -> Json:
        column = self._columns[field_name(name)]
        is_text = column.type is FieldType.STRING or FieldType.STRING in column.types
        return value if is_text or not isinstance(value, str) else parsed(value)


def parsed(cell: str) -> str | int | float | bool:
    """A cell's value: a number or a truth value where it is written as one, else its text.

    A number that would not stay what it is stays a text: an integer of more than 64 bits, a float
    beyond the largest.
    """
    text = cell.strip()
    if _INTEGER.fullmatch(text):
        return int(text) if fits_64_bits(text) else cell
    if _FLOAT.fullmatch(text):
        return float(text) if isfinite(float(text)) else cell
    return _BOOLEANS.get(text.lower(), cell)


def fits_64_bits(digits: str) -> bool:
    """Whether an integer is one of those that are stored exactly, with or without a sign."""
    return len(digits) <= _MOST_DIGITS and -(2**63) <= int(digits) < 2**64


def _is_long_integer(cell: str) -> bool:
    text = cell.strip()
    return len(text) >= _MOST_DIGITS - 1 and _INTEGER.fullmatch(text) is not None and not fits_64_bits(text)
