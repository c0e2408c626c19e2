"""② Collections are made of a source and an extractor, read, changed, and deleted with their documents."""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import ValidationError as PydanticError

from lamina.core.errors import AlreadyExistsError, LaminaError, ValidationError
from lamina.core.fields import FieldType
from lamina.core.filters import ALL, Filter, Not, both, equals
from lamina.core.models import now
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.extractors.base import Extractor, ExtractorParameters, VectorOutput
from lamina.extractors.readiness import require_models
from lamina.extractors.registry import extractor
from lamina.inference.registry import Models
from lamina.ingest.buckets import BucketService
from lamina.ingest.schema import BucketSchema, SchemaField
from lamina.platform.secrets import SecretService
from lamina.processing.collections import (
    Collection,
    CollectionCreate,
    CollectionList,
    CollectionPatch,
    CollectionVectorIndex,
    FeatureExtractorConfig,
    SourceConfig,
    vector_index,
)
from lamina.processing.removal import Removal
from lamina.stores.records.base import RecordStore, Repository
from lamina.stores.vectors.base import CollectionRef

DIRECT: str = "_direct_upsert"
"""Name of the collection that a standalone namespace's documents belong to."""


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

    async def create(self, scope: Scope, asked: CollectionCreate) -> Collection:
        """A new collection. Its schemas and vector indexes are known from now on."""
        config = asked.feature_extractor
        found = extractor(config.feature_extractor_name, config.version)
        parameters = _read_parameters(found, config.parameters or config.params or {})
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
        collection = await self.get(scope, collection.collection_id)
        await self.vectors.create(
            CollectionRef(scope.namespace, collection.collection_id),
            [*collection.specs, *(one.spec for one in _lacking(collection, new))],
        )
        async with self.records.transaction(scope):  # another process may have added some meanwhile
            collection = await self.get(scope, collection.collection_id)
            if added := _lacking(collection, new):
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


def _read_parameters(found: type[Extractor], raw: Mapping[str, Json]) -> ExtractorParameters:
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


def _lacking(collection: Collection, indexes: Sequence[CollectionVectorIndex]) -> list[CollectionVectorIndex]:
    """Those of the indexes whose vectors the collection does not have, each once."""
    known = {index.index.name for index in collection.vector_indexes}
    return list({one.index.name: one for one in indexes if one.index.name not in known}.values())


def _and_not_system(where: Filter) -> Filter:
    return both(where, Not(equals("collection_name", DIRECT)))
