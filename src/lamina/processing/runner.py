"""② The runner: sources through one collection — read, extract, write, record.

Everything it writes has an id that derives from its source, and documents are written before their
outcome is recorded. So it can be killed anywhere: what has an outcome is done, and the rest is done
again, into the same documents.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from lamina.core.errors import LaminaError, RecordsUnavailableError, UnavailableError
from lamina.core.models import now
from lamina.core.statuses import Status
from lamina.extractors.base import Part, PartialExtractionError, Source
from lamina.platform.secrets import SecretService
from lamina.processing.batches import Outcome
from lamina.processing.durable import Durable
from lamina.processing.exclusion import Exclusion
from lamina.processing.feeds import Feed
from lamina.processing.ledger import Ledger
from lamina.processing.progress import Reporter
from lamina.processing.sources import SourceRecord, extractor_source
from lamina.processing.work import Work
from lamina.processing.workers import WorkerPool
from lamina.processing.writer import Writer
from lamina.stores.records.base import RecordStore
from lamina.stores.records.locks import Lock

GROUP: Final = 256
"""Sources in one call to the workers. `bench/ingestion.py`: 0.95 of the bare model's rate, 0.86 with 64."""

GROUP_BYTES: Final = 64 << 20
"""Bytes of blobs read into memory for one call: large files go to the workers a few at a time."""

_ATTEMPTS: Final = 3
"""How often a source that changes while it is extracted is extracted, until its last parts are taken."""

Read = Mapping[str, SourceRecord | None]
"""Sources by id, as a `Feed` reads them."""

Made = list[Part] | LaminaError | None
"""What became of a source: parts, or why there are none; None for one that is left as it is."""


class Runner:
    """Takes sources through a collection with a pool of workers."""

    def __init__(
        self,
        *,
        records: RecordStore,
        ledger: Ledger,
        writer: Writer,
        pool: WorkerPool,
        secrets: SecretService,
        durable: Durable,
        exclusion: Exclusion,
        concurrency: int,
    ) -> None:
        self.records = records
        self.ledger = ledger
        self.writer = writer
        self.pool = pool
        self.secrets = secrets
        self._durable = durable
        self._exclusion = exclusion
        self._slots = asyncio.Semaphore(concurrency)

    async def process(self, work: Work, feed: Feed, ids: Sequence[str], report: Reporter) -> bool:
        """Give an outcome to every source that has none; whether the batch is still wanted.

        Groups run side by side, as many as there are slots. Raises what concerns all sources alike:
        an engine, a model or the workers cannot be reached.
        """
        due = await self.ledger.due(work, ids)
        wanted = True

        async def group(some: Sequence[str]) -> None:
            nonlocal wanted
            async with self._slots:
                if self._durable.stopping:
                    raise UnavailableError("The server is stopping.")
                if wanted and not await self._group(work, feed, some, report):
                    wanted = False

        await _all([group(due[start : start + GROUP]) for start in range(0, len(due), GROUP)])
        return wanted

    async def give_up(
        self,
        work: Work,
        feed: Feed,
        ids: Sequence[str],
        report: Reporter,
        why: LaminaError,
        *,
        shown: bool,
    ) -> None:
        """Record a failure for every source that has no outcome; `shown` says whether objects tell it."""
        due = await self.ledger.due(work, ids)
        found = await feed.read(due)
        moment = now()
        failures = [_failed(work, one, found.get(one), why, moment) for one in due]
        await self._record(work, failures, report, shown=shown)

    async def _record(
        self, work: Work, outcomes: Sequence[Outcome], report: Reporter, *, shown: bool = True
    ) -> bool:
        """Keep outcomes and count them, both or neither; whether the batch is still wanted."""
        async with self.records.atomic():
            return await report.add(await self.ledger.record(work, outcomes, shown=shown))

    async def _group(self, work: Work, feed: Feed, ids: Sequence[str], report: Reporter) -> bool:
        """One group, from sources to outcomes. What is written is what the sources say at that moment."""
        wanted = True
        waiting = list(ids)
        for attempt in range(1, _ATTEMPTS + 1):
            found = await feed.read(waiting)
            made = await self._made(work, found)
            async with self._exclusion.of(_keys(waiting, found), jointly=True) as lock:
                latest = await feed.versions(waiting)
                changed = {one for one in waiting if one in latest and _has_changed(one, found, latest[one])}
                if attempt == _ATTEMPTS:
                    changed.clear()
                settled = {one: found.get(one) for one in waiting if one not in changed}
                lost = {one: feed.gone for one in settled if one not in latest}
                wanted = await self._settle(work, settled, lost, made, lock, report)
            waiting = [one for one in waiting if one in changed]
            if not waiting:
                break
        return wanted

    async def _made(self, work: Work, found: Read) -> dict[str, Made]:
        """What a worker makes of the sources. One whose input cannot be read fails alone."""
        records = [record for record in found.values() if record is not None]
        unchanged = await self.ledger.unchanged(work, records) if work.skip_unchanged else frozenset[str]()
        made: dict[str, Made] = dict.fromkeys(unchanged)
        sources: list[Source] = []
        size = 0
        for record in records:
            try:
                if record.source_id not in unchanged:
                    sources.append(
                        await extractor_source(work.scope, record, work.collection, self.writer.blobs)
                    )
                    size += sources[-1].size
            except LaminaError as error:
                if error.retryable:  # the blob store is away: no fault of this source
                    raise
                made[record.source_id] = error
            if size > GROUP_BYTES:
                made.update(await self._extracted(work, sources))
                sources, size = [], 0
        made.update(await self._extracted(work, sources))
        return made

    async def _extracted(self, work: Work, sources: Sequence[Source]) -> dict[str, Made]:
        """What the workers make of sources that are read."""
        if not sources:
            return {}
        config = work.collection.feature_extractor
        parameters = await self.secrets.resolved(work.scope, config.parameters or {})
        outcomes = await self.pool.run(config.feature_extractor_name, config.version, parameters, sources)
        return dict(zip((source.source_id for source in sources), outcomes, strict=True))

    async def _settle(
        self,
        work: Work,
        settled: Read,
        lost: Mapping[str, LaminaError | None],
        made: Mapping[str, Made],
        lock: Lock,
        report: Reporter,
    ) -> bool:
        """Write the documents of sources that nobody else changes now, and record what became of them.

        Says whether the batch is still wanted.
        """
        parts: dict[str, tuple[SourceRecord, Sequence[Part]]] = {}
        errors = {one: why for one, why in lost.items() if why is not None}
        whole: list[str] = []
        for one, record in settled.items():
            result = made.get(one)
            if one in lost or record is None:
                whole.append(one)  # without documents, whatever there were
            elif isinstance(result, list):
                parts[one] = (record, result)
            elif isinstance(result, LaminaError):
                errors[one] = result
                if isinstance(result, PartialExtractionError):
                    parts[one] = (record, result.parts)
        written, refused = await self.writer.write(work, parts)
        errors.update(refused)
        whole += [one for one in written if one not in errors]
        await self.writer.remove_stale(work, whole, written)
        if not await lock.alive():  # an object may have been deleted meanwhile: the next attempt sees that
            raise RecordsUnavailableError("The record store was lost while documents were written.")
        moment = now()
        outcomes = [
            _outcome(work, one, record, errors.get(one), written.get(one), moment)
            for one, record in settled.items()
        ]
        return await self._record(work, outcomes, report)


