"""② How far a batch is: counted for each collection, shown for all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lamina.core.errors import NotFoundError
from lamina.core.filters import equals
from lamina.core.models import now
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import JsonObject
from lamina.platform.tasks import Task
from lamina.processing.batches import Batch, CollectionJob, Outcome, Progress, TierTask
from lamina.stores.records.base import Repository

_FADING_SECONDS: Final = 30.0


@dataclass(slots=True)
class Tally:
    """What some sources came to. A source of which a part failed is extracted and has an error."""

    extracted: int = 0
    failed: int = 0
    skipped: int = 0
    documents: int = 0
    first_error: str | None = None

    def count(self, outcome: Outcome) -> None:
        """Count one source in."""
        self.first_error = self.first_error or outcome.error
        self.documents += outcome.documents
        if outcome.status is Status.FAILED:
            self.failed += 1
        elif outcome.status is Status.SKIPPED:
            self.skipped += 1
        else:
            self.extracted += 1


async def tallied(outcomes: Repository[Outcome], scope: Scope, batch_id: str, job: CollectionJob) -> Tally:
    """What the sources of one collection of a batch have come to by now; `job` is what was shown last."""
    within = scope.of_namespace().within(batch_id)
    here = equals("collection_id", job.collection_ids[0])
    tally = Tally()
    if await outcomes.count(within, here) == job.processed:  # nothing was recorded that is not shown
        tally.failed, tally.skipped, tally.documents = job.failed, job.skipped, job.documents_written
        tally.extracted = job.processed - job.failed - job.skipped
        return tally
    async for some in outcomes.iterate(within, where=here):
        for one in some:
            tally.count(one)
    return tally


class Reporter:
    """Shows on a batch and its task how far one of its collections is. Several processes may, at once."""

    def __init__(
        self,
        batches: Repository[Batch],
        tasks: Repository[Task],
        scope: Scope,
        batch_id: str,
        collection_id: str,
    ) -> None:
        self._batches = batches
        self._tasks = tasks
        self._scope = scope.of_namespace()
        self._batch_id = batch_id
        self._collection_id = collection_id

    async def open(self, tier: int, total: int) -> None:
        """Show that the collection's turn has come; `total` is how many sources it has."""

        def opened(batch: Batch, job: CollectionJob) -> None:
            batch.current_tier = tier
            here = batch.tier_tasks[tier]
            here.status, here.started_at = Status.PROCESSING, here.started_at or now()
            job.status, job.started_at = Status.PROCESSING, job.started_at or now()
            job.total = max(total, job.processed)

        await self._show(opened)

    async def add(self, tally: Tally) -> bool:
        """Count sources in; whether the batch is still wanted.

        Within the transaction that records their outcomes, so that each is counted once.
        """

        def counted(batch: Batch, job: CollectionJob) -> None:
            done = tally.extracted + tally.failed + tally.skipped
            job.processed += done
            job.failed += tally.failed
            job.skipped += tally.skipped
            job.documents_written += tally.documents
            job.total = max(job.total or 0, job.processed)
            shown = batch.progress or Progress()
            shown.items_per_second = _rate(
                shown.items_per_second, done, batch.last_activity_at or batch.created_at
            )
            shown.first_error = shown.first_error or tally.first_error
            batch.progress = shown

        batch = await self._show(counted)
        return batch is not None and not canceled(batch)

    async def close(self, tally: Tally) -> None:
        """Show what all of the collection's sources came to; its tier's end too, when it was the last."""

        def closed(batch: Batch, job: CollectionJob) -> None:
            job.processed = job.total = tally.extracted + tally.failed + tally.skipped
            job.failed, job.skipped, job.documents_written = tally.failed, tally.skipped, tally.documents
            job.status = Status.COMPLETED_WITH_ERRORS if job.failed else Status.COMPLETED
            job.completed_at = now()
            for tier in batch.tier_tasks:
                statuses = {one.status for one in tier.extractor_jobs}
                if job in tier.extractor_jobs and statuses <= TERMINAL:
                    tier.status, tier.completed_at = max(statuses, key=len), now()
                    tier.documents_written = sum(one.documents_written for one in tier.extractor_jobs)

        await self._show(closed)

    async def _show(self, change: Callable[[Batch, CollectionJob], None]) -> Batch | None:
        """Change the collection's job and what follows from it; the batch, unless it is gone."""

        def changed(batch: Batch) -> Batch:
            change(batch, job_of(batch.tier_tasks, self._collection_id))
            before = batch.progress or Progress()
            batch.progress = overall(batch.tier_tasks, before.items_per_second or 0.0, before.first_error)
            batch.documents_written = batch.progress.documents_written
            batch.last_activity_at = now()
            return batch

        try:
            batch = await self._batches.change(self._scope, self._batch_id, changed)
        except NotFoundError:
            return None
        if batch.task_id is not None and batch.progress is not None:
            about: JsonObject = {
                "batch_id": batch.batch_id,
                "bucket_id": batch.bucket_id,
                "namespace_id": batch.namespace_id,
                "progress": batch.progress.model_dump(mode="json", exclude_none=True),
            }
            await self._tasks.patch(self._scope, [batch.task_id], {"additional_data": about})
        return batch


def _rate(before: float | None, done: int, since: datetime) -> float:
    """Sources a second, over about the last half minute: an average in which older ones fade by time."""
    seconds = max((now() - since).total_seconds(), 1e-3)
    latest = done / seconds
    return latest if not before else before + (latest - before) * -math.expm1(-seconds / _FADING_SECONDS)


def job_of(tiers: Sequence[TierTask], collection_id: str) -> CollectionJob:
    """The job of a collection."""
    return next(job for tier in tiers for job in tier.extractor_jobs if collection_id in job.collection_ids)


def canceled(batch: Batch) -> bool:
    """Whether somebody asked for the batch to stop. Its status says so once it has."""
    return batch.lifecycle == "canceled"


def overall(tiers: Sequence[TierTask], rate: float = 0.0, first_error: str | None = None) -> Progress:
    """The progress of a batch from that of its collections. `rate` is sources a second."""
    jobs = [job for tier in tiers for job in tier.extractor_jobs]
    processed = sum(job.processed for job in jobs)
    total = sum(job.total or 0 for job in jobs)
    first = [job for tier in tiers[:1] for job in tier.extractor_jobs]
    behind = min(first, key=lambda job: job.processed, default=None)
    return Progress(
        processed=processed,
        total=total or None,
        percent=round(100 * sum(map(_share, jobs)) / len(jobs), 2) if jobs else None,
        items_per_second=round(rate, 2) if rate else None,
        eta_seconds=round((total - processed) / rate, 1) if rate else None,
        errors=sum(job.failed for job in jobs),
        first_error=first_error,
        objects_extracted=behind.processed - behind.failed - behind.skipped if behind else 0,
        objects_skipped=behind.skipped if behind else 0,
        objects_failed=behind.failed if behind else 0,
        documents_written=sum(job.documents_written for job in jobs),
    )


def _share(job: CollectionJob) -> float:
    if job.status in TERMINAL:
        return 1.0
    return job.processed / job.total if job.total else 0.0
