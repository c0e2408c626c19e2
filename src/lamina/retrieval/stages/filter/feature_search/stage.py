"""`feature_search`: find documents by vectors, by text, or by both at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from lamina.core.errors import NotEnabledError, ValidationError
from lamina.core.filters import ALL, Filter, both, parse_filter
from lamina.core.types import Json, JsonObject
from lamina.retrieval.contents import written_content
from lamina.retrieval.fusion import Fusion, layered
from lamina.retrieval.grouping import grouped, presented
from lamina.retrieval.stages.base import CheckContext, Documents, Stage, StageContext
from lamina.retrieval.stages.filter.feature_search import facets, parameters
from lamina.retrieval.stages.filter.feature_search.found import (
    MAX_POOL,
    Found,
    find,
    scrolled,
    together,
)
from lamina.retrieval.stages.filter.feature_search.parameters import Search
from lamina.retrieval.stages.filter.feature_search.queries import Asked, questions
from lamina.retrieval.targets import Target
from lamina.retrieval.templates import is_template
from lamina.retrieval.written_filters import check_written

_NOT_YET: Final = {
    "learning_config": "Learned fusion is not available in this version.",
    "query_preprocessing": "Taking query files apart is not available in this version.",
}


@dataclass(frozen=True, slots=True)
class _Ready:
    """A search that is going to run: its questions and the filter of each."""

    search: Search
    asked: Sequence[Asked]
    where: Filter


class FeatureSearch(Stage):
    """Finds documents: any number of searches, up to ten, fused into one ranking."""

    stage_id = "feature_search"
    category = "filter"
    description = "Search features by vector or by text, fuse several searches, filter, group and count."
    icon = "search"
    fetches = True
    Parameters: ClassVar[type[parameters.Parameters]] = parameters.Parameters
    parameters: parameters.Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The best documents first. Documents of earlier stages are replaced, with a warning."""
        if documents:
            given.findings.warnings.append(
                f"Stage '{given.name}' searched anew; the {len(documents)} documents before it were dropped."
            )
        timeout = self.parameters.hard_timeout_ms
        try:
            async with asyncio.timeout(timeout / 1000 if timeout else None):
                if not self.parameters.facets:
                    return await self._searched(given)
                found, counts = await asyncio.gather(self._searched(given), self._counted(given))
        except TimeoutError:
            given.findings.degrade(
                "stage",
                given.name,
                f"The search took longer than {timeout} ms and was given up.",
                "Raise hard_timeout_ms or narrow the search by filters.",
                given.name,
            )
            return []
        given.findings.facets[:] = counts
        given.metadata["facets"] = counts
        return found

    def reach(self) -> int:
        """Documents, groups or group members that one run brings at most."""
        group = self.parameters.group_by
        if group is not None:
            return group.limit * (group.max_per_group if group.output_mode == "flatten" else 1)
        searches = self.parameters.searches
        if len(searches) == 1:
            return min(self.parameters.final_top_k, searches[0].top_k)
        return self.parameters.final_top_k

    @classmethod
    def breadth(cls, parameters: Mapping[str, Json]) -> int | None:
        """`final_top_k`, or the widest `top_k`, or what the groups may hold, where one is written."""
        group = parameters.get("group_by")
        if isinstance(group, Mapping) and isinstance(limit := group.get("limit", 25), int):
            members = group.get("max_per_group", group.get("group_size", 1))
            flat = group.get("output_mode") == "flatten"
            return limit * members if flat and isinstance(members, int) else limit
        if isinstance(final := parameters.get("final_top_k"), int):
            return final
        searches = parameters.get("searches")
        written = [
            search["top_k"]
            for search in (searches if isinstance(searches, list) else [])
            if isinstance(search, Mapping) and isinstance(search.get("top_k"), int)
        ]
        return max((top_k for top_k in written if isinstance(top_k, int)), default=None)

    @classmethod
    def refuse(cls, parameters: JsonObject, field: str) -> None:
        """Learned fusion, query files and content that no model here can embed."""
        if parameters.get("fusion") == "learned":
            raise NotEnabledError(_NOT_YET["learning_config"], field=f"{field}.fusion")
        _refuse_not_yet(parameters, field)
        check_written(parameters.get("pre_filters"), f"{field}.pre_filters")
        searches = parameters.get("searches")
        for index, search in enumerate(searches if isinstance(searches, list) else []):
            if isinstance(search, Mapping):
                at = f"{field}.searches.{index}"
                _refuse_not_yet(search, at)
                _refuse_query(search, f"{at}.query")
                check_written(search.get("filters"), f"{at}.filters")

    @classmethod
    async def check(cls, parameters: JsonObject, at: CheckContext) -> None:
        """Every collection exists and has the features that are searched."""
        own = _identifiers(parameters)
        if own:
            await at.targets.collections(own)
        searches = parameters.get("searches")
        if not searches and not parameters.get("pre_filters"):
            raise ValidationError(
                "Give searches, or pre_filters to find documents by filters alone.",
                field=f"{at.field}.searches",
                code="missing",
            )
        for index, search in enumerate(searches if isinstance(searches, list) else []):
            assert isinstance(search, Mapping)
            uri = search["feature_uri"]
            field = f"{at.field}.searches.{index}.feature_uri"
            if not isinstance(uri, str) or is_template(uri):
                continue
            targets = await at.targets.of_feature(
                uri, _identifiers(search) or own, lexical=bool(search.get("lexical")), field=field
            )
            at.features.extend(target.index.feature_uri for target in targets if target.index is not None)

    async def _searched(self, given: StageContext) -> Documents:
        where = both(given.where, self._filter(self.parameters.pre_filters, given, "pre_filters"))
        if not self.parameters.searches:
            return await self._filtered(where, given)
        ready = [
            prepared
            for index, search in enumerate(self.parameters.searches)
            if (prepared := await self._ready(search, index, where, given)) is not None
        ]
        if not ready:
            raise ValidationError(
                "Every search was skipped: their queries or their collections are empty.",
                field=f"{given.field}.searches",
                code="query_empty",
            )
        if self.parameters.group_by is not None:
            return await self._groups(ready, given)
        reach = self.reach()
        deeper_from = None if given.pool is None else reach
        return await self._best(ready, given.pool or reach, given, deeper_from=deeper_from)

    async def _ready(self, search: Search, index: int, where: Filter, given: StageContext) -> _Ready | None:
        field = f"{given.field}.searches.{index}"
        targets = await given.targets.of_feature(
            search.feature_uri,
            search.collection_identifiers or self.parameters.collection_identifiers,
            lexical=search.lexical,
            field=f"{field}.feature_uri",
        )
        if search.optional and await _all_empty(targets, given):
            given.findings.warnings.append(
                f"Search {index} of '{given.name}' was skipped: its collections hold no documents."
            )
            return None
        asked = await questions(search, targets, given, field)
        if asked is None:
            return None
        own = self._filter(search.filters, given, f"searches.{index}.filters")
        return _Ready(search, asked, both(where, own))

    async def _best(
        self, ready: Sequence[_Ready], pool: int, given: StageContext, *, deeper_from: int | None
    ) -> Documents:
        """The first `pool` documents of the fused ranking.

        Reads deeper until there are that many, if the searches as they are written bring at least
        `deeper_from`; where they bring fewer, their `top_k` is what their author wants.
        """
        limits = [self._limit(each.search, pool, alone=len(ready) == 1) for each in ready]
        layers = [limits]
        while True:
            found = await together(
                [
                    find(each.asked, limit, each.where, each.search.min_score, given)
                    for each, limit in zip(ready, limits, strict=True)
                ]
            )
            exhausted = all(len(one) < limit for one, limit in zip(found, limits, strict=True))
            documents = self._fused(found, ready, layers)
            if deeper_from is None or (len(layers) == 1 and len(documents) < deeper_from):
                given.exhausted = True
                return documents[:pool]
            if len(documents) >= pool or exhausted or max(limits) >= MAX_POOL:
                given.exhausted = exhausted and len(documents) <= pool
                return documents[:pool]
            limits = [min(limit * 2, MAX_POOL) for limit in limits]
            layers.append(limits)

    def _limit(self, search: Search, pool: int, *, alone: bool) -> int:
        if not alone:
            return search.top_k
        return pool if pool > self.reach() else min(search.top_k, pool)

    def _fused(
        self, found: Sequence[Found], ready: Sequence[_Ready], layers: Sequence[Sequence[int]]
    ) -> Documents:
        if len(found) == 1:
            return found[0].documents()
        method: Fusion = "rrf"
        if self.parameters.fusion is not None and self.parameters.fusion != "learned":
            method = self.parameters.fusion
        ranking = layered(
            method, [one.ranking() for one in found], [each.search.weight for each in ready], layers
        )
        by_key: dict[str, JsonObject] = {}
        for one in reversed(found):
            by_key.update(one.by_key())
        fused = []
        for key, score in ranking:
            document = by_key[key]
            document["score"] = score
            fused.append(document)
        return fused

    async def _groups(self, ready: Sequence[_Ready], given: StageContext) -> Documents:
        """Groups in order of their best document, reading deeper until there are enough."""
        group = self.parameters.group_by
        assert group is not None
        wanted = max(group.limit, given.pool or 0)
        pool = max(wanted * group.max_per_group, *(each.search.top_k for each in ready))
        while True:
            documents = await self._best(ready, pool, given, deeper_from=0)
            groups = grouped(documents, group.field, group.max_per_group)
            if len(groups) >= wanted or len(documents) < pool or pool >= MAX_POOL:
                break
            pool = min(pool * 2, MAX_POOL)
        given.exhausted = len(groups) <= wanted
        given.metadata["groups"] = min(len(groups), wanted)
        return presented(groups[:wanted], group.field, group.output_mode)

    async def _filtered(self, where: Filter, given: StageContext) -> Documents:
        collections = await given.targets.collections(self.parameters.collection_identifiers)
        if where == ALL:
            raise ValidationError(
                "Give searches, or pre_filters to find documents by filters alone.",
                field=f"{given.field}.searches",
                code="missing",
            )
        group = self.parameters.group_by
        limit = given.pool or self.parameters.final_top_k
        if group is not None:
            limit = min(group.limit * group.max_per_group * 4, MAX_POOL)
        documents = await scrolled(collections, where, limit, given)
        if group is None:
            return documents
        groups = grouped(documents, group.field, group.max_per_group)[: group.limit]
        return presented(groups, group.field, group.output_mode)

    async def _counted(self, given: StageContext) -> list[JsonObject]:
        assert self.parameters.facets is not None
        where = both(given.where, self._filter(self.parameters.pre_filters, given, "pre_filters"))
        collections = await given.targets.collections(self.parameters.collection_identifiers)
        return await facets.counted(self.parameters.facets, collections, where, given)

    def _filter(self, raw: Json, given: StageContext, name: str) -> Filter:
        if raw is None:
            return ALL
        return parse_filter(raw, field=f"{given.field}.{name}", inputs=given.inputs)