async def _all(groups: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for all of them, then raise the first failure: none is broken off in its writes."""
    for result in await asyncio.gather(*groups, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _keys(ids: Sequence[str], found: Read) -> set[str]:
    """What nobody else may change while the documents of these sources are written."""
    return {record.key for record in found.values() if record is not None} | set(ids)


def _has_changed(source_id: str, found: Read, version: str) -> bool:
    """Whether a source that exists is not as it was found. One that is excluded has no version."""
    record = found.get(source_id)
    return source_id not in found if record is None else record.version != version


def _outcome(
    work: Work,
    source_id: str,
    record: SourceRecord | None,
    error: LaminaError | None,
    written: Sequence[str] | None,
    moment: datetime,
) -> Outcome:
    """What became of one source."""
    if error is not None and written is None:
        return _failed(work, source_id, record, error, moment)
    status = Status.COMPLETED_WITH_ERRORS if error else Status.COMPLETED
    return Outcome(
        outcome_id=work.outcome_id(source_id),
        collection_id=work.collection.collection_id,
        source_id=source_id,
        object_id=record.object_id if record else source_id,
        version=record.version if record else None,
        status=Status.SKIPPED if written is None else status,
        documents=len(written or ()),
        error=error.message if error else None,
        error_type="permanent" if error else None,
        created_at=moment,
        updated_at=moment,
    )


def _failed(
    work: Work, source_id: str, record: SourceRecord | None, error: LaminaError, moment: datetime
) -> Outcome:
    return Outcome(
        outcome_id=work.outcome_id(source_id),
        collection_id=work.collection.collection_id,
        source_id=source_id,
        object_id=record.object_id if record else None,
        version=record.version if record else None,
        status=Status.FAILED,
        error=error.message,
        error_type="transient" if error.retryable else "permanent",
        created_at=moment,
        updated_at=moment,
    )
