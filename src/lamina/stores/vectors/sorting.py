"""How values are ordered, in pages and in facets, and the cursors that name a place in an order.

Numbers come before strings, strings (by code point) before booleans. Lists and objects have no
place in an order and come last, like what is missing. Equal values are in order of point id.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from lamina.core.errors import ValidationError
from lamina.core.predicate import parse_instant, reach
from lamina.core.types import JsonObject

FacetValue = str | int | float | bool
Value = FacetValue | None

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """Where a point stands in an order. The value is None where it has none."""

    value: Value
    id: str


def scalar_at(payload: JsonObject, segments: Sequence[str]) -> Value:
    """The value that a payload has in the order by a path; None for what has no place in it."""
    found = list(reach(payload, segments))
    return found[0] if len(found) == 1 and isinstance(found[0], str | int | float) else None


Rank = tuple[int, Any]
Standing = tuple[Rank, str]
_MISSING: Final = 3


def rank(value: Value, times: bool = False) -> Rank:
    """Where a value stands in an ascending order; strings by the moment they mean where all are `times`.

    Also keeps 1 and true apart.
    """
    if value is None:
        return _MISSING, 0
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, str):
        return 1, ((parse_instant(value) or EPOCH) if times else value)
    return 0, value


def follows(place: Standing, begin: Standing, descending: bool) -> bool:
    """Whether one standing (rank, id) comes after another."""
    (standing, id), (begin_standing, begin_id) = place, begin
    if standing == begin_standing:
        return id > begin_id
    if _MISSING in (standing[0], begin_standing[0]):
        return standing[0] == _MISSING
    return standing < begin_standing if descending else standing > begin_standing


# Cursors


def encoded(place: Place) -> str:
    """The cursor of a place in an order."""
    return base64.urlsafe_b64encode(orjson.dumps(tuple(place))).decode().rstrip("=")


def decoded(cursor: str) -> Place:
    """The place that a cursor names. Raises `ValidationError` for what is none."""
    try:
        value, id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if value is None or isinstance(value, str | int | float):
            return Place(value, str(UUID(id)))
    except (ValueError, TypeError, AttributeError, binascii.Error):
        pass
    raise no_cursor()


def decoded_id(cursor: str) -> str:
    """The point id that a cursor without an order is. Raises `ValidationError` for what is none."""
    try:
        return str(UUID(cursor))
    except ValueError as error:
        raise no_cursor() from error


def no_cursor() -> ValidationError:
    """The refusal of a cursor that no page gave."""
    return ValidationError("This is no cursor that a page of this list gave.", field="cursor")
