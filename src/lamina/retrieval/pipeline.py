"""Running a retriever: its stages one after the other, and the page of what they found."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from lamina.core.errors import LaminaError, NotEnabledError
from lamina.core.filters import ALL, Filter, both, parse_filter
from lamina.core.ids import new_id
from lamina.core.predicate import predicate
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.inference.registry import Models
from lamina.retrieval.contents import ContentReader
from lamina.retrieval.embedding import QueryEmbedder
from lamina.retrieval.inputs import validated_inputs
from lamina.retrieval.paging import MAX_DEPTH, PageAsked, begins, described, page_asked
from lamina.retrieval.paths import selected
from lamina.retrieval.plan import Plan, Step, compiled
from lamina.retrieval.retrievers import Execution, Retriever
from lamina.retrieval.stages.base import Documents, Findings, StageContext
from lamina.retrieval.targets import CollectionReader, Targets
from lamina.stores.vectors.base import VectorStore

_PLANS: Final = 512
_ALWAYS: Final = ("document_id", "collection_id", "score", "group_key")
_FRUITLESS: Final = 2
"""Times that reading twice as deep may bring nothing before a page is given up as the last."""


@dataclass(slots=True)
class ExecutionResult:
    """A finished execution. `response` is `ExecuteRetrieverResponse` of the contract.

    `documents` is the list that stands in it under `documents` and `results`: payloads as stored,
    with their scores; whoever renders them may change them in place.
    """

    execution_id: str
    documents: Documents
    response: JsonObject


@dataclass(slots=True)
class _Run:
    """One execution on its way."""

    scope: Scope
    retriever: Retriever
    request: Execution
    plan: Plan
    page: PageAsked
    where: Filter
    targets: Targets
    findings: Findings
    inputs: Mapping[str, Json]
    execution_id: str
    began: float
    context: JsonObject
    outputs: JsonObject = field(default_factory=dict)
    statistics: dict[str, JsonObject] = field(default_factory=dict)
    documents: Documents = field(default_factory=list)
    pushed: Filter = ALL
    pool: int | None = None
    base: int = 0
    exhausted: bool = True
    told: int = 0
    """Warnings that were given before the first stage ran."""
    status: str = "completed"

    @property
    def names(self) -> dict[str, Json]:
        """What templates see."""
        return {"input": self.inputs, "context": self.context, "stage": self.outputs}

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the execution began."""
        return (perf_counter() - self.began) * 1000


