"""Pages of a collection on a Qdrant server in order of a payload field.

A point says itself what stands at a path (`server_terms`), so the order falls into groups that are
read one after the other: numbers, strings, booleans, and what has no place in it. Numbers, and strings
that are all dates and times, come from their index in three reads a page, as in `edge_order`; where
there is no index, and for other strings, the group's values are read and sorted.
"""

from datetime import timedelta
from typing import Any, Final, cast

from qdrant_client import models

from lamina.core.filters import ALL, Filter
from lamina.core.models import isoformat
from lamina.core.predicate import parse_instant
from lamina.stores.vectors.base import OrderBy, PointPage
from lamina.stores.vectors.server_client import RefusedError
from lamina.stores.vectors.server_filters import both, has_token, present
from lamina.stores.vectors.server_reading import Reading, WithVectors
from lamina.stores.vectors.server_terms import INSTANTS, LONE, NUMBERS, PRESENCE, equal_tokens, terms_key
from lamina.stores.vectors.sorting import EPOCH, Place, Value, decoded, encoded, follows, rank, scalar_at

_ASCENDING: Final = (0, 1, 2)
"""Ranks of numbers, strings and booleans."""
_WITHOUT: Final = 3


async def ordered_page(
    reading: Reading, limit: int, where: Filter, order: OrderBy, after: str | None, with_vectors: WithVectors
) -> PointPage:
    """A page in order of a field, from after the place where the last page ended."""
    start = None if after is None else decoded(after)
    await reading.spaces.indexes.usable(reading.at.namespace_id, {PRESENCE})
    read = _Ordered(reading, await reading.resolve(where), order)
    places = await read.places(start, limit + 1)
    points = await reading.fetch([place.id for place in places[:limit]], with_vectors)
    return PointPage(points, encoded(places[limit - 1]) if len(places) > limit else None)


class _Ordered:
    """One page to read of the points that satisfy the engine's conditions."""

    def __init__(self, reading: Reading, native: models.Filter, order: OrderBy) -> None:
        self._reading = reading
        self._native = native
        self._field = order.field
        self._descending = order.descending

    async def places(self, start: Place | None, wanted: int) -> list[Place]:
        groups = [*(reversed(_ASCENDING) if self._descending else _ASCENDING), _WITHOUT]
        if start is not None:
            groups = groups[groups.index(rank(start.value)[0]) :]
        found: list[Place] = []
        for group in groups:
            if len(found) < wanted:
                found += await self._group(group, start, wanted - len(found))
            start = None
        return found

    async def _group(self, group: int, start: Place | None, wanted: int) -> list[Place]:
        if group == 0:
            inexact = both(self._native, present(self._field, "N"))
            exact = await self._reading.count_native(inexact) == 0
            return await self._by_value("nN", NUMBERS if exact else None, start, wanted)
        if group == 1:
            whole = (await self._reading.plan(ALL)).native
            times = await self._reading.count_native(both(whole, present(self._field, "s"))) == 0
            return await self._by_value("st", INSTANTS if times else None, start, wanted)
        if group == 2:
            return await self._booleans(start, wanted)
        missing = models.Filter(must_not=[present(self._field, LONE)])
        return await self._ids(both(self._native, missing), None, start, wanted)

    async def _by_value(
        self, classes: str, part: str | None, start: Place | None, wanted: int
    ) -> list[Place]:
        among = both(self._native, present(self._field, classes))
        space = self._reading.at.namespace_id
        if part is not None and await self._reading.spaces.indexes.usable(space, {(self._field, part)}):
            try:
                return await self._by_index(among, part, start, wanted)
            except RefusedError:
                self._reading.spaces.indexes.forget(space)  # the index is not there, or not yet
        return await self._by_sorting(among, part == INSTANTS, start, wanted)

    # By index

    async def _by_index(
        self, among: models.Filter, part: str, start: Place | None, wanted: int
    ) -> list[Place]:
        found: list[Place] = []
        if start is None:
            return await self._beyond(among, part, None, wanted)
        found = await self._tied(among, part, start.value, start, wanted)
        if len(found) < wanted:
            found += await self._beyond(among, part, start.value, wanted - len(found))
        return found

    async def _beyond(self, among: models.Filter, part: str, value: Value, wanted: int) -> list[Place]:
        """The places of the values after one, or of all."""
        key = terms_key(self._field, part)
        if value is not None:
            among = both(among, _compared(key, "lt" if self._descending else "gt", value))
        direction = models.Direction.DESC if self._descending else models.Direction.ASC
        records, _ = await self._reading.server.ask(
            self._reading.server.client.scroll,
            self._reading.name,
            scroll_filter=among,
            limit=wanted,
            order_by=models.OrderBy(key=key, direction=direction),
            with_payload=False,
        )
        if not records:
            return []
        last = records[-1].order_value
        whole = sorted((record for record in records if record.order_value != last), key=lambda r: str(r.id))
        whole.sort(key=lambda record: cast(float, record.order_value), reverse=self._descending)
        found = [Place(_value(record.order_value, part), str(record.id)) for record in whole]
        return found + await self._tied(among, part, _value(last, part), None, wanted - len(found))

    async def _tied(
        self, among: models.Filter, part: str, value: Value, start: Place | None, wanted: int
    ) -> list[Place]:
        """The places of one value."""
        equal = both(among, _compared(terms_key(self._field, part), "eq", value))
        return await self._ids(equal, value, start, wanted)

    async def _ids(
        self, native: models.Filter, value: Value, start: Place | None, wanted: int
    ) -> list[Place]:
        """The places of points of one standing, in order of point id."""
        after = None if start is None else start.id
        found: list[Place] = []
        async for record in self._reading.scan(native, after=after, chunk=wanted + 1):
            found.append(Place(value, record.id))
            if len(found) == wanted:
                break
        return found

    async def _booleans(self, start: Place | None, wanted: int) -> list[Place]:
        found: list[Place] = []
        among = both(self._native, present(self._field, "b"))
        for value in (True, False) if self._descending else (False, True):
            if start is not None and start.value is not value:
                continue
            if len(found) < wanted:
                equal = both(among, has_token(self._field, equal_tokens(value, True)))
                found += await self._ids(equal, value, start, wanted - len(found))
            start = None
        return found

    # By sorting

    async def _by_sorting(
        self, among: models.Filter, times: bool, start: Place | None, wanted: int
    ) -> list[Place]:
        segments = self._field.split(".")
        places = [
            Place(scalar_at(record.payload, segments), record.id)
            async for record in self._reading.scan(among, include=[self._field])
        ]
        places.sort(key=lambda place: rank(place.value, times), reverse=self._descending)
        if start is not None:
            begin = (rank(start.value, times), start.id)
            places = [
                place
                for place in places
                if follows((rank(place.value, times), place.id), begin, self._descending)
            ]
        return places[:wanted]


def _value(order_value: object, part: str) -> Value:
    """A number as it is; a time, which the index keeps as microseconds, in ISO 8601."""
    if part == INSTANTS:
        return isoformat(EPOCH + timedelta(microseconds=cast(int, order_value)))
    return cast(float, order_value)


def _compared(key: str, operator: str, value: Value) -> models.FieldCondition:
    """The condition that a number, or an instant in ISO 8601, lies beyond or at a value."""
    limit: Any = parse_instant(value) if isinstance(value, str) else value
    limits = {"gte": limit, "lte": limit} if operator == "eq" else {operator: limit}
    if isinstance(value, str):
        return models.FieldCondition(key=key, range=models.DatetimeRange(**limits))
    return models.FieldCondition(key=key, range=models.Range(**limits))
