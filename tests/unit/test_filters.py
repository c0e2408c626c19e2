"""The filter grammar: what is accepted, what it becomes, and what is refused with which words."""

import random
import time
from typing import Any

import pytest

from lamina.core.errors import ValidationError
from lamina.core.filters import (
    ALL,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    NONE,
    OPERATORS,
    And,
    Condition,
    Not,
    Or,
    both,
    conditions,
    conjuncts,
    equals,
    parse_filter,
)
from lamina.core.geography import Bounds, Circle, Place, distance, shape
from lamina.core.patterns import fold
from lamina.core.predicate import matches, parse_instant, predicate, values_at
from lamina.core.types import Json, JsonObject

A = Condition("a", "eq", 1)
B = Condition("b", "eq", 2)
RAW_A: JsonObject = {"field": "a", "operator": "eq", "value": 1}
RAW_B: JsonObject = {"field": "b", "value": 2}


def refusal(raw: Json, inputs: dict[str, Json] | None = None) -> tuple[str, str]:
    """Where a filter was refused, and why."""
    with pytest.raises(ValidationError) as caught:
        parse_filter(raw, inputs=inputs)
    errors: Any = caught.value.details["validation_errors"]
    assert len(errors) == 1
    return ".".join(map(str, errors[0]["location"])).removeprefix("body."), caught.value.message


@pytest.mark.parametrize("raw", [None, {}, [], {"AND": []}, {"OR": []}, {"NOT": []}, {"AND": None}, [{}]])
def test_an_empty_filter_is_all(raw: Json) -> None:
    assert parse_filter(raw) == ALL


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        (RAW_A, A),
        (RAW_B, B),
        ({"AND": [RAW_A]}, A),
        ({"AND": [RAW_A, RAW_B]}, And((A, B))),
        ([RAW_A, RAW_B], And((A, B))),
        ({"OR": [RAW_A, RAW_B]}, Or((A, B))),
        ({"or": [RAW_A, RAW_B]}, Or((A, B))),
        ({"NOT": RAW_A}, Not(A)),
        ({"NOT": [RAW_A]}, Not(A)),
        ({"NOT": [RAW_A, RAW_B]}, And((Not(A), Not(B)))),
        ({"AND": [RAW_A], "OR": [RAW_B], "NOT": [RAW_B]}, And((A, B, Not(B)))),
        ({"a": 1}, A),
        ({"a": 1, "b": 2}, And((A, B))),
        ({"a": {"gte": 1, "$lt": 5}}, And((Condition("a", "gte", 1), Condition("a", "lt", 5)))),
        ({"a": [1, 2]}, Condition("a", "in", [1, 2])),
        ({"field": "a", "operator": None, "value": 1}, A),
        ({"a": "x", "case_sensitive": True}, Condition("a", "eq", "x", True)),
        ({"field": "a", "operator": "exists"}, Condition("a", "exists", True)),
        ({"field": "a", "operator": "is_null", "value": False}, Condition("a", "is_null", False)),
    ],
)
def test_a_filter_becomes_the_smallest_tree(raw: Json, parsed: object) -> None:
    assert parse_filter(raw) == parsed


def test_case_sensitivity_comes_from_above_unless_said_otherwise() -> None:
    raw: Json = {
        "case_sensitive": True,
        "AND": [
            {"a": "x"},
            {"b": "y", "case_sensitive": False},
            {"field": "c", "value": "z", "case_sensitive": False},
        ],
    }
    assert [condition.case_sensitive for condition in conditions(parse_filter(raw))] == [True, False, False]
    assert parse_filter({"a": "x"}, case_sensitive=True) == Condition("a", "eq", "x", True)


