"""Filters in Qdrant Edge's own conditions, wherever those mean exactly what `core.predicate` does.

A filter is cut at its outermost AND. What Qdrant cannot say exactly stays behind as `residual`,
to be tried on the payloads. Two devices keep that seldom: comparisons of strings without case are
answered from the field's vocabulary and become a match of any of its spellings, and shapes on the
globe are narrowed by the box around them before the payloads are read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
import qdrant_edge as q

from lamina.core.filters import ALL, And, Condition, Filter, Not, Operator, Or, conjunction, conjuncts
from lamina.core.geography import shape
from lamina.core.models import isoformat
from lamina.core.patterns import fold
from lamina.core.predicate import accepts_missing, matches, negated, parse_instant, value_test
from lamina.core.types import Json
from lamina.stores.vectors import edge_fields as seen
from lamina.stores.vectors.edge_fields import Fields, Vocabulary

NativeCondition = (
    q.FieldCondition | q.IsEmptyCondition | q.IsNullCondition | q.HasIdCondition | q.HasVectorCondition
    | q.NestedCondition | q.Filter
)  # fmt: skip

NEVER: Final = q.HasIdCondition(set())
ALWAYS: Final = q.Filter()

_MANY: Final = 5_000
"""Spellings beyond which a match of any costs more than reading the payloads."""


@dataclass(slots=True)
class Plan:
    """How a filter will be answered: by the engine, then by the predicate on what that leaves."""

    native: q.Filter | None = None
    residual: Filter = ALL
    wanted: set[str] = field(default_factory=set)
    """Paths for which an index or a vocabulary would help."""


def plan(where: Filter, fields: Fields) -> Plan:
    """Compile a filter. Correct whatever `wanted` says: preparing those paths only makes it faster."""
    if where == ALL:
        return Plan()
    compiler = _Compiler(fields)
    must: list[NativeCondition] = []
    rest: list[Filter] = []
    for part in conjuncts(where):
        native = compiler.filter(part)
        if native is None:
            rest.append(part)
            must.extend(compiler.narrowing(part))
        elif native is not ALWAYS:
            must.append(native)
    return Plan(
        native=q.Filter(must=must) if must else None,
        residual=conjunction(rest) if rest else ALL,
        wanted=compiler.wanted,
    )


class _Compiler:
    """One compilation. Methods give None for what Qdrant cannot say exactly."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.wanted: set[str] = set()

    def filter(self, where: Filter) -> NativeCondition | None:
        match where:
            case Condition():
                return self.condition(where)
            case Not(part):
                inner = self.filter(part)
                return None if inner is None else q.Filter(must_not=[inner])
            case And(parts) | Or(parts):
                compiled = [self.filter(part) for part in parts]
                known = [part for part in compiled if part is not None]
                if len(known) < len(compiled):
                    return None
                if isinstance(where, And):
                    return q.Filter(must=known) if known else ALWAYS
                return q.Filter(should=known) if known else NEVER

    def narrowing(self, where: Filter) -> Iterator[NativeCondition]:
        """Conditions that hold wherever a shape on the globe does, and for more."""
        if not isinstance(where, Condition) or not where.operator.startswith("geo_"):
            return
        bounds = shape(where.operator, where.value).bounds()
        lat, lon = f"{where.field}.lat", f"{where.field}.lon"
        west = Condition(lon, "gte", bounds.west)
        east = Condition(lon, "lte", bounds.east)
        both_sides: Filter = And((west, east)) if bounds.west <= bounds.east else Or((west, east))
        for part in (Condition(lat, "gte", bounds.south), Condition(lat, "lte", bounds.north), both_sides):
            native = self.filter(part)
            if native is not None:
                yield native

    def condition(self, condition: Condition) -> NativeCondition | None:
        if condition.field in self._fields.constants:
            return ALWAYS if matches(condition, self._fields.constants) else NEVER
        keys = self._fields.keys(condition.field)
        if keys is None:
            return None
        if condition.operator in ("exists", "is_null"):
            native = self._present(condition.field, keys)
        elif not accepts_missing(condition):
            native = self._values(condition, keys)
        else:
            present, values = self._present(condition.field, keys), self._values(condition, keys)
            if present is None or values is None:
                return None
            native = q.Filter(should=[q.Filter(must_not=[present]), values])
        if native is None:
            return None
        return q.Filter(must_not=[native]) if negated(condition) else native

    def _present(self, path: str, keys: Sequence[str]) -> NativeCondition | None:
        if not keys:
            return NEVER
        if len(keys) > 1 or "[]" in keys[0] or self._fields.kinds(path) & seen.NULLS:
            return None
        self._want_index(path)
        return q.Filter(must_not=[q.IsEmptyCondition(keys[0])])

    def _values(self, condition: Condition, keys: Sequence[str]) -> NativeCondition | None:
        """That one of the values satisfies the condition, `ne` and `nin` taken as `eq` and `in`."""
        if not self._fields.kinds(condition.field):
            return NEVER
        match condition.operator:
            case "eq" | "ne":
                return self._equal([condition.value], condition, keys)
            case "in" | "nin":
                return self._equal(cast(Sequence[Json], condition.value), condition, keys)
            case "gt" | "gte" | "lt" | "lte":
                return self._range(condition, keys)
            case "contains":
                return self._contains(condition, keys)
            case "geo_radius" | "geo_bounding_box" | "geo_polygon":
                return None
            case _:
                return self._passing(condition, keys)

    def _equal(
        self, values: Sequence[Json], condition: Condition, keys: Sequence[str]
    ) -> NativeCondition | None:
        path = condition.field
        alternatives: list[NativeCondition | None] = []
        exact: list[str] = []
        folded: list[str] = []
        for value in values:
            if isinstance(value, bool):
                alternatives.append(self._boolean(value, path, keys))
            elif isinstance(value, int | float):
                alternatives.append(self._number(path, keys, gte=value, lte=value))
            elif isinstance(value, str):
                moment = parse_instant(value)
                if moment is not None:
                    instant = isoformat(moment)
                    alternatives.append(self._instant(path, keys, gte=instant, lte=instant))
                else:
                    (exact if condition.case_sensitive or _has_no_case(value) else folded).append(value)
        if exact:
            alternatives.append(self._strings(exact, path, keys))
        if folded:
            alternatives.append(self._spelled(folded, path, keys))
        return _any(alternatives)

    def _boolean(self, value: bool, path: str, keys: Sequence[str]) -> NativeCondition:
        if not self._fields.kinds(path) & seen.BOOLEAN:
            return NEVER
        self._want_index(path)
        # A Python bool would be taken for the integer that it is; NumPy's is not one.
        match = q.MatchValue(cast(bool, np.bool_(value)))
        return _over(keys, [q.FieldCondition(key, match=match) for key in keys])

    def _number(self, path: str, keys: Sequence[str], **limits: int | float) -> NativeCondition | None:
        kinds, index = self._fields.kinds(path), self._fields.indexes.get(path)
        if not kinds & seen.NUMBERS:
            return NEVER
        self._want_index(path)
        if any(abs(limit) >= seen.EXACT_INTEGERS for limit in limits.values()):
            return None
        if index == "datetime" or (index == "integer" and kinds & seen.FLOAT):
            return None
        numbers = q.RangeFloat(**{name: float(limit) for name, limit in limits.items()})
        return _over(keys, [q.FieldCondition(key, range=numbers) for key in keys])

    def _instant(self, path: str, keys: Sequence[str], **limits: str) -> NativeCondition | None:
        kinds = self._fields.kinds(path)
        if kinds & seen.UNCLEAR:
            return None
        if not kinds & seen.INSTANT:
            return NEVER
        self._want_index(path)
        if self._fields.indexes.get(path) in ("integer", "float"):
            return None
        instants = q.RangeDateTime(**limits)
        return _over(keys, [q.FieldCondition(key, range=instants) for key in keys])

    def _strings(self, values: Sequence[str], path: str, keys: Sequence[str]) -> NativeCondition:
        if not values or not self._fields.kinds(path) & seen.STRINGS:
            return NEVER
        self._want_index(path)
        match = q.MatchValue(values[0]) if len(values) == 1 else q.MatchAny(list(values))
        return _over(keys, [q.FieldCondition(key, match=match) for key in keys])

    def _spelled(self, values: Sequence[str], path: str, keys: Sequence[str]) -> NativeCondition | None:
        if not self._fields.kinds(path) & (seen.TEXT | seen.UNCLEAR):
            return NEVER
        vocabulary = self._vocabulary(path)
        if vocabulary is None:
            return None
        return self._strings(vocabulary.spellings(map(fold, values)), path, keys)

    def _range(self, condition: Condition, keys: Sequence[str]) -> NativeCondition | None:
        path, value = condition.field, condition.value
        if isinstance(value, int | float):
            return self._number(path, keys, **{condition.operator: value})
        moment = parse_instant(cast(str, value))
        if moment is not None:
            return self._instant(path, keys, **{condition.operator: isoformat(moment)})
        return self._passing(condition, keys)

    def _contains(self, condition: Condition, keys: Sequence[str]) -> NativeCondition | None:
        kinds = self._fields.kinds(condition.field)
        if kinds & seen.LIST:
            return None if kinds & seen.ALONE else self._equal([condition.value], condition, keys)
        return self._passing(condition, keys) if isinstance(condition.value, str) else NEVER

    def _passing(self, condition: Condition, keys: Sequence[str]) -> NativeCondition | None:
        """The strings of the field's vocabulary that satisfy the condition."""
        if not self._fields.kinds(condition.field) & seen.STRINGS:
            return NEVER
        vocabulary = self._vocabulary(condition.field)
        if vocabulary is None:
            return None
        passing = vocabulary.passing(value_test(condition))
        return None if len(passing) > _MANY else self._strings(passing, condition.field, keys)

    def _vocabulary(self, path: str) -> Vocabulary | None:
        if self._fields.kinds(path) & seen.LONG:
            return None
        if self._fields.vocabulary_to_load(path):
            self.wanted.add(path)
        return self._fields.vocabularies.get(path)

    def _want_index(self, path: str) -> None:
        if self._fields.index_to_make(path) is not None:
            self.wanted.add(path)


