"""Parameters of `feature_search`."""

from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from lamina.core.types import JsonObject
from lamina.retrieval.embedding import EmbeddingTask
from lamina.retrieval.grouping import OutputMode
from lamina.retrieval.stages.base import StageParameters

MAX_SEARCHES = 10
MAX_TOP_K = 5000

InputMode = Literal["text", "content", "multi_content", "document", "vector"]


class Part(BaseModel):
    """Base of the nested models: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class ContentInput(Part):
    """Content by URL or encoded; the old spelling of a content query's `value`."""

    url: str | None = Field(default=None, description="An http(s) URL, or a stored blob's lamina:// URL.")
    base64: str | None = Field(default=None, description="A data URI, or base64 of a picture.")


class DocumentReference(Part):
    """A stored document whose vector is the query."""

    document_id: str | None = Field(default=None, description="Its id.")
    collection_id: str | None = Field(default=None, description="Id or name; without it, all are looked in.")


class Query(Part):
    """What to search for."""

    input_mode: InputMode = Field(default="text", description="What the query is.")
    value: object = Field(
        default=None,
        description="The text, the vector, or the content: a text or picture as data URI, base64 or URL.",
    )
    text: str | None = Field(default=None, description="Old spelling of a text query's `value`.")
    vector: object = Field(default=None, description="Old spelling of a vector query's `value`.")
    content: ContentInput | None = Field(
        default=None, description="Old spelling of a content query's `value`."
    )
    values: object = Field(default=None, description="Contents of a multi_content query.")
    document_ref: DocumentReference | None = Field(default=None, description="The document to compare with.")
    document_id: str | None = Field(default=None, description="Short for `document_ref.document_id`.")
    embedding_task: EmbeddingTask | None = Field(
        default=None, description="What a text is embedded for; `none` and the document tasks add no prompt."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_mode(cls, raw: object) -> object:
        """Reads bare texts and vectors, and the mode off the keys where it is not given."""
        if raw is None or isinstance(raw, str | int | float):
            return {"value": raw}
        if isinstance(raw, list):
            return {"input_mode": "vector", "value": raw}
        if isinstance(raw, dict) and raw.get("input_mode") is None:
            for key, mode in _MODES.items():
                if raw.get(key) is not None:
                    return {**raw, "input_mode": mode}
            return {key: value for key, value in raw.items() if key != "input_mode"}
        return raw


_MODES = {
    "vector": "vector",
    "document_ref": "document",
    "document_id": "document",
    "content": "content",
    "values": "multi_content",
}


class Search(Part):
    """One search in one feature."""

    feature_uri: str = Field(
        min_length=1,
        description="`mixpeek://extractor@version/output`, or a vector's name. The output `embedding`, or "
        "none, means the collections' only text vector.",
    )
    query: Query = Field(description="An object with `input_mode` and `value`, or just the text.")
    top_k: int = Field(default=100, ge=1, le=MAX_TOP_K, description="Hits of this search before fusion.")
    min_score: float | None = Field(
        default=None, ge=0.0, le=1.0, description="Leave out hits with a lower score, before fusion."
    )
    weight: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Share of this search in `rrf`, `dbsf` and `weighted`."
    )
    lexical: bool = Field(
        default=False, description="Match the text by BM25 instead of comparing vectors; for both, list two."
    )
    optional: bool = Field(default=False, description="Leave the search out where its collections are empty.")
    on_empty: Literal["error", "skip", "random"] | None = Field(
        default=None, description="What an empty query does; `error` unless set."
    )
    filters: JsonObject | None = Field(default=None, description="Filter of this search alone.")
    collection_identifiers: list[str] | None = Field(
        default=None, description="Collections of this search, by id or name, instead of the stage's."
    )
    query_preprocessing: JsonObject | None = Field(
        default=None, description="Taking large query files apart. Not available yet: refused when set."
    )


class Facet(Part):
    """Counts of a field's values among all documents that match the filters."""

    key: str = Field(min_length=1, description="Dot path of the field.")
    limit: int = Field(default=10, ge=1, le=1000, description="Values, the most frequent first.")
    exact: bool = Field(default=False, description="Counts are always exact.")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, raw: object) -> object:
        return {"key": raw} if isinstance(raw, str) else raw


class GroupBy(Part):
    """One result for each value of a field."""

    field: str = Field(min_length=1, description="Dot path of the field.")
    max_per_group: int = Field(
        default=1,
        ge=1,
        le=100,
        validation_alias=AliasChoices("max_per_group", "group_size"),
        description="Documents of one group at most, the best first.",
    )
    limit: int = Field(default=25, ge=1, le=500, description="Groups at most; stands in for final_top_k.")
    output_mode: OutputMode = Field(
        default="all",
        description="`first`: best document of each; `all`: groups; `flatten`: their documents.",
    )


class Parameters(StageParameters):
    """Search in up to ten features at once and fuse what they find, or only filter."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "searches": [
                        {
                            "feature_uri": "mixpeek://text_extractor@v1/embedding",
                            "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
                            "top_k": 100,
                        }
                    ],
                    "final_top_k": 25,
                }
            ]
        },
    )

    searches: list[Search] = Field(
        default_factory=list,
        max_length=MAX_SEARCHES,
        description="Searches to run at the same time. With none, documents are found by pre_filters alone.",
    )
    final_top_k: int = Field(
        default=25,
        ge=1,
        le=MAX_TOP_K,
        description="Documents after fusion. Pages beyond search deeper where no later stage reorders.",
    )
    fusion: Literal["rrf", "dbsf", "weighted", "max", "learned"] | None = Field(
        default=None,
        description="How several searches become one ranking; `rrf` unless set. Not yet: learned.",
    )
    learning_config: JsonObject | None = Field(
        default=None, description="For learned fusion. Not available yet: refused when set."
    )
    pre_filters: JsonObject | None = Field(default=None, description="Filter of all searches of the stage.")
    collection_identifiers: list[str] | None = Field(
        default=None, description="Collections of the stage, by id or name, instead of the retriever's."
    )
    group_by: GroupBy | None = Field(default=None, description="Group what is found by a field.")
    facets: list[Facet] | None = Field(
        default=None, description="Fields whose values to count, beside the search. Paths or objects."
    )
    hard_timeout_ms: int | None = Field(
        default=None, ge=1, description="Give up after this time with status `degraded` and no documents."
    )
    query_preprocessing: JsonObject | None = Field(
        default=None, description="Taking large query files apart. Not available yet: refused when set."
    )
    auto_preprocess: bool = Field(
        default=True, description="Only concerns query files, which are not searched by yet."
    )
    interactive: bool = Field(
        default=False, description="Never retry after hard_timeout_ms. There are no retries here at all."
    )
    degrade_retry: bool | None = Field(
        default=None, description="Retry after hard_timeout_ms. There are no retries here at all."
    )
    cache_behavior: Literal["auto", "disabled", "aggressive"] | None = Field(
        default=None, description="Stages are not cached here; answers are always fresh."
    )
    cache_ttl_seconds: int | None = Field(
        default=None, ge=0, description="Stages are not cached here; answers are always fresh."
    )
