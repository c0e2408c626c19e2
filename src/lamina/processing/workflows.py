"""② What the API asks of processing: submit, trigger, retry and cancel batches."""

import asyncio
from collections.abc import Sequence
from typing import Final

from lamina.core.errors import (
    AlreadyExistsError,
    BadRequestError,
    NotFoundError,
    UnavailableError,
    ValidationError,
)
from lamina.core.filters import Condition, Filter, Not, both, parse_filter
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json
from lamina.ingest.addresses import read_url
from lamina.ingest.buckets import Bucket
from lamina.platform.tasks import Task, TaskService, TaskType
from lamina.processing.batches import (
    MAX_OBJECTS,
    Batch,
    BatchService,
    CollectionJob,
    DedupStrategy,
    Manifest,
    Outcome,
    TierTask,
)
from lamina.processing.collection_service import CollectionService
from lamina.processing.collections import Collection
from lamina.processing.durable import Durable
from lamina.processing.feeds import DocumentFeed
from lamina.processing.progress import job_of, overall, tallied
from lamina.processing.run import WORKFLOW, BatchRun
from lamina.processing.tiers import tiers, tiers_of_bucket
from lamina.stores.records.base import RecordStore

_CANCEL_SECONDS: Final = 5.0
"""How long an answer to a cancellation waits for the groups under way."""


