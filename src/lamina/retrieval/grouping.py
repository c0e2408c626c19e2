"""Documents by the value of a field: what `group_by` does, as a stage and within a search."""

from collections.abc import Sequence
from typing import Literal

import orjson

from lamina.core.types import Json, JsonObject
from lamina.retrieval.paths import number_at, present_at

OutputMode = Literal["first", "all", "flatten"]


def grouped(documents: Sequence[JsonObject], field: str, max_per_group: int) -> list[list[JsonObject]]:
    """Documents that agree on a field, each group's best scores first, groups by their best score.

    Without scores the order stays. Documents without the field form a group of their own.
    """
    groups: dict[object, list[JsonObject]] = {}
    for document in by_score(documents):
        groups.setdefault(key_of(present_at(document, field)), []).append(document)
    return [members[:max_per_group] for members in groups.values()]


def presented(groups: Sequence[list[JsonObject]], field: str, mode: OutputMode) -> list[JsonObject]:
    """Groups in the form asked for.

    `first`: the best document of each. `flatten`: all documents, group after group. `all`: one
    entry a group with `group_key`, `count` and `documents`, under the id and score of its best.
    """
    if mode == "first":
        return [members[0] for members in groups]
    if mode == "flatten":
        return [document for members in groups for document in members]
    return [_entry(members, field) for members in groups]


def by_score(documents: Sequence[JsonObject]) -> list[JsonObject]:
    """Highest scores first; documents without a score come last, equal scores keep their order."""

    def rank(document: JsonObject) -> tuple[bool, float]:
        score = number_at(document, "score")
        return (score is None, -(score or 0.0))

    return sorted(documents, key=rank)


def key_of(value: Json) -> object:
    """A value as a key: equal values have equal keys, 1 and true do not."""
    if isinstance(value, bool):
        return ("bool", value)
    if value is None or isinstance(value, str | int | float):
        return value
    return ("json", orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _entry(members: list[JsonObject], field: str) -> JsonObject:
    best = members[0]
    entry: JsonObject = {"group_key": present_at(best, field), "count": len(members), "documents": members}
    entry.update({name: best[name] for name in ("document_id", "collection_id", "score") if name in best})
    return entry
