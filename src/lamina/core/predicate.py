"""What a filter means: whether it holds for one record. Every engine must agree with `matches`.

Fields. A dot path goes through objects and through lists of objects; a list at its end is opened,
so a field may have several values and a condition holds when one of them satisfies it. A list
inside a list is not opened. A field that is missing, null, or holds nothing but nulls or an empty
list has no value.

Operators.
- `eq`: the same value. A number equals the same number written otherwise (1, 1.0), never a string
  or a boolean. `null` means: no value. `ne` is not `eq`; `in` is `eq` to one of a list; `nin` is
  not `in`. So `ne` and `nin` hold for a field without a value.
- `gt`, `gte`, `lt`, `lte`: numbers with numbers, strings with strings by code point.
- `exists`: has a value; `is_null`: has none. The value false turns them round.
- `contains`: a string that holds the value, or a list with an element that equals it.
- `starts_with`, `ends_with`, `text` (a string that holds the value), `regex` (RE2, found anywhere).
- `phrase`: the value's words, one after the other, whole. `words`: all of the value's words,
  whole, in any order, compared by their English stems and always without case.
- `geo_radius`, `geo_bounding_box`, `geo_polygon`: a place `{lat, lon}` in the shape, edges of
  circle and box included (`lamina.core.geography`).

Strings are compared without case (`lamina.core.patterns.fold`) unless `case_sensitive`. Where
the filter's value is an ISO 8601 date or time, `eq`, `in` and the comparisons mean instants:
strings that are dates or times are compared as such (UTC where no zone is given, to the
microsecond), and other strings satisfy nothing.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lamina.core.filters import And, Condition, Filter, Not, Or
from lamina.core.geography import place_of, shape
from lamina.core.models import as_utc
from lamina.core.patterns import compile_pattern, fold, stems_of, words_of
from lamina.core.types import Json

Predicate = Callable[[Mapping[str, Json]], bool]
ValueTest = Callable[[Json], bool]


def matches(where: Filter, record: Mapping[str, Json]) -> bool:
    """Whether a filter holds for a record. For many records, make a `predicate` once."""
    return predicate(where)(record)


def predicate(where: Filter) -> Predicate:
    """The filter as a function of a record."""
    match where:
        case Condition():
            return _condition(where)
        case Not(part):
            inner = predicate(part)
            return lambda record: not inner(record)
        case And(parts):
            all_of = [predicate(part) for part in parts]
            return lambda record: all(holds(record) for holds in all_of)
        case Or(parts):
            any_of = [predicate(part) for part in parts]
            return lambda record: any(holds(record) for holds in any_of)


def reach(value: Json, segments: Sequence[str]) -> Iterator[Json]:
    """What stands at a path, lists at its end unopened. More than one thing below lists of objects."""
    for place, segment in enumerate(segments):
        if isinstance(value, Mapping):
            if segment not in value:
                return
            value = value[segment]
        elif isinstance(value, list | tuple):
            for element in value:
                if isinstance(element, Mapping):
                    yield from reach(element, segments[place:])
            return
        else:
            return
    yield value


def values_at(record: Mapping[str, Json], field: str) -> Iterator[Json]:
    """The values of a field: what its path reaches, lists opened, nulls left out."""
    for found in reach(record, field.split(".")):
        if isinstance(found, list | tuple):
            yield from (element for element in found if element is not None)
        elif found is not None:
            yield found


_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?([Zz]|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)


def parse_instant(text: str) -> datetime | None:
    """The moment that an ISO 8601 date or time means, in UTC; None for other text."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return as_utc(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        return None


def value_test(condition: Condition) -> ValueTest:
    """Whether one value of the field satisfies the condition, for the operators that look at values."""
    value, case = condition.value, condition.case_sensitive
    match condition.operator:
        case "eq" | "ne":
            return _equal_to_one_of([value], case)
        case "in" | "nin":
            assert isinstance(value, list | tuple)
            return _equal_to_one_of(value, case)
        case "gt" | "gte" | "lt" | "lte":
            return _compared(condition)
        case "geo_radius" | "geo_bounding_box" | "geo_polygon":
            region = shape(condition.operator, value)
            return lambda found: (place := place_of(found)) is not None and region.covers(place)
        case "exists" | "is_null":
            return lambda found: True
        case _:
            test = _text_test(condition)
            return lambda found: isinstance(found, str) and test(found)


