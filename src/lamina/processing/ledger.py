"""② The ledger of a batch: what became of each source, and what that says about objects."""

from collections.abc import Collection, Sequence

import structlog

from lamina.core.filters import And, Condition, Filter, equals
from lamina.core.scope import Scope
from lamina.core.statuses import Status
from lamina.core.types import Json
from lamina.ingest.objects import StoredObject
from lamina.processing.batches import BAD, Outcome
from lamina.processing.progress import Tally
from lamina.processing.sources import SourceRecord
from lamina.processing.work import Work
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import VectorStore

log = structlog.get_logger()


class Ledger:
    """Records outcomes and answers from them."""

    def __init__(
        self, outcomes: Repository[Outcome], objects: Repository[StoredObject], vectors: VectorStore
    ) -> None:
        self.outcomes = outcomes
        self.objects = objects
        self.vectors = vectors

    async def due(self, work: Work, source_ids: Sequence[str]) -> list[str]:
        """The sources that have no outcome yet."""
        by_outcome = {work.outcome_id(one): one for one in source_ids}
        known = await self.outcomes.get_many(work.outcomes, list(by_outcome))
        return [one for outcome_id, one in by_outcome.items() if outcome_id not in known]

    async def record(self, work: Work, outcomes: Sequence[Outcome], *, shown: bool = True) -> Tally:
        """Keep outcomes, and show them on the objects that they are about, unless these are not to blame."""
        tally = Tally()
        for one in outcomes:
            tally.count(one)
            if one.status is Status.FAILED:
                log.info(
                    "extraction_failed", batch_id=work.batch_id, source_id=one.source_id, error=one.error
                )
        # Shown first: a source that has an outcome is never looked at again, whatever a crash left undone.
        if shown:
            await self._show(work, outcomes)
        await self.outcomes.put(work.outcomes, *outcomes)
        return tally

    async def _show(self, work: Work, outcomes: Sequence[Outcome]) -> None:
        """A failed object says why; one that is done here and failed nowhere else is completed."""
        scope = work.scope.of_namespace()
        by_error: dict[str, list[str]] = {}
        for one in outcomes:
            if one.status is Status.FAILED and one.object_id is not None:
                by_error.setdefault(one.error or "unknown", []).append(one.object_id)
        for error, ids in by_error.items():
            await self.objects.patch(scope, ids, {"status": Status.FAILED.value, "error": error})
        good = {
            one.source_id
            for one in outcomes
            if one.source_id == one.object_id
            and one.status in {Status.COMPLETED, Status.COMPLETED_WITH_ERRORS}
        }
        good -= await self._failed_elsewhere(work, good)
        if good:
            done: dict[str, Json] = {"status": Status.COMPLETED.value, "error": None}
            await self.objects.patch(scope, sorted(good), done)

    async def _failed_elsewhere(self, work: Work, object_ids: Collection[str]) -> set[str]:
        if not object_ids or not work.failed_before:
            return set()
        where = And((_among("source_id", object_ids), equals("status", Status.FAILED.value)))
        found = set[str]()
        async for some in self.outcomes.iterate(work.outcomes, where=where):
            found.update(one.source_id for one in some)
        return found

    async def unchanged(self, work: Work, records: Sequence[SourceRecord]) -> frozenset[str]:
        """Sources that have not changed since they were processed here, and whose documents are all there."""
        by_id = {one.source_id: one for one in records}
        where = And(
            (
                equals("collection_id", work.collection.collection_id),
                equals("status", Status.COMPLETED.value),
                _among("source_id", by_id),
            )
        )
        expected: dict[str, int] = {}
        async for some in self.outcomes.iterate(work.scope.of_namespace(), where=where):
            for one in some:
                if one.version == by_id[one.source_id].version:
                    expected[one.source_id] = one.documents
        present = await self._documents(work, expected)
        return frozenset(one for one, count in expected.items() if present.get(one, 0) == count)

    async def _documents(self, work: Work, source_ids: Collection[str]) -> dict[str, int]:
        """How many documents each source has in this collection."""
        if not source_ids:
            return {}
        where = _among(work.source_path, source_ids)
        counts = await self.vectors.facet(work.at, work.source_path, limit=len(source_ids), where=where)
        return {str(value): count for value, count in counts}

    async def bad(self, scope: Scope, batch_id: str) -> list[Outcome]:
        """The outcomes of a batch that a retry has to do with: failed ones, and partly failed ones."""
        within = scope.of_namespace().within(batch_id)
        return [one async for some in self.outcomes.iterate(within, where=BAD) for one in some]


def _among(field: str, values: Collection[str]) -> Filter:
    wanted: list[Json] = list(values)
    return Condition(field, "in", wanted, case_sensitive=True)