@pytest.mark.parametrize(
    ("raw", "location", "words"),
    [
        ("a", "filters", "A filter is an object"),
        (7, "filters", "not the number 7"),
        ([1], "filters.0", "not the number 1"),
        ({"AND": RAW_A}, "filters.AND", "AND takes a list of conditions, not an object"),
        ({"OR": "x"}, "filters.OR", "OR takes a list"),
        ({"NOT": 1}, "filters.NOT", "or one condition"),
        ({"AND": [RAW_A, "x"]}, "filters.AND.1", "A filter is an object"),
        ({"field": "a", "operator": "like", "value": 1}, "filters.operator", "'like'. Accepted: eq, ne"),
        ({"a": {"between": 1}}, "filters.a.between", "Unknown operator 'between'"),
        ({"a": {}}, "filters.a", "Give a value"),
        ({"field": "a", "operator": "gt"}, "filters.value", "needs a `value`"),
        ({"field": "a"}, "filters", "needs a `value`"),
        ({"AND": [{"operator": "eq", "value": "x"}]}, "filters.AND.0", "needs a `field`"),
        ({"field": "a", "op": "gte", "value": 1}, "filters.op", "not 'op'"),
        ({"XOR": [RAW_A]}, "filters.XOR", "AND, OR and NOT do"),
        ({"XOR": []}, "filters.XOR", "AND, OR and NOT do"),
        ({"field": 1, "value": 1}, "filters.field", "`field` is the dot path"),
        ({"field": "", "value": 1}, "filters.field", "is no dot path"),
        ({"field": "a..b", "value": 1}, "filters.field", "is no dot path"),
        ({"field": "x" * 501, "value": 1}, "filters.field", "is no dot path"),
        ({"case_sensitive": "yes", "AND": []}, "filters.case_sensitive", "true or false"),
        ({"field": "a", "value": [1]}, "filters.value", "'in'"),
        ({"field": "a", "value": {"b": 1}}, "filters.value", "takes one string, number, boolean or null"),
        ({"field": "a", "value": float("nan")}, "filters.value", "a finite number"),
        ({"field": "a", "value": "\ud800"}, "filters.value", "surrogate"),
        ({"field": "a", "value": "a\0b"}, "filters.value", "NUL"),
        ({"field": "a", "operator": "in", "value": "x"}, "filters.value", "takes a list of values"),
        ({"field": "a", "operator": "in", "value": [[1]]}, "filters.value.0", "not a list"),
        ({"field": "a", "operator": "in", "value": [0] * (MAX_VALUES + 1)}, "filters.value", "10,000 values"),
        ({"field": "a", "operator": "gt", "value": True}, "filters.value", "'gt' takes a number, a string"),
        ({"field": "a", "operator": "gt", "value": None}, "filters.value", "not null"),
        ({"field": "a", "operator": "exists", "value": "yes"}, "filters.value", "true or false"),
        ({"field": "a", "operator": "contains", "value": None}, "filters.value", "not null"),
        ({"field": "a", "operator": "starts_with", "value": 1}, "filters.value", "takes a string"),
        ({"field": "a", "operator": "words", "value": "?!"}, "filters.value", "at least one word"),
        ({"field": "a", "operator": "regex", "value": "("}, "filters.value", "not valid: missing )"),
        ({"field": "a", "operator": "regex", "value": "a(?=b)"}, "filters.value", "no look-around"),
        ({"field": "a", "operator": "regex", "value": "x" * 1001}, "filters.value", "at most 1000"),
        ({"field": "a", "operator": "geo_radius", "value": 5}, "filters.value", "takes an object"),
        ({"field": "a", "operator": "geo_radius", "value": {"center": {"lat": 95, "lon": 0}, "radius": 1}},
         "filters.value.center", "-90"),
        ({"field": "a", "operator": "geo_radius", "value": {"center": {"lat": 5, "lon": 0}, "radius": -1}},
         "filters.value.radius", "metres"),
        ({"field": "a", "operator": "geo_bounding_box", "value": {"top_left": {"lat": 1, "lon": 1}}},
         "filters.value.bottom_right", "bottom_right"),
        ({"field": "a", "operator": "geo_bounding_box",
          "value": {"top_left": {"lat": 1, "lon": 1}, "bottom_right": {"lat": 2, "lon": 2}}},
         "filters.value.top_left", "south"),
        ({"field": "a", "operator": "geo_polygon", "value": {"exterior": {"points": [{"lat": 1, "lon": 1}]}}},
         "filters.value.exterior.points", "at least three"),
        ({"field": "a", "operator": "geo_polygon", "value": {"exterior": {"points": [{"lat": "x"}]}}},
         "filters.value.exterior.points.0", "point of a ring"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_where_it_stands_with_what_is_accepted(
    raw: Json, location: str, words: str
) -> None:
    found, message = refusal(raw)
    assert found == location
    assert words in message


def test_an_unknown_operator_is_told_all_that_there_are() -> None:
    _, message = refusal({"field": "a", "operator": "~", "value": 1})
    assert all(operator in message for operator in OPERATORS)


def test_depth_and_size_have_limits() -> None:
    raw: Json = {"a": 1}
    for _ in range(MAX_DEPTH - 1):
        raw = {"NOT": raw}
    assert len(list(conditions(parse_filter(raw)))) == 1
    assert "nested at most" in refusal({"NOT": raw})[1]
    many: list[Json] = [{"a": 1}] * MAX_CONDITIONS
    assert len(list(conditions(parse_filter(many)))) == MAX_CONDITIONS
    assert "at most 500 conditions" in refusal([*many, {"a": 1}])[1]


def test_dynamic_values_are_looked_up_in_the_inputs() -> None:
    inputs: dict[str, Json] = {"user": {"id": "u1"}, "limit": 3, "tags": ["x", "y"]}

    def dynamic(field: str) -> JsonObject:
        return {"type": "dynamic", "field": field}

    parsed = parse_filter(
        {
            "AND": [
                {"field": "owner", "value": dynamic("inputs.user.id")},
                {"field": "n", "operator": "lt", "value": dynamic("INPUT.limit")},
                {"tag": dynamic("tags")},
                {"field": "any", "operator": "in", "value": ["a", dynamic("limit")]},
            ]
        },
        inputs=inputs,
    )
    assert [condition.value for condition in conditions(parsed)] == ["u1", 3, ["x", "y"], ["a", 3]]
    assert next(conditions(parse_filter({"tag": dynamic("tags")}, inputs=inputs))).operator == "in"
    assert (
        "There is no input 'nobody'. Given: limit, tags, user."
        in refusal({"a": dynamic("nobody")}, inputs)[1]
    )
    assert "only where a request has inputs" in refusal({"a": dynamic("inputs.user")})[1]
    wrong: JsonObject = {"field": "a", "operator": "lt", "value": dynamic("tags")}
    assert "'lt' takes a number" in refusal(wrong, inputs)[1]


def test_whatever_json_comes_it_is_parsed_or_refused() -> None:
    choose = random.Random(5)
    words = ["AND", "OR", "NOT", "field", "operator", "value", "case_sensitive", "type", "dynamic", "eq",
             "in", "$gte", "geo_radius", "center", "regex", "words", "a.b", ""]  # fmt: skip

    def json(depth: int) -> Json:
        kind = choose.randrange(8 if depth < 4 else 5)
        if kind >= 5:
            if choose.random() < 0.3:
                return [json(depth + 1) for _ in range(choose.randrange(4))]
            return {choose.choice(words): json(depth + 1) for _ in range(choose.randrange(4))}
        return [None, True, choose.randint(-3, 3), choose.random(), choose.choice(words)][kind]

    parsed = 0
    for _ in range(5_000):
        try:
            where = parse_filter(json(0), inputs={"a": 1})
        except ValidationError:
            continue
        parsed += 1
        assert matches(where, {"a": {"b": 1}}) in (True, False)
    assert parsed > 500


def test_a_catastrophic_pattern_is_as_quick_as_any() -> None:
    where = parse_filter({"field": "a", "operator": "regex", "value": "^(a+)+$"})
    started = time.process_time()
    assert not matches(where, {"a": "a" * 50_000 + "!"})
    assert time.process_time() - started < 0.5


def test_filters_combine_without_needless_nesting() -> None:
    assert both(ALL, A) == A
    assert both(A, ALL) == A
    assert both(A, B) == And((A, B))
    assert list(conjuncts(And((A, And((B, ALL)), Or((A, B)))))) == [A, B, Or((A, B))]
    assert list(conjuncts(ALL)) == []
    assert not matches(NONE, {"a": 1})
    assert equals("a", "X") == Condition("a", "eq", "X", case_sensitive=True)


def test_a_predicate_made_once_serves_many_records() -> None:
    holds = predicate(Or((Condition("n", "gte", 3), Not(Condition("a.b", "exists", True)))))
    assert [holds({"n": n, "a": {"b": n}}) for n in range(5)] == [False, False, False, True, True]
    assert holds({"a": [{"c": 1}]})


def test_values_are_reached_through_objects_and_lists_once() -> None:
    record: JsonObject = {"a": [{"b": [1, None, [2]]}, {"b": 3}, [{"b": 4}], 5]}
    assert list(values_at(record, "a.b")) == [1, [2], 3]


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2024-01-15", "2024-01-15T00:00:00Z"),
        ("2024-01-15T10:30", "2024-01-15 10:30:00+00:00"),
        ("2024-01-15t10:30:00z", "2024-01-15T12:30:00+0200"),
        ("2024-01-15T10:30:00.123456789Z", "2024-01-15T10:30:00.123456+00"),
        ("2024-01-15T10:30Z", "2024-01-15T10:30:00Z"),
    ],
)
def test_dates_and_times_are_instants_however_written(text: str, same_as: str) -> None:
    assert parse_instant(text) is not None
    assert parse_instant(text) == parse_instant(same_as)


@pytest.mark.parametrize(
    "text", ["", "2024", "2024-1-5", "2024-13-01", "20240115", "2024-01-15T25:00", "soon", "2024-01-15 "]
)
def test_other_text_is_no_instant(text: str) -> None:
    assert parse_instant(text) is None


def test_folding_never_turns_other_letters_into_ascii() -> None:
    assert fold("ÄÖÜ Straße ABC") == "äöü straße abc"
    assert fold("\u212a\u0130") == "\u212a\u0130"
    letters = map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x20000)])
    assert not [letter for letter in letters if any(part.isascii() for part in fold(letter))]


