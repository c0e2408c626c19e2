"""Bucket schemas: which properties objects have, and the check of an object's fields against them."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, Self

from pydantic import ConfigDict, Field

from lamina.core.errors import ValidationError
from lamina.core.fields import FieldType
from lamina.core.models import Model
from lamina.core.types import Json


class SchemaField(Model):
    """One property: its type, and what its values must be. Further keys are kept as sent."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    type: FieldType
    required: bool | None = None
    default: Json = None
    enum: list[Json] | None = None
    items: "SchemaField | None" = None
    properties: "dict[str, SchemaField] | None" = None
    description: str | None = None
    examples: list[Json] | None = None


class BucketSchema(Model):
    """The properties of a bucket's objects or of a collection's documents."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    properties: dict[str, SchemaField] = Field(default_factory=dict)

    def breaking_changes(self, new: Self) -> list[str]:
        """Why objects that fit this schema may not fit the new one; empty when they all do."""
        changes = [f"'{name}' is removed" for name in self.properties if name not in new.properties]
        for name, field in new.properties.items():
            old = self.properties.get(name)
            if old is None:
                if field.required and field.default is None:
                    changes.append(f"'{name}' is new and required")
            elif old.type != field.type:
                changes.append(f"'{name}' changes from {old.type.value} to {field.type.value}")
            elif field.required and not old.required:
                changes.append(f"'{name}' becomes required")
        return changes


_NUMBERS = {FieldType.NUMBER, FieldType.FLOAT}
_STRINGS = {
    FieldType.STRING, FieldType.TEXT, FieldType.IMAGE, FieldType.AUDIO, FieldType.VIDEO,
    FieldType.PDF, FieldType.EXCEL,
}  # fmt: skip


_ACCEPTED: Final = {
    FieldType.DATE: "a date that exists, as ISO 8601 writes it ('2024-02-28')",
    FieldType.DATETIME: "a date or time that exists, as ISO 8601 writes it ('2024-02-28T09:30:00Z')",
}


def check_value(value: Json, field: SchemaField, path: str) -> None:
    """`ValidationError` naming the path unless the value is what the field wants."""
    if value is None:
        return
    if not _is(value, field.type):
        accepted = _ACCEPTED.get(field.type, f"of type {field.type.value}")
        raise ValidationError(
            f"'{path}' must be {accepted}, not {_name(value)}.",
            field=path,
            code="type_error",
        )
    if field.enum and value not in field.enum:
        raise ValidationError(
            f"'{path}' must be one of {', '.join(map(repr, field.enum))}.", field=path, code="enum"
        )
    if isinstance(value, Mapping) and field.properties:
        check_fields(value, field.properties, path)
    if isinstance(value, list) and field.items:
        for number, item in enumerate(value):
            check_value(item, field.items, f"{path}.{number}")


def check_fields(
    values: Mapping[str, Json],
    fields: Mapping[str, SchemaField],
    path: str = "",
    *,
    present: frozenset[str] = frozenset(),
) -> None:
    """Check an object's fields. `present` names properties that blobs provide."""
    for name, field in fields.items():
        here = f"{path}.{name}" if path else name
        if name in values:
            check_value(values[name], field, here)
        if field.required and values.get(name) is None and name not in present and field.default is None:
            raise ValidationError(f"'{here}' is required by the bucket's schema.", field=here, code="missing")


def with_defaults(
    values: Mapping[str, Json], fields: Mapping[str, SchemaField], present: frozenset[str]
) -> dict[str, Json]:
    """The values, with the schema's defaults for properties that neither they nor blobs provide."""
    defaults = {
        name: field.default
        for name, field in fields.items()
        if field.default is not None and name not in values and name not in present
    }
    return {**defaults, **values}


def _is(value: Json, type: FieldType) -> bool:
    if type is FieldType.BOOLEAN:
        return isinstance(value, bool)
    if type is FieldType.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if type in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if type in _STRINGS:
        return isinstance(value, str)
    if type is FieldType.ARRAY:
        return isinstance(value, list)
    if type is FieldType.OBJECT:
        return isinstance(value, Mapping | list)
    parse = date.fromisoformat if type is FieldType.DATE else datetime.fromisoformat
    try:
        return isinstance(value, str) and parse(value) is not None
    except ValueError:
        return False


def _name(value: Json) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)
