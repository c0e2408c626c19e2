"""`sort_attribute`: order documents by a field."""

from typing import ClassVar, Literal

import orjson
from pydantic import ConfigDict, Field

from lamina.core.types import Json
from lamina.retrieval.paths import present_at
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """The field and the direction."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"field": "metadata.created_at", "direction": "desc"}]},
    )

    field: str = Field(default="metadata.created_at", min_length=1, description="Dot path to order by.")
    direction: Literal["asc", "desc"] = Field(
        default="desc", description="`desc`: highest or latest first; `asc`: lowest or earliest first."
    )
    nulls_last: bool = Field(
        default=True,
        description="Put documents without the field at the end. Otherwise they come first for `asc`, last "
        "for `desc`.",
    )


class SortAttribute(Stage):
    """Orders by a field's value; equal values keep their order."""

    stage_id = "sort_attribute"
    category = "sort"
    description = "Order documents by the value of a field."
    icon = "arrow-up-down"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The same documents in order. Numbers come before texts, texts before everything else."""
        field, ascending = self.parameters.field, self.parameters.direction == "asc"
        valued = [
            (value, document) for document in documents if (value := present_at(document, field)) is not None
        ]
        without = [document for document in documents if present_at(document, field) is None]
        valued.sort(key=lambda pair: comparable(pair[0]), reverse=not ascending)
        ordered = [document for _, document in valued]
        first = ascending and not self.parameters.nulls_last
        return [*without, *ordered] if first else [*ordered, *without]


def comparable(value: Json) -> tuple[int, float, str]:
    """A key that orders values of any kinds: numbers and booleans, then texts, then the rest as JSON."""
    if isinstance(value, int | float):
        return (0, value, "")
    if isinstance(value, str):
        return (1, 0.0, value)
    return (2, 0.0, orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())
