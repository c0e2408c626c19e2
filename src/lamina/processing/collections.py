"""② Collections: what is read, which extractor takes it apart, and what comes out of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator
from pydantic import ValidationError as PydanticError

from lamina.core.errors import AlreadyExistsError, LaminaError, ValidationError
from lamina.core.fields import FieldType
from lamina.core.filters import ALL, Filter, Not, both, equals, parse_filter
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, VectorOutput
from lamina.extractors.readiness import require_models
from lamina.extractors.registry import extractor
from lamina.inference.registry import Models
from lamina.ingest.buckets import BucketService
from lamina.ingest.schema import BucketSchema, SchemaField
from lamina.platform.secrets import SecretService
from lamina.processing.removal import Removal
from lamina.stores.records.base import Kind, RecordStore, Repository
from lamina.stores.vectors.base import CollectionRef, VectorSpec


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


DIRECT: str = "_direct_upsert"
"""Name of the collection that a standalone namespace's documents belong to."""

COLLECTIONS = Kind(
    "collections", Collection, "collection_id", "collection_name", search=("description",), cached=True
)


class CollectionService:
    """Creates, reads and changes collections."""

    def __init__(
        self,
        collections: Repository[Collection],
        buckets: BucketService,
        removal: Removal,
        models: Models,
        records: RecordStore,
        secrets: SecretService,
    ) -> None:
        self.collections = collections
        self.buckets = buckets
        self.removal = removal
        self.vectors = removal.vectors
        self.models = models
        self.records = records
        self.secrets = secrets
        self._growing = asyncio.Lock()

    async def create(self, scope: Scope, asked: CollectionCreate) -> Collection:
        """A new collection. Its schemas and vector indexes are known from now on."""
        config = asked.feature_extractor
        found = extractor(config.feature_extractor_name, config.version)
        parameters = read_parameters(found, config.parameters or config.params or {})
        await self.secrets.require(scope, parameters.model_dump(mode="json"))
        vectors = await asyncio.to_thread(_vectors, found, parameters, self.models)
        config = config.model_copy(update={"parameters": written_parameters(parameters)})
        source = await self._resolved(scope, asked.source)
        inputs = asked.input_schema or await self._input_schema(scope, source)
        self._check_mappings(found, config, inputs)
        collection = Collection(
            collection_name=asked.collection_name,
            description=asked.description,
            source=source,
            input_schema=inputs,
            output_schema=_output_schema(found, parameters, config, inputs),
            feature_extractor=config,
            vector_indexes=[vector_index(found, one) for one in vectors],
            enabled=asked.enabled,
            metadata=asked.metadata,
            embedding_task=asked.embedding_task,
        )
        await self._add(scope, collection)
        return collection

    async def _add(self, scope: Scope, collection: Collection) -> None:
        """The place for documents comes first, the record last: what exists can be written to."""
        at = CollectionRef(scope.namespace, collection.collection_id)
        await self.vectors.create(at, collection.specs)
        try:
            await self.collections.add(scope.of_namespace(), collection)
        except LaminaError:
            await self.vectors.drop(at)
            raise

    async def direct(self, scope: Scope) -> Collection:
        """The collection of documents that are upserted without one; made when first needed."""
        found = await self.collections.find(scope.of_namespace(), DIRECT)
        if found is not None:
            return found
        collection = Collection(
            collection_name=DIRECT,
            source=SourceConfig(type="bucket"),
            feature_extractor=FeatureExtractorConfig(feature_extractor_name="passthrough_extractor"),
            metadata={"system": True},
        )
        try:
            await self._add(scope, collection)
        except AlreadyExistsError:  # another request was quicker
            return await self.collections.get(scope.of_namespace(), DIRECT)
        return collection

    async def get(self, scope: Scope, identifier: str) -> Collection:
        """A collection by id or name."""
        return await self.collections.get(scope.of_namespace(), identifier)

    async def described(self, scope: Scope, collection: Collection) -> Collection:
        """The collection with the number of its documents."""
        count = await self.vectors.count(CollectionRef(scope.namespace, collection.collection_id))
        return collection.model_copy(update={"document_count": count})

    async def all(self, scope: Scope) -> list[Collection]:
        """Every collection of the namespace."""
        return [one async for some in self.collections.iterate(scope.of_namespace()) for one in some]

    async def list_page(
        self, scope: Scope, page: PageRequest, asked: CollectionList, where: Filter = ALL
    ) -> Slice[Collection]:
        """Collections of the namespace with the numbers of their documents."""
        visible = where if asked.include_system else _and_not_system(where)
        found = await self.collections.list_page(
            scope.of_namespace(), page, where=visible, sort=asked.order, search=asked.search,
            case_sensitive=asked.case_sensitive,
        )  # fmt: skip
        return Slice(
            [await self.described(scope, one) for one in found.items], found.next_cursor, found.total
        )

    async def patch(self, scope: Scope, identifier: str, asked: CollectionPatch) -> Collection:
        """Change name, description, metadata, or whether batches process it."""
        names = set(CollectionPatch.model_fields) & asked.model_fields_set
        changed = {
            name: getattr(asked, name)
            for name in names
            if getattr(asked, name) is not None or name == "description"
        }
        fixed = sorted(set(asked.model_extra or {}) & set(Collection.model_fields) - {"collection_id"})
        if fixed:
            raise ValidationError(
                f"{', '.join(fixed)} cannot change once a collection exists; create another collection.",
                field=fixed[0],
            )
        return await self.described(scope, await self._change(scope, identifier, **changed))

    async def _change(self, scope: Scope, identifier: str, **fields: object) -> Collection:
        """Set fields of a collection, whatever its others are by now."""
        async with self.records.transaction(scope):
            collection = await self.get(scope, identifier)
            collection = collection.model_copy(update={**fields, "updated_at": now()})
            await self.collections.update(scope.of_namespace(), collection)
        return collection

    async def add_indexes(
        self, scope: Scope, collection: Collection, new: Sequence[CollectionVectorIndex]
    ) -> Collection:
        """Remember vectors that a collection gained, and make room for them in the store."""
        async with self._growing:
            collection = await self.get(scope, collection.collection_id)
            known = {index.index.name for index in collection.vector_indexes}
            added = [index for index in new if index.index.name not in known]
            await self.vectors.create(
                CollectionRef(scope.namespace, collection.collection_id),
                [*collection.specs, *(one.spec for one in added)],
            )
            if added:
                indexes = [*collection.vector_indexes, *added]
                collection = await self._change(scope, collection.collection_id, vector_indexes=indexes)
        return collection

    async def delete(self, scope: Scope, collection: Collection) -> None:
        """Remove a collection with its documents and their files; collections that read it are disabled.

        Its record goes first; `processing.recovery` ends what a crash leaves of the rest.
        """
        async with self.records.transaction(scope):
            for other in await self.all(scope):
                if collection.collection_id in other.source.collections and other.enabled:
                    await self._change(scope, other.collection_id, enabled=False)
            await self.collections.delete(scope.of_namespace(), collection.collection_id)
        await self.removal.collection(CollectionRef(scope.namespace, collection.collection_id))

    async def reading_bucket(self, scope: Scope, bucket_id: str) -> list[Collection]:
        """The enabled collections whose source is that bucket."""
        return [
            one for one in await self.all(scope) if one.enabled and bucket_id in (one.source.bucket_ids or ())
        ]

    async def _resolved(self, scope: Scope, source: SourceConfig) -> SourceConfig:
        """The source with ids in place of names; `NotFoundError` for what does not exist."""
        if source.type == "bucket":
            if not source.bucket_ids:
                raise ValidationError("A bucket source names bucket_ids.", field="source.bucket_ids")
            buckets = [await self.buckets.get(scope, one) for one in source.bucket_ids]
            return source.model_copy(update={"bucket_ids": [bucket.bucket_id for bucket in buckets]})
        if not source.collections:
            raise ValidationError("A collection source names collection_ids.", field="source.collection_ids")
        parents = [await self.get(scope, one) for one in source.collections]
        inherited = [
            bucket
            for parent in parents
            for bucket in (parent.source.bucket_ids or parent.source.inherited_bucket_ids or ())
        ]
        ids = [parent.collection_id for parent in parents]
        return source.model_copy(
            update={
                "collection_ids": ids,
                "collection_id": ids[0] if source.collection_id else None,
                "inherited_bucket_ids": list(dict.fromkeys(inherited)) or None,
            }
        )

    async def _input_schema(self, scope: Scope, source: SourceConfig) -> BucketSchema:
        properties: dict[str, SchemaField] = {}
        if source.type == "bucket":
            for one in source.bucket_ids or ():
                properties.update((await self.buckets.get(scope, one)).bucket_schema.properties)
        for one in source.collections:
            properties.update((await self.get(scope, one)).output_schema.properties)
        for old, new in (source.field_map or {}).items():
            if old in properties:
                properties[new] = properties[old]
        return BucketSchema(properties=properties)

    def _check_mappings(
        self, found: type[Extractor], config: FeatureExtractorConfig, inputs: BucketSchema
    ) -> None:
        """Every mapping names an input of the extractor and, where the source has a schema, a field of it."""
        at = "feature_extractor.input_mappings"
        for mapping in config.mappings:
            if mapping.input_key not in found.inputs:
                raise ValidationError(
                    f"{found.name} has no input '{mapping.input_key}'; it has "
                    f"{', '.join(found.inputs) or 'none'}.",
                    field=f"{at}.{mapping.input_key}",
                )
            root = (mapping.path or "").split(".")[0]
            known = inputs.properties
            literal = mapping.source_type == "literal" or mapping.override is not None
            if known and not literal and root not in known and root not in {"metadata", "_internal"}:
                raise ValidationError(
                    f"The source has no field '{mapping.path}'; it has {', '.join(sorted(known))}.",
                    field=f"{at}.{mapping.input_key}",
                )