async def _all_empty(targets: Sequence[Target], given: StageContext) -> bool:
    sizes = await asyncio.gather(*(given.vectors.info(target.ref) for target in targets))
    return all(size.points == 0 for size in sizes)


def _identifiers(parameters: Mapping[str, Json]) -> list[str] | None:
    """The collections that are written out; None where they are not known yet."""
    raw = parameters.get("collection_identifiers")
    if not isinstance(raw, list):
        return None
    named = [identifier for identifier in raw if isinstance(identifier, str)]
    return None if any(map(is_template, named)) else named


def _refuse_not_yet(parameters: Mapping[str, Json], field: str) -> None:
    for name, reason in _NOT_YET.items():
        if parameters.get(name):
            raise NotEnabledError(reason, field=f"{field}.{name}")


def _refuse_query(search: Mapping[str, Json], field: str) -> None:
    query = search.get("query")
    mode = query.get("input_mode") if isinstance(query, Mapping) else None
    if mode == "multi_content":
        raise NotEnabledError("Searching by several files at once is not available.", field=field)
    if mode not in (None, "text", "content") and search.get("lexical"):
        raise ValidationError("A lexical search takes a text.", field=field, code="lexical_query")
    if search.get("on_empty") == "random" and search.get("lexical"):
        raise ValidationError("There is no random text; set on_empty to skip or error.", field=field)
    if mode == "content" and isinstance(query, Mapping):
        written = query.get("value") or query.get("content")
        if isinstance(written, str) and not is_template(written):
            written_content(written, f"{field}.value")