def order_range(path_key: str, operator: Operator, value: int | float | str) -> q.FieldCondition:
    """The condition that a field's number, or instant in ISO 8601, lies beyond or at a value."""
    limits: Mapping[str, object] = {"gte": value, "lte": value} if operator == "eq" else {operator: value}
    if isinstance(value, str):
        return q.FieldCondition(path_key, range=q.RangeDateTime(**cast(dict[str, str], limits)))
    return q.FieldCondition(path_key, range=q.RangeFloat(**cast(dict[str, float], limits)))


def both_native(first: q.Filter | None, second: NativeCondition | None) -> q.Filter | None:
    """Both conditions at once; None stands for no condition."""
    if second is None:
        return first
    return q.Filter(must=[second] if first is None else [first, second])


def _any(alternatives: Sequence[NativeCondition | None]) -> NativeCondition | None:
    known = [part for part in alternatives if part is not None]
    if len(known) < len(alternatives):
        return None
    known = [part for part in known if part is not NEVER]
    if not known:
        return NEVER
    return known[0] if len(known) == 1 else q.Filter(should=known)


def _over(keys: Sequence[str], conditions: Sequence[q.FieldCondition]) -> NativeCondition:
    """The condition under any of the keys."""
    if not keys:
        return NEVER
    return conditions[0] if len(conditions) == 1 else q.Filter(should=list(conditions))


def _has_no_case(text: str) -> bool:
    return text == text.lower() == text.upper()
