"""The inputs of a retriever: their schema, and the values that an execution brings."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Final, Literal, cast

from pydantic import ConfigDict, Field

from lamina.core.errors import ValidationError
from lamina.core.models import Model
from lamina.core.types import Json, JsonObject

InputType = Literal[
    "string",
    "number",
    "integer",
    "float",
    "boolean",
    "object",
    "array",
    "date",
    "datetime",
    "text",
    "image",
    "audio",
    "video",
    "pdf",
    "excel",
    "document_reference",
]


class InputField(Model):
    """One input. `string` and `text` mean the same; the file types take a URL or encoded bytes."""

    model_config = ConfigDict(extra="allow")

    type: InputType
    description: str | None = None
    required: bool | None = False
    default: object = Field(default=None, description="Used where an execution does not bring the input.")
    enum: list[object] | None = None
    examples: list[object] | None = None
    items: "InputField | None" = None
    properties: "dict[str, InputField] | None" = None


InputSchema = Mapping[str, InputField]


def input_fields(raw: object) -> object:
    """An input schema in the contract's form, out of what clients send.

    Takes off a `properties` wrapper with its JSON Schema style `required` list, and reads
    `"query": "text"` as `"query": {"type": "text"}`. Anything else is left to validation.
    """
    if not isinstance(raw, Mapping):
        return raw
    inner = raw.get("properties")
    if isinstance(inner, Mapping) and not isinstance(inner.get("type"), str):
        named = raw.get("required")
        required = set(named) if isinstance(named, list) else set()
        return {
            name: {**field, "required": True} if name in required and isinstance(field, Mapping) else field
            for name, field in _spelled_out(inner).items()
        }
    return _spelled_out(raw)


def check_schema(schema: InputSchema) -> None:
    """Raise `ValidationError` for a default that its own field would refuse."""
    for name, field in schema.items():
        if field.default is not None:
            _check(field, cast(Json, field.default), f"input_schema.{name}.default")


def validated_inputs(
    schema: InputSchema, inputs: Mapping[str, Json], warnings: list[str]
) -> Mapping[str, Json]:
    """The inputs with defaults filled in.

    Raises `ValidationError` naming every input that is missing or of a wrong type. Inputs that
    the schema does not know are kept, with a warning.
    """
    if not schema:
        return inputs
    filled: JsonObject = dict(inputs)
    missing = []
    for name, field in schema.items():
        value = inputs.get(name)
        if value is None:
            if field.default is not None:
                filled[name] = cast(Json, field.default)
            elif field.required:
                missing.append(name)
        else:
            _check(field, value, f"inputs.{name}")
    if missing:
        raise _missing(missing)
    unknown = sorted(name for name in inputs if name not in schema)
    if unknown:
        warnings.append(f"Inputs that the input schema does not have: {', '.join(unknown)}.")
    return filled


def breaking_changes(old: InputSchema, new: InputSchema) -> list[str]:
    """What a new schema would break for those who call with the old one, in words."""
    breaks = [f"'{name}' is removed" for name in old if name not in new]
    for name, field in new.items():
        before = old.get(name)
        if before is None:
            if field.required and field.default is None:
                breaks.append(f"'{name}' is new and required")
            continue
        if _kind(before.type) != _kind(field.type):
            breaks.append(f"'{name}' changes its type from {before.type} to {field.type}")
        if field.required and not before.required and field.default is None:
            breaks.append(f"'{name}' becomes required")
        lost = [value for value in before.enum or [] if field.enum is not None and value not in field.enum]
        if lost or (before.enum is None and field.enum is not None):
            breaks.append(f"'{name}' accepts fewer values")
    return breaks


def _spelled_out(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: {"type": field} if isinstance(field, str) else field for name, field in fields.items()}


def _kind(type: InputType) -> str:
    return "text" if type == "string" else type


def _missing(names: Sequence[str]) -> ValidationError:
    listed = ", ".join(f"'{name}'" for name in names)
    return ValidationError(
        f"The retriever needs {'these inputs' if len(names) > 1 else 'the input'}: {listed}.",
        validation_errors=[
            {"type": "missing", "location": ["body", "inputs", name], "message": "This input is required."}
            for name in names
        ],
    )


def _check(field: InputField, value: Json, at: str) -> None:
    accepted, test = _TYPES[field.type]
    if not test(value):
        raise ValidationError(f"Input should be {accepted}.", field=at, code=f"{field.type}_type")
    if field.enum is not None and value not in field.enum:
        listed = ", ".join(repr(option) for option in field.enum)
        raise ValidationError(f"Input should be one of {listed}.", field=at, code="enum")
    if field.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            _check(field.items, item, f"{at}.{index}")
    if field.properties is not None and isinstance(value, dict):
        for name, inner in field.properties.items():
            if value.get(name) is not None:
                _check(inner, value[name], f"{at}.{name}")
            elif inner.required and inner.default is None:
                raise ValidationError("This input is required.", field=f"{at}.{name}", code="missing")


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Json) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )


def _is_date(value: Json) -> bool:
    return _parses(date.fromisoformat, value) or _parses(datetime.fromisoformat, value)


def _is_datetime(value: Json) -> bool:
    return _parses(datetime.fromisoformat, value)


def _parses(parse: Callable[[str], object], value: Json) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _is_reference(value: Json) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("document_id"), str))


def _is_file(value: Json) -> bool:
    return isinstance(value, str | dict)


_FILE: Final = ("a URL, a data URI or encoded bytes", _is_file)
_TEXT: Final = ("a valid string", _is_text)

_TYPES: Final[Mapping[str, tuple[str, Callable[[Json], bool]]]] = {
    "string": _TEXT,
    "text": _TEXT,
    "number": ("a valid number", _is_number),
    "float": ("a valid number", _is_number),
    "integer": ("a valid integer", _is_integer),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("an array", lambda value: isinstance(value, list)),
    "date": ("a date such as 2026-01-31", _is_date),
    "datetime": ("a date and time such as 2026-01-31T12:00:00Z", _is_datetime),
    "image": _FILE,
    "audio": _FILE,
    "video": _FILE,
    "pdf": _FILE,
    "excel": _FILE,
    "document_reference": ("a document's id, or an object with a document_id", _is_reference),
}
