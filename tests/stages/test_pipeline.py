"""The pipeline: order, statistics, errors, budget, paging, events."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from lamina.core.errors import NotEnabledError, NotFoundError, ValidationError
from lamina.retrieval.retrievers import AdhocRequest, ExecuteRequest, FeatureSearchRequest, Retriever
from lamina.retrieval.stages.reduce.limit.stage import Limit
from lamina.stores.vectors.base import CollectionRef
from tests.stages.world import SCOPE, World, ids, places, search, stage


async def test_stages_run_in_order_and_are_counted(world: World) -> None:
    answer = await world.run(
        search("red", final_top_k=5),
        stage("attribute_filter", field="year", operator="gte", value=2002),
        stage("sort_attribute", field="year", direction="asc"),
        stage("limit", limit=2),
    )
    assert ids(answer) == ["3", "2"]
    stages = answer["stage_statistics"]["stages"]
    counts = [(each["input_count"], each["output_count"]) for each in stages.values()]
    assert counts == [(0, 5), (5, 4), (4, 4), (4, 2)]
    assert [each["efficiency"] for each in stages.values()] == [0.0, 0.8, 1.0, 0.5]
    assert all(each["duration_ms"] >= 0 and each["cache_hit"] is False for each in stages.values())
    assert answer["stage_statistics"]["total_time_ms"] > 0


async def test_an_answer_has_the_contracts_fields(world: World) -> None:
    answer = await world.run(search("red"))
    assert answer["execution_id"].startswith("exec_")
    assert answer["status"] == "completed"
    assert answer["results"] is answer["documents"]
    assert answer["pagination"] == {
        "method": "cursor",
        "limit": 10,
        "returned": 5,
        "total": 5,
        "has_next": False,
    }
    assert answer["stage_statistics"]["credits_used"] == answer["budget"]["credits_used"] == 0
    assert answer["cache_hit"] is answer["optimization_applied"] is False
    assert not {"warnings", "facets", "degraded", "limits", "error"} & set(answer)


async def test_opening_filters_narrow_the_search_behind_them(world: World) -> None:
    answer = await world.run(
        {"type": "attribute_filter", "conditions": {"color": "{{INPUT.color}}"}},
        {"type": "feature_search", "query": "red", "collection_ids": ["colors"], "limit": 1},
        inputs={"color": "green"},
        collection_identifiers=[],
    )
    assert ids(answer) == ["3"]
    assert answer["optimization_applied"] is True
    assert answer["optimization_summary"]["optimized_stage_count"] == 1
    assert answer["stage_statistics"]["stages"]["attribute_filter"]["metadata"] == {"pushed_down": True}


async def test_a_later_search_begins_anew_and_says_so(world: World) -> None:
    first, second = search("red", top_k=2), search("blue", top_k=1)
    second["stage_name"] = "again"
    answer = await world.run(first, second)
    assert ids(answer) == ["5"]
    assert "2 documents before it were dropped" in answer["warnings"][0]


async def test_templates_see_what_earlier_stages_made(world: World) -> None:
    first = {**search("red", top_k=3), "output_alias": "found"}
    answer = await world.run(
        first,
        stage("limit", limit="{{ (CONTEXT.found | length) - 1 }}"),
        stage("sample", count="{{STAGE.feature_search.count}}"),
    )
    assert len(answer["documents"]) == 2


async def test_numbers_in_templates_stay_numbers(world: World) -> None:
    stages = search("red", final_top_k="{{INPUT.k}}", top_k="{{ INPUT.k * 2 }}")
    assert len((await world.run(stages, inputs={"k": 2}))["documents"]) == 2
    with pytest.raises(ValidationError, match="top_k") as refusal:
        await world.run(stages, inputs={"k": "many"})
    assert "stages.0.config.parameters.final_top_k" in places(refusal)


# Inputs -----------------------------------------------------------------------------------------------------

SCHEMA = {
    "query": {"type": "text", "required": True},
    "k": {"type": "integer", "default": 2},
    "lang": {"type": "string", "enum": ["en", "de"]},
    "since": {"type": "date"},
    "vector": {"type": "array", "items": {"type": "number"}},
    "ref": {"type": "document_reference"},
}


async def test_defaults_are_filled_in_and_unknown_inputs_warn(world: World) -> None:
    stages = search("{{INPUT.query}}", final_top_k="{{INPUT.k}}")
    answer = await world.run(stages, input_schema=SCHEMA, inputs={"query": "red", "color": "x"})
    assert len(answer["documents"]) == 2
    assert answer["warnings"] == ["Inputs that the input schema does not have: color."]


@pytest.mark.parametrize(
    ("inputs", "at"),
    [
        ({}, "inputs.query"),
        ({"query": None}, "inputs.query"),
        ({"query": 3}, "inputs.query"),
        ({"query": "a", "k": "3"}, "inputs.k"),
        ({"query": "a", "k": True}, "inputs.k"),
        ({"query": "a", "lang": "fr"}, "inputs.lang"),
        ({"query": "a", "since": "yesterday"}, "inputs.since"),
        ({"query": "a", "vector": [1.0, "b"]}, "inputs.vector.1"),
        ({"query": "a", "ref": {"collection_id": "x"}}, "inputs.ref"),
    ],
)
async def test_wrong_inputs_are_refused_with_their_place(
    world: World, inputs: dict[str, Any], at: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        await world.run(search("{{INPUT.query}}"), input_schema=SCHEMA, inputs=inputs)
    assert places(refusal) == [at]


async def test_inputs_beside_the_key_are_taken_where_the_schema_has_them(world: World) -> None:
    retriever = await world.retriever(search("{{INPUT.query}}"), input_schema=SCHEMA)
    assert ids(await world.execute(retriever, query="blue"))[0] == "5"


# Errors and budgets -----------------------------------------------------------------------------------------


async def test_a_stage_may_fail_alone(world: World) -> None:
    broken = {**stage("limit", limit="{{INPUT.n}}"), "on_error": "skip"}
    answer = await world.run(search("red", top_k=3), broken, inputs={"n": -1})
    assert ids(answer) == ["1", "2", "3"]
    assert answer["status"] == "degraded"
    assert "limit" in answer["stage_statistics"]["stages"]["limit"]["error"]
    assert answer["degraded"][0]["stage"] == "limit"
    with pytest.raises(ValidationError):
        await world.run(search("red"), stage("limit", limit="{{INPUT.n}}"), inputs={"n": -1})


async def test_stages_that_have_not_begun_in_time_are_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(self: Limit, documents: Any, given: Any) -> Any:
        await asyncio.sleep(0.05)
        return documents

    monkeypatch.setattr(Limit, "run", slow)
    answer = await world.run(
        search("red", top_k=3), stage("limit"), stage("sample", count=1), budget_limits={"max_time_ms": 40}
    )
    assert answer["status"] == "degraded"
    assert len(answer["documents"]) == 3
    assert list(answer["stage_statistics"]["stages"]) == ["feature_search", "limit"]
    assert "40 ms" in answer["warnings"][0]


async def test_a_collection_that_is_gone_degrades_until_none_is_left(own_world: World) -> None:
    retriever = await own_world.retriever(search("red"), collection_identifiers=["colors", "more"])
    gone = own_world.collections.known.pop()
    answer = await own_world.execute(retriever)
    assert set(ids(answer)) == {"1", "2", "3", "4", "5"}
    assert answer["status"] == "degraded"
    assert answer["degraded"][0]["id"] == gone.collection_id
    own_world.collections.known.clear()
    with pytest.raises(NotFoundError):
        await own_world.execute(retriever)


@pytest.mark.parametrize("asked", [{"expand": ["author_id"]}, {"target_collection_id": "col_x"}])
async def test_what_the_request_cannot_have_yet_is_refused(world: World, asked: dict[str, Any]) -> None:
    retriever = await world.retriever(search("red"))
    with pytest.raises(NotEnabledError):
        await world.execute(retriever, **asked)


async def test_only_selected_fields_come_with_the_ids(world: World) -> None:
    answer = await world.run(search("red", top_k=1), select=["color", "_internal.lineage.source_object_id"])
    (found,) = answer["documents"]
    assert set(found) == {"document_id", "collection_id", "score", "color", "_internal"}
    assert found["_internal"] == {"lineage": {"source_object_id": "obj_x"}}


async def test_feature_search_is_a_pipeline_of_one_stage(world: World) -> None:
    asked = {"query": {"text": "a {{ red }} wine"}, "top_k": 2, "collection_identifiers": ["colors"]}
    for body in (asked, {**asked, "query": {"input_mode": "vector", "vector": [1, 0, 0]}}):
        request = FeatureSearchRequest.model_validate(body).as_adhoc()
        retriever = await world.service.adhoc(SCOPE, request)
        answer: Any = (await world.pipeline.execute(SCOPE, retriever, request)).response
        assert ids(answer) == ["1", "2"]


async def test_a_document_that_only_tells_of_a_next_page_is_not_counted(many: World) -> None:
    answer = await many.run(search("red", final_top_k=3))
    assert len(answer["documents"]) == 3
    assert [one["output_count"] for one in answer["stage_statistics"]["stages"].values()] == [3]


async def test_flattened_groups_are_all_on_the_page(many: World) -> None:
    groups = {"field": "color", "limit": 1, "max_per_group": 7, "output_mode": "flatten"}
    answer = await many.run(search("red", top_k=50, group_by=groups))
    assert len(answer["documents"]) == 7
    assert not answer["pagination"]["has_next"]


# Paging -----------------------------------------------------------------------------------------------------


async def walk(world: World, retriever: Retriever, method: str, limit: int) -> tuple[list[str], int]:
    """All documents, page after page, and the number of pages."""
    found: list[str] = []
    position: dict[str, Any] = (
        {"page_number": 1, "page_size": limit} if method == "offset" else {"limit": limit}
    )
    marker = {"cursor": "cursor", "scroll": "scroll_id", "keyset": "after"}.get(method)
    for pages in range(1, 50):
        answer = await world.execute(retriever, pagination={"method": method, **position})
        found += ids(answer)
        told = answer["pagination"]
        assert told["method"] == method
        assert told["returned"] == len(answer["documents"]) <= limit
        if not told["has_next"]:
            return found, pages
        if marker is None:
            position["page_number"] += 1
        else:
            position[marker] = told[marker]
    raise AssertionError("paging does not end")


METHODS = ["offset", "cursor", "keyset", "scroll"]


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_pages_beyond_the_pool_without_gaps(many: World, method: str) -> None:
    retriever = await many.retriever(search("red", final_top_k=25))
    found, pages = await walk(many, retriever, method, 20)
    assert found == [f"{n:03}" for n in range(300)]
    assert pages == 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fusion", ["rrf", "dbsf", "weighted", "max"])
async def test_fused_rankings_page_without_gaps_or_repeats(many: World, method: str, fusion: str) -> None:
    one = {"feature_uri": "text", "query": "red", "top_k": 30}
    other = {"feature_uri": "text", "query": "red", "lexical": True, "top_k": 30}
    stages = stage("feature_search", searches=[one, other], fusion=fusion, final_top_k=40)
    found, _ = await walk(many, await many.retriever(stages), method, 40)
    assert sorted(found) == [f"{n:03}" for n in range(300)]


@pytest.mark.parametrize("method", METHODS)
async def test_a_filter_behind_the_search_does_not_end_the_pages(many: World, method: str) -> None:
    even = stage("attribute_filter", field="even", operator="eq", value=True)
    retriever = await many.retriever(search("red", final_top_k=25), even)
    found, _ = await walk(many, retriever, method, 10)
    assert found == [f"{n:03}" for n in range(0, 300, 2)]


@pytest.mark.parametrize("method", METHODS)
async def test_a_filter_alone_pages_through_all_that_matches(many: World, method: str) -> None:
    stages = stage("attribute_filter", field="n", operator="lt", value=120)
    found, pages = await walk(many, await many.retriever(stages), method, 50)
    assert sorted(found) == [f"{n:03}" for n in range(120)]
    assert pages == 3


async def test_reordering_stages_keep_to_the_pool(many: World) -> None:
    retriever = await many.retriever(
        search("red", final_top_k=25), stage("sort_attribute", field="n", direction="desc")
    )
    found, pages = await walk(many, retriever, "cursor", 10)
    assert found == [f"{n:03}" for n in range(24, -1, -1)]
    assert pages == 3


async def test_a_limit_ends_the_pages(many: World) -> None:
    retriever = await many.retriever(search("red", final_top_k=25), stage("limit", limit=15))
    found, pages = await walk(many, retriever, "cursor", 10)
    assert (len(found), pages) == (15, 2)


async def test_without_paging_the_page_is_what_the_stages_say(many: World) -> None:
    assert len((await many.run(search("red", final_top_k=40)))["documents"]) == 40
    assert len((await many.run(search("red", top_k=7)))["documents"]) == 7
    assert len((await many.run(search("red")))["documents"]) == 10
    first = await many.run(search("red", final_top_k=40))
    assert first["pagination"]["total"] == 40
    assert first["pagination"]["has_next"] is True


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"limit": 3}, 3),
        ({"page_size": 4}, 4),
        ({"settings": {"limit": 5}}, 5),
        ({"pagination": {"limit": 6}}, 6),
        ({"pagination": {"page_size": 7, "page_number": 1}}, 7),
        ({"pagination": {"method": "offset"}}, 10),
        ({"pagination": {"method": "scroll"}}, 25),
        ({"pagination": {"limit": 6}, "limit": 3}, 6),
    ],
)
async def test_every_way_to_say_the_page_size(many: World, body: dict[str, Any], size: int) -> None:
    answer = await many.execute(await many.retriever(search("red", final_top_k=25)), **body)
    assert len(answer["documents"]) == size
    assert ("warnings" in answer) is ("limit" in body and "pagination" in body)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 3, "page_size": 4},
        {"settings": {"limit": 0}},
        {"pagination": {"method": "cursor", "cursor": "nonsense"}},
        {"pagination": {"method": "keyset", "after": {"score": 1.0}}},
        {"pagination": {"method": "keyset", "after": {"id": "doc_1", "position": -3}}},
        {"pagination": {"method": "scroll", "scroll_id": "WzFd"}},
    ],
)
async def test_paging_that_makes_no_sense_is_refused(many: World, body: dict[str, Any]) -> None:
    retriever = await many.retriever(search("red"))
    with pytest.raises(ValidationError):
        await many.execute(retriever, **body)


async def test_a_scroll_ends_with_its_time(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = await many.retriever(search("red", final_top_k=25))
    asked = {"method": "scroll", "limit": 5, "scroll_ttl": 60}
    first = await many.execute(retriever, pagination=asked)
    again = {**asked, "scroll_id": first["pagination"]["scroll_id"]}
    assert ids(await many.execute(retriever, pagination=again)) == [f"{n:03}" for n in range(5, 10)]
    later = time.time() + 61
    monkeypatch.setattr("lamina.retrieval.paging.time.time", lambda: later)
    with pytest.raises(ValidationError, match="expired"):
        await many.execute(retriever, pagination=again)


async def test_a_page_goes_on_after_its_last_document_whatever_was_written(own_many: World) -> None:
    retriever = await own_many.retriever(search("red", final_top_k=25))
    first = await own_many.execute(retriever, pagination={"method": "cursor", "limit": 10})
    at = own_many.collections.known[0]
    await own_many.vectors.delete(_ref(at.collection_id), ["doc_000", "doc_003"])
    asked = {"method": "cursor", "limit": 10, "cursor": first["pagination"]["cursor"]}
    assert ids(await own_many.execute(retriever, pagination=asked)) == [f"{n:03}" for n in range(10, 20)]
    await own_many.vectors.delete(_ref(at.collection_id), ["doc_009"])
    assert ids(await own_many.execute(retriever, pagination=asked)) == [f"{n:03}" for n in range(10, 20)]


async def test_documents_without_ids_are_paged_by_their_place(many: World) -> None:
    renamed = stage("json_transform", template='{"was": "{{DOC.document_id}}"}')
    retriever = await many.retriever(search("red", final_top_k=25), renamed)
    page: dict[str, Any] = {"method": "keyset", "limit": 10}
    first = await many.execute(retriever, pagination=page)
    second = await many.execute(retriever, pagination={**page, "after": first["pagination"]["after"]})
    seen = [one["was"] for answer in (first, second) for one in answer["documents"]]
    assert len(set(seen)) == len(seen) == 20


async def test_a_keyset_marker_needs_only_score_and_id(many: World) -> None:
    retriever = await many.retriever(search("red", final_top_k=25))
    first = await many.execute(retriever, pagination={"method": "keyset", "limit": 25})
    last = first["documents"][-1]
    deep = {"method": "keyset", "limit": 10, "after": {"score": last["score"], "id": last["document_id"]}}
    assert ids(await many.execute(retriever, pagination=deep)) == [f"{n:03}" for n in range(25, 35)]


async def test_depth_has_a_bound_and_the_answer_names_it(many: World) -> None:
    retriever = await many.retriever(search("red", final_top_k=500, top_k=500))
    asked = {"method": "offset", "page_size": 500, "page_number": 40}
    answer = await many.execute(retriever, pagination=asked)
    assert answer["documents"] == []
    assert answer["limits"][0]["applied"] == 10_000


def _ref(collection_id: str) -> CollectionRef:
    return CollectionRef(SCOPE.namespace, collection_id)


# Events -----------------------------------------------------------------------------------------------------


async def events(world: World, *stages: Mapping[str, Any], **body: Any) -> list[dict[str, Any]]:
    request = AdhocRequest.model_validate(
        {"collection_identifiers": ["colors"], "stages": list(stages), **body}
    )
    retriever = await world.service.adhoc(SCOPE, request)
    return [dict(event) async for event in world.pipeline.stream(SCOPE, retriever, request)]


async def test_a_stream_tells_of_every_stage_and_ends_with_the_answer(world: World) -> None:
    told = await events(world, search("red", top_k=3), stage("limit", limit=1))
    assert [event["event_type"] for event in told] == [
        "stage_start",
        "stage_complete",
        "stage_start",
        "stage_complete",
        "execution_complete",
    ]
    assert len({event["execution_id"] for event in told}) == 1
    assert [(event["stage_name"], event["stage_index"], event["total_stages"]) for event in told[:4:2]] == [
        ("feature_search", 0, 2),
        ("limit", 1, 2),
    ]
    assert (len(told[1]["documents"]), told[1]["statistics"]["output_count"]) == (3, 3)
    assert ids(told[-1]) == ["1"]


async def test_a_stream_tells_of_failures(world: World) -> None:
    broken = stage("limit", limit="{{INPUT.n}}")
    told = await events(world, search("red"), broken, inputs={"n": 0})
    assert told[-1]["event_type"] == "execution_error"
    assert told[-1]["status"] == 422
    told = await events(world, search("red"), {**broken, "on_error": "skip"}, inputs={"n": 0})
    assert [event["event_type"] for event in told[-2:]] == ["stage_error", "execution_complete"]


async def test_a_stored_retrievers_plan_is_compiled_once_for_each_version(world: World) -> None:
    retriever = (await world.retriever(search("red"))).model_copy(update={"retriever_id": "ret_1"})
    first = world.pipeline.plan(retriever)
    assert world.pipeline.plan(retriever.model_copy()) is first
    assert world.pipeline.plan(retriever.model_copy(update={"version": 2})) is not first


async def test_the_pipeline_itself_takes_no_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Best of many: what remains of one execution when the engine answers at once."""
    stages = search({"input_mode": "vector", "value": "{{INPUT.vector}}"}, final_top_k=10)
    schema = {"vector": {"type": "array", "required": True}}
    retriever = await world.retriever(stages, input_schema=schema)
    retriever = retriever.model_copy(update={"retriever_id": "ret_1"})
    request = ExecuteRequest.model_validate({"inputs": {"vector": [0.1, 0.2, 0.3]}})

    async def nothing(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(world.vectors, "search", nothing)
    best = float("inf")
    for _ in range(50):
        began = time.perf_counter()
        await world.pipeline.execute(SCOPE, retriever, request)
        best = min(best, time.perf_counter() - began)
    assert best < 0.0003
