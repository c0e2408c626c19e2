"""② The run of a batch, durably: tier by tier, collection by collection, chunk by chunk, to its end.

Where several processes share the work, each chunk is cut into shares that any of them takes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from lamina.core.errors import ExtractionError, LaminaError, UnavailableError
from lamina.core.filters import ALL, parse_filter
from lamina.core.models import now
from lamina.core.scope import Scope
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json
from lamina.platform.organizations import OrganizationService
from lamina.platform.tasks import TaskService
from lamina.processing.batches import Batch, BatchService, DedupStrategy, Manifest, TierTask
from lamina.processing.collection_service import CollectionService
from lamina.processing.collections import Collection, FeatureExtractorConfig, SourceConfig
from lamina.processing.durable import Durable, StepFailedError
from lamina.processing.feeds import DocumentFeed, Feed, ObjectFeed, Place
from lamina.processing.notices import NOTICE, notice_of
from lamina.processing.progress import Reporter, canceled, job_of, overall, tallied
from lamina.processing.runner import GROUP, Runner
from lamina.processing.work import Work
from lamina.stores.records.base import RecordStore
from lamina.stores.vectors.base import VectorStore

log = structlog.get_logger()

WORKFLOW: Final = "process_batch"
SHARE: Final = "process_share"

_SHARES: Final = 16
"""Into how many shares a chunk is cut, at least where they are worth it, so that many processes take part."""

_CANCELED: Final = "The batch was canceled before its turn."
_DELETED: Final = "The collection was deleted."


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a batch, under its task's id. A retry is another run."""

    scope: Scope
    batch_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class _Turn:
    """What it takes to process sources of one collection of a run."""

    work: Work
    feed: Feed
    report: Reporter


