"""`sort_relevance`: order documents by a score."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from lamina.core.errors import ValidationError
from lamina.core.types import JsonObject
from lamina.retrieval.paths import number_at
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters


class _Parameters(StageParameters):
    """The score and the direction."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"score_field": "score", "direction": "desc"}]}
    )

    score_field: str = Field(default="score", min_length=1, description="Dot path of the score.")
    direction: Literal["asc", "desc"] = Field(default="desc", description="`desc`: highest score first.")
    missing_score: Literal["bottom", "top", "preserve"] = Field(
        default="bottom",
        description="Where documents without a score go: to the end, to the start, or nowhere else.",
    )
    feature_address: str | None = Field(
        default=None, description="No longer part of the contract: refused when set."
    )


class SortRelevance(Stage):
    """Orders by a score; equal scores keep their order."""

    stage_id = "sort_relevance"
    category = "sort"
    description = "Order documents by their relevance score, or by any field that holds one."
    icon = "arrow-down-wide-narrow"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The same documents in order."""
        field = self.parameters.score_field
        scores = [number_at(document, field) for document in documents]
        scored = [
            (score, document) for score, document in zip(scores, documents, strict=True) if score is not None
        ]
        scored.sort(key=lambda pair: pair[0], reverse=self.parameters.direction == "desc")
        ordered = [document for _, document in scored]
        missing = [document for score, document in zip(scores, documents, strict=True) if score is None]
        if self.parameters.missing_score == "bottom":
            return [*ordered, *missing]
        if self.parameters.missing_score == "top":
            return [*missing, *ordered]
        following = iter(ordered)
        return [
            document if score is None else next(following)
            for score, document in zip(scores, documents, strict=True)
        ]

    @classmethod
    def refuse(cls, parameters: JsonObject, field: str) -> None:
        """`feature_address`, which never had an effect and which the contract now refuses."""
        if parameters.get("feature_address") is not None:
            raise ValidationError(
                "feature_address has no effect on sorting; search the feature by a feature_search before.",
                field=f"{field}.feature_address",
            )
