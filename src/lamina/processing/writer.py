"""② Parts become documents: written with their files, in place of what their source had before."""

from collections.abc import Mapping, Sequence

from lamina.core.errors import LaminaError
from lamina.core.filters import And, Condition, Not
from lamina.core.ids import document_id
from lamina.core.types import Json
from lamina.extractors.base import Part, PartBlob
from lamina.ingest.blobs import SCHEME, BlobKeeper
from lamina.processing.points import document_prefix, payload
from lamina.processing.removal import Removal
from lamina.processing.sources import SourceRecord, passed_through
from lamina.processing.work import Work
from lamina.stores.vectors.base import Point, VectorStore

Written = Mapping[str, Sequence[str]]
"""Ids of documents by the source that they were made from."""

_KINDS = frozenset({"image", "video", "audio", "text"})


class Writer:
    """Writes the documents of sources, each under the id that derives from it."""

    def __init__(self, vectors: VectorStore, blobs: BlobKeeper) -> None:
        self.vectors = vectors
        self.blobs = blobs
        self.removal = Removal(vectors, blobs.store)

    async def write(
        self, work: Work, parts: Mapping[str, tuple[SourceRecord, Sequence[Part]]]
    ) -> tuple[dict[str, list[str]], dict[str, LaminaError]]:
        """The documents that were written, and the sources whose documents cannot be, by source."""
        refused: dict[str, LaminaError] = {}
        points: dict[str, list[Point]] = {}
        for source_id, (record, made) in parts.items():
            try:
                points[source_id] = await self._points(work, record, made)
            except LaminaError as error:
                if error.retryable:
                    raise
                refused[source_id] = error
        try:
            await self.vectors.upsert(work.at, [point for some in points.values() for point in some])
        except LaminaError as error:
            if error.retryable:
                raise
            refused.update(await self._one_by_one(work, points))
        written = {
            source_id: [point.document_id for point in some]
            for source_id, some in points.items()
            if source_id not in refused
        }
        return written, refused

    async def _one_by_one(self, work: Work, points: Mapping[str, Sequence[Point]]) -> dict[str, LaminaError]:
        """Write what can be; one source whose documents the store refuses fails alone."""
        refused: dict[str, LaminaError] = {}
        for source_id, some in points.items():
            try:
                await self.vectors.upsert(work.at, some)
            except LaminaError as error:
                if error.retryable:
                    raise
                refused[source_id] = error
        return refused

    async def remove_stale(self, work: Work, source_ids: Sequence[str], written: Written) -> None:
        """Remove what these sources had besides what was written, and all that was made from that."""
        if not source_ids:
            return
        sources: list[Json] = list(source_ids)
        kept: list[Json] = [one for source_id in source_ids for one in written.get(source_id, ())]
        stale = And(
            (
                Condition(work.source_path, "in", sources, case_sensitive=True),
                Not(Condition("document_id", "in", kept, case_sensitive=True)),
            )
        )
        async for points in self.removal.pages(work.at, stale):
            await self.removal.with_descendants(work.at, points)

    async def _points(self, work: Work, record: SourceRecord, parts: Sequence[Part]) -> list[Point]:
        passed = passed_through(record, work.collection)
        extractor_id = work.extractor.id()
        points = []
        for part in parts:
            identifier = document_id(
                work.collection.collection_id, record.source_id, extractor_id, part.position
            )
            body = payload(
                document_id=identifier,
                collection_id=work.collection.collection_id,
                namespace_id=work.scope.namespace,
                internal_id=work.internal_id,
                fields={**record.place, **passed, **part.fields},
                origin=record.origin,
                modality=part.modality,
                document_blobs=[await self._file(work, identifier, one) for one in part.blobs],
                batch_id=work.batch_id,
            )
            points.append(Point(identifier, body, part.vectors, part.lexical))
        return points

    async def _file(self, work: Work, identifier: str, blob: PartBlob) -> Json:
        prefix = document_prefix(work.scope.namespace, work.collection.collection_id, identifier)
        stored = await self.blobs.store.put(f"{prefix}/{blob.filename}", blob.data)
        kind = blob.content_type.split("/")[0]
        return {
            "field": blob.field,
            "role": blob.role,
            "type": kind if kind in _KINDS else "other",
            "url": f"{SCHEME}{stored.key}",
            "filename": blob.filename,
            "size_bytes": len(blob.data),
            "content_type": blob.content_type,
        }
