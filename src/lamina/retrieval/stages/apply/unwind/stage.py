"""`unwind`: one document for each element of an array."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from lamina.core.types import JsonObject
from lamina.retrieval.paths import MISSING, value_at, with_value
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """The array, and where its elements go."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"field": "metadata.tags", "include_array_index": "tag_index"}]},
    )

    field: str = Field(min_length=1, description="Dot path of the array.")
    preserve_null_and_empty: bool = Field(
        default=False, description="Keep documents whose array is missing, null or empty, with null."
    )
    include_array_index: str | None = Field(
        default=None, min_length=1, description="Field that gets the element's place, from 0."
    )
    output_field: str | None = Field(
        default=None,
        min_length=1,
        description="Field that gets the element; in place of the array unless set.",
    )


class Unwind(Stage):
    """Makes one document of each element of an array; other fields are repeated."""

    stage_id = "unwind"
    category = "apply"
    description = "Make one document of each element of an array field."
    icon = "list-tree"
    multiplies = True
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The documents of all elements, in order. A field that is no array passes through."""
        return [made for document in documents for made in self._unwound(document)]

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """Every document is unwound by itself."""
        return True

    def _unwound(self, document: JsonObject) -> Documents:
        value = value_at(document, self.parameters.field)
        target = self.parameters.output_field or self.parameters.field
        index = self.parameters.include_array_index
        if value is MISSING or value is None or value == []:
            if not self.parameters.preserve_null_and_empty:
                return []
            kept = with_value(document, target, None)
            return [with_value(kept, index, None) if index else kept]
        if not isinstance(value, list):
            return [document]
        made = []
        for place, element in enumerate(value):
            one = with_value(document, target, element)
            made.append(with_value(one, index, place) if index else one)
        return made
