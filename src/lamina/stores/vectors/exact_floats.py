"""Floats that Qdrant's parser of JSON does not give back to the last bit, kept beside a payload as text."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, cast

from lamina.core.types import Json, JsonObject

_EXACT_DIGITS: Final = 2**53
_EXACT_POWER: Final = 22
_SURELY_EXACT: Final = 16
"""Characters that hold fifteen digits and a point at most."""

_NO_FLOATS: Final = frozenset({str, int, bool, type(None)})

Step = str | int


def survives(number: float) -> bool:
    """Whether Qdrant (1.16) reads the very float that it was sent.

    It is exact for up to 53 bits of digits and powers of ten up to 22, and one unit in the last
    place off for about every tenth float beyond: serde_json without its `float_roundtrip`.
    """
    text = repr(number)
    if len(text) <= _SURELY_EXACT and "e" not in text and "n" not in text:
        return True
    _, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    return abs(exponent) <= _EXACT_POWER and int("".join(map(str, digits))) <= _EXACT_DIGITS


def lost_floats(payload: Mapping[str, Json]) -> list[Json]:
    """The floats of a payload that would not survive: `[[step, …], text]` each."""
    lost: list[Json] = []
    _look_in(payload, (), lost)
    return lost


def restore_floats(payload: JsonObject, lost: Sequence[Json]) -> None:
    """Put the floats that `lost_floats` told back into their places."""
    for one in lost:
        steps, text = cast(tuple[list[Step], str], one)
        if steps[0] not in payload:
            continue  # only some fields were read
        place: object = payload
        for step in steps[:-1]:
            place = cast(list[object], place)[cast(int, step)]
        cast(list[object], place)[cast(int, steps[-1])] = float(text)


def _look_in(members: Mapping[str, Json] | Sequence[Json], steps: tuple[Step, ...], lost: list[Json]) -> None:
    for step, value in members.items() if isinstance(members, Mapping) else enumerate(members):
        if type(value) in _NO_FLOATS:
            continue  # which a test for `Mapping` would take longest to tell
        if isinstance(value, float):
            if not survives(value):
                lost.append([[*steps, step], repr(value)])
        elif type(value) is dict or isinstance(value, Mapping | list | tuple):
            _look_in(cast(JsonObject, value), (*steps, step), lost)