class BatchWorkflow:
    """Plans batches, begins their runs, and stops them.

    A task that is not ended stands for a run that is: it is stored together with the batch's new
    state, before the run begins, and `processing.recovery` begins what a crash kept from it.
    """

    def __init__(self, *, run: BatchRun, records: RecordStore, batches: BatchService) -> None:
        self.run = run
        self.records = records
        self.batches = batches
        self.durable: Durable = run.durable
        self.collections: CollectionService = run.collections
        self.tasks: TaskService = run.tasks

    async def submit(
        self,
        scope: Scope,
        batch: Batch,
        *,
        collection_ids: Sequence[str] | None = None,
        webhook_url: str | None = None,
    ) -> Task:
        """Plan a draft's tiers and begin. Submitting twice is a `BadRequestError`.

        A `webhook_url` is told of the batch's end; `ValidationError` for one that cannot be.
        """
        if webhook_url is not None:
            read_url(webhook_url, field="webhook_url")
        planned = await self.plan(scope, batch.bucket_id, collection_ids or batch.collection_ids)
        async with self.records.transaction(scope):
            batch = await self.batches.get(scope.of_namespace(), batch.batch_id)
            if batch.status is not Status.DRAFT:
                raise BadRequestError(
                    f"Only a DRAFT batch can be submitted; this one is {batch.status.value}."
                )
            await self._check_open(scope, batch.bucket_id)
            manifest = await self.batches.manifests.get(scope.of_namespace(), batch.batch_id)
            if not manifest.object_ids:
                raise BadRequestError("The batch holds no objects.")
            if webhook_url is not None:
                batch = batch.model_copy(update={"webhook_url": webhook_url})
            task = await self._queue(scope, batch, manifest, planned)
        return await self._begin(scope, batch, task)

    async def plan(
        self, scope: Scope, bucket_id: str, collection_ids: Sequence[str] | None = None
    ) -> list[list[Collection]]:
        """The collections that a batch of the bucket would run through; see `tiers_of_bucket`."""
        named = None
        if collection_ids is not None:
            named = {(await self._named(scope, one)).collection_id for one in collection_ids}
        return tiers_of_bucket(bucket_id, await self.collections.all(scope), named)

    async def _named(self, scope: Scope, identifier: str) -> Collection:
        try:
            collection = await self.collections.get(scope, identifier)
        except NotFoundError as missing:
            raise ValidationError(missing.message, field="collection_ids") from missing
        if not collection.enabled:
            raise ValidationError(
                f"Collection '{collection.collection_name}' is disabled; enable it first.",
                field="collection_ids",
            )
        return collection

    async def _check_open(self, scope: Scope, bucket_id: str) -> None:
        bucket = await self.collections.buckets.get(scope, bucket_id)
        if bucket.is_locked:
            raise AlreadyExistsError(f"Bucket '{bucket.bucket_name}' is being deleted.")

    async def trigger(
        self,
        scope: Scope,
        collection: Collection,
        buckets: Sequence[Bucket],
        where: Filter,
        *,
        object_ids: Sequence[str] | None,
        strategy: DedupStrategy | None,
    ) -> list[tuple[Batch, Task]]:
        """Process what the collection's buckets hold: a batch for each, or several for a large one."""
        wanted = both(where, collection.source.where)
        if object_ids is not None:
            wanted = both(wanted, _among("object_id", object_ids))
        started = []
        for bucket in buckets:
            ids = await self.batches.matching(scope.within(bucket.bucket_id), wanted)
            for start in range(0, max(len(ids), 1), MAX_OBJECTS):
                batch = Batch(
                    bucket_id=bucket.bucket_id,
                    namespace_id=scope.namespace,
                    collection_ids=[collection.collection_id],
                    dedup_strategy=strategy or DedupStrategy.SKIP,
                )
                manifest = Manifest(batch_id=batch.batch_id, object_ids=ids[start : start + MAX_OBJECTS])
                started.append(await self._triggered(scope, collection, batch, manifest, empty=not ids))
        return started

    async def trigger_documents(
        self,
        scope: Scope,
        collection: Collection,
        sources: Sequence[Collection],
        raw: Json,
        *,
        object_ids: Sequence[str] | None = None,
        strategy: DedupStrategy | None = None,
    ) -> tuple[Batch, Task]:
        """Process the documents of the collections that this one reads."""
        batch = Batch(
            bucket_id=(collection.source.inherited_bucket_ids or ["none"])[0],
            namespace_id=scope.namespace,
            type="COLLECTION",
            collection_ids=[collection.collection_id],
            dedup_strategy=strategy or DedupStrategy.REPLACE,
        )
        manifest = Manifest(
            batch_id=batch.batch_id,
            object_ids=list(object_ids or ()),
            documents=raw,
            source_collection_ids=[one.collection_id for one in sources],
        )
        feed = DocumentFeed(
            self.run.vectors,
            scope.namespace,
            collection,
            collection_ids=[one.collection_id for one in sources],
            where=parse_filter(raw, field="source_filters"),
            roots=object_ids,
            chunk_size=1000,
        )
        return await self._triggered(scope, collection, batch, manifest, empty=not await feed.total())

    async def _triggered(
        self, scope: Scope, collection: Collection, batch: Batch, manifest: Manifest, *, empty: bool
    ) -> tuple[Batch, Task]:
        """A batch that begins at once; one without sources ends at once, and says why."""
        downstream = tiers([collection], await self.collections.all(scope))
        async with self.records.transaction(scope):
            if batch.type == "BUCKET":
                await self._check_open(scope, batch.bucket_id)
            batch = await self.batches.add(scope, batch, manifest)
            task = await self._queue(scope, batch, manifest, downstream)
            if empty:
                why = "The source holds nothing that matches."
                await self.batches.set(scope, batch, status=Status.FAILED, error=why, lifecycle="failed")
                await self.tasks.move(scope, task.task_id, Status.FAILED, error=why)
        if not empty:
            await self._begin(scope, batch, task)
        shown = await self.batches.get(scope.of_namespace(), batch.batch_id)
        return shown.model_copy(update={"object_ids": manifest.object_ids}), await self.tasks.get(
            scope, task.task_id
        )

    async def retry(self, scope: Scope, batch: Batch) -> Task:
        """Process what failed in an ended batch again, and only that."""
        async with self.records.transaction(scope):
            batch = await self.batches.get(scope.of_namespace(), batch.batch_id)
            if batch.status not in TERMINAL:
                raise BadRequestError(
                    f"Only an ended batch can be retried; this one is {batch.status.value}."
                )
            bad = await self.run.runner.ledger.bad(scope, batch.batch_id)
            if not bad:
                raise BadRequestError("The batch has no failed objects.")
            if batch.type == "BUCKET":
                await self._check_open(scope, batch.bucket_id)
            planned = await self._planned_before(scope, batch)
            await self._forget(scope, batch, bad)
            manifest = await self.batches.manifests.get(scope.of_namespace(), batch.batch_id)
            failed = list(dict.fromkeys(one.object_id or one.source_id for one in bad))
            manifest = manifest.model_copy(update={"retry_ids": failed})
            batch = batch.model_copy(update={"retry_count": batch.retry_count + 1})
            task = await self._queue(scope, batch, manifest, planned)
        return await self._begin(scope, batch, task)

    async def _planned_before(self, scope: Scope, batch: Batch) -> list[list[Collection]]:
        """The tiers of the run before, without collections that were deleted since."""
        known = {one.collection_id: one for one in await self.collections.all(scope)}
        planned = [[known[one] for one in tier if one in known] for tier in batch.dag_tiers or []]
        planned = [tier for tier in planned if tier]
        if not planned:
            raise BadRequestError("The batch's collections were deleted.")
        return planned

    async def _forget(self, scope: Scope, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes back, so that their sources are due again."""
        within = scope.of_namespace().within(batch.batch_id)
        await self.batches.outcomes.delete(within, *(one.outcome_id for one in outcomes))

    async def cancel(self, scope: Scope, batch: Batch, reason: str | None) -> Task:
        """Stop a batch at its next group, and list what it did not come to as failed.

        Answers once it has stopped, or after some seconds. Cancelling an ended one changes nothing.
        """
        batch = await self._ask_to_stop(scope, batch.batch_id, reason)
        if batch.task_id is None:
            return Task(task_id=batch.batch_id, task_type=TaskType.BATCH_PROCESS, status=batch.status)
        await self._ended(scope, batch.batch_id, _CANCEL_SECONDS)
        return await self.tasks.get(scope, batch.task_id)

    async def stop(self, scope: Scope) -> None:
        """Cancel every batch of the scope, and wait for their ends."""
        ended: list[Json] = [*(one.value for one in TERMINAL), Status.DRAFT.value]
        running = Not(Condition("status", "in", ended, case_sensitive=True))
        ids = [
            batch.batch_id
            async for some in self.batches.batches.iterate(scope, where=running)
            for batch in some
        ]
        for one in ids:
            await self._ask_to_stop(scope, one, "What it processes is being deleted.")
        for one in ids:
            await self._ended(scope, one, None)
            if self.durable.stopping:
                raise UnavailableError("The server is stopping.")

    async def _ask_to_stop(self, scope: Scope, batch_id: str, reason: str | None) -> Batch:
        async with self.records.transaction(scope):
            batch = await self.batches.get(scope.of_namespace(), batch_id)
            if batch.status not in TERMINAL:
                status = Status.CANCELED if batch.status is Status.DRAFT else batch.status
                why = reason or "Canceled."
                await self.batches.set(
                    scope,
                    batch,
                    status=status,
                    lifecycle="canceled",
                    status_message=why,
                    lifecycle_reason=why,
                )
        return await self.batches.get(scope.of_namespace(), batch_id)

    async def _ended(self, scope: Scope, batch_id: str, seconds: float | None) -> None:
        """Wait for a batch's end, at most these seconds, and not while the process is ending."""
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while not self.durable.stopping:
            batch = await self.batches.batches.find(scope.of_namespace(), batch_id)
            late = until is not None and asyncio.get_running_loop().time() > until
            if batch is None or batch.status in TERMINAL or late:
                return
            await asyncio.sleep(0.05)

    async def _queue(
        self, scope: Scope, batch: Batch, manifest: Manifest, planned: Sequence[Sequence[Collection]]
    ) -> Task:
        """Store that a run of the batch is due. Inside a transaction."""
        task = await self.tasks.start(
            scope,
            TaskType.BATCH_PROCESS,
            batch_id=batch.batch_id,
            bucket_id=batch.bucket_id,
            namespace_id=scope.namespace,
        )
        await self.batches.manifests.update(scope.within(batch.bucket_id), manifest)
        tier_tasks = [
            TierTask(
                tier_num=number,
                task_id=task.task_id,
                collection_ids=[one.collection_id for one in tier],
                source_type=tier[0].source.type,
                source_collection_ids=list(dict.fromkeys(c for one in tier for c in one.source.collections))
                or None,
                extractor_jobs=[await self._job(scope, batch, manifest, one) for one in tier],
            )
            for number, tier in enumerate(planned)
        ]
        await self.batches.set(
            scope,
            batch,
            task_id=task.task_id,
            status=Status.PENDING,
            lifecycle="queued",
            lifecycle_reason=None,
            status_message=None,
            collection_ids=[one for tier in tier_tasks for one in tier.collection_ids],
            effective_dedup_strategy=batch.dedup_strategy or DedupStrategy.REPLACE,
            dag_tiers=[tier.collection_ids for tier in tier_tasks],
            total_tiers=len(tier_tasks),
            current_tier=0,
            webhook_url=batch.webhook_url,
            retry_count=batch.retry_count,
            error=None,
            failed_object_count=0,
            partial_object_count=None,
            progress=overall(tier_tasks),
            tier_tasks=tier_tasks,
        )
        return task

    async def _job(
        self, scope: Scope, batch: Batch, manifest: Manifest, collection: Collection
    ) -> CollectionJob:
        """A collection's job as it stands before a run: empty, or what an earlier run left done."""
        job = CollectionJob(
            extractor_type=collection.feature_extractor.feature_extractor_name,
            collection_ids=[collection.collection_id],
            source_type=collection.source.type,
            total=len(manifest.object_ids) if collection.source.type == "bucket" else None,
        )
        if manifest.retry_ids is not None:
            before = job_of(batch.tier_tasks, collection.collection_id)
            done = await tallied(self.batches.outcomes, scope, batch.batch_id, before)
            job.total = before.total
            job.processed, job.skipped = done.extracted + done.skipped, done.skipped
            job.documents_written = done.documents
        return job

    async def _begin(self, scope: Scope, batch: Batch, task: Task) -> Task:
        about = (scope.organization_id, scope.namespace, batch.batch_id, task.task_id)
        await self.durable.start(WORKFLOW, task.task_id, *about, partition=scope.namespace)
        return task


def _among(field: str, values: Sequence[str]) -> Condition:
    wanted: list[Json] = list(values)
    return Condition(field, "in", wanted, case_sensitive=True)