class RetrievalPipeline:
    """Runs retrievers. One instance serves all requests; compiled retrievers are kept."""

    def __init__(
        self, vectors: VectorStore, models: Models, collections: CollectionReader, contents: ContentReader
    ) -> None:
        self._vectors = vectors
        self._contents = contents
        self._collections = collections
        self._embedder = QueryEmbedder(models)
        self._plans: OrderedDict[tuple[str, int, float], Plan] = OrderedDict()

    async def execute(self, scope: Scope, retriever: Retriever, request: Execution) -> ExecutionResult:
        """Run a retriever, stored or not, and answer with one page of its documents.

        Raises `ValidationError` for inputs, filters, parameters or paging that are wrong,
        `NotFoundError` when none of its collections exists any more, and what the stages raise.
        """
        run = self._begin(scope, retriever, request)
        for step in run.plan.steps:
            if not await self._step(run, step):
                break
        await self._deepen(run)
        return _finished(run)

    async def stream(
        self, scope: Scope, retriever: Retriever, request: Execution
    ) -> AsyncIterator[JsonObject]:
        """Run a retriever and tell of it as it goes.

        Events, by `event_type`: `stage_start`, `stage_complete` (with the documents so far),
        `stage_error`, then `execution_complete` (with the whole answer) or `execution_error`.
        Errors before the first stage are raised; later ones are told.
        """
        run = self._begin(scope, retriever, request)
        try:
            for index, step in enumerate(run.plan.steps):
                place: JsonObject = {
                    "execution_id": run.execution_id,
                    "stage_name": step.name,
                    "stage_index": index,
                    "total_stages": len(run.plan.steps),
                }
                yield {"event_type": "stage_start", **place}
                went_on = await self._step(run, step)
                if not went_on:
                    break
                statistics = run.statistics[step.name]
                failed = "error" in statistics
                yield {
                    "event_type": "stage_error" if failed else "stage_complete",
                    **place,
                    **({"error": statistics["error"]} if failed else {"documents": list(run.documents)}),
                    "statistics": statistics,
                    "budget_used": _spent(run),
                }
            await self._deepen(run)
            result = _finished(run)
        except LaminaError as error:
            yield {
                "event_type": "execution_error",
                "execution_id": run.execution_id,
                "error": error.message,
                "error_type": error.type,
                "status": error.status,
            }
            return
        yield {"event_type": "execution_complete", **result.response}

    def plan(self, retriever: Retriever) -> Plan:
        """The compiled stages of a retriever; kept for stored ones until they change."""
        if not retriever.retriever_id:
            return compiled([stage.model_dump(exclude_none=True) for stage in retriever.stages])
        key = (retriever.retriever_id, retriever.version, retriever.updated_at.timestamp())
        plan = self._plans.get(key)
        if plan is None:
            plan = compiled([stage.model_dump(exclude_none=True) for stage in retriever.stages])
            self._plans[key] = plan
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def _begin(self, scope: Scope, retriever: Retriever, request: Execution) -> _Run:
        began = perf_counter()
        _refuse_not_built(request)
        findings = Findings()
        plan = self.plan(retriever)
        inputs = validated_inputs(retriever.input_schema, _inputs(request, retriever), findings.warnings)
        execution_id = new_id("exec")
        context: JsonObject = {
            "execution_id": execution_id,
            "retriever_id": retriever.retriever_id,
            "namespace_id": scope.namespace,
        }
        names: dict[str, Json] = {"input": inputs, "context": context, "stage": {}}
        sized = request.pagination is not None or request.limit is not None or request.page_size is not None
        breadth = 1 if sized else plan.breadth(names)
        return _Run(
            scope=scope,
            retriever=retriever,
            request=request,
            plan=plan,
            page=page_asked(request, breadth, findings.warnings),
            where=parse_filter(request.filters, field="filters", inputs=inputs) if request.filters else ALL,
            targets=Targets(self._collections, scope, retriever.collection_ids),
            findings=findings,
            inputs=inputs,
            execution_id=execution_id,
            began=began,
            context=context,
            told=len(findings.warnings),
        )

    async def _step(self, run: _Run, step: Step) -> bool:
        """Run one stage; False when the time is up and the rest is left out."""
        if _out_of_time(run, step):
            return False
        began = perf_counter()
        before = len(run.documents)
        metadata: JsonObject = {}
        error: str | None = None
        try:
            if step.pushed:
                metadata["pushed_down"] = True
                self._push(run, step)
            else:
                await self._run_stage(run, step, metadata)
        except LaminaError as failure:
            if not step.skip_errors:
                raise
            error = failure.message
            run.status = "degraded"
            run.findings.degrade(
                "stage",
                step.name,
                f"Stage '{step.name}' failed and was skipped: {error}",
                "Mend the stage, or its input.",
                step.name,
            )
        run.statistics[step.name] = _statistics(before, len(run.documents), began, metadata, error)
        run.outputs[step.name] = {"count": len(run.documents), "documents": run.documents}
        if step.alias is not None:
            run.context[step.alias] = run.documents
        return True

    async def _run_stage(self, run: _Run, step: Step, metadata: JsonObject) -> None:
        run.outputs["name"] = step.name
        names = run.names
        first = step is run.plan.steps[0]
        fetching = step.stage.fetches or (first and step.stage.opens)
        given = self._context(run, step, names)
        given.first, given.metadata = first, metadata
        if fetching:
            given.where = both(run.where, run.pushed)
        documents = run.documents
        if step.before is not None:
            condition = step.before.filter(names)
            if fetching:
                given.where = both(given.where, condition)
            else:
                holds = predicate(condition)
                documents = [document for document in documents if holds(document)]
        if step.per_document:
            kept: Documents = []
            for document in documents:
                given.names = {**names, "doc": document}
                kept.extend(await step.instance(given.names).run([document], given))
            documents = kept
        else:
            stage = step.instance(names)
            if fetching and _is_source(run.plan, step):
                run.base = stage.reach()
                given.pool = run.pool = _pool(run)
            documents = await stage.run(documents, given)
            if fetching:
                run.exhausted = given.exhausted
        if step.after is not None:
            holds = predicate(step.after.filter(names))
            documents = [document for document in documents if holds(document)]
        run.documents = documents

    def _context(self, run: _Run, step: Step, names: Mapping[str, Json]) -> StageContext:
        return StageContext(
            scope=run.scope,
            vectors=self._vectors,
            embedder=self._embedder,
            contents=self._contents,
            targets=run.targets,
            names=names,
            findings=run.findings,
            name=step.name,
            field=step.field,
            with_vectors=run.request.return_vectors,
        )

    def _push(self, run: _Run, step: Step) -> None:
        """Hand an opening filter's conditions to the search that follows."""
        names = run.names
        given = self._context(run, step, names)
        run.pushed = both(run.pushed, step.instance(names).where(given))
        for around in (step.before, step.after):
            if around is not None:
                run.pushed = both(run.pushed, around.filter(names))

    async def _deepen(self, run: _Run) -> None:
        """Search deeper as long as a later page is not full and there may be more to find."""
        fruitless = 0
        while (
            run.pool is not None
            and run.page.is_later
            and not run.exhausted
            and run.pool < MAX_DEPTH
            and fruitless < _FRUITLESS
            and not _reaches(run)
        ):
            found, pool = len(run.documents), min(run.pool * 2, MAX_DEPTH)
            run.pool, run.documents, run.pushed = pool, [], ALL
            run.findings.forget(run.told)
            for step in run.plan.steps:
                if not await self._step(run, step):
                    return
            fruitless = fruitless + 1 if len(run.documents) <= found else 0


