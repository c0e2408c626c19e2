"""② How far a batch is: counted for each collection, shown for all of them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from lamina.core.filters import equals
from lamina.core.models import isoformat, now
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json, JsonObject
from lamina.platform.tasks import Task
from lamina.processing.batches import Batch, CollectionJob, Outcome, Progress, TierTask
from lamina.stores.records.base import Repository


@dataclass(slots=True)
class Tally:
    """What some sources came to. A source of which a part failed is extracted and has an error."""

    extracted: int = 0
    failed: int = 0
    skipped: int = 0
    documents: int = 0
    first_error: str | None = None

    def add(self, other: "Tally") -> None:
        """Count other sources in."""
        self.extracted += other.extracted
        self.failed += other.failed
        self.skipped += other.skipped
        self.documents += other.documents
        self.first_error = self.first_error or other.first_error

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
    """Adds what groups of sources came to, to one collection's job, and shows it on batch and task."""

    def __init__(
        self,
        batches: Repository[Batch],
        tasks: Repository[Task],
        scope: Scope,
        batch: Batch,
        collection_id: str,
        before: Tally,
        total: int,
    ) -> None:
        self._batches = batches
        self._tasks = tasks
        self._scope = scope.of_namespace()
        self._batch = batch
        self._job = job_of(batch.tier_tasks, collection_id)
        self._writing = asyncio.Lock()
        self._began = time.monotonic()
        self._done = 0
        self._first_error = batch.progress.first_error if batch.progress else None
        job = self._job
        job.processed = before.extracted + before.failed + before.skipped
        job.failed, job.skipped, job.documents_written = before.failed, before.skipped, before.documents
        job.total = max(total, job.processed, job.total or 0)
        job.status, job.started_at = Status.PROCESSING, job.started_at or now()

    async def add(self, tally: Tally) -> bool:
        """Count a group in and show it; whether the batch is still wanted."""
        job = self._job
        async with self._writing:  # one after the other, so that no older state is shown later
            done = tally.extracted + tally.failed + tally.skipped
            self._done += done
            job.processed += done
            job.failed += tally.failed
            job.skipped += tally.skipped
            job.documents_written += tally.documents
            job.total = max(job.total or 0, job.processed)
            self._first_error = self._first_error or tally.first_error
            await self.show()
        current = await self._batches.find(self._scope, self._batch.batch_id)
        return current is not None and not canceled(current)

    async def close(self) -> None:
        """Show that all of the collection's sources are done with; its tier too, when it was the last."""
        job = self._job
        job.status = Status.COMPLETED_WITH_ERRORS if job.failed else Status.COMPLETED
        job.completed_at, job.total = now(), job.processed
        for tier in self._batch.tier_tasks:
            statuses = {one.status for one in tier.extractor_jobs}
            if job in tier.extractor_jobs and statuses <= TERMINAL:
                tier.status, tier.completed_at = max(statuses, key=len), now()
                tier.documents_written = sum(one.documents_written for one in tier.extractor_jobs)
        await self.show()

    async def show(self) -> None:
        """Write the state onto batch and task."""
        batch = self._batch
        seconds = max(time.monotonic() - self._began, 1e-6)
        progress = overall(batch.tier_tasks, self._done / seconds, self._first_error)
        tiers: list[Json] = [tier.model_dump(mode="json", exclude_none=True) for tier in batch.tier_tasks]
        shown = cast("JsonObject", progress.model_dump(mode="json"))
        await self._batches.patch(
            self._scope,
            [batch.batch_id],
            {
                "progress": shown,
                "tier_tasks": tiers,
                "current_tier": batch.current_tier,
                "documents_written": progress.documents_written,
                "last_activity_at": isoformat(now()),
            },
        )
        if batch.task_id is not None:
            about: JsonObject = {
                "batch_id": batch.batch_id,
                "bucket_id": batch.bucket_id,
                "namespace_id": batch.namespace_id,
                "progress": {name: value for name, value in shown.items() if value is not None},
            }
            await self._tasks.patch(self._scope, [batch.task_id], {"additional_data": about})


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
