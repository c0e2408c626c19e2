"""① Buckets: where objects of one schema are put."""

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import AliasChoices, Field

from lamina.core.errors import AlreadyExistsError, ValidationError
from lamina.core.filters import ALL, Filter
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.scope import Scope
from lamina.core.statuses import Status
from lamina.core.types import JsonObject
from lamina.ingest.schema import BucketSchema
from lamina.stores.records.base import Kind, Repository


class UniqueKey(Model):
    """Fields that together may occur once in a bucket, and what happens when they occur again."""

    fields: list[str] = Field(min_length=1)
    default_policy: Literal["insert", "update", "upsert"] | None = None


class BatchStatistics(Model):
    """How many batches a bucket has had."""

    total: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0


class Bucket(Model):
    """`BucketResponse` of the contract. Counts are filled when it is read."""

    bucket_id: str = Field(default_factory=lambda: new_id("bkt"))
    bucket_name: str
    description: str | None = None
    bucket_schema: BucketSchema
    unique_key: UniqueKey | None = None
    metadata: JsonObject = Field(default_factory=dict)
    storage_class: Literal["standard", "nearline", "coldline", "archive"] | None = None
    object_count: int = 0
    failed_object_count: int = 0
    total_size_bytes: int = 0
    batch_stats: BatchStatistics | None = None
    status: Status = Status.ACTIVE
    is_locked: bool = False
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    last_upload_at: Timestamp | None = None


class BucketCreate(Request):
    """Body of the creation of a bucket. `schema` is read as `bucket_schema`, `name` as `bucket_name`."""

    bucket_name: ResourceName = Field(
        min_length=1, max_length=255, validation_alias=AliasChoices("bucket_name", "name")
    )
    description: str | None = None
    bucket_schema: BucketSchema = Field(validation_alias=AliasChoices("bucket_schema", "schema"))
    unique_key: UniqueKey | None = None
    metadata: JsonObject | None = None
    storage_class: Literal["standard", "nearline", "coldline", "archive"] | None = None


class BucketPatch(Request):
    """Body of an update: what is sent changes, the rest stays."""

    bucket_name: ResourceName | None = Field(default=None, min_length=1, max_length=255)
    description: str | None = None
    bucket_schema: BucketSchema | None = None
    unique_key: UniqueKey | None = None
    metadata: JsonObject | None = None
    storage_class: Literal["standard", "nearline", "coldline", "archive"] | None = None


BUCKETS = Kind("buckets", Bucket, "bucket_id", "bucket_name", search=("description",), cached=True)


class ObjectCounts(Protocol):
    """What a bucket's objects add up to. `ingest.objects` provides it."""

    async def counts(self, scope: Scope) -> JsonObject:
        """`object_count`, `failed_object_count` and `total_size_bytes` of the scope's bucket."""


class BucketService:
    """Creates, reads and changes buckets. Their deletion is a task: `processing.deletion`."""

    def __init__(self, buckets: Repository[Bucket]) -> None:
        self.buckets = buckets
        self.objects: ObjectCounts | None = None
        """Set once the object service exists, which itself needs this one."""

    async def create(self, scope: Scope, asked: BucketCreate) -> Bucket:
        """A new bucket; its name is unique in the namespace."""
        bucket = Bucket(
            bucket_name=asked.bucket_name,
            description=asked.description,
            bucket_schema=asked.bucket_schema,
            unique_key=asked.unique_key,
            metadata=asked.metadata or {},
            storage_class=asked.storage_class,
        )
        _check_unique_key(bucket)
        await self.buckets.add(scope, bucket)
        return bucket

    async def get(self, scope: Scope, identifier: str) -> Bucket:
        """A bucket by id or name, without its counts."""
        return await self.buckets.get(scope.of_namespace(), identifier)

    async def described(self, scope: Scope, bucket: Bucket) -> Bucket:
        """The bucket with the counts of what it holds."""
        if self.objects is None:
            return bucket
        return bucket.model_copy(update=await self.objects.counts(scope.within(bucket.bucket_id)))

    async def list_page(
        self, scope: Scope, page: PageRequest, asked: ResourceList, where: Filter = ALL
    ) -> Slice[Bucket]:
        """Buckets of the namespace with their counts."""
        found = await self.buckets.list_page(
            scope,
            page,
            where=where,
            sort=asked.order,
            search=asked.search,
            case_sensitive=asked.case_sensitive,
        )
        return Slice(
            [await self.described(scope, one) for one in found.items], found.next_cursor, found.total
        )

    async def patch(
        self, scope: Scope, identifier: str, asked: BucketPatch, *, force_schema_break: bool
    ) -> Bucket:
        """Change a bucket. A schema that existing objects may not fit needs `force_schema_break`."""
        fields = {
            name: getattr(asked, name)
            for name in asked.model_fields_set & set(BucketPatch.model_fields)
            if getattr(asked, name) is not None or name == "description"
        }

        def change(bucket: Bucket) -> Bucket:
            _check_unique_key_stays(bucket, asked.unique_key)
            if asked.bucket_schema is not None and not force_schema_break:
                _check_not_breaking(bucket.bucket_schema, asked.bucket_schema)
            changed = bucket.model_copy(update={**fields, "updated_at": now()})
            _check_unique_key(changed)
            return changed

        return await self.described(
            scope, await self.buckets.change(scope.of_namespace(), identifier, change)
        )

    async def lock(self, scope: Scope, identifier: str) -> Bucket:
        """Close a bucket that is being deleted; `AlreadyExistsError` when it already is."""

        def close(bucket: Bucket) -> Bucket:
            if bucket.is_locked:
                raise AlreadyExistsError(f"Bucket '{bucket.bucket_name}' is already being deleted.")
            return bucket.model_copy(update={"is_locked": True, "updated_at": now()})

        return await self.buckets.change(scope.of_namespace(), identifier, close)


def _check_unique_key_stays(bucket: Bucket, asked: UniqueKey | None) -> None:
    fixed = bucket.unique_key.fields if bucket.unique_key else None
    if asked is not None and asked.fields != fixed:
        raise ValidationError(
            "A bucket's unique_key.fields are fixed when it is created; only default_policy can change.",
            field="unique_key.fields",
        )


def _check_not_breaking(old: BucketSchema, new: BucketSchema) -> None:
    breaking = old.breaking_changes(new)
    if breaking:
        raise ValidationError(
            f"This schema breaks existing objects: {'; '.join(breaking)}. "
            "Pass ?force_schema_break=true to change it all the same.",
            field="bucket_schema",
            breaking_changes=breaking,
        )


def _check_unique_key(bucket: Bucket) -> None:
    missing: Sequence[str] = [
        field
        for field in (bucket.unique_key.fields if bucket.unique_key else ())
        if field.split(".")[0] not in bucket.bucket_schema.properties
    ]
    if missing:
        raise ValidationError(
            f"unique_key names {', '.join(missing)}, which the bucket's schema does not have.",
            field="unique_key.fields",
        )
