"""Filters as SQL over records: real columns where a field has one, the JSON body otherwise.

`split` hands back what SQL cannot say exactly, and the caller tries that on the bodies it reads.
Left over are: regular expressions, words, phrases, shapes, dates and times inside the body,
strings in order, and case-insensitive values with letters outside ASCII (SQLite's `lower` knows
no others). Everything else is exact on SQLite and on PostgreSQL, also through lists.

A path is followed by unnesting: each step opens a list into its elements, as `core.predicate`
does. No part of an expression is ever NULL, so NOT turns it round faithfully.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from lamina.core.filters import ALL, And, Condition, Filter, Not, Or, conjunction, conjuncts
from lamina.core.models import isoformat
from lamina.core.predicate import parse_instant
from lamina.core.types import Json

Expression = sa.ColumnElement[bool]
ColumnOf = Callable[[str], "sa.ColumnElement[Any] | None"]
Terms = sa.ColumnElement[Any]

TIMESTAMPS: Final = frozenset({"created_at", "updated_at"})
"""Columns that hold moments as `core.models.isoformat` writes them, so that text order is time order."""

_WITHOUT_TERMS: Final = frozenset({"status", "error"})
"""Fields at the root that processing changes; `migrations/versions/r0005_hot.py` leaves them out."""

_BODY: Final[sa.ColumnClause[Any]] = sa.column("body", sa.JSON())


def split(
    where: Filter, column_of: ColumnOf, body: sa.ColumnElement[Any] = _BODY, terms: Terms | None = None
) -> tuple[Expression, Filter]:
    """The part of a filter that SQL decides, and the rest for `core.predicate` to decide.

    Both must hold. `column_of` gives the text column that holds a field, or None for a field that
    only the body holds. `terms` are those of the body, where the table has an index of them.
    """
    decided: list[Expression] = []
    rest: list[Filter] = []
    for part in conjuncts(where):
        expression = compile_filter(part, column_of, body, terms)
        if expression is None:
            rest.append(part)
        else:
            decided.append(expression)
    return sa.and_(sa.true(), *decided), conjunction(rest) if rest else ALL


def compile_filter(
    where: Filter, column_of: ColumnOf, body: sa.ColumnElement[Any] = _BODY, terms: Terms | None = None
) -> Expression | None:
    """The whole filter as SQL, or None where SQL cannot say it exactly."""
    match where:
        case Condition():
            column = column_of(where.field)
            return _on_body(where, body, terms) if column is None else _on_column(where, column)
        case Not(part):
            inner = compile_filter(part, column_of, body, terms)
            return None if inner is None else sa.not_(inner)
        case And(parts) | Or(parts):
            compiled = [compile_filter(part, column_of, body, terms) for part in parts]
            known = [expression for expression in compiled if expression is not None]
            if len(known) < len(compiled):
                return None
            return sa.and_(sa.true(), *known) if isinstance(where, And) else sa.or_(sa.false(), *known)


def field_expression(body: sa.ColumnElement[Any], path: str) -> Sequence[sa.ColumnElement[Any]]:
    """What to order by for a field of the body: its kind, then its number, then its text.

    Numbers come before strings, strings (by code point) before booleans. NULL for anything else.
    """
    if '"' in path:
        return (sa.cast(sa.null(), sa.Text),)  # PostgreSQL takes no plain NULL to order by
    value: sa.ColumnElement[Any] = body
    for segment in path.split("."):
        value = _Member(value, _sqlite_path(segment), sa.literal(segment))
    kind, text = _Kind(value), _Scalar(value)
    return (
        sa.case((kind.in_(_NUMBERS), 0), (kind.in_(_STRINGS), 1), (kind.in_(_BOOLEANS), 2)),
        sa.case((kind.in_(_NUMBERS), sa.cast(text, sa.Numeric))),
        sa.case((kind.in_((*_STRINGS, *_BOOLEANS)), _Binary(text))),
    )


def terms_of(table: sa.Table) -> Terms:
    """PostgreSQL's column of what the bodies hold; `migrations/versions/r0002_terms.py` says how."""
    return sa.literal_column(f"{table.name}.terms")


