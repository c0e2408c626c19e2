"""`score_normalize`: bring scores to a common scale."""

import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from lamina.retrieval.paths import number_at, with_value
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters

Method = Literal["min_max", "z_score", "softmax", "l2"]


class _Parameters(StageParameters):
    """The method, and where scores are read and written."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"method": "min_max", "score_field": "score"}]}
    )

    method: Method = Field(default="min_max", description="How scores are rescaled.")
    score_field: str = Field(default="score", min_length=1, description="Dot path of the score.")
    output_field: str | None = Field(
        default=None,
        min_length=1,
        description="Where the new score goes; in place of the old one unless set.",
    )
    min_value: float | None = Field(
        default=None, description="Lowest score for `min_max`, if not the actual."
    )
    max_value: float | None = Field(
        default=None, description="Highest score for `min_max`, if not the actual."
    )

    @model_validator(mode="after")
    def _range(self) -> "_Parameters":
        if self.min_value is not None and self.max_value is not None and self.min_value >= self.max_value:
            raise ValueError("min_value has to be below max_value.")
        return self


class ScoreNormalize(Stage):
    """Rescales scores; the order of the documents stays."""

    stage_id = "score_normalize"
    category = "sort"
    description = "Rescale scores: min_max, z_score, softmax or l2."
    icon = "chart-line"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The same documents with new scores. A score that is missing or no number counts as 0."""
        wanted = self.parameters
        scores = [number_at(document, wanted.score_field) or 0.0 for document in documents]
        rescaled = normalized(scores, wanted.method, wanted.min_value, wanted.max_value)
        field = wanted.output_field or wanted.score_field
        return [
            with_value(document, field, score) for document, score in zip(documents, rescaled, strict=True)
        ]


def normalized(
    scores: Sequence[float], method: Method, lowest: float | None = None, highest: float | None = None
) -> list[float]:
    """Rescaled scores.

    `min_max`: (x - min) / (max - min), cut at 0 and 1; 1 where all are equal. `z_score`: (x - mean)
    / standard deviation of the whole; 0 where all are equal. `softmax`: e^x / Σ e^x. `l2`: x / ‖x‖.
    """
    if not scores:
        return []
    if method == "min_max":
        low = min(scores) if lowest is None else lowest
        high = max(scores) if highest is None else highest
        if high <= low:
            return [1.0] * len(scores)
        return [min(1.0, max(0.0, (score - low) / (high - low))) for score in scores]
    if method == "z_score":
        mean, spread = fmean(scores), pstdev(scores)
        return [0.0 if spread == 0.0 else (score - mean) / spread for score in scores]
    if method == "softmax":
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        return [power / sum(powers) for power in powers]
    length = math.hypot(*scores)
    return [0.0 if length == 0.0 else score / length for score in scores]
