"""`feature_search`: queries, fusion, filters, groups and facets."""

import asyncio
import base64
from typing import Any

import pytest

from lamina.core.errors import NotEnabledError, NotFoundError, ValidationError
from lamina.retrieval.fusion import fuse
from tests.stages.world import MODEL, URI, World, collection, ids, places, point, search, stage, vector_index


@pytest.mark.parametrize(
    "query",
    [
        "red",
        {"input_mode": "text", "value": "red"},
        {"input_mode": "text", "text": "red"},
        {"text": "red"},
        {"input_mode": "vector", "value": [1, 0, 0]},
        {"vector": [1.0, 0.0, 0.0]},
        [1.0, 0.0, 0.0],
        "{{INPUT.word}}",
        {"input_mode": "vector", "value": "{{inputs.vector}}"},
        "{{INPUT.vector}}",
        {"input_mode": "document", "document_ref": {"document_id": "doc_1", "collection_id": "colors"}},
        {"document_id": "doc_1"},
        {"input_mode": "content", "value": "red"},
        {"input_mode": "content", "value": "data:text/plain;base64," + base64.b64encode(b"red").decode()},
        {"input_mode": "content", "content": {"base64": "data:,red"}},
    ],
    ids=range(15),
)
async def test_every_form_of_a_query_finds_what_is_near(world: World, query: Any) -> None:
    answer = await world.run(search(query), inputs={"word": "red", "vector": [1.0, 0.0, 0.0]})
    found = ids(answer)
    by_document = isinstance(query, dict) and ("document_ref" in query or "document_id" in query)
    assert found[0] == ("2" if by_document else "1")
    assert ("1" in found) is not by_document
    scores = [document["score"] for document in answer["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["documents"][0]["_internal"]["lineage"]["source_object_id"] == "obj_x"


@pytest.mark.parametrize(
    ("query", "message", "at"),
    [
        ({"input_mode": "vector", "value": [1.0, 2.0]}, "has 2 values.*takes 3", "query.value"),
        ({"input_mode": "vector", "value": ["a", "b", "c"]}, "finite numbers", "query.value"),
        ({"input_mode": "vector", "value": [1.0, None, 0.0]}, "finite numbers", "query.value"),
        ({"input_mode": "vector", "value": [1e39, 1.0, 0.0]}, "finite numbers", "query.value"),
        ({"input_mode": "vector", "value": [[1.0, 0.0, 0.0]]}, "not a list of vectors", "query.value"),
        ({"input_mode": "vector", "value": [[1.0], [1.0, 2.0]]}, "different lengths", "query.value"),
        ({"input_mode": "vector", "value": 3}, "finite numbers", "query.value"),
        ({"input_mode": "text", "value": {"a": 1}}, "takes a text", "query.value"),
        ({"input_mode": "text", "value": ""}, "query is empty", "query"),
        ("{{INPUT.nothing}}", "query is empty", "query"),
        ({"input_mode": "vector", "value": "{{INPUT.nothing}}"}, "query is empty", "query"),
        ({"input_mode": "document", "document_ref": {}}, "query is empty", "query"),
        ({"input_mode": "sound", "value": "x"}, "input_mode", "query.input_mode"),
        ({"input_mode": "text", "words": "x"}, "words", "query.words"),
    ],
    ids=range(14),
)
async def test_a_query_that_cannot_be_searched_is_refused_with_its_place(
    world: World, query: Any, message: str, at: str
) -> None:
    with pytest.raises(ValidationError, match=message) as refusal:
        await world.run(search(query))
    assert places(refusal)[0] == f"stages.0.config.parameters.searches.0.{at}"


@pytest.mark.parametrize(
    "parameters",
    [
        {"query": {"input_mode": "content", "value": "s3://bucket/a.jpg"}},
        {"query": {"input_mode": "content", "value": "data:video/mp4;base64,AAAA"}},
        {"query": {"input_mode": "multi_content", "values": ["a", "b"]}},
        {"fusion": "learned"},
        {"learning_config": {"reward_signal": "click"}},
        {"query_preprocessing": {"max_chunks": 3}},
    ],
)
async def test_what_cannot_work_yet_is_refused_and_not_ignored(world: World, parameters: Any) -> None:
    with pytest.raises(NotEnabledError):
        await world.retriever(search(parameters.pop("query", "red"), **parameters))


async def test_refusals_hold_for_what_a_template_becomes(world: World) -> None:
    stages = search({"input_mode": "content", "value": "{{INPUT.file}}"})
    with pytest.raises(NotEnabledError, match="URL"):
        await world.run(stages, inputs={"file": "s3://bucket/a.jpg"})
    with pytest.raises(NotEnabledError, match="Learned"):
        await world.run(search(fusion="{{INPUT.fusion}}"), inputs={"fusion": "learned"})


async def test_a_document_that_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="doc_99"):
        await world.run(search({"document_id": "doc_99"}))


async def test_lexical_search_finds_words(world: World) -> None:
    assert sorted(ids(await world.run(search("wine", lexical=True)))) == ["1", "4"]
    assert ids(await world.run(search("zeppelin", lexical=True))) == []
    with pytest.raises(ValidationError, match="takes a text"):
        await world.retriever(search([1.0, 0.0, 0.0], lexical=True, feature_uri=URI) | _lexical_vector())


def _lexical_vector() -> dict[str, Any]:
    one = {"feature_uri": URI, "query": {"input_mode": "vector", "value": [1, 0, 0]}, "lexical": True}
    return stage("feature_search", searches=[one])


@pytest.mark.parametrize("fusion", [None, "rrf", "dbsf", "weighted", "max"])
async def test_several_searches_are_fused_by_the_formula(world: World, fusion: Any) -> None:
    dense = {"feature_uri": URI, "query": "green", "top_k": 3, "weight": 0.8}
    words = {"feature_uri": URI, "query": "wine", "lexical": True, "weight": 0.4}
    alone = [await world.run(stage("feature_search", searches=[one])) for one in (dense, words)]
    rankings = [[(d["document_id"], d["score"]) for d in answer["documents"]] for answer in alone]
    expected = fuse(fusion or "rrf", rankings, [0.8, 0.4])
    parameters: dict[str, Any] = {"searches": [dense, words], "final_top_k": 25}
    parameters |= {"fusion": fusion} if fusion else {}
    both = await world.run(stage("feature_search", **parameters))
    found = {document["document_id"]: document["score"] for document in both["documents"]}
    assert found == {key: pytest.approx(score) for key, score in expected}
    assert ids(both)[0] == ("1" if fusion == "max" else "4")


async def test_scores_below_the_minimum_are_left_out_before_fusion(world: World) -> None:
    assert ids(await world.run(search("red", min_score=0.9))) == ["1", "2"]
    two = stage(
        "feature_search",
        searches=[
            {"feature_uri": URI, "query": "red", "min_score": 0.9},
            {"feature_uri": URI, "query": "blue", "min_score": 0.9},
        ],
    )
    assert sorted(ids(await world.run(two))) == ["1", "2", "5"]


async def test_several_collections_are_searched_as_one(world: World) -> None:
    answer = await world.run(search("red"), collection_identifiers=["colors", "col_more"])
    assert ids(answer)[:3] == ["1", "2", "6"]
    everywhere = await world.run(search("red"), collection_identifiers=[])
    assert ids(everywhere) == ids(answer)


async def test_searches_and_stages_choose_their_collections(world: World) -> None:
    assert set(ids(await world.run(search("red", collection_identifiers=["more"])))) == {"6", "7"}
    one = {"feature_uri": URI, "query": "red", "collection_identifiers": ["colors"], "top_k": 1}
    other = {"feature_uri": URI, "query": "blue", "top_k": 1}
    stages = stage("feature_search", searches=[one, other], collection_identifiers=["more"], final_top_k=5)
    assert sorted(ids(await world.run(stages))) == ["1", "7"]


async def test_filters_of_all_places_have_to_hold(world: World) -> None:
    stages = search(
        "red",
        filters={"field": "year", "operator": "gte", "value": "{{INPUT.since}}"},
        pre_filters={"field": "parent", "operator": "in", "value": ["x", "y"]},
    )
    stages["config"]["pre_filters"] = {"field": "year", "operator": "lt", "value": 2004}
    answer = await world.run(stages, inputs={"since": 2002}, filters={"NOT": [{"text": "green leaf"}]})
    assert ids(answer) == ["2"]


async def test_a_dynamic_value_is_an_input(world: World) -> None:
    where = {"field": "color", "operator": "eq", "value": {"type": "dynamic", "field": "inputs.color"}}
    assert set(ids(await world.run(search("red", pre_filters=where), inputs={"color": "green"}))) == {
        "3",
        "4",
    }
    with pytest.raises(ValidationError, match="color"):
        await world.run(search("red", pre_filters=where))


async def test_without_searches_filters_find_documents(world: World) -> None:
    stages = stage("feature_search", pre_filters={"color": "green"})
    answer = await world.run(stages)
    assert sorted(ids(answer)) == ["3", "4"]
    assert "score" not in answer["documents"][0]
    with pytest.raises(ValidationError, match="searches"):
        await world.run(stage("feature_search"))


async def test_post_filters_look_at_what_was_found(world: World) -> None:
    stages = search("red", final_top_k=3)
    stages["config"]["post_filters"] = {"field": "year", "operator": "gt", "value": 2001}
    assert ids(await world.run(stages)) == ["2", "3"]


@pytest.mark.parametrize(
    ("mode", "expected"), [("first", ["1", "3", "5"]), ("flatten", ["1", "2", "3", "4", "5"])]
)
async def test_hits_are_grouped_by_a_field(world: World, mode: str, expected: list[str]) -> None:
    group = {"field": "parent", "max_per_group": 2, "output_mode": mode}
    assert ids(await world.run(search("red", group_by=group))) == expected


async def test_groups_show_their_members(world: World) -> None:
    group = {"field": "source_object_id", "group_size": 5, "limit": 2}
    first, second = (await world.run(search("red", group_by=group)))["documents"]
    assert (first["group_key"], first["count"], first["document_id"]) == ("obj_x", 2, "doc_1")
    assert [member["document_id"] for member in second["documents"]] == ["doc_3", "doc_4"]


async def test_grouping_reads_until_there_are_enough_groups(many: World) -> None:
    group = {"field": "n", "output_mode": "first", "limit": 150}
    answer = await many.run(search("red", top_k=10, group_by=group))
    assert len(answer["documents"]) == 150


async def test_facets_count_all_that_matches(world: World) -> None:
    stages = search("red", top_k=1, facets=["color", {"key": "tags", "limit": 1}])
    answer = await world.run(stages, filters={"field": "year", "operator": "lt", "value": 2005})
    assert ids(answer) == ["1"]
    color, tags = answer["facets"]
    assert color == {"key": "color", "values": [{"value": "green", "count": 2}, {"value": "red", "count": 2}]}
    assert tags == {"key": "tags", "values": [{"value": "b", "count": 2}]}
    everywhere = await world.run(stages, collection_identifiers=["colors", "more"])
    assert everywhere["facets"][0]["values"][0] == {"value": "red", "count": 3}


async def test_facets_find_flat_lineage_names(world: World) -> None:
    answer = await world.run(search("red", facets=["source_object_id"]))
    assert {"value": "obj_x", "count": 2} in answer["facets"][0]["values"]


async def test_an_empty_query_is_skipped_or_random_where_that_is_said(world: World) -> None:
    empty = {"feature_uri": URI, "query": "{{INPUT.nothing}}", "on_empty": "skip"}
    full = {"feature_uri": URI, "query": "green"}
    both = await world.run(stage("feature_search", searches=[empty, full]))
    assert ids(both)[0] == "4"
    with pytest.raises(ValidationError, match="Every search was skipped"):
        await world.run(stage("feature_search", searches=[empty]))
    random = await world.run(search("", on_empty="random"))
    assert len(random["documents"]) == 5


async def test_an_optional_search_of_nothing_is_left_out_with_a_warning(own_world: World) -> None:
    await own_world.add(collection("empty", vector_index()), [])
    optional = {"feature_uri": URI, "query": "red", "collection_identifiers": ["empty"], "optional": True}
    full = {"feature_uri": URI, "query": "green", "collection_identifiers": ["colors"]}
    answer = await own_world.run(stage("feature_search", searches=[optional, full]))
    assert ids(answer)[0] == "4"
    assert "skipped" in answer["warnings"][0]


@pytest.mark.parametrize(
    "uri", ["mixpeek://text_extractor@v1/embedding", "mixpeek://text_extractor@v1/", "text"]
)
async def test_an_open_uri_or_a_name_means_the_text_vector(world: World, uri: str) -> None:
    assert ids(await world.run(search("red", feature_uri=uri)))[0] == "1"


async def test_an_unknown_feature_is_refused_with_those_there_are(world: World) -> None:
    with pytest.raises(ValidationError, match=URI) as refusal:
        await world.retriever(search("red", feature_uri="mixpeek://text_extractor@v1/other"))
    assert places(refusal)[0] == "stages.0.config.parameters.searches.0.feature_uri"


async def test_a_feature_is_searched_in_all_collections_of_the_same_model(own_world: World) -> None:
    index = vector_index("other")
    index.feature_uri = f"mixpeek://web_scraper@v1/{MODEL}"
    made = collection("pages", index)
    points = [point("doc_8", [1.0, 0.0, 0.0], "red page")]
    for one in points:
        one.vectors = {"other": one.vectors["text"]}
    await own_world.add(made, points)
    answer = await own_world.run(search("red"), collection_identifiers=["colors", "pages"])
    assert {"1", "8"} <= set(ids(answer))


async def test_own_vectors_are_searched_by_their_name(own_world: World) -> None:
    made = collection("own", vector_index("mine", model=None, size=2))
    one = point("doc_9", [0.0, 0.0, 1.0], "own")
    one.vectors = {"mine": [1.0, 0.0]}
    await own_world.add(made, [one])
    stages = search([1.0, 0.1], feature_uri="mine")
    assert ids(await own_world.run(stages, collection_identifiers=[])) == ["9"]
    with pytest.raises(ValidationError, match="input_mode vector"):
        await own_world.run(search("red", feature_uri="mine"), collection_identifiers=["own"])


async def test_two_text_vectors_make_an_open_uri_ambiguous(own_world: World) -> None:
    await own_world.add(collection("second", vector_index("text2", model="other_model_v1")), [])
    open_uri = "mixpeek://text_extractor@v1/embedding"
    with pytest.raises(ValidationError, match="could mean several"):
        await own_world.retriever(
            search("red", feature_uri=open_uri), collection_identifiers=["colors", "second"]
        )


async def test_vectors_come_with_documents_when_asked_for(own_world: World) -> None:
    made = collection("own", vector_index("mine", model=None, size=2))
    one = point("doc_9", [], "own")
    one.vectors = {"mine": [0.6, 0.8]}
    await own_world.add(made, [one])
    stages = search([1.0, 0.1], feature_uri="mine")
    (found,) = (await own_world.run(stages, collection_identifiers=["own"], return_vectors=True))["documents"]
    assert found["mine"] == [pytest.approx(0.6), pytest.approx(0.8)]
    (bare,) = (await own_world.run(stages, collection_identifiers=["own"]))["documents"]
    assert "mine" not in bare


async def test_a_search_that_takes_too_long_degrades(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> list[object]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr(world.vectors, "search", slow)
    answer = await world.run(search("red", hard_timeout_ms=20))
    assert (answer["status"], answer["documents"]) == ("degraded", [])
    assert "20 ms" in answer["degraded"][0]["reason"]
