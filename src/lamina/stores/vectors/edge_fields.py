"""What a shard knows of its payloads' fields, so that filters compile to exactly what they mean.

Qdrant follows `a.b` through objects and `a[].b` through lists, an index holds values of one type
only, and strings are matched with case. `Fields` remembers what was ever seen at each path (kinds
of values, objects, lists), which indexes there are, and for the fields that filters compare
without case the distinct strings (`Vocabulary`). Knowledge only grows: it may be wider than what
is stored, never narrower, because it is recorded before the points are written.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import orjson

from lamina.core.patterns import fold
from lamina.core.predicate import parse_instant
from lamina.core.types import Json

TEXT: Final = 1
"""Strings that are no dates or times."""
INSTANT: Final = 2
"""Dates and times that Qdrant reads as `core.predicate.parse_instant` does."""
UNCLEAR: Final = 4
"""Strings that only one of the two might read as a date or time."""
LONG: Final = 8
"""Strings longer than `LONG_TEXT`."""
INTEGER: Final = 16
FLOAT: Final = 32
BOOLEAN: Final = 64
OBJECT: Final = 128
ALONE: Final = 256
"""A scalar that stands alone, not in a list."""
LIST: Final = 512
OBJECTS: Final = 1024
"""A list that holds an object."""
NESTED: Final = 2048
"""A list that holds a list."""
NULLS: Final = 4096
"""A list that holds null."""
HUGE: Final = 8192
"""Integers that a 64-bit float cannot tell from their neighbours."""

STRINGS: Final = TEXT | INSTANT | UNCLEAR
NUMBERS: Final = INTEGER | FLOAT
_COMPARABLE: Final = STRINGS | NUMBERS | BOOLEAN

EXACT_INTEGERS: Final = 2**53
"""Qdrant compares numbers as 64-bit floats, which tell integers apart below this."""

LONG_TEXT: Final = 200
"""Characters beyond which a string is prose: not worth an index or a vocabulary."""

MAX_PATHS: Final = 5_000
MAX_WORDS: Final = 100_000
"""Distinct strings that a vocabulary holds at most: about 15 MB."""

_ENGINE_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?([Zz]|[+-]\d\d(:?\d\d)?)?)?)?", re.ASCII
)
"""The dates and times that Qdrant Edge 0.9 was found to read."""

_MAYBE_INSTANT: Final = re.compile(r"\s*[+-]?\d{1,6}\s*-\s*\d")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class Vocabulary:
    """The distinct strings of a field. Grows while points are written; safe to read meanwhile."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self.strings: list[str] = []
        self._spellings: dict[str, list[str]] = {}
        for text in strings:
            self.add(text)

    def add(self, text: str) -> None:
        """Take up a string."""
        spellings = self._spellings.setdefault(fold(text), [])
        if text not in spellings:
            spellings.append(text)
            self.strings.append(text)

    def spellings(self, folded: Iterable[str]) -> list[str]:
        """The strings that are equal, but for case, to one of those."""
        return [text for part in folded for text in self._spellings.get(part, ())]

    def passing(self, test: Callable[[Json], bool]) -> list[str]:
        """The strings that pass a test."""
        return [text for text in list(self.strings) if test(text)]