def test_distances_are_great_circles() -> None:
    paris, berlin = Place(48.8566, 2.3522), Place(52.52, 13.405)
    assert distance(paris, berlin) == pytest.approx(877_460, rel=1e-3)
    assert distance(Place(0, 179.5), Place(0, -179.5)) == pytest.approx(111_195, rel=1e-3)


def test_the_bounds_of_a_shape_hold_all_of_it() -> None:
    choose = random.Random(9)
    for _ in range(300):
        circle = Circle(
            Place(choose.uniform(-90, 90), choose.uniform(-180, 180)), choose.choice([1, 1e3, 1e5, 3e6])
        )
        bounds = circle.bounds()
        for _ in range(20):
            place = Place(choose.uniform(-90, 90), choose.uniform(-180, 180))
            if choose.random() < 0.7:
                near = circle.radius / 60_000
                place = Place(
                    max(-90.0, min(90.0, circle.center.lat + choose.uniform(-near, near))),
                    (circle.center.lon + choose.uniform(-near, near) + 540) % 360 - 180,
                )
            if circle.covers(place):
                assert _within(bounds, place), (circle, place)


def _within(bounds: Bounds, place: Place) -> bool:
    east_west = (
        bounds.west <= place.lon <= bounds.east
        if bounds.west <= bounds.east
        else place.lon >= bounds.west or place.lon <= bounds.east
    )
    return bounds.south <= place.lat <= bounds.north and east_west


def test_an_open_ring_is_closed() -> None:
    points: list[Json] = [{"lat": 0, "lon": 0}, {"lat": 0, "lon": 2}, {"lat": 2, "lon": 2}]
    triangle = shape("geo_polygon", {"exterior": {"points": points}})
    assert triangle == shape("geo_polygon", {"exterior": [*points, points[0]]})
    assert triangle.covers(Place(0.5, 1))
    assert not triangle.covers(Place(1, 0.5))
