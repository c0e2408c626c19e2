"""Filters in a Qdrant server's conditions on the terms of points (`server_terms`).

A filter is cut at its outermost AND. What no condition can say exactly stays behind as
`residual`, to be tried on the payloads of the points that the rest leaves. Tests of strings other
than equality become a match of any of the field's strings, where a facet has told them all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from qdrant_client import models

from lamina.core.filters import ALL, And, Condition, Filter, Not, Or, conditions, conjunction, conjuncts
from lamina.core.geography import shape
from lamina.core.predicate import accepts_missing, matches, negated, parse_instant, value_test
from lamina.core.types import Json
from lamina.stores.vectors.server_terms import (
    CLASSES,
    INSTANTS,
    NUMBERS,
    PRESENCE,
    PRESENT,
    SAFE_INTEGERS,
    TOKENS,
    WITH_STRINGS,
    equal_tokens,
    string_token,
    terms_key,
)

Words = Mapping[str, Sequence[str] | None]
"""The distinct strings of fields; None where there are too many, or some too long to be told."""

Wanted = set[tuple[str, str]]
"""Paths and parts of terms."""

NEVER: Final = models.HasIdCondition(has_id=[])
ALWAYS: Final = models.Filter()

_MANY: Final = 5_000
"""Strings beyond which a match of any costs more than reading the payloads."""

_SLACK: Final = 1e-9
"""Degrees by which boxes are widened: Qdrant may read a float one unit in the last place off."""

_ON_STRINGS: Final = frozenset({"contains", "starts_with", "ends_with", "text", "regex", "phrase", "words"})
_COMPARISONS: Final = frozenset({"gt", "gte", "lt", "lte"})


@dataclass(slots=True)
class Plan:
    """How a filter will be answered: by the engine, then by the predicate on what that leaves."""

    native: models.Filter
    residual: Filter = ALL
    wanted: Wanted = field(default_factory=set)
    """What an index would help with."""


def plan(where: Filter, collection_id: str, words: Words) -> Plan:
    """Compile a filter on the points of one collection."""
    compiler = _Compiler(collection_id, words)
    must: list[models.Condition] = [
        models.FieldCondition(key="collection_id", match=models.MatchValue(value=collection_id))
    ]
    rest: list[Filter] = []
    for part in conjuncts(where):
        native = compiler.filter(part)
        if native is None:
            rest.append(part)
            must.extend(compiler.narrowing(part))
        elif native is not ALWAYS:
            must.append(native)
    return Plan(models.Filter(must=must), conjunction(rest) if rest else ALL, compiler.wanted)


def fields_of_words(where: Filter) -> set[str]:
    """The fields whose strings would make the filter exact."""
    return {
        condition.field
        for condition in conditions(where)
        if condition.operator in _ON_STRINGS
        or (
            condition.operator in _COMPARISONS
            and isinstance(condition.value, str)
            and parse_instant(condition.value) is None
        )
    }


def both(first: models.Filter, *more: models.Condition) -> models.Filter:
    """All of the conditions at once."""
    return models.Filter(must=[first, *more])


def present(path: str, classes: str = CLASSES) -> models.FieldCondition:
    """That a path has a value, of one of the classes."""
    return models.FieldCondition(key=PRESENT, match=models.MatchAny(any=[one + path for one in classes]))


def has_token(path: str, tokens: Sequence[str]) -> models.Condition:
    """That one of a path's values has one of the tokens."""
    if not tokens:
        return NEVER
    return models.FieldCondition(key=terms_key(path, TOKENS), match=models.MatchAny(any=list(tokens)))


