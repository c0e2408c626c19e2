"""⑥ Retrievers: what a pipeline is made of, and what clients send to make and to run one."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    computed_field,
    model_validator,
)

from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.types import JsonObject
from lamina.retrieval import shapes
from lamina.retrieval.inputs import InputField, input_fields
from lamina.retrieval.stages.base import Category
from lamina.retrieval.targets import DEFAULT_FEATURE
from lamina.stores.records.base import Kind

InputFields = Annotated[dict[str, InputField], BeforeValidator(input_fields)]
"""An input schema, in any of the spellings that clients use."""

OnError = Literal["skip", "error"]
Visibility = Literal["private", "public", "marketplace"]


class BudgetLimits(Model):
    """What one execution may use up. Credits are never used here."""

    max_credits: float | None = Field(default=None, ge=0.0)
    max_time_ms: int | None = Field(
        default=None, ge=0, description="Stages that have not begun by then are left out."
    )


class StageConfig(Model):
    """One stage of a retriever. `config` is `{stage_id, parameters, pre_filters?, post_filters?}`."""

    stage_name: str = Field(min_length=1)
    stage_type: Category | None = None
    config: JsonObject
    batch_size: str | None = None
    description: str | None = None
    on_error: OnError | None = Field(
        default=None, description="`skip` goes on with the documents of the stages before."
    )
    output_alias: str | None = Field(
        default=None, description="Name under which later templates find the stage's documents in CONTEXT."
    )

    @model_validator(mode="before")
    @classmethod
    def _text_batch_size(cls, raw: object) -> object:
        """`batch_size` may come as a number, and `stage_type` as any word: it follows from the stage."""
        if not isinstance(raw, dict):
            return raw
        read = {key: value for key, value in raw.items() if key != "stage_type"}
        if raw.get("stage_type") in ("filter", "sort", "reduce", "apply", "enrich"):
            read["stage_type"] = raw["stage_type"]
        if isinstance(raw.get("batch_size"), int):
            read["batch_size"] = str(raw["batch_size"])
        return read

    @computed_field(description="The stage's parameters once more, where the SDK looks for them.")  # type: ignore[prop-decorator]
    @property
    def parameters(self) -> JsonObject:
        """`config.parameters`."""
        parameters = self.config.get("parameters")
        return parameters if isinstance(parameters, dict) else {}


Stages = Annotated[list[StageConfig], BeforeValidator(shapes.stages)]
"""Stages, in any of the shapes that clients send."""


class FeatureAddress(Model):
    """A feature URI in parts."""

    scheme: str = "mixpeek"
    extractor: str
    version: str
    output: str | None = None


class Retriever(Model):
    """`RetrieverConfig` of the contract. What is read here can be posted again unchanged."""

    retriever_id: str = Field(default_factory=lambda: new_id("ret"))
    retriever_name: str = Field(min_length=1)
    description: str | None = None
    collection_ids: list[str] = Field(default_factory=list)
    stages: list[StageConfig] = Field(min_length=1)
    input_schema: dict[str, InputField] = Field(default_factory=dict)
    budget_limits: BudgetLimits = Field(default_factory=BudgetLimits)
    feature_dependencies: list[FeatureAddress] | None = None
    tags: list[str] = Field(default_factory=list)
    metadata: JsonObject | None = None
    display_config: JsonObject | None = None
    visibility: Visibility = "private"
    version: int = Field(default=1, ge=1)
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    created_by: str | None = None
    updated_by: str | None = None
    is_published: bool = False

    @computed_field  # type: ignore[prop-decorator]
    @property
    def collection_identifiers(self) -> list[str]:
        """`collection_ids` under the name that creating takes."""
        return self.collection_ids

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fusion(self) -> str | None:
        """How its first search fuses; None without a search."""
        for stage in self.stages:
            if stage.config.get("stage_id") == "feature_search":
                fusion = stage.parameters.get("fusion")
                return fusion if isinstance(fusion, str) else "rrf"
        return None


RETRIEVERS: Final = Kind(
    name="retrievers",
    model=Retriever,
    id_field="retriever_id",
    name_field="retriever_name",
    search=("retriever_name", "description"),
    cached=True,
)


class OffsetPagination(Model):
    """Numbered pages."""

    method: Literal["offset"] = "offset"
    page_size: int = Field(default=10, ge=1, le=500, validation_alias=AliasChoices("page_size", "limit"))
    page_number: int = Field(default=1, ge=1, validation_alias=AliasChoices("page_number", "page"))


class CursorPagination(Model):
    """Page after page by an opaque cursor."""

    method: Literal["cursor"] = "cursor"
    limit: int = Field(default=10, ge=1, le=500, validation_alias=AliasChoices("limit", "page_size"))
    cursor: str | None = None


class KeysetPagination(Model):
    """Page after page by the score and the id of the last document."""

    method: Literal["keyset"] = "keyset"
    limit: int = Field(default=10, ge=1, le=500, validation_alias=AliasChoices("limit", "page_size"))
    after: JsonObject | None = Field(
        default=None, description='For example `{"score": 0.73, "id": "doc_20"}`.'
    )


class ScrollPagination(Model):
    """All results in turn, within a time."""

    method: Literal["scroll"] = "scroll"
    limit: int = Field(default=100, ge=1, le=1000, validation_alias=AliasChoices("limit", "page_size"))
    scroll_id: str | None = None
    scroll_ttl: int = Field(default=300, ge=60, le=3600, description="Seconds until the scroll_id is void.")


def _method(pagination: object) -> str | None:
    """The method, from the keys where it is not named."""
    if not isinstance(pagination, Mapping):
        return getattr(pagination, "method", None)
    method = pagination.get("method")
    if method is not None:
        return str(method)
    for key, implied in (
        ("page_number", "offset"),
        ("page", "offset"),
        ("after", "keyset"),
        ("scroll_id", "scroll"),
        ("scroll_ttl", "scroll"),
    ):
        if key in pagination:
            return implied
    return "cursor"


Pagination = Annotated[
    Annotated[OffsetPagination, Tag("offset")]
    | Annotated[CursorPagination, Tag("cursor")]
    | Annotated[KeysetPagination, Tag("keyset")]
    | Annotated[ScrollPagination, Tag("scroll")],
    Discriminator(_method),
]


class Execution(Request):
    """What executing a stored and an unstored retriever have in common."""

    inputs: JsonObject = Field(default_factory=dict, description="Values for the input schema.")
    filters: JsonObject | list[JsonObject] | None = Field(
        default=None,
        validation_alias=AliasChoices("filters", "pre_filters"),
        description="Everything that is fetched has to match these too.",
    )
    pagination: Pagination | None = None
    limit: int | None = Field(default=None, ge=1, le=500, description="Short for the pagination's page size.")
    page_size: int | None = Field(default=None, ge=1, le=500, description="The same as `limit`.")
    settings: JsonObject | None = Field(default=None, description="Only `limit` in it is read.")
    select: list[str] | None = Field(
        default=None, description="Fields of the documents to return; ids and scores always come."
    )
    stream: bool = Field(default=False, description="Answer with server-sent events, stage by stage.")
    return_presigned_urls: bool = False
    return_vectors: bool = Field(default=False, description="Give documents their vectors, by name.")
    explain: bool = Field(default=False, description="Attach the execution's profile as `explain_plan`.")
    skip_cache: bool = Field(default=False, description="Answers are never cached here.")
    expand: list[str] | None = Field(default=None, description="Not available yet: refused when set.")
    target_collection_id: str | None = Field(default=None, description="Not available yet: refused when set.")
    write_token: str | None = Field(default=None, description="Reads always see the last write here.")
    consistency: JsonObject | None = Field(default=None, description="Reads always see the last write here.")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, raw: object) -> object:
        """A null means that the key is not there."""
        if isinstance(raw, dict) and None in raw.values():
            return {key: value for key, value in raw.items() if value is not None}
        return raw


class ExecuteRequest(Execution):
    """`ExecuteRetrieverRequest` of the contract."""


class AdhocRequest(Execution):
    """`AdhocExecuteRequest` of the contract: a retriever that is not kept, with its inputs."""

    collection_identifiers: list[str] = Field(
        default_factory=list, validation_alias=AliasChoices("collection_identifiers", "collection_ids")
    )
    input_schema: InputFields = Field(default_factory=dict)
    stages: Stages = Field(min_length=1)
    budget_limits: BudgetLimits = Field(default_factory=BudgetLimits)


class CreateRequest(Request):
    """`CreateRetrieverRequest` of the contract."""

    retriever_name: ResourceName = Field(
        min_length=1, validation_alias=AliasChoices("retriever_name", "name")
    )
    description: str | None = None
    visibility: Visibility = "private"
    marketplace_listing_id: str | None = None
    requires_subscription: bool = False
    collection_identifiers: list[str] = Field(
        default_factory=list, validation_alias=AliasChoices("collection_identifiers", "collection_ids")
    )
    stages: Stages = Field(min_length=1)
    input_schema: InputFields = Field(default_factory=dict)
    budget_limits: BudgetLimits = Field(default_factory=BudgetLimits)
    tags: list[str] = Field(default_factory=list)
    metadata: JsonObject | None = None
    display_config: JsonObject | None = None


class PatchRequest(Request):
    """`PatchRetrieverRequest` of the contract: what is given is changed, what is not stays."""

    retriever_name: ResourceName | None = Field(
        default=None, min_length=1, validation_alias=AliasChoices("retriever_name", "name")
    )
    description: str | None = None
    visibility: Visibility | None = None
    marketplace_listing_id: str | None = None
    requires_subscription: bool | None = None
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    display_config: JsonObject | None = None
    collection_identifiers: list[str] | None = Field(
        default=None, validation_alias=AliasChoices("collection_identifiers", "collection_ids")
    )
    stages: Stages | None = Field(default=None, min_length=1)
    input_schema: InputFields | None = None


_REFERENCES: Final = ("data:", "http://", "https://", "lamina://")
"""Begin a picture that is not given as base64."""


class FeatureSearchQuery(Request):
    """The query of a search without a retriever."""

    input_mode: str = Field(default="text", description="`text`, `vector`, `url` or `image`.")
    text: str | None = None
    url: str | None = None
    image: str | None = None
    vector: object = Field(default=None, description="A list of numbers, or a list of such lists.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, raw: object) -> object:
        return {"input_mode": "text", "text": raw} if isinstance(raw, str) else raw


class FeatureSearchRequest(Request):
    """`FeatureSearchRequest` of the contract: one search, no retriever."""

    collection_identifiers: list[str] | None = Field(
        default=None, validation_alias=AliasChoices("collection_identifiers", "collection_ids")
    )
    query: FeatureSearchQuery
    feature_uri: str = DEFAULT_FEATURE
    top_k: int = Field(default=25, ge=1, le=1000)
    filters: JsonObject | list[JsonObject] | None = None

    def as_adhoc(self) -> AdhocRequest:
        """The same as a pipeline of one `feature_search`, its query an input so that it is taken as it is."""
        search: JsonObject = {
            "feature_uri": self.feature_uri,
            "query": {"input_mode": self._mode(), "value": "{{INPUT.query}}"},
            "top_k": self.top_k,
        }
        parameters: JsonObject = {"searches": [search], "final_top_k": self.top_k}
        config: JsonObject = {"stage_id": "feature_search", "parameters": parameters}
        return AdhocRequest.model_validate(
            {
                "collection_identifiers": self.collection_identifiers or [],
                "stages": [{"stage_name": "feature_search", "config": config}],
                "filters": self.filters,
                "inputs": {"query": self._value()},
            }
        )

    def _mode(self) -> str:
        return "content" if self.query.input_mode in ("url", "image") else self.query.input_mode

    def _value(self) -> object:
        query = self.query
        by_mode = {"vector": query.vector, "url": query.url, "image": query.image}
        value = by_mode.get(query.input_mode) or query.text or query.url or query.image
        if query.input_mode == "image" and isinstance(value, str) and not value.startswith(_REFERENCES):
            return f"data:image/*;base64,{value}"
        return value