def element_test(condition: Condition) -> ValueTest:
    """The same for a value that is an element of a list: `contains` means equality there."""
    if condition.operator == "contains":
        return _equal_to_one_of([condition.value], condition.case_sensitive)
    return value_test(condition)


def negated(condition: Condition) -> bool:
    """Whether a condition holds exactly when no value satisfies its `value_test`."""
    if condition.operator in ("exists", "is_null"):
        return (condition.operator == "is_null") is bool(condition.value)
    return condition.operator in ("ne", "nin")


def accepts_missing(condition: Condition) -> bool:
    """Whether `eq`, `ne`, `in` or `nin` names null, which stands for a field without a value."""
    value = condition.value
    if condition.operator in ("eq", "ne"):
        return value is None
    return condition.operator in ("in", "nin") and isinstance(value, list | tuple) and None in value


def _condition(condition: Condition) -> Predicate:
    segments = condition.field.split(".")
    of_value, of_element = value_test(condition), element_test(condition)
    negative, missing = negated(condition), accepts_missing(condition)

    def holds(record: Mapping[str, Json]) -> bool:
        empty = True
        for found in reach(record, segments):
            if isinstance(found, list | tuple):
                present = [element for element in found if element is not None]
                satisfied = any(map(of_element, present))
            else:
                present = [] if found is None else [found]
                satisfied = found is not None and of_value(found)
            if satisfied:
                return not negative
            empty = empty and not present
        return (missing and empty) is not negative

    return holds


def _equal_to_one_of(values: Sequence[Json], case: bool) -> ValueTest:
    numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    booleans = {value for value in values if isinstance(value, bool)}
    strings = [value for value in values if isinstance(value, str)]
    instants = {moment for text in strings if (moment := parse_instant(text)) is not None}
    texts = {text if case else fold(text) for text in strings if parse_instant(text) is None}

    def test(found: Json) -> bool:
        if isinstance(found, str):
            if texts and (found if case else fold(found)) in texts:
                return True
            return bool(instants) and parse_instant(found) in instants
        if isinstance(found, bool):
            return found in booleans
        return isinstance(found, int | float) and found in numbers

    return test


def _compared(condition: Condition) -> ValueTest:
    value, case = condition.value, condition.case_sensitive
    in_order = _ORDER[condition.operator]
    if isinstance(value, str):
        limit = parse_instant(value)
        if limit is not None:
            return lambda found: (
                isinstance(found, str)
                and (moment := parse_instant(found)) is not None
                and in_order(moment, limit)
            )
        bound = value if case else fold(value)
        return lambda found: isinstance(found, str) and in_order(found if case else fold(found), bound)
    return lambda found: (
        isinstance(found, int | float) and not isinstance(found, bool) and in_order(found, value)
    )


_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _text_test(condition: Condition) -> Callable[[str], bool]:
    if not isinstance(condition.value, str):
        return lambda text: False
    if condition.operator == "regex":
        return compile_pattern(condition.value, condition.case_sensitive)
    if condition.operator == "words":
        wanted = stems_of(condition.value)
        return lambda text: wanted <= stems_of(text)
    find = _FIND[condition.operator]
    if condition.case_sensitive:
        exact = condition.value
        return lambda text: find(text, exact)
    part = fold(condition.value)
    return lambda text: find(fold(text), part)


_FIND: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "contains": operator.contains,
    "text": operator.contains,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "phrase": lambda text, part: _spaced(part) in _spaced(text),
}


def _spaced(text: str) -> str:
    """The words of a text with one space around each."""
    return f" {' '.join(words_of(text))} "
