"""② Collections: what is read, which extractor takes it apart, and what comes out of it."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator

from lamina.core.filters import ALL, Filter, parse_filter
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.paging import ResourceList
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import Extractor, VectorOutput
from lamina.ingest.schema import BucketSchema
from lamina.stores.records.base import Kind
from lamina.stores.vectors.base import VectorSpec


class VectorIndexDetails(Model):
    """The vector behind an index. `name` is the vector's name in the store."""

    name: str
    description: str = "A vector index of this collection."
    dimensions: int | None = None
    distance: Literal["cosine", "dot", "euclidean"] = "cosine"
    type: Literal["dense", "multi_dense", "sparse"] = "dense"
    datatype: Literal["float32", "uint8"] = "float32"
    supported_inputs: list[str] = Field(default_factory=list)
    inference_name: str | None = None


class CollectionVectorIndex(Model):
    """One vector index of a collection, with the URI that searches address it by."""

    name: str
    feature_uri: str
    type: Literal["single", "multi"] = "single"
    index: VectorIndexDetails

    @property
    def spec(self) -> VectorSpec:
        """The vector as the store keeps it."""
        kind: Literal["dense", "multi", "sparse"] = "dense"
        if self.index.type != "dense":
            kind = "multi" if self.index.type == "multi_dense" else "sparse"
        return VectorSpec(self.index.name, self.index.dimensions, self.index.distance, kind)


class SourceFilters(Model):
    """Which of the source's objects or documents are read."""

    filters: Json = None


class SourceConfig(Model):
    """Where a collection reads from: buckets, or the documents of other collections."""

    type: Literal["bucket", "collection"]
    bucket_ids: list[str] | None = Field(default=None, min_length=1)
    collection_id: str | None = None
    collection_ids: list[str] | None = Field(default=None, min_length=1)
    inherited_bucket_ids: list[str] | None = None
    source_filters: SourceFilters | None = None
    field_map: dict[str, str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_bucket(cls, value: object) -> object:
        if isinstance(value, Mapping) and "bucket_id" in value and not value.get("bucket_ids"):
            return {**value, "bucket_ids": [value["bucket_id"]]}
        return value

    @property
    def collections(self) -> list[str]:
        """The source collections, in either spelling."""
        return self.collection_ids or ([self.collection_id] if self.collection_id else [])

    @property
    def where(self) -> Filter:
        """The filter on the source."""
        raw = self.source_filters.filters if self.source_filters else None
        return parse_filter(raw, field="source.source_filters.filters") if raw else ALL


class FieldPassthrough(Model):
    """A source field that documents keep."""

    source_path: str
    target_path: str | None = None
    default: Json = None
    required: bool = False


class InputMapping(Model):
    """Which source field, or which literal, an extractor's input is."""

    input_key: str
    source_type: Literal["payload", "literal", "vector", "blob"] | None = None
    path: str | None = None
    override: Json = None


class FeatureExtractorConfig(Model):
    """The extractor of a collection with its parameters, inputs and the fields passed through."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    feature_extractor_name: str
    version: str = "v1"
    params: JsonObject | None = None
    parameters: JsonObject | None = None
    input_mappings: dict[str, str | list[str]] | list[InputMapping] = Field(default_factory=dict)
    field_passthrough: list[FieldPassthrough] = Field(default_factory=list)
    include_all_source_fields: bool = False
    feature_extractor_id: str = ""

    @field_validator("field_passthrough", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        return [{"source_path": one} if isinstance(one, str) else one for one in value]

    @model_validator(mode="after")
    def _id(self) -> "FeatureExtractorConfig":
        self.feature_extractor_id = f"{self.feature_extractor_name}_{self.version}"
        return self

    @property
    def mappings(self) -> list[InputMapping]:
        """The input mappings in one form; several fields of one input become several mappings."""
        if isinstance(self.input_mappings, list):
            return self.input_mappings
        return [
            InputMapping(input_key=key, path=path)
            for key, paths in self.input_mappings.items()
            for path in ([paths] if isinstance(paths, str) else paths)
        ]


class Collection(Model):
    """`CollectionResponse` of the contract."""

    collection_id: str = Field(default_factory=lambda: new_id("col"))
    collection_name: str
    description: str | None = None
    input_schema: BucketSchema = Field(default_factory=BucketSchema)
    output_schema: BucketSchema = Field(default_factory=BucketSchema)
    feature_extractor: FeatureExtractorConfig
    source: SourceConfig
    vector_indexes: list[CollectionVectorIndex] = Field(default_factory=list)
    payload_indexes: list[Json] = Field(default_factory=list)
    embedding_task: str | None = None
    enabled: bool = True
    metadata: JsonObject | None = None
    lifecycle_state: str = "active"
    document_count: int | None = None
    schema_version: int = 1
    schema_sync_enabled: bool = True
    schema_validation: Literal["strict", "warn", "off"] = "off"
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)

    @property
    def specs(self) -> list[VectorSpec]:
        """Its vectors as the store keeps them."""
        return [index.spec for index in self.vector_indexes]


class CollectionCreate(Request):
    """Body of the creation of a collection. `feature_extractors` with one entry is read too."""

    collection_name: ResourceName = Field(
        min_length=3, max_length=100, validation_alias=AliasChoices("collection_name", "name")
    )
    description: str | None = None
    source: SourceConfig
    input_schema: BucketSchema | None = None
    feature_extractor: FeatureExtractorConfig
    enabled: bool = True
    metadata: JsonObject | None = None
    embedding_task: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plural(cls, value: object) -> object:
        if isinstance(value, Mapping) and not value.get("feature_extractor"):
            for name in ("feature_extractors", "features"):
                many = value.get(name)
                if isinstance(many, list) and len(many) == 1:
                    return {
                        **{key: one for key, one in value.items() if key != name},
                        "feature_extractor": many[0],
                    }
        return value


class CollectionPatch(Request):
    """Body of an update. What a collection reads and how cannot change: create another for that."""

    collection_name: ResourceName | None = Field(default=None, min_length=3, max_length=100)
    description: str | None = None
    enabled: bool | None = None
    metadata: JsonObject | None = None


class CollectionList(ResourceList):
    """Body of the list of collections."""

    include_system: bool = False


COLLECTIONS = Kind(
    "collections", Collection, "collection_id", "collection_name", search=("description",), cached=True
)


def vector_index(found: type[Extractor], made: VectorOutput) -> CollectionVectorIndex:
    """The index of one of an extractor's vectors. The store's name for it is the model's."""
    return CollectionVectorIndex(
        name=made.output,
        feature_uri=str(found.feature_uri(made.output)),
        type="single" if made.kind == "dense" else "multi",
        index=VectorIndexDetails(
            name=made.output,
            description=made.description,
            dimensions=made.dimension,
            distance=made.distance,
            type="dense" if made.kind == "dense" else "multi_dense",
            supported_inputs=list(made.inputs),
            inference_name=made.model or made.output,
        ),
    )
