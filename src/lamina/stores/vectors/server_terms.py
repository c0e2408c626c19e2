"""What a point on a Qdrant server carries beside its payload, so that filters on it can be exact.

Several processes write to one server, so none of them knows what values a field holds. Therefore
every point tells it itself. `terms_of` makes, from a payload:

    __tokens      {path: token or [token, …]}
    __numbers     {path: number or [number, …]}
    __instants    {path: instant or [instant, …]}
    __present     [class + path, …]     every path that has a value, by what stands there

Paths and values are those of `lamina.core.predicate`, lists opened and lists of objects gone
through, so that Qdrant compares plain values. A token is one letter and a value: `s` a string, `t` the
instant that it means in UTC, `f` the string in lower case where it means none and that differs, `n` a
number, `b` a boolean. Strings longer than `LONG_TEXT` are hashed, as `S` and `F`. Nothing is nested
deeper than it must be: lists of one token, in an object for each path, took Qdrant a sixth more work
for a point.

The classes say what the path reaches: `n` one number, `N` one that Qdrant's floats do not hold
exactly, `t` a string that is a date or time, `s` another string, `b` a boolean, `l` one list,
`o` anything else.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from lamina.core.models import isoformat
from lamina.core.patterns import fold
from lamina.core.predicate import parse_instant
from lamina.core.types import Json, JsonObject
from lamina.stores.vectors.edge_fields import LONG_TEXT
from lamina.stores.vectors.exact_floats import survives

TOKENS: Final = "__tokens"
NUMBERS: Final = "__numbers"
INSTANTS: Final = "__instants"
PRESENT: Final = "__present"

PRESENCE: Final = ("", PRESENT)
"""The path and part that stand for the key of what is present: that of all paths."""

LAYOUT: Final = 2
"""The number of the layout above. The first one had the terms of a path together, in lists."""

LONE: Final = "nNtsb"
"""Classes of a single scalar, which has a place in an order."""
WITH_STRINGS: Final = "tslo"
"""Classes of paths that may hold strings."""
CLASSES: Final = "nNtsblo"

SAFE_INTEGERS: Final = 2**53 // 10
"""Integers below this reach Qdrant exactly, also with the `.0` of a float behind them."""

_LARGEST: Final = 2**64
_SHORT: Final = 64
"""Characters of strings whose instants are remembered."""
_SCALARS: Final = (str, int, float)
_KEY: Final = re.compile(rf'({TOKENS}|{NUMBERS}|{INSTANTS})\."(.*)"', re.DOTALL)
_ODD_IN_KEY: Final = re.compile(r'[%"\\\x00-\x1f]')


def terms_of(payload: Mapping[str, Json]) -> JsonObject:
    """The terms and the paths of a payload."""
    terms = _Terms()
    terms.tell(payload, "")
    return {
        TOKENS: terms.tokens,
        NUMBERS: terms.numbers,
        INSTANTS: terms.instants,
        PRESENT: terms.present,
    }


class _Terms:
    """The terms of one payload, path by path."""

    def __init__(self) -> None:
        self.tokens: JsonObject = {}
        self.numbers: JsonObject = {}
        self.instants: JsonObject = {}
        self.present: list[Json] = []

    def tell(self, members: Mapping[str, Json], prefix: str) -> None:
        """Tell what stands at each path of an object, which nothing else reaches."""
        for key, value in members.items():
            if "." in key or value is None:
                continue
            path = prefix + key
            if isinstance(value, _SCALARS):
                self._tell_scalar(path, value)
            elif type(value) is dict or isinstance(value, Mapping):  # of which the second takes long to tell
                self.present.append("o" + path)
                self.tell(value, path + ".")
            else:
                reached: dict[str, list[Json]] = {}
                _reach(path, value, reached)
                for each, things in reached.items():
                    self._tell_things(each, things)

    def _tell_scalar(self, path: str, value: str | int | float) -> None:
        key = _escaped(path)
        if isinstance(value, str):
            self.tokens[key], instant = _told_of_string(value)
            if instant is not None:
                self.instants[key] = instant
            kind = "s" if instant is None else "t"
        elif isinstance(value, bool):
            kind, self.tokens[key] = "b", _boolean(value)
        else:
            self.tokens[key], self.numbers[key] = _number(value), value
            kind = _class_of_number(value)
        self.present.append(kind + path)

    def _tell_things(self, path: str, things: Sequence[Json]) -> None:
        lone = things[0] if len(things) == 1 else None
        if isinstance(lone, _SCALARS):
            self._tell_scalar(path, lone)
            return
        values = [value for thing in things for value in _opened(thing)]
        if not values:
            return
        key = _escaped(path)
        for terms, told in zip((self.tokens, self.numbers, self.instants), _told(values), strict=True):
            if told:
                terms[key] = _flat(told)
        self.present.append(("l" if isinstance(lone, list | tuple) else "o") + path)


def _told_of_string(text: str) -> tuple[Json, str | None]:
    """The token of a string, or its tokens, and the instant that it means, if any."""
    if text[4:5] == "-":
        instant = _instant(text) if len(text) <= _SHORT else _instant_of(text)
        if instant is not None:
            return [string_token(text), "t" + instant], instant
    folded = text.lower() if text.isascii() else fold(text)  # `fold` does the same, at the price of a call
    return string_token(text) if folded == text else [string_token(text), _folded_token(folded)], None


def _instant_of(text: str) -> str | None:
    """The instant that a string means, if any."""
    moment = parse_instant(text)
    return None if moment is None else isoformat(moment)


_instant: Final = lru_cache(maxsize=1_024)(_instant_of)
"""The same of short ones, some of which documents share that are written together."""


def terms_key(path: str, part: str) -> str:
    """The engine's key of a path's tokens, numbers or instants, or of what all paths have in common."""
    return PRESENT if part == PRESENT else f'{part}."{_escaped(path)}"'


def path_and_part(key: str) -> tuple[str, str] | None:
    """The path and the part that such a key stands for; None for another key."""
    if key == PRESENT:
        return PRESENCE
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    return re.sub(r"%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), match[2]), match[1]


def equal_tokens(value: Json, case_sensitive: bool) -> list[str]:
    """The tokens of which a point has one exactly where one of its values equals this one."""
    if isinstance(value, bool):
        return [_boolean(value)]
    if isinstance(value, int | float):
        return [_number(value)]
    if not isinstance(value, str):
        return []
    moment = parse_instant(value)
    if moment is not None:
        return ["t" + isoformat(moment)]
    if case_sensitive:
        return [string_token(value)]
    folded = fold(value)
    return [string_token(folded), _folded_token(folded)]


def string_token(text: str) -> str:
    """The token of a string as it is written."""
    return "s" + text if len(text) <= LONG_TEXT else "S" + _digest(text)


def value_of_token(token: str) -> str | int | float | bool | None:
    """The value that a token tells; None for those that stand beside another one.

    Raises `KeyError` for the token of a string that is too long to be told.
    """
    kind, text = token[0], token[1:]
    if kind == "s":
        return text
    if kind == "n":
        return float(text) if "." in text or "e" in text or "n" in text else int(text)
    if kind == "b":
        return text == "1"
    if kind == "S":
        raise KeyError(token)
    return None


def _reach(path: str, value: Json, reached: dict[str, list[Json]]) -> None:
    """Gather what stands at a path and, through objects and lists of them, at those below."""
    reached.setdefault(path, []).append(value)
    if isinstance(value, Mapping):
        _reach_members(value, path, reached)
    elif isinstance(value, list | tuple):
        for element in value:
            if isinstance(element, Mapping):
                _reach_members(element, path, reached)


def _reach_members(members: Mapping[str, Json], path: str, reached: dict[str, list[Json]]) -> None:
    for key, value in members.items():
        if "." not in key:
            _reach(f"{path}.{key}", value, reached)


def _opened(thing: Json) -> Iterable[Json]:
    if isinstance(thing, list | tuple):
        return (element for element in thing if element is not None)
    return () if thing is None else (thing,)


def _class_of_number(number: int | float) -> str:
    exact = abs(number) < SAFE_INTEGERS if isinstance(number, int) else survives(number)
    return "n" if exact else "N"


def _told(values: Iterable[Json]) -> tuple[list[Json], list[Json], list[Json]]:
    """The tokens, numbers and instants of a path, each once."""
    tokens: dict[Json, None] = {}
    numbers: dict[Json, None] = {}
    instants: dict[Json, None] = {}
    for value in values:
        if isinstance(value, bool):
            tokens[_boolean(value)] = None
        elif isinstance(value, int | float):
            tokens[_number(value)] = None
            numbers[value] = None
        elif isinstance(value, str):
            of_string, instant = _told_of_string(value)
            tokens.update(dict.fromkeys(of_string if isinstance(of_string, list) else [of_string]))
            if instant is not None:
                instants[instant] = None
    return [*tokens], [*numbers], [*instants]


def _flat(told: list[Json]) -> Json:
    return told[0] if len(told) == 1 else told


def _boolean(value: bool) -> str:
    return "b1" if value else "b0"


def _number(value: int | float) -> str:
    """Equal numbers have one token, however they are written."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
        return f"n{int(value)}"
    return f"n{value!r}"


def _folded_token(folded: str) -> str:
    return "f" + folded if len(folded) <= LONG_TEXT else "F" + _digest(folded)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4_096)
def _escaped(path: str) -> str:
    return _ODD_IN_KEY.sub(lambda found: f"%{ord(found[0]):02X}", path)