def _is_source(plan: Plan, step: Step) -> bool:
    return plan.source is not None and plan.steps[plan.source] is step


def _pool(run: _Run) -> int | None:
    """How many documents the page needs from the source; None where its own number will do.

    A first page takes what the pipeline's author asked for, with one document more to tell whether
    a page follows. Later pages may reach deeper, where a deeper search only adds at the end.
    """
    page, plan = run.page, run.plan
    alone = plan.source == len(plan.steps) - 1 and plan.steps[-1].after is None
    if not plan.extends or page.limit > run.base or not (page.is_later or alone):
        return None
    wanted = max(run.pool or 0, page.end + 1)
    if page.is_later:
        wanted = max(wanted, run.base + 1)
    if wanted <= run.base:
        return None
    if wanted > MAX_DEPTH:
        name = plan.steps[plan.source or 0].name
        run.findings.limits[:] = [
            {"name": "depth", "requested": wanted, "applied": MAX_DEPTH, "ceiling": MAX_DEPTH, "stage": name}
        ]
    return min(wanted, MAX_DEPTH)


def _reaches(run: _Run) -> bool:
    """Whether the page is full and it is known that another one follows."""
    return len(run.documents) > begins(run.page, run.documents) + run.page.limit


def _out_of_time(run: _Run, step: Step) -> bool:
    allowed = run.retriever.budget_limits.max_time_ms
    if allowed is None or not run.statistics or run.elapsed_ms <= allowed:
        return False
    run.status = "degraded"
    run.findings.degrade(
        "stage",
        step.name,
        f"The time budget of {allowed} ms was used up before stage '{step.name}'.",
        "Raise budget_limits.max_time_ms, or search less.",
        step.name,
    )
    return True


def _inputs(request: Execution, retriever: Retriever) -> Mapping[str, Json]:
    """The inputs; those that stand beside `inputs` are taken too where the schema has them."""
    beside = request.model_extra
    if not beside:
        return request.inputs
    known = {name: value for name, value in beside.items() if name in retriever.input_schema}
    return {**known, **request.inputs} if known else request.inputs