class Fields:
    """What was seen at each path, by dot path."""

    def __init__(self, kinds: Mapping[str, int] | None = None, complete: bool = True) -> None:
        self._kinds = dict(kinds or {})
        self._complete = complete
        self.constants: dict[str, Json] = {}
        """Fields that have the same value in every payload."""
        self.indexing = False
        """Whether there are points enough for indexes to be worth their files."""
        self.indexes: dict[str, str] = {}
        """The engine's index type by path."""
        self.vocabularies: dict[str, Vocabulary] = {}
        self.without_vocabulary: set[str] = set()
        """Paths with too many strings for one."""

    @classmethod
    def from_json(cls, content: bytes) -> "Fields":
        """What `to_json` wrote."""
        stored = orjson.loads(content)
        return cls(stored["kinds"], stored["complete"])

    def to_json(self) -> bytes:
        """The kinds, to be kept beside the shard."""
        return orjson.dumps({"complete": self._complete, "kinds": self._kinds})

    # Recording

    def observe(self, payload: Mapping[str, Json]) -> bool:
        """Take up a payload that is about to be written. Whether that told anything new."""
        return self._object(payload, "")

    def _object(self, members: Mapping[str, Json], prefix: str) -> bool:
        new = False
        for key, value in members.items():
            if value is not None and "." not in key:
                new |= self._value(prefix + key, value)
        return new

    def _value(self, path: str, value: Json) -> bool:
        if isinstance(value, str):
            return self._text(path, value, ALONE)
        if isinstance(value, Mapping):
            new = self._note(path, OBJECT)
            return self._object(value, path + ".") or new
        if isinstance(value, list | tuple):
            new = self._note(path, LIST)
            for element in value:
                new |= self._element(path, element)
            return new
        return self._note(path, ALONE | _kind_of_scalar(value))

    def _element(self, path: str, value: Json) -> bool:
        if isinstance(value, str):
            return self._text(path, value, 0)
        if isinstance(value, Mapping):
            new = self._note(path, OBJECTS)
            return self._object(value, path + ".") or new
        if isinstance(value, list | tuple):
            return self._note(path, NESTED)
        return self._note(path, NULLS if value is None else _kind_of_scalar(value))

    def _text(self, path: str, text: str, standing: int) -> bool:
        vocabulary = self.vocabularies.get(path)
        if vocabulary is not None:
            vocabulary.add(text)
        return self._note(path, standing | kind_of_text(text))

    def _note(self, path: str, kind: int) -> bool:
        known = self._kinds.get(path)
        if known is None:
            if len(self._kinds) >= MAX_PATHS:
                was_complete, self._complete = self._complete, False
                return was_complete
            self._kinds[path] = kind
            return True
        if known | kind == known:
            return False
        self._kinds[path] = known | kind
        return True

    # Asking

    def kinds(self, path: str) -> int:
        """Everything that was seen at a path; 0 for nothing."""
        return self._kinds.get(path, 0)

    def keys(self, path: str) -> list[str] | None:
        """Under which keys the engine finds the path's values; None where it cannot be asked.

        None at all when nothing was ever written there. Several when both an object and a list
        of objects were seen on the way.
        """
        segments = path.split(".")
        if path not in self._kinds:
            return [] if self._complete else None
        if self._kinds[path] & NESTED or '"' in path:
            return None
        keys = [""]
        for place, segment in enumerate(segments):
            name = quoted_key(segment)
            if place == len(segments) - 1:
                return [key + name for key in keys]
            kinds = self._kinds.get(".".join(segments[: place + 1]), 0)
            steps = ["."] if kinds & OBJECT else []
            steps += ["[]."] if kinds & OBJECTS else []
            keys = [key + name + step for key in keys for step in steps]
        return None

    def index_to_make(self, path: str) -> str | None:
        """The type of the index that would serve filters on a path better than what there is."""
        keys = self.keys(path)
        if not self.indexing or keys is None or len(keys) != 1:
            return None
        fitting, present = self._fitting_index(path), self.indexes.get(path)
        if present is None or (present, fitting) in (("integer", "float"), ("datetime", "keyword")):
            return fitting
        return None

    def vocabulary_to_load(self, path: str) -> bool:
        """Whether a vocabulary would serve filters on a path, and is not there yet."""
        if path in self.vocabularies or path in self.without_vocabulary:
            return False
        index = self.index_to_make(path) or self.indexes.get(path) or self._fitting_index(path)
        return index == "keyword" and not self.kinds(path) & LONG

    def _fitting_index(self, path: str) -> str | None:
        kinds = self.kinds(path)
        comparable = kinds & _COMPARABLE
        if kinds & (LONG | NESTED) or not comparable:
            return None
        if comparable & ~STRINGS == 0:
            return "datetime" if comparable == INSTANT else "keyword"
        if comparable & ~NUMBERS == 0:
            return "float" if comparable & FLOAT else "integer"
        return "bool" if comparable == BOOLEAN else None


def kind_of_text(text: str) -> int:
    """TEXT, INSTANT or UNCLEAR, and LONG."""
    if len(text) > LONG_TEXT:
        return TEXT | LONG
    if not _MAYBE_INSTANT.match(text):
        return TEXT
    if parse_instant(text) is None:
        return UNCLEAR
    return INSTANT if _ENGINE_INSTANT.fullmatch(text) else UNCLEAR


def quoted_key(segment: str) -> str:
    """One segment of a path as the engine's paths write it."""
    return segment if _PLAIN_KEY.fullmatch(segment) else f'"{segment}"'


def path_of(key: str) -> str:
    """The dot path that an engine's key stands for."""
    return key.replace("[]", "").replace('"', "")


def _kind_of_scalar(value: Json) -> int:
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER | HUGE if abs(value) >= EXACT_INTEGERS else INTEGER
    return FLOAT