class _Compiler:
    """One compilation. Methods give None for what Qdrant cannot say exactly."""

    def __init__(self, collection_id: str, words: Words) -> None:
        self._constants: dict[str, Json] = {"collection_id": collection_id}
        self._words = words
        self.wanted: Wanted = set()

    def filter(self, where: Filter) -> models.Condition | None:
        match where:
            case Condition():
                return self.condition(where)
            case Not(part):
                inner = self.filter(part)
                return None if inner is None else models.Filter(must_not=[inner])
            case And(parts) | Or(parts):
                compiled = [self.filter(part) for part in parts]
                known = [part for part in compiled if part is not None]
                if len(known) < len(compiled):
                    return None
                if isinstance(where, And):
                    return models.Filter(must=known) if known else ALWAYS
                return models.Filter(should=known) if known else NEVER

    def narrowing(self, where: Filter) -> Iterator[models.Condition]:
        """Conditions that hold wherever the filter does, and for more."""
        if not isinstance(where, Condition):
            return
        path = where.field
        if where.operator.startswith("geo_"):
            yield from self._in_bounds(where)
        elif where.operator == "contains":
            equal = has_token(path, self._equal([where.value], path, where.case_sensitive))
            if isinstance(where.value, str):
                equal = models.Filter(should=[equal, self._present(path, WITH_STRINGS)])
            yield equal
        elif where.operator in _ON_STRINGS:
            yield self._present(path, WITH_STRINGS)

    def condition(self, condition: Condition) -> models.Condition | None:
        if condition.field in self._constants:
            return ALWAYS if matches(condition, self._constants) else NEVER
        if condition.operator in ("exists", "is_null"):
            native: models.Condition | None = self._present(condition.field)
        elif not accepts_missing(condition):
            native = self._values(condition)
        else:
            values = self._values(condition)
            if values is None:
                return None
            missing = models.Filter(must_not=[self._present(condition.field)])
            native = models.Filter(should=[missing, values])
        if native is None:
            return None
        return models.Filter(must_not=[native]) if negated(condition) else native

    def _values(self, condition: Condition) -> models.Condition | None:
        """That one of the values satisfies the condition, `ne` and `nin` taken as `eq` and `in`."""
        path, value, case = condition.field, condition.value, condition.case_sensitive
        match condition.operator:
            case "eq" | "ne":
                return has_token(path, self._equal([value], path, case))
            case "in" | "nin":
                return has_token(path, self._equal(cast(Sequence[Json], value), path, case))
            case "gt" | "gte" | "lt" | "lte":
                return self._range(condition)
            case "contains" | "geo_radius" | "geo_bounding_box" | "geo_polygon":
                return None
            case _:
                return self._passing(condition)

    def _present(self, path: str, classes: str = CLASSES) -> models.FieldCondition:
        self.wanted.add(PRESENCE)
        return present(path, classes)

    def _equal(self, values: Sequence[Json], path: str, case: bool) -> list[str]:
        self.wanted.add((path, TOKENS))
        return list(dict.fromkeys(token for value in values for token in equal_tokens(value, case)))

    def _range(self, condition: Condition) -> models.Condition | None:
        path, value, name = condition.field, condition.value, condition.operator
        if isinstance(value, int | float):
            if abs(value) >= SAFE_INTEGERS:
                return None
            self.wanted.add((path, NUMBERS))
            numbers = models.Range(**{name: float(value)})
            return models.FieldCondition(key=terms_key(path, NUMBERS), range=numbers)
        moment = parse_instant(cast(str, value))
        if moment is None:
            return self._passing(condition)
        self.wanted.add((path, INSTANTS))
        instants = models.DatetimeRange(**{name: moment})
        return models.FieldCondition(key=terms_key(path, INSTANTS), range=instants)

    def _passing(self, condition: Condition) -> models.Condition | None:
        """The strings of the field that satisfy the condition."""
        if condition.operator in _ON_STRINGS and not isinstance(condition.value, str):
            return NEVER
        self.wanted.add((condition.field, TOKENS))
        words = self._words.get(condition.field)
        if words is None:
            return None
        test = value_test(condition)
        passing = [string_token(text) for text in words if test(text)]
        return None if len(passing) > _MANY else has_token(condition.field, passing)

    def _in_bounds(self, where: Condition) -> Iterator[models.Condition]:
        bounds = shape(where.operator, where.value).bounds()
        lat, lon = f"{where.field}.lat", f"{where.field}.lon"
        west, east = Condition(lon, "gte", bounds.west - _SLACK), Condition(lon, "lte", bounds.east + _SLACK)
        both_sides: Filter = And((west, east)) if bounds.west <= bounds.east else Or((west, east))
        south, north = (
            Condition(lat, "gte", bounds.south - _SLACK),
            Condition(lat, "lte", bounds.north + _SLACK),
        )
        for part in (south, north, both_sides):
            native = self.filter(part)
            if native is not None:
                yield native
