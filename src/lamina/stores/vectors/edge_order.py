"""Pages of a shard in order of a payload field.

Where all values of the field are numbers, or all are dates and times, its index gives the order,
in three reads a page: the rest of the value that the last page ended in, the values beyond it,
and the last of those once more in order of point id, since the engine's order of equal values is
arbitrary. Any other field is read from all points that match and sorted; what was sorted is kept
until the next write, so that the pages that follow cost little.

Numbers come before strings, strings (by code point) before booleans. Lists and objects have no
place in an order and come last, like what is missing. Equal values are in order of point id.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast
from weakref import WeakKeyDictionary

import qdrant_edge as q

from lamina.core.filters import Filter
from lamina.core.models import isoformat
from lamina.core.types import JsonObject
from lamina.stores.vectors.base import OrderBy, PointPage
from lamina.stores.vectors.edge_fields import ALONE, FLOAT, INSTANT, INTEGER, STRINGS
from lamina.stores.vectors.edge_filters import both_native, order_range
from lamina.stores.vectors.edge_reading import WithVectors, fetch
from lamina.stores.vectors.edge_scan import matching
from lamina.stores.vectors.edge_shard import Shard
from lamina.stores.vectors.sorting import (
    EPOCH,
    Place,
    Value,
    decoded,
    encoded,
    follows,
    no_cursor,
    rank,
    scalar_at,
)

_SORTED_AT_ONCE: Final = 2
"""Sorted lists that a shard keeps; about 20 MB each for 100,000 points."""


def ordered_page(
    shard: Shard, limit: int, where: Filter, order: OrderBy, after: str | None, with_vectors: WithVectors
) -> PointPage:
    """A page in order of a field, from after the place where the last page ended."""
    start = None if after is None else decoded(after)
    shard.prepare([order.field])
    key = _index_key(shard, order.field)
    if key is None:
        places = _by_sorting(shard, where, order, start, limit + 1)
    else:
        times = shard.fields.indexes[order.field] == "datetime"
        if start is not None and start.value is not None and isinstance(start.value, str) is not times:
            raise no_cursor()
        reading = _ByIndex(shard.engine, key, shard.resolve(where), order.descending, times)
        places = reading.places(start, limit + 1)
    points = fetch(shard, [place.id for place in places[:limit]], with_vectors)
    return PointPage(points, encoded(places[limit - 1]) if len(places) > limit else None)


# By index


def _index_key(shard: Shard, field: str) -> str | None:
    """The key whose index holds every value of the field, one a point; None where there is none."""
    keys = shard.fields.keys(field)
    orders = {"integer": INTEGER, "float": INTEGER | FLOAT, "datetime": INSTANT}
    ordered = orders.get(shard.fields.indexes.get(field, ""))
    if ordered is None or keys is None or len(keys) != 1 or "[]" in keys[0]:
        return None
    return keys[0] if shard.fields.kinds(field) & ~(ordered | ALONE) == 0 else None


class _ByIndex:
    """One read in the order of an index."""

    def __init__(
        self, engine: q.EdgeShard, key: str, native: q.Filter | None, descending: bool, times: bool
    ) -> None:
        self._engine = engine
        self._key = key
        self._native = native
        self._descending = descending
        self._times = times

    def places(self, start: Place | None, wanted: int) -> list[Place]:
        found: list[Place] = []
        if start is None:
            found = self._beyond(None, wanted)
        elif start.value is not None:
            found = self._tied(start.value, start.id, wanted)
            if len(found) < wanted:
                found += self._beyond(start.value, wanted - len(found))
        if len(found) < wanted:
            last_id = start.id if start is not None and start.value is None else None
            found += self._without(last_id, wanted - len(found))
        return found

    def _beyond(self, value: Value, wanted: int) -> list[Place]:
        """The places of the values after one, or of all."""
        limit = None
        if value is not None:
            limit = order_range(self._key, "lt" if self._descending else "gt", cast(str | float, value))
        direction = q.Direction.Desc if self._descending else q.Direction.Asc
        request = q.ScrollRequest(
            limit=wanted,
            filter=both_native(self._native, limit),
            order_by=q.OrderBy(self._key, direction=direction),
            with_payload=False,
        )
        records, _ = self._engine.scroll(request)
        if not records:
            return []
        last = records[-1].order_value
        whole = sorted((record for record in records if record.order_value != last), key=lambda r: str(r.id))
        whole.sort(key=lambda record: cast(float, record.order_value), reverse=self._descending)
        found = [Place(self._value(record.order_value), str(record.id)) for record in whole]
        return found + self._tied(self._value(last), None, wanted - len(found))

    def _tied(self, value: Value, after: str | None, wanted: int) -> list[Place]:
        """The places of one value."""
        equal = order_range(self._key, "eq", cast(str | float, value))
        return [Place(value, id) for id in self._ids(both_native(self._native, equal), after, wanted)]

    def _without(self, after: str | None, wanted: int) -> list[Place]:
        """The places of the points that have no value."""
        missing = both_native(self._native, q.IsEmptyCondition(self._key))
        return [Place(None, id) for id in self._ids(missing, after, wanted)]

    def _ids(self, native: q.Filter | None, after: str | None, wanted: int) -> list[str]:
        request = q.ScrollRequest(offset=after, limit=wanted + 1, filter=native, with_payload=False)
        ids = [str(record.id) for record in self._engine.scroll(request)[0]]
        return [id for id in ids if id != after][:wanted]

    def _value(self, order_value: object) -> Value:
        """A number as it is; a time, which the index keeps as microseconds, in ISO 8601."""
        if self._times:
            return isoformat(EPOCH + timedelta(microseconds=cast(int, order_value)))
        return cast(float, order_value)


# By sorting


def _by_sorting(
    shard: Shard, where: Filter, order: OrderBy, start: Place | None, wanted: int
) -> Sequence[Place]:
    times = shard.fields.kinds(order.field) & STRINGS == INSTANT
    places = _sorted(shard, where, order, times)
    if start is None:
        return places[:wanted]
    begin = (rank(start.value, times), start.id)
    for position, place in enumerate(places):
        if follows((rank(place.value, times), place.id), begin, order.descending):
            return places[position : position + wanted]
    return []


def _sorted(shard: Shard, where: Filter, order: OrderBy, times: bool) -> list[Place]:
    """The places of all points that match."""
    name = (repr(where), order.field, order.descending)
    version = shard.version
    kept = _kept.setdefault(shard, {})
    if name in kept and kept[name][0] == version:
        return kept[name][1]
    planned = shard.prepared(where)
    segments = order.field.split(".")
    places = [
        Place(scalar_at(cast(JsonObject, record.payload or {}), segments), str(record.id))
        for record in matching(shard.engine, planned, include=[order.field])
    ]
    present = [place for place in places if place.value is not None]
    present.sort(key=lambda place: rank(place.value, times), reverse=order.descending)
    result = present + [place for place in places if place.value is None]
    kept.pop(name, None)
    while len(kept) >= _SORTED_AT_ONCE:
        kept.pop(next(iter(kept)), None)
    kept[name] = (version, result)
    return result


_kept: WeakKeyDictionary[Shard, dict[tuple[str, str, bool], tuple[int, list[Place]]]] = WeakKeyDictionary()
