"""Floats that Qdrant's parser of JSON does not give back to the last bit, kept beside a payload as text."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, cast

from lamina.core.types import Json, JsonObject

_EXACT_DIGITS: Final = 2**53
_EXACT_POWER: Final = 22

Step = str | int


def survives(number: float) -> bool:
    """Whether Qdrant (1.16) reads the very float that it was sent.

    It is exact for up to 53 bits of digits and powers of ten up to 22, and one unit in the last
    place off for about every tenth float beyond: serde_json without its `float_roundtrip`.
    """
    _, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    return abs(exponent) <= _EXACT_POWER and int("".join(map(str, digits))) <= _EXACT_DIGITS


def lost_floats(payload: Mapping[str, Json]) -> list[Json]:
    """The floats of a payload that would not survive: `[[step, …], text]` each."""
    return [
        [list[Json](steps), repr(number)] for steps, number in _floats(payload, ()) if not survives(number)
    ]


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


def _floats(value: Json, steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], float]]:
    if isinstance(value, float):
        yield steps, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if isinstance(member, float | Mapping | list | tuple):
                yield from _floats(member, (*steps, key))
    elif isinstance(value, list | tuple):
        for place, element in enumerate(value):
            if isinstance(element, float | Mapping | list | tuple):
                yield from _floats(element, (*steps, place))
