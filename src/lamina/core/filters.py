"""The contract's filter grammar, parsed once into a small tree. `lamina.core.predicate` is its meaning.

    {"AND": [{"field": "metadata.year", "operator": "gte", "value": 2020}, {"NOT": {…}}]}

`AND`, `OR` and `NOT` hold conditions or further filters; several of them at once are and-ed, and
`NOT` over a list means that none of it holds. A list alone is an AND. `{"metadata.brand": "Acme"}`
is short for equality, `{"brand": ["Acme", "Apex"]}` for `in`, `{"year": {"gte": 2020}}` for the
operators named. `case_sensitive` (default false) holds for everything below it. A value may be
`{"type": "dynamic", "field": "inputs.user_id"}`, which is looked up in the inputs of the request.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from lamina.core.errors import ValidationError
from lamina.core.geography import shape
from lamina.core.patterns import compile_pattern, words_of
from lamina.core.types import Json

Operator = Literal[
    "eq", "ne", "gt", "lt", "gte", "lte", "in", "nin", "contains", "starts_with", "ends_with", "regex",
    "exists", "is_null", "text", "phrase", "words", "geo_radius", "geo_bounding_box", "geo_polygon",
]  # fmt: skip

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)

MAX_DEPTH: Final = 10
MAX_CONDITIONS: Final = 500
MAX_VALUES: Final = 10_000
MAX_PATTERN: Final = 1_000
MAX_FIELD: Final = 500
MAX_STEPS: Final = 32


@dataclass(frozen=True, slots=True)
class Condition:
    """One field compared with one value. `field` is a dot path into the record."""

    field: str
    operator: Operator
    value: Json
    case_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; with no parts, always."""

    parts: Sequence["Filter"] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; with no parts, never."""

    parts: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Filter"


Filter = Condition | And | Or | Not

ALL: Final[Filter] = And()
NONE: Final[Filter] = Or(())


def equals(field: str, value: Json) -> Condition:
    """The condition that a field has exactly this value."""
    return Condition(field, "eq", value, case_sensitive=True)


def both(first: Filter, second: Filter) -> Filter:
    """Both filters at once, without needless nesting."""
    if first == ALL:
        return second
    return first if second == ALL else And((first, second))


def conjuncts(where: Filter) -> Iterator[Filter]:
    """The parts that must all hold, with nested ANDs opened."""
    if isinstance(where, And):
        for part in where.parts:
            yield from conjuncts(part)
    else:
        yield where


def conjunction(parts: Sequence[Filter]) -> Filter:
    """The filter that all parts hold."""
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def conditions(where: Filter) -> Iterator[Condition]:
    """Every condition of a filter, wherever it stands."""
    match where:
        case Condition():
            yield where
        case Not(part):
            yield from conditions(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)


def parse_filter(
    raw: Json,
    *,
    field: str = "filters",
    inputs: Mapping[str, Json] | None = None,
    case_sensitive: bool = False,
) -> Filter:
    """Read a filter as clients send it; nothing or an empty filter is `ALL`.

    `field` is where the filter stands in the request, for messages. `inputs` are what dynamic
    values are looked up in; None where there are none. Raises `ValidationError`.
    """
    return _Parser(inputs).filter(raw, field, case_sensitive, 1)


_LOGIC: Final = ("AND", "OR", "NOT")
_TEXT_OPERATORS: Final = frozenset({"starts_with", "ends_with", "regex", "text", "phrase", "words"})
_GEO_OPERATORS: Final = frozenset({"geo_radius", "geo_bounding_box", "geo_polygon"})
_MISSING: Final = object()


class _Parser:
    """One reading of one filter; counts its conditions."""

    def __init__(self, inputs: Mapping[str, Json] | None) -> None:
        self._inputs = inputs
        self._conditions = 0

    def filter(self, raw: Json, at: str, case: bool, depth: int) -> Filter:
        if raw is None:
            return ALL
        if depth > MAX_DEPTH:
            raise ValidationError(f"Filters may be nested at most {MAX_DEPTH} deep.", field=at)
        if isinstance(raw, Mapping):
            _check_keys(raw, at)
            return self._condition(raw, at, case) if _is_condition(raw) else self._logic(raw, at, case, depth)
        if isinstance(raw, Sequence) and not isinstance(raw, str):
            return _simplest(self._parts(raw, at, case, depth))
        raise ValidationError(
            f"A filter is an object such as {{'AND': [{{'field': …, 'operator': …, 'value': …}}]}} "
            f"or a list of conditions, not {_described(raw)}.",
            field=at,
        )

    def _parts(self, raw: Sequence[Json], at: str, case: bool, depth: int) -> list[Filter]:
        return [self.filter(part, f"{at}.{place}", case, depth + 1) for place, part in enumerate(raw)]

    def _logic(self, raw: Mapping[str, Json], at: str, case: bool, depth: int) -> Filter:
        case = self._case(raw, at, case)
        parts: list[Filter] = []
        for key, value in raw.items():
            if key == "case_sensitive" or (value is None and key in _LOGIC):
                continue
            if key in _LOGIC or (key.upper() in _LOGIC and isinstance(value, list)):
                parts.extend(self._group(key.upper(), value, f"{at}.{key}", case, depth))
            else:
                parts.append(self._shorthand(key, value, f"{at}.{key}", case))
        return _simplest(parts)

    def _group(self, logic: str, raw: Json, at: str, case: bool, depth: int) -> list[Filter]:
        if isinstance(raw, Mapping) and logic == "NOT":
            raw = [raw]
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise ValidationError(
                f"{logic} takes a list of conditions{' or one condition' if logic == 'NOT' else ''}, "
                f"not {_described(raw)}.",
                field=at,
            )
        parts = self._parts(raw, at, case, depth)
        if logic == "AND" or not parts:
            return parts
        if logic == "NOT":
            return [Not(part) for part in parts]
        return [parts[0] if len(parts) == 1 else Or(tuple(parts))]

    def _shorthand(self, name: str, raw: Json, at: str, case: bool) -> Filter:
        """`{"brand": …}`: equality, `in` for a list, or named operators in an object."""
        if isinstance(raw, Mapping) and not _is_dynamic(raw):
            if not raw:
                raise ValidationError("Give a value, or operators such as {'gte': 3}.", field=at)
            return _simplest(
                [
                    self._checked(name, key.removeprefix("$"), value, f"{at}.{key}", case)
                    for key, value in raw.items()
                ]
            )
        value = self._resolved(raw, at)
        return self._checked(name, "in" if isinstance(value, list | tuple) else "eq", value, at, case)

    def _condition(self, raw: Mapping[str, Json], at: str, case: bool) -> Filter:
        operator = raw.get("operator")
        if operator is None:
            operator = "eq"
        name = raw["field"]
        if not isinstance(name, str):
            raise ValidationError(
                f"`field` is the dot path of a field, not {_described(name)}.", field=f"{at}.field"
            )
        if "value" not in raw and operator not in ("exists", "is_null"):
            raise ValidationError("A condition needs a `value`.", field=f"{at}.value")
        return self._checked(name, operator, raw.get("value"), f"{at}.value", self._case(raw, at, case), at)

    def _checked(
        self, name: str, operator: Json, raw: Json, at: str, case: bool, condition_at: str | None = None
    ) -> Condition:
        """The condition, once its field, operator and value are known to be sound."""
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise ValidationError(f"A filter may hold at most {MAX_CONDITIONS} conditions.", field=at)
        if operator not in OPERATORS:
            raise ValidationError(
                f"Unknown operator {operator!r}. Accepted: {', '.join(OPERATORS)}.",
                field=f"{condition_at}.operator" if condition_at else at,
                accepted=list(OPERATORS),
            )
        _check_field(name, f"{condition_at}.field" if condition_at else at)
        value = _check_value(operator, self._resolved(raw, at), at, case)
        return Condition(name, operator, value, case)

    def _case(self, raw: Mapping[str, Json], at: str, inherited: bool) -> bool:
        case = raw.get("case_sensitive")
        if case is None:
            return inherited
        if not isinstance(case, bool):
            raise ValidationError(
                f"`case_sensitive` is true or false, not {_described(case)}.", field=f"{at}.case_sensitive"
            )
        return case

    def _resolved(self, raw: Json, at: str) -> Json:
        """The value itself, with dynamic values looked up."""
        if isinstance(raw, Mapping):
            return self._input(raw, at) if _is_dynamic(raw) else raw
        if isinstance(raw, list | tuple):
            return [
                self._input(item, at) if isinstance(item, Mapping) and _is_dynamic(item) else item
                for item in raw
            ]
        return raw

    def _input(self, raw: Mapping[str, Json], at: str) -> Json:
        path = raw["field"]
        if self._inputs is None:
            raise ValidationError("Dynamic values are possible only where a request has inputs.", field=at)
        if not isinstance(path, str) or not path:
            raise ValidationError("A dynamic value names its input: 'inputs.user_id'.", field=f"{at}.field")
        segments = path.split(".")
        if len(segments) > 1 and segments[0].lower() in ("inputs", "input"):
            segments = segments[1:]
        value: object = self._inputs
        for segment in segments:
            value = value.get(segment, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            given = ", ".join(sorted(self._inputs)) or "none"
            raise ValidationError(
                f"There is no input '{'.'.join(segments)}'. Given: {given}.",
                field=f"{at}.field",
            )
        return cast(Json, value)


_CONDITION_KEYS: Final = frozenset({"field", "operator", "value", "case_sensitive"})


def _is_condition(raw: Mapping[str, Json]) -> bool:
    return "field" in raw and ("value" in raw or "operator" in raw)


def _check_keys(raw: Mapping[str, Json], at: str) -> None:
    """Refuse what looks like a condition or a group and is none: as a shorthand it would match nothing.

    Fields that are named like a condition's keys can be asked for in the long form.
    """
    if _is_condition(raw):
        strange = sorted(set(raw) - _CONDITION_KEYS)
        if strange:
            raise ValidationError(
                f"A condition has field, operator, value and case_sensitive, not '{strange[0]}'.",
                field=f"{at}.{strange[0]}",
            )
    elif set(raw) <= _CONDITION_KEYS and ("field" in raw or {"operator", "value"} <= set(raw)):
        lacking = "a `value`" if "field" in raw else "a `field`"
        raise ValidationError(f"A condition needs {lacking}.", field=at)
    for key, value in raw.items():
        several = isinstance(value, Sequence) and not isinstance(value, str)
        if key.isupper() and key not in _LOGIC and several and _holds_objects(cast("Sequence[Json]", value)):
            raise ValidationError(f"'{key}' joins no conditions; AND, OR and NOT do.", field=f"{at}.{key}")


def _holds_objects(values: Sequence[Json]) -> bool:
    return all(isinstance(one, Mapping) and not _is_dynamic(one) for one in values)


def _is_dynamic(raw: Mapping[str, Json]) -> bool:
    return raw.get("type") == "dynamic" and "field" in raw


def _simplest(parts: Sequence[Filter]) -> Filter:
    parts = [part for part in parts if part != ALL]
    return conjunction(parts) if parts else ALL


def _check_field(name: str, at: str) -> None:
    steps = name.split(".")
    if len(name) > MAX_FIELD or len(steps) > MAX_STEPS or not all(steps) or not _storable(name):
        raise ValidationError(
            f"'{name[:80]}' is no dot path such as 'metadata.brand' (at most {MAX_FIELD} characters "
            f"in {MAX_STEPS} steps).",
            field=at,
        )


def _check_value(operator: Operator, value: Json, at: str, case: bool) -> Json:
    """The value in the form that the operator takes. Raises `ValidationError`."""
    if operator in ("in", "nin"):
        return _check_list(operator, value, at)
    if operator in ("exists", "is_null"):
        if value is None or isinstance(value, bool):
            return value is not False
        raise _refused(operator, "true or false", value, at)
    if operator in ("gt", "gte", "lt", "lte"):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _refused(operator, "a number, a string or an ISO 8601 date or time", value, at)
        return _check_scalar(operator, value, at)
    if operator in _TEXT_OPERATORS:
        if not isinstance(value, str):
            raise _refused(operator, "a string", value, at)
        _check_scalar(operator, value, at)
        if operator in ("phrase", "words") and not words_of(value):
            raise _refused(operator, "a string with at least one word", value, at)
        if operator == "regex":
            _check_pattern(value, at, case)
        return value
    if operator in _GEO_OPERATORS:
        shape(operator, value, at)
        return value
    if operator == "contains" and value is None:
        raise _refused(operator, "a string, a number or a boolean", value, at)
    return _check_scalar(operator, value, at)


def _check_list(operator: Operator, value: Json, at: str) -> list[Json]:
    if not isinstance(value, list | tuple):
        raise _refused(operator, "a list of values", value, at)
    if len(value) > MAX_VALUES:
        raise ValidationError(f"'{operator}' takes at most {MAX_VALUES:,} values.", field=at)
    return [_check_scalar(operator, item, f"{at}.{place}") for place, item in enumerate(value)]


def _check_scalar(operator: Operator, value: Json, at: str) -> Json:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise _refused(operator, "one string, number, boolean or null (for several: 'in')", value, at)
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(operator, "a finite number", value, at)
    if isinstance(value, str) and not _storable(value):
        raise ValidationError("The string holds a NUL or half of a surrogate pair.", field=at)
    return value


def _check_pattern(pattern: str, at: str, case: bool) -> None:
    if len(pattern) > MAX_PATTERN:
        raise ValidationError(f"A regular expression may have at most {MAX_PATTERN} characters.", field=at)
    try:
        compile_pattern(pattern, case)
    except ValueError as error:
        raise ValidationError(
            f"The regular expression is not valid: {error}. Accepted is RE2 syntax, which has no "
            "backreferences and no look-around.",
            field=at,
        ) from error


def _storable(text: str) -> bool:
    if text.isascii():
        return "\0" not in text
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _refused(operator: str, accepted: str, value: Json, at: str) -> ValidationError:
    return ValidationError(f"'{operator}' takes {accepted}, not {_described(value)}.", field=at)


def _described(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return f"the string '{value[:40]}'"
        case int() | float():
            return f"the number {value}"
        case Mapping():
            return "an object"
        case _:
            return "a list"