def _refuse_not_built(request: Execution) -> None:
    if request.expand:
        raise NotEnabledError(
            "Expanding references in results is not available in this version.", field="expand"
        )
    if request.target_collection_id:
        raise NotEnabledError(
            "Writing results into a collection is not available in this version.",
            field="target_collection_id",
        )


def _statistics(before: int, after: int, began: float, metadata: JsonObject, error: str | None) -> JsonObject:
    statistics: JsonObject = {
        "input_count": before,
        "output_count": after,
        "duration_ms": round((perf_counter() - began) * 1000, 3),
        "efficiency": after / before if before else 0.0,
        "cache_hit": False,
        "stage_cache_hit": False,
        "metadata": metadata,
    }
    if error is not None:
        statistics["error"] = error
    return statistics


def _spent(run: _Run) -> JsonObject:
    return {"credits_used": 0, "time_elapsed_ms": round(run.elapsed_ms, 3), "tokens_used": 0}


def _finished(run: _Run) -> ExecutionResult:
    """The page, and everything that is told about it."""
    found = run.documents
    start = begins(run.page, found)
    page = found[start : start + run.page.limit]
    has_next = len(found) > start + run.page.limit
    # The one document more that tells whether a page follows is not part of the result.
    beyond = run.pool is not None and has_next and len(found) > max(run.base, start + run.page.limit)
    total = max(run.base, start + run.page.limit) if beyond else len(found)
    if beyond and not run.page.is_later:
        run.statistics[run.plan.steps[-1].name]["output_count"] = total
    select = run.request.select
    if select is not None:
        page = [selected(document, select, _ALWAYS) for document in page]
    response = _response(
        run, page, described(run.page, start, found[start : start + len(page)], total, has_next)
    )
    return ExecutionResult(run.execution_id, page, response)


def _response(run: _Run, page: Documents, pagination: JsonObject) -> JsonObject:
    for identifier in run.targets.missing:
        run.findings.degrade(
            "collection",
            identifier,
            f"Collection '{identifier}' of the retriever does not exist any more.",
            "Take it out of the retriever's collection_identifiers.",
            None,
        )
    findings = run.findings
    limits = run.retriever.budget_limits
    elapsed = round(run.elapsed_ms, 3)
    response: JsonObject = {
        "retriever_id": run.retriever.retriever_id,
        "execution_id": run.execution_id,
        "status": "degraded" if findings.degraded else run.status,
        "documents": page,
        "results": page,
        "pagination": pagination,
        "stage_statistics": {"stages": run.statistics, "total_time_ms": elapsed, "credits_used": 0},
        "budget": {
            "credits_used": 0,
            "time_used_ms": elapsed,
            **{name: value for name, value in limits.model_dump().items() if value is not None},
        },
        "optimization_applied": run.pushed != ALL,
        "cache_hit": False,
    }
    if run.pushed != ALL:
        response["optimization_summary"] = _optimization(run)
    for name, told in (
        ("facets", findings.facets),
        ("warnings", findings.warnings),
        ("degraded", findings.degraded),
        ("limits", findings.limits),
    ):
        if told:
            response[name] = told
    if run.request.explain:
        response["explain_plan"] = _profile(run)
    return response


def _optimization(run: _Run) -> JsonObject:
    count = len(run.plan.steps)
    left = count - sum(step.pushed for step in run.plan.steps)
    return {
        "original_stage_count": count,
        "optimized_stage_count": left,
        "rules_applied": ["push_down_filters"],
        "stage_reduction_pct": round(100 * (count - left) / count, 1),
    }


def _profile(run: _Run) -> JsonObject:
    stages = [
        {
            "stage_index": index,
            "stage_name": step.name,
            "stage_id": step.stage.stage_id,
            "pushed_down": step.pushed,
            **run.statistics.get(step.name, {}),
        }
        for index, step in enumerate(run.plan.steps)
    ]
    return {"stages": stages, "depth": run.pool or run.base}
