"""From a corpus to searchable documents: bucket and collection, objects, batches, the wait for them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lamina.cli.answers import Batch, Bucket, Collection, Submitted
from lamina.cli.connection import Api, segment
from lamina.cli.destinations import (
    MEDIA,
    Destination,
    Split,
    destinations,
    property_for,
    remainder,
    schema,
)
from lamina.cli.failures import ApiFailure, UsageFailure
from lamina.cli.names import INGESTED_AS
from lamina.cli.progress import Watch
from lamina.cli.sending import Sent, send
from lamina.cli.sources import Corpus
from lamina.core.statuses import TERMINAL, Status
from lamina.core.types import Json

_BATCH_OBJECTS: Final = 10_000
_FIRST_POLL, _LONGEST_POLL = 0.1, 1.0
_KEPT_FAILURES: Final = 1000
_CANNOT_BE: Final = frozenset({422, 501})
"""Statuses of the refusal of an extractor that lacks a model, or does not do what is asked of it."""


@dataclass(frozen=True, slots=True)
class Names:
    """The bucket and the collection to load into, and whether to create what is missing."""

    bucket: str
    collection: str
    create: bool = True


@dataclass(slots=True)
class Loaded:
    """What a load did. `failed` counts every failure, `failures` names the first thousand."""

    bucket_id: str
    collections: Sequence[Collection]
    notes: Sequence[str] = ()
    """What was taken otherwise than one may expect, in words."""
    created: int = 0
    found: int = 0
    failed: int = 0
    documents: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, source: str, reason: str) -> None:
        """Record one failure."""
        self.failed += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append((source, reason))

    def as_json(self) -> dict[str, object]:
        """The whole, for one JSON document."""
        return {
            "bucket_id": self.bucket_id,
            "collections": [
                one.model_dump(include={"collection_id", "collection_name"}) for one in self.collections
            ],
            "objects": {"created": self.created, "found": self.found, "failed": self.failed},
            "documents": self.documents,
            "batches": [one.model_dump(include={"batch_id", "status"}) for one in self.batches],
            "failures": [{"source": source, "error": reason} for source, reason in self.failures],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


def load(
    api: Api, corpus: Corpus, names: Names, watch: Watch, *, split: Split | None = None, follow: bool = True
) -> Loaded:
    """Load a corpus. Objects that are there already are found again and not processed twice."""
    started = time.monotonic()
    bucket = _bucket(api, names, corpus)
    found, notes = _collections(api, names, bucket, corpus, split or Split())
    loaded = Loaded(bucket.bucket_id, [one for _, one in found], [*corpus.notes, *notes])
    objects = _write_objects(api, bucket, corpus, watch, loaded)
    for destination, collection in found:
        ids = [object_id for object_id, sent in objects.items() if sent.kind in destination.kinds]
        for start in range(0, len(ids), _BATCH_OBJECTS):
            batch = _submit(api, bucket, collection, ids[start : start + _BATCH_OBJECTS])
            loaded.batches.append(_follow(api, batch, watch, loaded, objects) if follow else batch)
    loaded.seconds = time.monotonic() - started
    return loaded


def _bucket(api: Api, names: Names, corpus: Corpus) -> Bucket:
    bucket = api.find(f"/buckets/{segment(names.bucket)}", Bucket)
    if bucket is not None:
        if bucket.unique_key is not None:
            raise UsageFailure(
                f"bucket '{bucket.bucket_name}' has a unique_key, so it takes no objects in batches; "
                "load into another with --bucket"
            )
        return bucket
    if not names.create:
        raise UsageFailure(f"there is no bucket '{names.bucket}'; without --no-create it is made")
    body: Json = {"bucket_name": names.bucket, "bucket_schema": {"properties": schema(corpus)}}
    return api.post("/buckets", body, Bucket)


def _collections(
    api: Api, names: Names, bucket: Bucket, corpus: Corpus, split: Split
) -> tuple[list[tuple[Destination, Collection]], list[str]]:
    """The collections that the corpus goes to, and notes on the media that no extractor takes here."""
    found: list[tuple[Destination, Collection]] = []
    wanted, refused = destinations(api, corpus, bucket, names.collection, split)
    for one in wanted:
        try:
            found.append((one, _collection(api, names, bucket, one)))
        except ApiFailure as refusal:
            # An extractor of the catalogue may lack a model; other kinds do not suffer from it.
            if refusal.status not in _CANNOT_BE or not one.kinds <= MEDIA:
                raise
            refused |= dict.fromkeys(one.kinds, str(refusal))
    rest = remainder(corpus, names.collection, [one for one, _ in found])
    if rest is not None:
        found.append((rest, _collection(api, names, bucket, rest)))
    notes = [
        f"{kind.value} files go to '{names.collection}-files' as they are, where no search sees them: {why}"
        for kind, why in sorted(refused.items())
    ]
    return found, notes


def _collection(api: Api, names: Names, bucket: Bucket, wanted: Destination) -> Collection:
    collection = api.find(f"/collections/{segment(wanted.name)}", Collection)
    if collection is not None:
        return collection
    if not names.create:
        raise UsageFailure(f"there is no collection '{wanted.name}'; without --no-create it is made")
    body: Json = {
        "collection_name": wanted.name,
        "source": {"type": "bucket", "bucket_ids": [bucket.bucket_id]},
        "feature_extractor": wanted.feature_extractor,
        "metadata": {INGESTED_AS: names.collection},
    }
    return api.post("/collections", body, Collection)


def _write_objects(api: Api, bucket: Bucket, corpus: Corpus, watch: Watch, loaded: Loaded) -> dict[str, Sent]:
    """Write all objects; what became of each, by its id."""
    watch.begin("objects", corpus.count)
    properties = {kind: property_for(bucket, kind) for kind in corpus.blob_kinds}
    objects: dict[str, Sent] = {}
    for done, one in enumerate(send(api, bucket.bucket_id, iter(corpus), properties), 1):
        if one.object_id is None:
            loaded.fail(one.source, one.error or "refused")
        else:
            objects[one.object_id] = one
            loaded.found += one.found
            loaded.created += not one.found
        watch.at(done, loaded.failed)
    return objects


def _submit(api: Api, bucket: Bucket, collection: Collection, object_ids: Sequence[str]) -> Batch:
    body: Json = {
        "object_ids": object_ids,
        "collection_ids": [collection.collection_id],
        "dedup_strategy": "skip",
    }
    path = f"/buckets/{bucket.bucket_id}/batches"
    batch = api.post(path, body, Batch)
    api.post(f"{path}/{batch.batch_id}/submit", {}, Submitted)
    return api.get(f"/batches/{batch.batch_id}", Batch)


def _follow(api: Api, batch: Batch, watch: Watch, loaded: Loaded, objects: Mapping[str, Sent]) -> Batch:
    """Wait until a batch is over, and record what failed in it, by where it came from."""
    watch.begin("documents", batch.progress.total if batch.progress else None)
    pause = _FIRST_POLL
    while batch.status not in TERMINAL:
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_POLL)
        batch = api.get(f"/batches/{batch.batch_id}", Batch)
        if batch.progress is not None:
            watch.at(batch.progress.done, batch.progress.errors, batch.progress.total)
    for one in batch.failed_objects or []:
        sent = objects.get(one.object_id)
        loaded.fail(sent.source if sent else one.object_id, one.error)
    loaded.failed += max(0, batch.failed_object_count - len(batch.failed_objects or []))
    if batch.status in {Status.FAILED, Status.CANCELED} and not batch.failed_object_count:
        loaded.fail(batch.batch_id, batch.error or batch.status_message or f"the batch is {batch.status}")
    loaded.documents += batch.documents_written or (batch.progress and batch.progress.documents_written) or 0
    return batch
