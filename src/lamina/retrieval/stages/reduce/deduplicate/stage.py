"""`deduplicate`: keep one document of each set of duplicates."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from lamina.core.types import Json, JsonObject
from lamina.retrieval.grouping import key_of
from lamina.retrieval.paths import present_at
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters
from lamina.retrieval.stages.reduce.deduplicate.similarity import NearDuplicates


class _Parameters(StageParameters):
    """What makes documents duplicates, and which one stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"strategy": "field", "fields": ["metadata.source_url"], "keep": "first"}]
        },
    )

    strategy: Literal["field", "content"] = Field(
        default="field", description="`field`: equal fields; `content`: similar text."
    )
    fields: list[str] | None = Field(
        default=None, description="Dot paths that have to be equal, all of them; needed for `field`."
    )
    content_field: str = Field(
        default="content", min_length=1, description="Dot path of the text to compare."
    )
    similarity_threshold: float = Field(
        default=0.95, ge=0.0, le=1.0, description="Texts at least this similar are duplicates; 1 means equal."
    )
    keep: Literal["first", "last"] = Field(default="first", description="Which of the duplicates stays.")
    case_sensitive: bool = Field(default=True, description="Whether case makes texts different.")

    @model_validator(mode="after")
    def _fields_given(self) -> "_Parameters":
        if self.strategy == "field" and not self.fields:
            raise ValueError("The strategy 'field' needs fields to compare.")
        return self


class Deduplicate(Stage):
    """Drops documents that agree with an earlier one (or with a later one) in fields or in text."""

    stage_id = "deduplicate"
    category = "reduce"
    description = "Keep one of each set of documents with equal fields or similar text."
    icon = "copy-minus"
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The documents that stay, in the order they came."""
        backwards = self.parameters.keep == "last"
        ordered = documents[::-1] if backwards else documents
        kept = self._by_fields(ordered) if self.parameters.strategy == "field" else self._by_content(ordered)
        given.metadata["duplicates"] = len(documents) - len(kept)
        return kept[::-1] if backwards else kept

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """What is kept first does not depend on what follows."""
        return parameters.get("keep", "first") == "first"

    def _by_fields(self, documents: Documents) -> Documents:
        seen: set[tuple[object, ...]] = set()
        kept = []
        for document in documents:
            values = (present_at(document, field) for field in self.parameters.fields or ())
            key = tuple(key_of(self._cased(value)) for value in values)
            if key not in seen:
                seen.add(key)
                kept.append(document)
        return kept

    def _by_content(self, documents: Documents) -> Documents:
        """Documents without a text are nobody's duplicate."""
        texts = NearDuplicates(self.parameters.similarity_threshold)
        kept = []
        for document in documents:
            text = present_at(document, self.parameters.content_field)
            cased = self._cased(text)
            if not isinstance(cased, str) or texts.is_new(cased):
                kept.append(document)
        return kept

    def _cased(self, value: Json) -> Json:
        return value.casefold() if isinstance(value, str) and not self.parameters.case_sensitive else value
