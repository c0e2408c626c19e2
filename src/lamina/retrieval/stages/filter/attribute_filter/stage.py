"""`attribute_filter`: keep the documents whose fields satisfy conditions."""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from lamina.core.errors import NotEnabledError
from lamina.core.filters import Filter, Operator, both, parse_filter
from lamina.core.predicate import predicate
from lamina.core.types import Json, JsonObject
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters
from lamina.retrieval.stages.filter.feature_search.found import scrolled
from lamina.retrieval.written_filters import check_written

FETCHED: Final = 1000
"""Documents that it fetches as the first stage, as the contract says; pages beyond fetch more."""

_LOGIC: Final = ("AND", "OR", "NOT")


class _Parameters(StageParameters):
    """One condition, or a tree of conditions."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"field": "metadata.status", "operator": "eq", "value": "active"},
                {
                    "conditions": {
                        "AND": [
                            {"field": "metadata.status", "operator": "eq", "value": "active"},
                            {"field": "metadata.priority", "operator": "gte", "value": 5},
                        ]
                    }
                },
            ]
        },
    )

    field: str = Field(
        default="metadata.status", min_length=1, description="Dot path of the field of a single condition."
    )
    operator: Operator | None = Field(
        default=None, description="Operator of a single condition; `eq` where only a value is given."
    )
    value: object = Field(default=None, description="What the field is compared with.")
    conditions: JsonObject | list[JsonObject] | None = Field(
        default=None, description="AND, OR and NOT over conditions, instead of a single one."
    )
    case_insensitive: bool = Field(default=False, description="Compare texts without regard to case.")
    batch_size: int = Field(
        default=100, ge=1, le=1000, description="Taken for compatibility; all documents are filtered at once."
    )
    natural_language: str | None = Field(
        default=None, description="A filter in plain words. Not available yet: refused when set."
    )
    field_hints: list[str] | None = Field(
        default=None, description="Fields for natural_language. Not available yet: refused when set."
    )

    @model_validator(mode="before")
    @classmethod
    def _logic_at_root(cls, raw: object) -> object:
        """`{"AND": […]}` without `conditions` around it."""
        if isinstance(raw, Mapping) and any(raw.get(key) is not None for key in _LOGIC):
            logic = {key: raw[key] for key in (*_LOGIC, "case_sensitive") if key in raw}
            return {**{key: value for key, value in raw.items() if key not in logic}, "conditions": logic}
        return raw

    @model_validator(mode="after")
    def _one_of_both(self) -> "_Parameters":
        if self.natural_language is not None or self.conditions is not None:
            return self
        if self.operator is None and self.value is None:
            raise ValueError("Give conditions, or a field with an operator and a value.")
        return self


class AttributeFilter(Stage):
    """Keeps documents by their fields; as the first stage it fetches those that match."""

    stage_id = "attribute_filter"
    category = "filter"
    description = "Keep the documents whose fields satisfy conditions; as the first stage, fetch them."
    icon = "filter"
    opens = True
    reads_documents = True
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The documents that match, in the order they came."""
        where = self.where(given)
        if not given.first:
            holds = predicate(where)
            return [document for document in documents if holds(document)]
        where = both(given.where, where)
        collections = await given.targets.collections()
        return await scrolled(collections, where, given.pool or FETCHED * len(collections), given)

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """Every document is judged by itself."""
        return True

    def where(self, given: StageContext) -> Filter:
        """The conditions as a filter; `ValidationError` where they are none."""
        raw: Json = self.parameters.conditions
        at = f"{given.field}.conditions"
        if raw is None:
            raw, at = self._single(), given.field
        return parse_filter(
            raw, field=at, inputs=given.inputs, case_sensitive=not self.parameters.case_insensitive
        )

    def reach(self) -> int:
        """As many as the contract fetches of a collection."""
        return FETCHED

    @classmethod
    def refuse(cls, parameters: JsonObject, field: str) -> None:
        """Filters in plain words, which need a language model."""
        if parameters.get("natural_language") or parameters.get("field_hints"):
            raise NotEnabledError(
                "Filters in natural language need a language model, which this version does not have.",
                field=f"{field}.natural_language",
            )
        check_written(parameters.get("conditions"), f"{field}.conditions")
        if parameters.get("conditions") is None and parameters.get("operator") is not None:
            check_written({"field": "metadata.status", **parameters}, field)

    def _single(self) -> JsonObject:
        condition: JsonObject = {"field": self.parameters.field, "operator": self.parameters.operator or "eq"}
        if self.parameters.value is not None or condition["operator"] not in ("exists", "is_null"):
            condition["value"] = self.parameters.value  # type: ignore[assignment]
        return condition
