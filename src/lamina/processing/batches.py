"""② Batches: which objects are processed, how far they are, and what became of each."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from lamina.core.errors import AlreadyExistsError, BadRequestError, NotFoundError, ValidationError
from lamina.core.filters import ALL, And, Condition, Filter, equals, parse_filter
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, Sort, Timestamp, now
from lamina.core.paging import Listing, PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json, JsonObject
from lamina.ingest.buckets import Bucket
from lamina.ingest.objects import StoredObject
from lamina.stores.records.base import Kind, RecordStore, Repository


class DedupStrategy(StrEnum):
    """What happens to objects that a collection has documents of.

    `skip` leaves unchanged ones alone; `replace` and `force` process them again, into the same
    document ids.
    """

    SKIP = "skip"
    REPLACE = "replace"
    FORCE = "force"


class FailedObject(Model):
    """One object that could not be processed, and why."""

    object_id: str
    error: str
    error_type: Literal["transient", "permanent", "resource"]
    timestamp: Timestamp
    collection_id: str | None = None


class PartialObject(Model):
    """One object of which some could not be processed; what could is documents."""

    object_id: str
    error: str
    missing_feature: str | None = None


class CollectionJob(Model):
    """How far one collection of a tier is, counted in its sources: objects or documents."""

    extractor_type: str
    collection_ids: list[str]
    source_type: str
    status: Status = Status.PENDING
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    total: int | None = None
    processed: int = 0
    failed: int = 0
    skipped: int = 0
    documents_written: int = 0


class TierTask(Model):
    """How far one tier of collections is."""

    tier_num: int
    task_id: str | None = None
    status: Status = Status.PENDING
    collection_ids: list[str]
    source_type: str
    source_collection_ids: list[str] | None = None
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    documents_written: int | None = None
    extractor_jobs: list[CollectionJob] = Field(default_factory=list)
    errors: list[Json] = Field(default_factory=list)


class Progress(Model):
    """How far a batch is, over all its collections.

    `processed` and `total` count sources: objects in a first tier, documents in later ones, whose
    number is known once their tier begins. `percent` gives every collection the same weight, so that
    it never falls. `objects_…` count in the first tier's collection that is furthest behind.
    """

    processed: int = 0
    total: int | None = None
    percent: float | None = None
    items_per_second: float | None = None
    eta_seconds: float | None = None
    errors: int = 0
    first_error: str | None = None
    objects_extracted: int = 0
    objects_skipped: int = 0
    objects_failed: int = 0
    documents_written: int = 0


class Batch(Model):
    """`BatchModel` of the contract. Its object ids are kept in a `Manifest`."""

    batch_id: str = Field(default_factory=lambda: new_id("btch"))
    bucket_id: str
    namespace_id: str | None = None
    batch_name: str | None = None
    type: Literal["BUCKET", "COLLECTION"] = "BUCKET"
    status: Status = Status.DRAFT
    object_ids: list[str] = Field(default_factory=list)
    object_count: int = 0
    collection_ids: list[str] | None = None
    dedup_strategy: DedupStrategy | None = None
    effective_dedup_strategy: DedupStrategy | None = None
    metadata: JsonObject = Field(default_factory=dict)
    task_id: str | None = None
    error: str | None = None
    failed_objects: list[FailedObject] | None = None
    failed_object_count: int = 0
    partial_objects: list[PartialObject] | None = None
    partial_object_count: int | None = None
    tier_tasks: list[TierTask] = Field(default_factory=list)
    current_tier: int | None = None
    total_tiers: int = 1
    dag_tiers: list[list[str]] | None = None
    progress: Progress | None = None
    documents_written: int | None = None
    retry_count: int = 0
    max_retries: int = 3
    webhook_url: str | None = None
    status_message: str | None = None
    lifecycle: str | None = "accepted"
    lifecycle_reason: str | None = None
    max_node_death_resubmits: int = 0
    max_deploy_resubmits: int = 0
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    last_activity_at: Timestamp | None = None


class Manifest(Model):
    """The sources of a batch: objects by id, or the documents of collections that match a filter."""

    batch_id: str
    object_ids: list[str] = Field(default_factory=list)
    retry_ids: list[str] | None = Field(default=None, description="The failed ones that a retry processes.")
    documents: Json = Field(default=None, description="Filter on the source collections' documents.")
    source_collection_ids: list[str] | None = None
    created_at: Timestamp = Field(default_factory=now)

    @property
    def due(self) -> list[str]:
        """The objects that the current run processes."""
        return self.object_ids if self.retry_ids is None else self.retry_ids


class Outcome(Model):
    """What became of one source in one collection of a batch.

    COMPLETED, SKIPPED or FAILED; COMPLETED_WITH_ERRORS when only a part of it became documents.
    """

    model_config = ConfigDict(extra="ignore")

    outcome_id: str
    collection_id: str
    source_id: str
    object_id: str | None = None
    version: str | None = Field(default=None, description="The source's state that was processed.")
    status: Status
    documents: int = 0
    error: str | None = None
    error_type: Literal["transient", "permanent", "resource"] | None = None
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class BatchCreate(Request):
    """Body of the creation of a batch: objects by id, or those that match a filter."""

    object_ids: list[str] | None = Field(default=None, min_length=1, max_length=50_000)
    filters: Json = None
    collection_ids: list[str] | None = None
    limit: int | None = Field(default=None, ge=1, le=50_000)
    dedup_strategy: DedupStrategy | None = None
    metadata: JsonObject | None = None
    batch_name: str | None = Field(default=None, max_length=256)
    auto_submit: bool | None = None
    trigger_processing: bool | None = None


class BatchObjects(Request):
    """Objects to add to a draft."""

    object_ids: list[str] = Field(min_length=1, max_length=50_000)


class BatchSubmit(Request):
    """Body of the submission."""

    include_processing_history: bool = True
    collection_ids: list[str] | None = None
    webhook_url: str | None = None


class BatchList(Listing):
    """Body of the list of batches."""

    status: Status | None = None
    collection_id: str | None = None
    bucket_id: str | None = None
    namespace_id: str | None = None


BATCHES = Kind(
    "batches",
    Batch,
    "batch_id",
    columns=("task_id",),
    default_sort=Sort(field="created_at", direction="desc"),
)
MANIFESTS = Kind("manifests", Manifest, "batch_id")
OUTCOMES = Kind("outcomes", Outcome, "outcome_id", columns=("collection_id", "source_id"))

MAX_OBJECTS = 50_000

BAD = Condition(
    "status", "in", [Status.FAILED.value, Status.COMPLETED_WITH_ERRORS.value], case_sensitive=True
)
"""The outcomes that a retry has to do with."""


class BatchService:
    """Creates, reads and changes batches. `processing.workflows` runs them."""

    def __init__(
        self,
        batches: Repository[Batch],
        manifests: Repository[Manifest],
        outcomes: Repository[Outcome],
        objects: Repository[StoredObject],
        records: RecordStore,
    ) -> None:
        self.batches = batches
        self.manifests = manifests
        self.outcomes = outcomes
        self.objects = objects
        self.records = records

    async def create(
        self, scope: Scope, bucket: Bucket, asked: BatchCreate, *, skip_validation: bool = False
    ) -> Batch:
        """A draft. `NotFoundError` for an object that the bucket does not have."""
        if bucket.is_locked:
            raise AlreadyExistsError(f"Bucket '{bucket.bucket_name}' is being deleted.")
        within = scope.within(bucket.bucket_id)
        if asked.object_ids is not None:
            ids = list(dict.fromkeys(asked.object_ids))
            if not skip_validation:
                await self._check(within, ids)
        elif asked.filters is not None or asked.limit is not None:
            where = parse_filter(asked.filters) if asked.filters else ALL
            ids = await self.matching(within, where, asked.limit or MAX_OBJECTS)
        else:
            raise ValidationError("Name the objects as object_ids, or by filters.", field="object_ids")
        batch = Batch(
            bucket_id=bucket.bucket_id,
            namespace_id=scope.namespace,
            batch_name=asked.batch_name,
            collection_ids=asked.collection_ids,
            dedup_strategy=asked.dedup_strategy,
            metadata=asked.metadata or {},
        )
        return await self.add(scope, batch, Manifest(batch_id=batch.batch_id, object_ids=ids))

    async def add(self, scope: Scope, batch: Batch, manifest: Manifest) -> Batch:
        """Keep a new batch with its manifest."""
        within = scope.within(batch.bucket_id)
        batch = batch.model_copy(update={"object_count": len(manifest.object_ids)})
        async with self.records.transaction(scope):
            await self.manifests.put(within, manifest)
            await self.batches.add(within, batch)
        return batch.model_copy(update={"object_ids": manifest.object_ids})

    async def matching(self, within: Scope, where: Filter, limit: int | None = None) -> list[str]:
        """Ids of a bucket's objects that match, oldest first."""
        ids: list[str] = []
        async for some in self.objects.iterate(within, where=where):
            ids.extend(one.object_id for one in some)
            if limit is not None and len(ids) >= limit:
                break
        return ids[:limit]

    async def _check(self, within: Scope, ids: Sequence[str]) -> None:
        found = await self.objects.get_many(within, ids)
        for one in ids:
            if one not in found:
                raise NotFoundError("object", one)

    async def add_objects(
        self, scope: Scope, batch: Batch, ids: Sequence[str], *, skip_validation: bool
    ) -> Batch:
        """Put more objects into a draft."""
        within = scope.within(batch.bucket_id)
        if not skip_validation:
            await self._check(within, ids)
        async with self.records.transaction(scope):
            batch = await self.batches.get(within, batch.batch_id)
            if batch.status is not Status.DRAFT:
                raise BadRequestError(
                    f"Objects can be added to a DRAFT batch only; this one is {batch.status}."
                )
            manifest = await self.manifests.get(within, batch.batch_id)
            merged = list(dict.fromkeys([*manifest.object_ids, *ids]))
            if len(merged) > MAX_OBJECTS:
                raise ValidationError(f"A batch holds at most {MAX_OBJECTS} objects.", field="object_ids")
            changed = batch.model_copy(update={"object_count": len(merged), "updated_at": now()})
            await self.manifests.update(within, manifest.model_copy(update={"object_ids": merged}))
            await self.batches.update(within, changed)
        return changed.model_copy(update={"object_ids": merged})

    async def set(self, scope: Scope, batch: Batch, **fields: object) -> Batch:
        """Set some fields of a batch, whatever its others are by now; the batch with them."""
        moment = now()
        changed = batch.model_copy(update={**fields, "updated_at": moment, "last_activity_at": moment})
        body = changed.model_dump(mode="json", include={*fields, "updated_at", "last_activity_at"})
        await self.batches.patch(scope.of_namespace(), [batch.batch_id], body)
        return changed

    async def get(self, scope: Scope, batch_id: str) -> Batch:
        """A batch by id, wherever in the namespace, or in the scope's bucket."""
        return await self.batches.get(scope, batch_id)

    async def described(self, scope: Scope, batch: Batch) -> Batch:
        """The batch with its object ids and the first hundred failures."""
        manifest = await self.manifests.find(scope.of_namespace(), batch.batch_id)
        failures = await self.failures(scope, batch, PageRequest(limit=100))
        partial = await self._partial(scope, batch)
        return batch.model_copy(
            update={
                "object_ids": manifest.object_ids if manifest else [],
                "failed_objects": list(failures.items) or None,
                "partial_objects": partial or None,
            }
        )

    async def _partial(self, scope: Scope, batch: Batch) -> list[PartialObject]:
        if not batch.partial_object_count:
            return []
        found = await self.outcomes.list_page(
            scope.of_namespace().within(batch.batch_id),
            PageRequest(limit=100),
            where=equals("status", Status.COMPLETED_WITH_ERRORS.value),
        )
        return [
            PartialObject(
                object_id=one.object_id or one.source_id,
                error=one.error or "unknown",
                missing_feature=one.collection_id,
            )
            for one in found.items
        ]

    async def failures(self, scope: Scope, batch: Batch, page: PageRequest) -> Slice[FailedObject]:
        """The objects, and in which collection, that could not be processed."""
        found = await self.outcomes.list_page(
            scope.of_namespace().within(batch.batch_id), page, where=equals("status", Status.FAILED.value)
        )
        items = [
            FailedObject(
                object_id=one.object_id or one.source_id,
                error=one.error or "unknown",
                error_type=one.error_type or "permanent",
                timestamp=one.updated_at,
                collection_id=one.collection_id,
            )
            for one in found.items
        ]
        return Slice(items, found.next_cursor, found.total)

    async def list_page(self, scope: Scope, page: PageRequest, asked: BatchList) -> Slice[Batch]:
        """Batches of the scope, newest first."""
        conditions: list[Filter] = []
        if asked.status is not None:
            conditions.append(equals("status", asked.status.value))
        if asked.collection_id is not None:
            conditions.append(Condition("collection_ids", "contains", asked.collection_id))
        found = await self.batches.list_page(scope, page, where=And(conditions) if conditions else ALL)
        return Slice(
            [await self.described(scope, one) for one in found.items], found.next_cursor, found.total
        )

    async def active(self, scope: Scope) -> int:
        """How many batches of the scope are not finished."""
        by_status = await self.batches.count_by(scope, "status")
        done = {status.value for status in TERMINAL} | {Status.DRAFT.value}
        return sum(count for status, count in by_status.items() if status not in done)

    async def delete(self, scope: Scope, batch: Batch) -> None:
        """Remove a batch that does not run. Its documents stay."""
        async with self.records.transaction(scope):
            batch = await self.batches.get(scope.of_namespace(), batch.batch_id)
            if batch.status not in TERMINAL and batch.status is not Status.DRAFT:
                raise AlreadyExistsError(f"The batch is {batch.status}; cancel it first.")
            await self.forget(scope, batch)

    async def forget(self, scope: Scope, batch: Batch) -> None:
        """Remove a batch's records."""
        within = scope.within(batch.bucket_id)
        await self.outcomes.delete_all(scope.of_namespace().within(batch.batch_id))
        await self.manifests.delete(within, batch.batch_id)
        await self.batches.delete(within, batch.batch_id)
