"""Facets: how often each value of a field occurs among the documents that match."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from lamina.core.filters import Filter
from lamina.core.types import JsonObject
from lamina.processing.collections import Collection
from lamina.retrieval.paths import internal_path
from lamina.retrieval.stages.base import StageContext
from lamina.retrieval.stages.filter.feature_search.parameters import Facet

_OF_EACH = 1000
"""Values read of each collection where there are several: a frequent one may be rare in each."""


async def counted(
    facets: Sequence[Facet], collections: Sequence[Collection], where: Filter, given: StageContext
) -> list[JsonObject]:
    """One entry for each facet: `key` and `values`, by count descending, then by value."""
    return list(await asyncio.gather(*(_one(facet, collections, where, given) for facet in facets)))


async def _one(
    facet: Facet, collections: Sequence[Collection], where: Filter, given: StageContext
) -> JsonObject:
    counts = await _counts(facet.key, facet.limit, collections, where, given)
    inner = internal_path(facet.key)
    if not counts and inner is not None:
        counts = await _counts(inner, facet.limit, collections, where, given)
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0][1])))
    values = [{"value": value, "count": count} for (_, value), count in ranked[: facet.limit]]
    return {"key": facet.key, "values": values}


async def _counts(
    key: str, limit: int, collections: Sequence[Collection], where: Filter, given: StageContext
) -> Counter[tuple[str, str | int | float | bool]]:
    reach = limit if len(collections) == 1 else _OF_EACH
    lists = await asyncio.gather(
        *(
            given.vectors.facet(given.targets.ref(collection), key, limit=reach, where=where)
            for collection in collections
        )
    )
    counts: Counter[tuple[str, str | int | float | bool]] = Counter()
    for found in lists:
        for value, count in found:
            # True and 1 are equal to Python, but not the same value.
            counts[type(value).__name__, value] += count
    return counts