def by_code_point(text: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A text to be ordered by code point, whatever order of letters the database prefers."""
    return _Binary(text)


def ascii_lower(text: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A text with A to Z in lower case, all other letters as they are."""
    return _AsciiLower(text)


# Conditions on real columns


def _on_column(condition: Condition, column: sa.ColumnElement[Any]) -> Expression | None:
    present = column.is_not(None)
    match condition.operator:
        case "exists":
            return present if condition.value else sa.not_(present)
        case "is_null":
            return sa.not_(present) if condition.value else present
        case "eq" | "in":
            return _column_equals(condition, column)
        case "ne" | "nin":
            equal = _column_equals(condition, column)
            return None if equal is None else sa.not_(equal)
        case "gt" | "gte" | "lt" | "lte":
            bound = _column_bound(condition, column)
            return None if bound is None else sa.and_(present, _ordered(condition, _Binary(column), bound))
    test = _text_test(condition, column)
    return None if test is None else sa.and_(present, test)


def _column_equals(condition: Condition, column: sa.ColumnElement[Any]) -> Expression | None:
    values = _wanted(condition)
    if not all(value is None or isinstance(value, str) for value in values):
        return None
    texts = [value for value in values if isinstance(value, str)]
    if _is_timestamp(column):
        moments = [parse_instant(text) for text in texts]
        test: Expression = column.in_([isoformat(moment) for moment in moments if moment is not None])
    else:
        equal = _equal_texts(texts, column, condition.case_sensitive)
        if equal is None:
            return None
        test = equal
    present = sa.and_(column.is_not(None), test)
    return sa.or_(column.is_(None), present) if None in values else present


def _column_bound(condition: Condition, column: sa.ColumnElement[Any]) -> str | None:
    """The text that a range over a column compares with; None where text order does not decide."""
    value = condition.value
    if not isinstance(value, str):
        return None
    moment = parse_instant(value)
    if _is_timestamp(column):
        return None if moment is None else isoformat(moment)
    return value if moment is None and condition.case_sensitive else None


def _is_timestamp(column: sa.ColumnElement[Any]) -> bool:
    return getattr(column, "name", None) in TIMESTAMPS


# Conditions on the body


def _on_body(condition: Condition, body: sa.ColumnElement[Any], terms: Terms | None) -> Expression | None:
    if '"' in condition.field:
        return None
    values = _unnested(body, condition.field.split("."))
    present = values.any(sa.not_(values.kind.in_(_NULLS)))
    match condition.operator:
        case "exists":
            return present if condition.value else sa.not_(present)
        case "is_null":
            return sa.not_(present) if condition.value else present
        case "eq" | "in" | "ne" | "nin":
            test = _equal_values(_wanted(condition), values, condition.case_sensitive)
            if test is None:
                return None
            equal = values.any(test)
            if None in _wanted(condition):
                equal = sa.or_(equal, sa.not_(present))
            if condition.operator in ("ne", "nin"):
                return sa.not_(equal)
            return sa.and_(_may_equal(condition, terms), equal)
        case "gt" | "gte" | "lt" | "lte":
            if isinstance(condition.value, str):
                return None
            return values.any(_ordered(condition, values.number, sa.literal(condition.value)))
    test = _body_text_test(condition, values)
    return None if test is None else values.any(test)


def _may_equal(condition: Condition, terms: Terms | None) -> Expression:
    """What holds wherever an equality does, and that the index of the terms can answer."""
    wanted = _wanted(condition)
    if terms is None or any(value is None or isinstance(value, bool) for value in wanted):
        return sa.true()
    if condition.field.split(".")[0] in _WITHOUT_TERMS:
        return sa.true()
    path = sa.func.hashtextextended(f".{condition.field}", 0)
    hashes = [
        sa.func.hashtextextended(_AsciiLower(sa.literal(value)), path)
        if isinstance(value, str)
        # The shortest decimal that means the number is what JSON has, too.
        else sa.func.hash_numeric_extended(sa.cast(repr(value), sa.Numeric), path)
        for value in wanted
        if isinstance(value, str | int | float)
    ]
    return terms.op("&&", is_comparison=True)(sa.cast(array(hashes), ARRAY(sa.BigInteger)))


def _body_text_test(condition: Condition, values: "_Values") -> Expression | None:
    text = _text_test(condition, values.text)
    if text is None:
        return None
    holds = sa.and_(values.kind.in_(_STRINGS), text)
    if condition.operator != "contains":
        return holds
    equal = _equal_values([condition.value], values, condition.case_sensitive)
    return None if equal is None else sa.case((values.in_list, equal), else_=holds)


def _equal_values(wanted: Sequence[Json], values: "_Values", case: bool) -> Expression | None:
    """That one value of the body equals one of those wanted, null aside."""
    texts = [value for value in wanted if isinstance(value, str)]
    numbers = [value for value in wanted if isinstance(value, int | float) and not isinstance(value, bool)]
    booleans = ["true" if value else "false" for value in wanted if isinstance(value, bool)]
    text = _equal_texts(texts, values.text, case)
    if text is None:
        return None
    return sa.or_(
        sa.and_(values.kind.in_(_STRINGS), text),
        sa.or_(sa.false(), *(values.number == sa.literal(number) for number in numbers)),
        sa.and_(values.kind.in_(_BOOLEANS), values.text.in_(booleans)),
    )


# Tests of text


def _wanted(condition: Condition) -> Sequence[Json]:
    if condition.operator in ("in", "nin"):
        assert isinstance(condition.value, list | tuple)
        return condition.value
    return [condition.value]


def _equal_texts(texts: Sequence[str], text: sa.ColumnElement[Any], case: bool) -> Expression | None:
    exact = [value for value in texts if case or _has_no_case(value)]
    folded = [value.lower() for value in texts if not case and not _has_no_case(value)]
    if any(parse_instant(value) is not None for value in texts) or not all(map(str.isascii, folded)):
        return None
    tests = [text.in_(exact)] if exact else []
    if folded:
        tests.append(_AsciiLower(text).in_(folded))
    return sa.or_(sa.false(), *tests)


def _text_test(condition: Condition, text: sa.ColumnElement[Any]) -> Expression | None:
    value = condition.value
    if condition.operator not in ("contains", "text", "starts_with", "ends_with"):
        return None
    if not isinstance(value, str):
        return sa.false()
    if not condition.case_sensitive and not _has_no_case(value):
        if not value.isascii():
            return None
        text, value = _AsciiLower(text), value.lower()
    if condition.operator == "starts_with":
        return sa.func.substr(text, 1, len(value)) == value
    if condition.operator == "ends_with":
        return sa.func.substr(text, sa.func.length(text) - len(value) + 1) == value
    return _Find(text, sa.literal(value)) > 0


def _ordered(condition: Condition, left: sa.ColumnElement[Any], right: Any) -> Expression:
    expression: Expression = _COMPARE[condition.operator](left, right)
    return expression


_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _has_no_case(text: str) -> bool:
    return text == text.lower() == text.upper()


# Values inside the body

_NULLS: Final = ("null",)
_STRINGS: Final = ("text", "string")
_NUMBERS: Final = ("integer", "real", "number")
_BOOLEANS: Final = ("true", "false", "boolean")
_LISTS: Final = ("array",)
"""Names of JSON types: SQLite's and PostgreSQL's side by side."""


class _Values(NamedTuple):
    """The values that a path reaches, as columns of a subquery over unnested lists."""

    steps: Sequence[sa.FromClause]
    kind: sa.ColumnElement[str]
    text: sa.ColumnElement[str]
    in_list: Expression

    @property
    def number(self) -> sa.ColumnElement[Any]:
        """The value as a number; NULL for any other kind."""
        return sa.case((self.kind.in_(_NUMBERS), sa.cast(self.text, sa.Numeric(asdecimal=False))))

    def any(self, test: Expression) -> Expression:
        """That one of the values passes a test; false where there is none."""
        return sa.exists(sa.select(sa.literal(1)).select_from(*self.steps).where(test))


def _unnested(body: sa.ColumnElement[Any], segments: Sequence[str]) -> _Values:
    steps: list[sa.FromClause] = []
    node: sa.ColumnElement[Any] = _Member(body, _sqlite_path(segments[0]), sa.literal(segments[0]))
    for segment in segments[1:]:
        step = _Opened(node).table_valued("type", "value", joins_implicitly=True)
        steps.append(step)
        node = _MemberOfElement(step.c.type, step.c.value, _sqlite_path(segment), sa.literal(segment))
    last = _Opened(node).table_valued("type", "value", joins_implicitly=True)
    steps.append(last)
    return _Values(
        steps,
        kind=_ElementKind(last.c.type, last.c.value),
        text=_ElementText(last.c.type, last.c.value),
        in_list=sa.func.coalesce(_Kind(node).in_(_LISTS), sa.false()),
    )


def _sqlite_path(segment: str) -> sa.BindParameter[str]:
    return sa.literal(f'$."{segment}"')


# What the two databases write differently. In SQLite a JSON value is text, and a row of
# `json_each` has its type beside it; in PostgreSQL it is jsonb.


class _Element(sa.sql.functions.FunctionElement[Any]):
    """An expression that each database spells in its own way."""

    inherit_cache = True


class _Text(_Element):
    type = sa.Text()


class _Number(_Element):
    type = sa.Integer()


class _Member(_Element):
    """(json, SQLite path, key): the member of the whole body."""

    inherit_cache = True


class _MemberOfElement(_Element):
    """(type, value, SQLite path, key): the member of a list's element."""

    inherit_cache = True


class _Opened(_Element):
    """(json): a table of a list's elements, or of the one value that is no list."""

    inherit_cache = True


class _Kind(_Text):
    """(json): the name of its type."""

    inherit_cache = True


class _Scalar(_Text):
    """(json): a scalar as text."""

    inherit_cache = True


class _ElementKind(_Text):
    """(type, value): the name of an element's type."""

    inherit_cache = True


class _ElementText(_Text):
    """(type, value): an element as text."""

    inherit_cache = True


class _AsciiLower(_Text):
    """(text): letters A to Z in lower case, all others as they are."""

    inherit_cache = True


class _Binary(_Text):
    """(text): to be ordered by code point."""

    inherit_cache = True


class _Find(_Number):
    """(text, part): where the part begins, from 1; 0 where it does not occur."""

    inherit_cache = True


_SPELLING: Final[dict[type[_Element], tuple[str, str]]] = {
    _Member: ("({0} -> {1})", "(CAST({0} AS JSONB) -> {2})"),
    _MemberOfElement: ("CASE WHEN {0} = 'object' THEN {1} -> {2} END", "({1} -> {3})"),
    _Opened: (
        "json_each(CASE json_type({0}) WHEN 'array' THEN {0} ELSE '[' || {0} || ']' END)",
        "jsonb_array_elements(CASE jsonb_typeof({0}) WHEN 'array' THEN {0} ELSE jsonb_build_array({0}) END)",
    ),
    _Kind: ("json_type({0})", "jsonb_typeof({0})"),
    _Scalar: ("({0} ->> '$')", "({0} #>> '{{}}')"),
    _ElementKind: ("{0}", "jsonb_typeof({1})"),
    _ElementText: (
        "CASE {0} WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE {1} END",
        "({1} #>> '{{}}')",
    ),
    _AsciiLower: ("lower({0})", 'lower({0} COLLATE "C")'),
    _Binary: ("{0}", '({0} COLLATE "C")'),
    _Find: ("instr({0}, {1})", "strpos({0}, {1})"),
}


@compiles(_Element)
def _spell(element: _Element, compiler: SQLCompiler, **options: Any) -> str:
    sqlite, postgresql = _SPELLING[type(element)]
    template = postgresql if compiler.dialect.name == "postgresql" else sqlite
    used = {int(number) for number in re.findall(r"(?<!\{)\{(\d)\}", template)}
    arguments = [
        compiler.process(argument, **options) if place in used else ""
        for place, argument in enumerate(element.clauses)
    ]
    return template.format(*arguments)
