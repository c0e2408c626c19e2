"""The types that a field of a bucket's schema can have."""

from enum import StrEnum
from typing import Final, Self

from lamina.core.errors import ValidationError


class FieldType(StrEnum):
    """`BucketSchemaFieldType` of the contract: nine types of values and six of files.

    Upper-case spellings and the old name `json` (an object) are read too, here and in models.
    """

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    EXCEL = "excel"

    @classmethod
    def read(cls, text: str, *, field: str = "type") -> "FieldType":
        """The type of that name; `ValidationError` lists the names that are accepted."""
        try:
            return cls(text)
        except ValueError:
            accepted = ", ".join(cls)
            raise ValidationError(
                f"'{text}' is not a field type. Accepted: {accepted}.", field=field
            ) from None

    @property
    def is_file(self) -> bool:
        """Whether extractors read it: text, or a file in a format of its own."""
        return self in _FILES

    def accepts(self, given: "FieldType") -> bool:
        """Whether a property of this type takes a blob that says it is of the given type."""
        return self is given or any(self in alike and given in alike for alike in _ALIKE)

    @classmethod
    def of_mime_type(cls, mime_type: str) -> "FieldType":
        """The type of property that takes files of a MIME type; text where nothing fits better."""
        return type_of_mime_type(mime_type) or cls.TEXT

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        name = value.strip().lower()
        name = _ALIASES.get(name, name)
        return next((member for member in cls if member.value == name), None)


def type_of_mime_type(mime_type: str) -> FieldType | None:
    """The type of a file with that MIME type, parameters or not; None when it tells nothing, or fits none."""
    name = mime_type.partition(";")[0].strip().lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    family = name.partition("/")[0]
    if family in {"image", "audio", "video", "text"}:
        return FieldType(family)
    if name.startswith(_SPREADSHEETS):
        return FieldType.EXCEL
    if name.endswith(("+json", "+xml", "/xml", "yaml", "jsonl", "ndjson")):
        return FieldType.TEXT
    return None


_SPREADSHEETS: Final = (
    "application/vnd.ms-excel",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml",
)

_BY_NAME: Final = {
    "application/pdf": FieldType.PDF,
    "application/x-pdf": FieldType.PDF,
    "application/ogg": FieldType.AUDIO,
    "application/json": FieldType.OBJECT,
    "application/rtf": FieldType.TEXT,
    "application/javascript": FieldType.TEXT,
    "application/sql": FieldType.TEXT,
    "application/toml": FieldType.TEXT,
}

_ALIASES: Final = {"json": "object"}

_FILES: Final = frozenset(
    {
        FieldType.TEXT,
        FieldType.IMAGE,
        FieldType.AUDIO,
        FieldType.VIDEO,
        FieldType.PDF,
        FieldType.EXCEL,
    }
)

_ALIKE: Final = (
    frozenset({FieldType.STRING, FieldType.TEXT}),
    frozenset({FieldType.NUMBER, FieldType.FLOAT, FieldType.INTEGER}),
    frozenset({FieldType.OBJECT, FieldType.ARRAY}),
)
