"""`group_by`: gather documents by the value of a field."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from lamina.retrieval.grouping import OutputMode, grouped, presented
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """The field, and what is shown of each group."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"group_by_field": "source_object_id", "max_per_group": 3, "output_mode": "all"}]
        },
    )

    group_by_field: str = Field(
        default="source_object_id", min_length=1, description="Dot path of the field to group by."
    )
    max_per_group: int = Field(
        default=10, ge=1, le=1000, description="Documents of one group at most, the best scores first."
    )
    output_mode: OutputMode = Field(
        default="all",
        description="`first`: best document of each; `all`: groups; `flatten`: their documents.",
    )


class GroupBy(Stage):
    """One result for each value of a field, groups with the best scores first."""

    stage_id = "group_by"
    category = "reduce"
    description = "Group documents by the value of a field: parents of chunks, one hit per product."
    icon = "group"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """Groups, or what the output mode shows of them."""
        wanted = self.parameters
        groups = grouped(documents, wanted.group_by_field, wanted.max_per_group)
        given.metadata["groups"] = len(groups)
        return presented(groups, wanted.group_by_field, wanted.output_mode)