def _vectors(
    found: type[Extractor], parameters: ExtractorParameters, models: Models
) -> Sequence[VectorOutput]:
    """The vectors of a collection whose extractor can do its work here; refuses one that cannot.

    Reads checksums of weights and asks endpoints, so it belongs into a thread.
    """
    found.check(parameters, models)
    require_models(found, parameters, models)
    return found.vectors(parameters, models)


def read_parameters(found: type[Extractor], raw: Mapping[str, Json]) -> ExtractorParameters:
    """The extractor's parameters, checked; `ValidationError` says which is wrong and why."""
    try:
        return found.Parameters.model_validate(raw)
    except PydanticError as error:
        at = "feature_extractor.parameters"
        problems: list[Json] = [
            {
                "type": one["type"],
                "location": [*at.split("."), *(str(step) for step in one["loc"])],
                "message": one["msg"],
            }
            for one in error.errors()
        ]
        first = error.errors()[0]
        name = ".".join(str(step) for step in first["loc"])
        raise ValidationError(
            f"{found.name}: parameter '{name}': {first['msg']}.", validation_errors=problems
        ) from error


def written_parameters(parameters: ExtractorParameters) -> JsonObject:
    """The parameters as they are stored: null only where it is not what is taken if nothing is said."""
    nulls: JsonObject = {
        name: None
        for name, field in type(parameters).model_fields.items()
        if getattr(parameters, name) is None and field.default is not None
    }
    return {**parameters.model_dump(mode="json", exclude_none=True), **nulls}


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


def _output_schema(
    found: type[Extractor],
    parameters: ExtractorParameters,
    config: FeatureExtractorConfig,
    inputs: BucketSchema,
) -> BucketSchema:
    """What documents will hold: fields passed through, then the extractor's own."""
    properties: dict[str, SchemaField] = {}
    if config.include_all_source_fields:
        properties.update(inputs.properties)
    for passed in config.field_passthrough:
        known = inputs.properties.get(passed.source_path.split(".")[0])
        plain = known if known and "." not in passed.source_path else SchemaField(type=FieldType.STRING)
        properties[passed.target_path or passed.source_path] = plain
    for name, field in found.output_schema(parameters).items():
        properties[name] = SchemaField.model_validate(field)
    return BucketSchema(properties=properties)


def _and_not_system(where: Filter) -> Filter:
    return both(where, Not(equals("collection_name", DIRECT)))