class BatchRun:
    """The workflow of a batch. Each of its steps can run again from the step's beginning."""

    def __init__(
        self,
        *,
        durable: Durable,
        records: RecordStore,
        batches: BatchService,
        collections: CollectionService,
        organizations: OrganizationService,
        tasks: TaskService,
        runner: Runner,
        vectors: VectorStore,
        chunk_objects: int,
        share_objects: int | None,
    ) -> None:
        self.durable = durable
        self.records = records
        self.batches = batches
        self.collections = collections
        self.organizations = organizations
        self.tasks = tasks
        self.runner = runner
        self.vectors = vectors
        self._chunk_objects = chunk_objects
        self._share_objects = share_objects
        durable.register(WORKFLOW, self._run)
        durable.register(SHARE, self._share)

    def _run(self, organization_id: str, namespace_id: str, batch_id: str, task_id: str) -> None:
        run = Run(Scope(organization_id, namespace_id), batch_id, task_id)
        why: str | None = None
        for tier, collection_ids in enumerate(
            self.durable.step("begin", lambda: self._begin(run), patient=True)
        ):
            for collection_id in collection_ids:
                why = self._collection(run, tier, collection_id, why)
        notice = self.durable.step("end", lambda: self._end(run, why), patient=True)
        if notice is not None:
            self.durable.afterwards(NOTICE, *notice)

    def _collection(self, run: Run, tier: int, collection_id: str, why: str | None) -> str | None:
        """Take a collection's sources through it, or list them as failed once there is a reason why not.

        Returns the reason why no later collection shall have its turn.
        """
        step = self.durable.step
        place: Place | None = []
        try:
            while why is None and place is not None:
                why, place = self._chunk(run, tier, collection_id, place)
            if why is None:
                step("close", lambda: self._close(run, collection_id))
                return None
        except StepFailedError as failure:
            why = failure.reason
        reason = why
        try:
            step("give_up", lambda: self._give_up(run, tier, collection_id, reason))
        except StepFailedError as failure:
            log.error("batch_sources_not_listed", batch_id=run.batch_id, error=failure.reason)
        return None if why == _DELETED else why

    def _chunk(
        self, run: Run, tier: int, collection_id: str, place: Place
    ) -> tuple[str | None, Place | None]:
        """Process a chunk: why there shall be no further one, and where that begins; None after the last."""
        step = self.durable.step
        if not self.durable.shared:  # places are less to remember than ids
            return step("chunk", partial(self._process_chunk, run, tier, collection_id, place))
        shares, following = step("cut", partial(self._cut, run, tier, collection_id, place))
        about = [run.scope.organization_id, run.scope.namespace, run.batch_id, run.task_id]
        whys = self.durable.spread(
            SHARE, [[*about, tier, collection_id, ids] for ids in shares], partition=run.scope.namespace
        )
        return next((why for why in whys if why is not None), None), following

    def _share(
        self,
        organization_id: str,
        namespace_id: str,
        batch_id: str,
        task_id: str,
        tier: int,
        collection_id: str,
        ids: list[str],
    ) -> str | None:
        """Process some sources; why no others of the collection shall be."""
        run = Run(Scope(organization_id, namespace_id), batch_id, task_id)
        try:
            return self.durable.step("share", lambda: self._process(run, tier, collection_id, ids))
        except StepFailedError as failure:
            return failure.reason

    async def _begin(self, run: Run) -> list[list[str]]:
        async with self.records.transaction(run.scope):
            batch = await self._current(run)
            if batch is None:
                return []
            lifecycle = batch.lifecycle if canceled(batch) else "extracting"
            await self.batches.set(run.scope, batch, status=Status.PROCESSING, lifecycle=lifecycle)
            await self.tasks.move(run.scope, run.task_id, Status.PROCESSING)
        log.info("batch_started", batch_id=run.batch_id, objects=batch.object_count)
        return batch.dag_tiers or []

    async def _process_chunk(
        self, run: Run, tier: int, collection_id: str, place: Place
    ) -> tuple[str | None, Place | None]:
        turn = await self._turn(run, tier, collection_id)
        if not isinstance(turn, _Turn):
            return turn, None
        ids, following = await turn.feed.chunk(place)
        return await self._processed(turn, ids), following

    async def _cut(
        self, run: Run, tier: int, collection_id: str, place: Place
    ) -> tuple[list[list[str]], Place | None]:
        """The ids of a chunk, in shares, and where the next one begins."""
        turn = await self._turn(run, tier, collection_id)
        if not isinstance(turn, _Turn):
            return [[]], None  # one that finds out why
        ids, following = await turn.feed.chunk(place)
        least = self._share_objects or turn.work.extractor.worth_sharing
        size = min(max(-(-len(ids) // _SHARES), least), GROUP)
        return [ids[start : start + size] for start in range(0, len(ids), size)], following

    async def _process(self, run: Run, tier: int, collection_id: str, ids: list[str]) -> str | None:
        turn = await self._turn(run, tier, collection_id)
        if not isinstance(turn, _Turn):
            return turn
        return await self._processed(turn, ids)

    async def _processed(self, turn: _Turn, ids: list[str]) -> str | None:
        """Process some sources; why no others shall be."""
        wanted = await self.runner.process(turn.work, turn.feed, ids, turn.report)
        return None if wanted else _CANCELED

    async def _turn(self, run: Run, tier: int, collection_id: str) -> _Turn | str | None:
        """What processing needs; or why it shall not be done, None where nobody has to be told."""
        batch = await self._current(run)
        if batch is None:
            return None
        if canceled(batch):
            return _CANCELED
        collection = await self.collections.collections.find(run.scope, collection_id)
        if collection is None:
            return _DELETED
        return await self._turn_of(run, batch, collection, tier)

    async def _turn_of(self, run: Run, batch: Batch, collection: Collection, tier: int) -> _Turn:
        manifest = await self.batches.manifests.get(run.scope, run.batch_id)
        feed = self._feed(run, batch, manifest, collection, tier)
        report = self._reporter(run, collection.collection_id)
        job = job_of(batch.tier_tasks, collection.collection_id)
        if job.status is Status.PENDING:
            await report.open(tier, await feed.total() if job.total is None else job.total)
        return _Turn(await self._work(run, batch, manifest, collection), feed, report)

    async def _give_up(self, run: Run, tier: int, collection_id: str, why: str) -> None:
        """A failure for each of a collection's sources that has no outcome."""
        batch = await self._current(run)
        if batch is None:
            return
        collection = await self.collections.collections.find(run.scope, collection_id)
        error: LaminaError = UnavailableError(why) if collection else ExtractionError(_DELETED)
        if collection is None:
            collection = _stand_in(collection_id, job_of(batch.tier_tasks, collection_id).source_type)
        turn = await self._turn_of(run, batch, collection, tier)
        place: Place | None = []
        while place is not None:
            ids, place = await turn.feed.chunk(place)
            await self.runner.give_up(turn.work, turn.feed, ids, turn.report, error, shown=why != _CANCELED)
        await self._close(run, collection_id)

    async def _close(self, run: Run, collection_id: str) -> None:
        batch = await self._current(run)
        if batch is None:
            return
        job = job_of(batch.tier_tasks, collection_id)
        tally = await tallied(self.batches.outcomes, run.scope, run.batch_id, job)
        await self._reporter(run, collection_id).close(tally)

    async def _end(self, run: Run, why: str | None) -> list[Json] | None:
        """Say how it ended, every source having its outcome by now; gives what else has to be told of it."""
        async with self.records.transaction(run.scope):
            batch = await self._current(run)
            if batch is None:
                await self.tasks.move(run.scope, run.task_id, Status.CANCELED, error="The batch is gone.")
                return None
            bad = await self.runner.ledger.bad(run.scope, run.batch_id)
            failed = {one.object_id or one.source_id for one in bad if one.status is Status.FAILED}
            partly = {one.object_id or one.source_id for one in bad} - failed
            within = run.scope.of_namespace().within(run.batch_id)
            counts = await self.batches.outcomes.count_by(within, "status")
            good = sum(counts.values()) - counts.get(Status.FAILED.value, 0)
            status = _final(canceled(batch), bool(bad), good, why)
            for tier in batch.tier_tasks:
                _close(tier, status)
            error = why if status in {Status.FAILED, Status.COMPLETED_WITH_ERRORS} else None
            first = next((one.error for one in bad), None)
            reason = error or (first if status is Status.FAILED else None)
            ended = await self.batches.set(
                run.scope,
                batch,
                status=status,
                error=error,
                failed_object_count=len(failed),
                partial_object_count=len(partly) or None,
                tier_tasks=batch.tier_tasks,
                progress=overall(batch.tier_tasks, first_error=first),
                lifecycle={Status.CANCELED: "canceled", Status.FAILED: "failed"}.get(status, "indexed"),
            )
            await self.tasks.move(run.scope, run.task_id, status, error=reason)
        log.info("batch_ended", batch_id=run.batch_id, status=status.value, failed=len(failed))
        return notice_of(ended, reason)

    async def _current(self, run: Run) -> Batch | None:
        """The batch, unless it is gone or another run has it."""
        batch = await self.batches.batches.find(run.scope.of_namespace(), run.batch_id)
        return batch if batch is not None and batch.task_id == run.task_id else None

    def _feed(self, run: Run, batch: Batch, manifest: Manifest, collection: Collection, tier: int) -> Feed:
        """What a collection reads: in a first tier what the batch names, later what descends from that."""
        size = self._chunk_objects
        if collection.source.type == "bucket":
            return ObjectFeed(self.runner.ledger.objects, run.scope, collection, manifest.due, size)
        sources, where = collection.source.collections, ALL
        if tier == 0 and batch.type == "COLLECTION":
            sources = manifest.source_collection_ids or sources
            where = parse_filter(manifest.documents)
        everything = batch.type == "COLLECTION" and not manifest.due
        return DocumentFeed(
            self.vectors,
            run.scope.namespace,
            collection,
            collection_ids=sources,
            where=where,
            roots=None if everything else manifest.due,
            chunk_size=size,
        )

    async def _work(self, run: Run, batch: Batch, manifest: Manifest, collection: Collection) -> Work:
        organization = await self.organizations.get(run.scope)
        skip = batch.effective_dedup_strategy is DedupStrategy.SKIP and manifest.retry_ids is None
        failed = any(job.failed for tier in batch.tier_tasks for job in tier.extractor_jobs)
        return Work(
            run.scope,
            organization.internal_id,
            run.batch_id,
            collection,
            skip_unchanged=skip,
            failed_before=failed,
        )

    def _reporter(self, run: Run, collection_id: str) -> Reporter:
        return Reporter(self.batches.batches, self.tasks.tasks, run.scope, run.batch_id, collection_id)


def _stand_in(collection_id: str, source_type: str) -> Collection:
    """In place of a collection that was deleted, so that its sources can be listed."""
    return Collection(
        collection_id=collection_id,
        collection_name=collection_id,
        source=SourceConfig(type="bucket" if source_type == "bucket" else "collection"),
        feature_extractor=FeatureExtractorConfig(feature_extractor_name="passthrough_extractor"),
    )


def _close(tier: TierTask, batch_status: Status) -> None:
    """The end of a tier: how its collections ended, or the batch where they did not."""
    for job in tier.extractor_jobs:
        if job.status not in TERMINAL:
            job.status, job.completed_at = batch_status, now()
    failed = any(job.failed for job in tier.extractor_jobs)
    tier.status = Status.COMPLETED_WITH_ERRORS if failed else Status.COMPLETED
    if batch_status in {Status.CANCELED, Status.FAILED}:
        tier.status = batch_status
    tier.completed_at = tier.completed_at or now()
    tier.documents_written = sum(job.documents_written for job in tier.extractor_jobs)


def _final(was_canceled: bool, bad: bool, good: int, why: str | None) -> Status:
    if was_canceled:
        return Status.CANCELED
    if bad:
        return Status.COMPLETED_WITH_ERRORS if good else Status.FAILED
    return Status.FAILED if why and not good else Status.COMPLETED
