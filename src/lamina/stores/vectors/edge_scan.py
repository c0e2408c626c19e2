"""Going through the points of a shard of Qdrant Edge: to find, to learn what they hold, to copy them.

Every call of Qdrant Edge 0.9 holds Python's global lock until it returns (measured: neither
writes nor searches overlap). Hence scans and writes go in chunks with a pause between them.

A scan stays with the engine that it began with, also when the shard takes another one meanwhile.
A plan is made before its engine is asked for: a later engine has the indexes that the plan counts
on, an earlier one might lack them.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar, cast
from uuid import UUID

import qdrant_edge as q

from lamina.core.filters import ALL, conditions
from lamina.core.predicate import predicate, values_at
from lamina.core.types import JsonObject
from lamina.stores.vectors.edge_fields import MAX_WORDS, Fields, Vocabulary
from lamina.stores.vectors.edge_filters import Plan
from lamina.stores.vectors.edge_indexes import key_of
from lamina.stores.vectors.edge_points import NAMES_KEY

T = TypeVar("T")

CHUNK: Final = 64
"""Points per write: at 384 dimensions about 6 ms during which nothing else runs."""

SCAN_CHUNK: Final = 500
"""Points per read of a scan: about 5 ms."""


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def scan(
    engine: q.EdgeShard,
    native: q.Filter | None = None,
    *,
    after: str | None = None,
    include: Sequence[str] = (),
    with_vector: bool = False,
    everything: bool = False,
) -> Iterator[list[q.Record]]:
    """All points in order of point id, chunk by chunk, with the payload fields asked for."""
    offset: int | str | UUID | None = after
    tops = {path.split(".")[0] for path in include}
    payload: bool | q.PayloadSelector = everything
    if tops and not everything:
        # The engine's paths have no way to write these; then the whole payload is read.
        odd = any(sign in top for top in tops for sign in '"\\')
        payload = True if odd else q.PayloadSelector.Include([f'"{top}"' for top in tops])
    while True:
        request = q.ScrollRequest(
            offset=offset, limit=SCAN_CHUNK, filter=native, with_payload=payload, with_vector=with_vector
        )
        records, following = engine.scroll(request)
        if records and str(records[0].id) == after:
            records = records[1:]
        yield records
        if following is None:
            return
        offset = following
        time.sleep(0)


def matching(
    engine: q.EdgeShard, planned: Plan, *, after: str | None = None, include: Sequence[str] = ()
) -> Iterator[q.Record]:
    """Every point that satisfies a plan, in order of point id, from after one on.

    `include` are the paths to read besides those that the plan reads itself.
    """
    if planned.residual == ALL:
        for records in scan(engine, planned.native, after=after, include=include):
            yield from records
        return
    holds = predicate(planned.residual)
    fields = {condition.field for condition in conditions(planned.residual)}
    for records in scan(engine, planned.native, after=after, include=[*fields, *include]):
        yield from (record for record in records if holds(_payload(record)))


def names_of_vectors(engine: q.EdgeShard, ids: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The ids of the points that exist, with the names of their vectors."""
    for chunk in chunks(ids, SCAN_CHUNK):
        for record in engine.retrieve(list(chunk), True, False):
            yield str(record.id), cast(list[str], _payload(record).get(NAMES_KEY, []))


# What the points hold


def seen_fields(engine: q.EdgeShard) -> Fields:
    """What is to be seen in the payloads of all points."""
    fields = Fields()
    for records in scan(engine, everything=True):
        for record in records:
            fields.observe(_payload(record))
    return fields


def load_vocabulary(engine: q.EdgeShard, fields: Fields, path: str) -> None:
    """Read a field's distinct strings; by facet where they are few, which is then much quicker."""
    first = next(scan(engine, include=[path]))
    sample = [text for record in first for text in _strings_at(record, path)]
    indexed = fields.indexes.get(path) == "keyword" and len(fields.keys(path) or ()) == 1
    if indexed and (len(sample) < SCAN_CHUNK or len(set(sample)) < len(sample) / 2):
        request = q.FacetRequest(key_of(path, fields), limit=MAX_WORDS + 1, exact=True)
        strings = {cast(str, hit.value) for hit in engine.facet(request).hits}
    else:
        strings = set()
        for records in scan(engine, include=[path]):
            strings.update(text for record in records for text in _strings_at(record, path))
            if len(strings) > MAX_WORDS:
                break
    if len(strings) > MAX_WORDS:
        fields.without_vocabulary.add(path)
    else:
        fields.vocabularies[path] = Vocabulary(strings)


def _strings_at(record: q.Record, path: str) -> Iterator[str]:
    for value in values_at(_payload(record), path):
        if isinstance(value, str):
            yield value


def _payload(record: q.Record) -> JsonObject:
    return record.payload or {}


# Copying


def copy_all(source: q.EdgeShard, target: q.EdgeShard) -> None:
    """Write every point of one engine to another."""
    for records in scan(source, with_vector=True, everything=True):
        for chunk in chunks(records, CHUNK):
            target.update(_upserting(chunk))
            time.sleep(0)


def carry_over(source: q.EdgeShard, target: q.EdgeShard, ids: Sequence[str]) -> None:
    """Make points in the target what they are in the source: the same, or gone."""
    for chunk in chunks(ids, CHUNK):
        records = source.retrieve(list(chunk), True, True)
        gone = set(chunk) - {str(record.id) for record in records}
        if records:
            target.update(_upserting(records))
        if gone:
            target.update(q.UpdateOperation.delete_points(list(gone)))
        time.sleep(0)


def _upserting(records: Sequence[q.Record]) -> q.UpdateOperation:
    """The operation that writes points as they were read."""
    return q.UpdateOperation.upsert_points(
        [q.Point(record.id, record.vector or {}, record.payload) for record in records]
    )
