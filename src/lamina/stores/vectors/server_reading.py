"""Reading a collection from a Qdrant server: by id, by likeness, page by page, counted by value."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from qdrant_client import models

from lamina.core.errors import ValidationError
from lamina.core.filters import ALL, Filter, conditions
from lamina.core.predicate import predicate, values_at
from lamina.stores.vectors import server_filters, server_requests
from lamina.stores.vectors.base import CollectionRef, Hit, Lexical, Nearest, Point, PointPage, VectorQuery
from lamina.stores.vectors.edge_fields import MAX_WORDS
from lamina.stores.vectors.edge_points import LEXICAL, Specs, checked_vector, described, lexical_query
from lamina.stores.vectors.server_client import RefusedError, Server
from lamina.stores.vectors.server_filters import Plan
from lamina.stores.vectors.server_points import (
    FLOATS,
    READ,
    from_server,
    server_id,
    server_name,
    user_payload,
    whole,
)
from lamina.stores.vectors.server_requests import Found
from lamina.stores.vectors.server_spaces import Spaces
from lamina.stores.vectors.server_terms import TOKENS, terms_key, value_of_token
from lamina.stores.vectors.sorting import FacetValue, decoded_id, rank

WithVectors = bool | Sequence[str]

SCAN_CHUNK: Final = 1_000
_MOST_TIES: Final = 4_096
"""Points of one score beyond the limit that are read to put them in order."""

_OVERSAMPLING: Final = {"none": 1.0, "scalar": 2.0, "binary": 4.0}


class Reading:
    """One collection to read, through the alias of its namespace."""

    def __init__(self, server: Server, spaces: Spaces, at: CollectionRef, specs: Specs) -> None:
        self.server = server
        self.spaces = spaces
        self.at = at
        self.specs = specs
        self.name = spaces.alias(at.namespace_id)

    async def get(self, document_ids: Sequence[str], with_vectors: WithVectors) -> list[Point]:
        """The points that exist, in the order asked for."""
        ids = [server_id(self.at.collection_id, one) for one in dict.fromkeys(document_ids)]
        found = {point.document_id: point for point in await self.fetch(ids, with_vectors)}
        return [found[one] for one in document_ids if one in found]

    async def fetch(self, ids: Sequence[str], with_vectors: WithVectors) -> list[Point]:
        """The same by point id, all different."""
        names = self._server_names(with_vectors)
        return [from_server(record, bool(names)) for record in await self._records(ids, names)]

    async def _records(self, ids: Sequence[str], names: bool | list[str]) -> list[Found]:
        if not ids:
            return []
        records = await server_requests.retrieve(self.server, self.name, ids, payload=READ, vectors=names)
        by_id = {record.id: record for record in records}
        return [by_id[id] for id in ids if id in by_id]

    async def search(self, query: VectorQuery) -> list[Hit]:
        """The best hits first."""
        target = self._target(query.query)
        if target is None or query.limit < 1:
            return []
        vector, using, euclidean = target
        native = await self.resolve(query.where)
        names = self._server_names(query.with_vectors)
        params = self._params(query.exact)

        async def best(limit: int) -> list[Found]:
            return await server_requests.query(
                self.server,
                self.name,
                vector,
                using=using,
                where=native,
                limit=limit,
                payload=READ,
                vectors=names,
                params=params,
            )

        hits = [
            Hit(from_server(found, bool(names)), 1 / (1 + found.score) if euclidean else found.score)
            for found in await _with_ties(best, query.limit)
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.point.document_id))
        least = query.min_score
        return [hit for hit in hits[: query.limit] if least is None or hit.score >= least]

    async def count(self, where: Filter) -> int:
        """How many points match."""
        planned = await self.plan(where)
        if planned.residual == ALL:
            return await self.count_native(planned.native)
        return sum([1 async for _ in self.matching(planned)])

    async def count_native(self, native: models.Filter) -> int:
        """How many points satisfy the engine's conditions."""
        answer = await self.server.ask(self.server.client.count, self.name, count_filter=native, exact=True)
        return answer.count

    async def page(
        self, limit: int, where: Filter, after: str | None, with_vectors: WithVectors
    ) -> PointPage:
        """A page in order of point id, from after the point that ended the last one."""
        ids, following = await self._ids(limit, where, after)
        return PointPage(await self.fetch(ids, with_vectors), following)

    async def export(self, limit: int, after: str | None) -> PointPage:
        """A page of whole points in order of point id."""
        ids, following = await self._ids(limit, ALL, after)
        return PointPage([whole(record) for record in await self._records(ids, True)], following)

    async def _ids(self, limit: int, where: Filter, after: str | None) -> tuple[list[str], str | None]:
        """The ids of a page's points, and behind which the next page begins."""
        start = None if after is None else decoded_id(after)
        ids: list[str] = []
        async for record in self.matching(await self.plan(where), after=start, chunk=limit + 2):
            ids.append(record.id)
            if len(ids) > limit:
                return ids[:limit], ids[limit - 1]
        return ids, None

    async def facet(self, field: str, limit: int, where: Filter) -> list[tuple[FacetValue, int]]:
        """Values with how many points have them: from the index where there is one, else counted."""
        native = await self.resolve(where)
        counts = None
        if await self.spaces.indexes.usable(self.at.namespace_id, {(field, TOKENS)}):
            counts = await self._indexed(field, limit, native)
        if counts is None:
            counts = await self._counted(field, native)
        return sorted(counts, key=lambda item: (-item[1], rank(item[0])))[:limit]

    # Filters

    async def plan(self, where: Filter) -> Plan:
        """How a filter will be answered."""
        words: dict[str, Sequence[str] | None] = {}
        fields = server_filters.fields_of_words(where)
        usable = await self.spaces.indexes.usable(self.at.namespace_id, {(one, TOKENS) for one in fields})
        for field, _ in usable:
            words[field] = await self._words(field)
        planned = server_filters.plan(where, self.at.collection_id, words)
        await self.spaces.indexes.usable(self.at.namespace_id, planned.wanted)
        return planned

    async def resolve(self, where: Filter) -> models.Filter:
        """The engine's conditions that mean exactly this; reads payloads where they cannot tell."""
        planned = await self.plan(where)
        if planned.residual == ALL:
            return planned.native
        ids: list[Any] = [record.id async for record in self.matching(planned)]
        return models.Filter(must=[planned.native, models.HasIdCondition(has_id=ids)])

    async def matching(
        self,
        planned: Plan,
        *,
        after: str | None = None,
        include: Sequence[str] = (),
        chunk: int = SCAN_CHUNK,
    ) -> AsyncIterator[Found]:
        """Every point that satisfies a plan, in order of point id, from after one on.

        `include` are the paths to read besides those that the plan reads itself.
        """
        if planned.residual == ALL:
            async for record in self.scan(planned.native, after=after, include=include, chunk=chunk):
                yield record
            return
        holds = predicate(planned.residual)
        fields = {condition.field for condition in conditions(planned.residual)}
        async for record in self.scan(planned.native, after=after, include=[*fields, *include]):
            if holds(record.payload):
                yield record

    async def scan(
        self,
        native: models.Filter,
        *,
        after: str | None = None,
        include: Sequence[str] = (),
        chunk: int = SCAN_CHUNK,
    ) -> AsyncIterator[Found]:
        """All points in order of point id, with the payload fields asked for."""
        offset = after
        size = max(2, min(chunk, SCAN_CHUNK))
        while True:
            records, following = await server_requests.scroll(
                self.server, self.name, limit=size, offset=offset, where=native, payload=_selector(include)
            )
            for record in records:
                if record.id != after:
                    record.payload = user_payload(record)
                    yield record
            if following is None:
                return
            offset = following

    # The how

    def _target(self, query: Nearest | Lexical) -> tuple[Any, str, bool] | None:
        """What to search with, in which vector, and whether its scores are distances."""
        if isinstance(query, Lexical):
            lexical = lexical_query(query.text)
            return None if lexical is None else (lexical, LEXICAL, False)
        vector = checked_vector(query.using, query.vector, self.specs)
        spec = self.specs[query.using]
        euclidean = spec.distance == "euclidean" and spec.kind != "sparse"
        return vector, server_name(spec), euclidean

    def _params(self, exact: bool) -> models.SearchParams:
        options = self.server.options
        if exact:
            return models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))
        rescored = models.QuantizationSearchParams(
            rescore=True, oversampling=_OVERSAMPLING[options.quantization]
        )
        return models.SearchParams(hnsw_ef=options.hnsw_ef, quantization=rescored)

    def _server_names(self, with_vectors: WithVectors) -> bool | list[str]:
        """The vectors to read, in the server's words."""
        if isinstance(with_vectors, bool):
            return (
                [server_name(spec) for spec in self.specs.values()] if with_vectors and self.specs else False
            )
        for name in with_vectors:
            if name not in self.specs:
                raise ValidationError(
                    f"The collection has no vector '{name}'. It has: {described(self.specs)}.",
                    field="vectors",
                )
        return [server_name(self.specs[name]) for name in with_vectors] or False

    async def _words(self, field: str) -> Sequence[str] | None:
        """The distinct strings of a field; None where there are too many, or some too long."""
        whole = await self.plan(ALL)
        hits = await self._facet_hits(field, MAX_WORDS + 1, whole.native)
        if hits is None or len(hits) > MAX_WORDS:
            return None
        try:
            values = [value_of_token(token) for token, _ in hits]
        except KeyError:
            return None
        return [value for value in values if isinstance(value, str)]

    async def _indexed(
        self, field: str, limit: int, native: models.Filter
    ) -> list[tuple[FacetValue, int]] | None:
        wanted = max(1_000, 4 * limit)
        hits = await self._facet_hits(field, wanted, native)
        if hits is not None and len(hits) == wanted:
            values = [number for token, number in hits if token[0] in "snbS"]
            if len(values) <= limit or hits[-1][1] == values[limit - 1]:
                hits = await self._facet_hits(field, 3 * await self.count_native(native) + 1_000_000, native)
        if hits is None:
            return None
        try:
            told = [(value_of_token(token), number) for token, number in hits]
        except KeyError:
            return None
        return [(value, number) for value, number in told if value is not None]

    async def _facet_hits(
        self, field: str, limit: int, native: models.Filter
    ) -> list[tuple[str, int]] | None:
        try:
            answer = await self.server.ask(
                self.server.client.facet,
                self.name,
                terms_key(field, TOKENS),
                facet_filter=native,
                limit=limit,
                exact=True,
            )
        except RefusedError:
            self.spaces.indexes.forget(self.at.namespace_id)  # the index is not there, or not yet
            return None
        return [(str(hit.value), hit.count) for hit in answer.hits]

    async def _counted(self, field: str, native: models.Filter) -> list[tuple[FacetValue, int]]:
        counts: Counter[tuple[int, FacetValue]] = Counter()
        async for record in self.scan(native, include=[field]):
            counts.update(
                {
                    rank(value)
                    for value in values_at(record.payload, field)
                    if isinstance(value, str | int | float)
                }
            )
        return [(value, number) for (_, value), number in counts.items()]


async def _with_ties(best: Callable[[int], Awaitable[list[Found]]], limit: int) -> list[Found]:
    """The best points, with all that share the last one's score."""
    more = 1
    while True:
        found = await best(limit + more)
        if len(found) <= limit or found[limit - 1].score != found[limit].score:
            return found[:limit]
        if len(found) < limit + more or found[limit].score != found[-1].score or more >= _MOST_TIES:
            return found
        more *= 16


def _selector(include: Sequence[str]) -> bool | models.PayloadSelectorInclude | models.PayloadSelectorExclude:
    tops = {path.split(".")[0] for path in include}
    if not tops:
        return False
    # The server's paths have no way to write these; then the whole payload is read.
    if any(sign in top for top in tops for sign in '"\\'):
        return READ
    return models.PayloadSelectorInclude(include=[f'"{top}"' for top in sorted({*tops, FLOATS})])
