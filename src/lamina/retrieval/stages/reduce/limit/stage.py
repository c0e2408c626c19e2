"""`limit`: keep a stretch of the documents."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from lamina.core.types import JsonObject
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """How many, and from where."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"limit": 10, "offset": 0}]})

    limit: int = Field(default=10, ge=1, le=10_000, description="Documents to keep at most.")
    offset: int = Field(default=0, ge=0, le=10_000, description="Documents to leave out before.")


class Limit(Stage):
    """Keeps `limit` documents from `offset` on."""

    stage_id = "limit"
    category = "reduce"
    description = "Keep a number of documents, from an offset on."
    icon = "scissors"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """A slice of the documents."""
        start = self.parameters.offset
        return documents[start : start + self.parameters.limit]

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """It is a slice from the front."""
        return True
