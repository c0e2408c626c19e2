"""The JSON alias and the typed identifiers that every package shares."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
else:
    # What is parsed from JSON is JSON: models need not check it again, value by value.
    Json = Any

JsonObject: TypeAlias = dict[str, Json]
"""A JSON object that its owner may change."""

DocumentId = NewType("DocumentId", str)
