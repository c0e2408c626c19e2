"""Retrievers, ad-hoc execution and feature search through the typed SDK."""

import base64
from typing import Any

import httpx
import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException, UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.steps import PIXEL, POEMS, Corpus, search_stage, stage, unique

STAGES = {
    "feature_search": "filter",
    "attribute_filter": "filter",
    "sort_attribute": "sort",
    "sort_relevance": "sort",
    "score_normalize": "sort",
    "limit": "reduce",
    "deduplicate": "reduce",
    "sample": "reduce",
    "group_by": "reduce",
    "json_transform": "apply",
    "unwind": "apply",
}
"""The stages that Lamina has, with their categories."""


def make_retriever(
    sdk: Sdk, corpus: Corpus, *stages: dict[str, Any], **changes: Any
) -> mixpeek.RetrieverConfig:
    """A new retriever over the corpus that takes one text, `query`."""
    asked = {
        "retriever_name": unique("retriever"),
        "collection_identifiers": [corpus.collection_id],
        "input_schema": {"query": {"type": "text", "required": True}},
        "stages": list(stages) or [search_stage(corpus.feature_uri)],
        **changes,
    }
    return sdk.retrievers.create_retriever(mixpeek.CreateRetrieverRequest.from_dict(asked))


def execute(
    sdk: Sdk, retriever_id: str, query: str = "music", **request: Any
) -> mixpeek.ExecuteRetrieverResponse:
    """Execute the retriever for one query."""
    asked = mixpeek.ExecuteRetrieverRequest.from_dict({"inputs": {"query": query}, **request})
    return sdk.retrievers.execute_retriever(retriever_id, asked)


def titles(answer: mixpeek.ExecuteRetrieverResponse) -> list[str]:
    """The titles of the found documents, best first."""
    return [each["title"] for each in answer.documents]


@pytest.fixture(scope="module")
def retriever_id(sdk: Sdk, corpus: Corpus) -> str:
    """A semantic search over the corpus, shared by this module."""
    return str(make_retriever(sdk, corpus, search_stage(corpus.feature_uri, final_top_k=100)).retriever_id)


def test_a_created_retriever_reads_back_as_it_was_written(sdk: Sdk, corpus: Corpus) -> None:
    schema = {
        "query": {"type": "text", "required": True, "description": "What to find", "examples": ["a ship"]}
    }
    wanted = search_stage(corpus.feature_uri, final_top_k=5)
    made = make_retriever(
        sdk, corpus, wanted, input_schema=schema, description="Finds poems", tags=["poems"], metadata={"a": 1}
    )
    assert made.retriever_id.startswith("ret_")
    assert made.collection_identifiers == [corpus.collection_id]
    for found in (
        sdk.retrievers.get_retriever(made.retriever_id),
        sdk.retrievers.get_retriever(made.retriever_name),
    ):
        assert found.retriever_id == made.retriever_id
        assert found.description == "Finds poems"
        assert found.tags == ["poems"]
        assert found.metadata == {"a": 1}
        assert found.version == 1
        assert found.is_published is False
        assert found.input_schema["query"].type == "text"
        assert found.input_schema["query"].required is True
        assert found.input_schema["query"].description == "What to find"
        (only,) = found.stages
        assert only.stage_name == "search"
        assert only.stage_type == mixpeek.StageType.FILTER
        assert only.config["stage_id"] == "feature_search"
        assert only.config["parameters"]["final_top_k"] == 5
        assert only.parameters == only.config["parameters"]


def test_retrievers_are_listed_by_post_and_by_get(sdk: Sdk, corpus: Corpus) -> None:
    mark = unique("mark")
    made = {make_retriever(sdk, corpus, retriever_name=f"{mark}-{n}").retriever_id for n in range(3)}
    asked = mixpeek.ListRetrieversRequest(search=mark)
    posted = sdk.retrievers.list_retrievers(list_retrievers_request=asked)
    assert {each.retriever_id for each in posted.results} == made
    assert posted.total == 3
    got = sdk.retrievers.list_retrievers_get(limit=1000)
    assert made <= {each.retriever_id for each in got.results}


def test_a_patch_replaces_stages_and_widens_inputs(sdk: Sdk, corpus: Corpus) -> None:
    made = make_retriever(sdk, corpus, description="before")
    shorter = [search_stage(corpus.feature_uri), stage("limit", limit=1)]
    asked = mixpeek.PatchRetrieverRequest.from_dict(
        {"description": "after", "tags": ["t"], "stages": shorter}
    )
    patched = sdk.retrievers.patch_retriever(made.retriever_id, asked).retriever
    assert patched.description == "after"
    assert patched.tags == ["t"]
    assert [each.config["stage_id"] for each in patched.stages] == ["feature_search", "limit"]
    assert len(execute(sdk, made.retriever_id).documents) == 1

    wider = {"query": {"type": "text", "required": True}, "mood": {"type": "string", "default": "slow"}}
    asked = mixpeek.PatchRetrieverRequest.from_dict({"input_schema": wider})
    assert set(sdk.retrievers.patch_retriever(made.retriever_id, asked).retriever.input_schema) == {
        "query",
        "mood",
    }
    narrower = mixpeek.PatchRetrieverRequest.from_dict({"input_schema": {"mood": {"type": "string"}}})
    with pytest.raises(UnprocessableEntityException) as refusal:
        sdk.retrievers.patch_retriever(made.retriever_id, narrower)
    assert "query" in refusal.value.body


def test_a_deleted_retriever_is_gone(sdk: Sdk, corpus: Corpus) -> None:
    made = make_retriever(sdk, corpus)
    sdk.retrievers.delete_retriever(made.retriever_id)
    with pytest.raises(NotFoundException):
        sdk.retrievers.get_retriever(made.retriever_id)
    with pytest.raises(NotFoundException):
        execute(sdk, made.retriever_id)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("ships and the sea at night", "Lighthouse"),
        ("classical music", "Violin"),
        ("breakfast pastries", "Bakery"),
        ("ice in the mountains", "Glacier"),
    ],
)
def test_the_best_document_comes_first(sdk: Sdk, retriever_id: str, query: str, best: str) -> None:
    answer = execute(sdk, retriever_id, query)
    assert titles(answer)[0] == best
    scores = [each["score"] for each in answer.documents]
    assert scores == sorted(scores, reverse=True)
    assert all(isinstance(score, float) for score in scores)


def test_an_answer_has_documents_results_and_statistics(sdk: Sdk, corpus: Corpus, retriever_id: str) -> None:
    answer = execute(sdk, retriever_id, "bread", limit=3)
    assert answer.retriever_id == retriever_id
    assert answer.execution_id.startswith("exec_")
    assert answer.status == "completed"
    assert answer.error is None
    assert len(answer.documents) == 3
    assert answer.results == answer.documents
    first = answer.documents[0]
    assert first["document_id"] == corpus.document("Bakery")
    assert first["collection_id"] == corpus.collection_id
    assert first["_internal"]["lineage"]["root_object_id"] == corpus.object("Bakery")
    statistics = answer.stage_statistics
    assert statistics.total_time_ms > 0
    (search,) = statistics.stages.values()
    assert search.input_count == 0
    assert search.output_count == len(POEMS)
    assert search.duration_ms > 0


def test_offset_pages_do_not_overlap(sdk: Sdk, retriever_id: str) -> None:
    pages = [
        execute(sdk, retriever_id, pagination={"method": "offset", "page_size": 4, "page_number": number})
        for number in (1, 2, 3)
    ]
    assert [len(page.documents) for page in pages] == [4, 2, 0]
    assert sorted(title for page in pages for title in titles(page)) == sorted(
        poem["title"] for poem in POEMS
    )
    assert pages[0].pagination["method"] == "offset"
    assert pages[0].pagination["has_next"] is True
    assert pages[1].pagination["has_next"] is False


@pytest.mark.parametrize(
    ("method", "given", "returned"),
    [("cursor", "cursor", "cursor"), ("scroll", "scroll_id", "scroll_id"), ("keyset", "after", "after")],
)
def test_every_other_paging_method_walks_through_once(
    sdk: Sdk, retriever_id: str, method: str, given: str, returned: str
) -> None:
    seen: list[str] = []
    position: dict[str, Any] = {}
    for _ in range(4):
        page = execute(sdk, retriever_id, pagination={"method": method, "limit": 2, **position})
        assert page.pagination["method"] == method
        seen += titles(page)
        if not page.pagination["has_next"]:
            break
        position = {given: page.pagination[returned]}
    assert seen == titles(execute(sdk, retriever_id, limit=100))


def test_filters_of_a_request_are_added_to_the_stages(sdk: Sdk, retriever_id: str) -> None:
    where = {"AND": [{"field": "year", "operator": "eq", "value": 1931}]}
    assert titles(execute(sdk, retriever_id, filters=where)) == ["Violin", "Glacier"]


def test_presigned_urls_and_vectors_come_only_when_asked_for(sdk: Sdk, files: Corpus) -> None:
    retriever_id = make_retriever(sdk, files).retriever_id
    bare = execute(sdk, retriever_id, limit=1).documents[0]
    assert files.vector_name not in bare
    assert "presigned" not in str(bare)
    asked = mixpeek.ExecuteRetrieverRequest.from_dict({"inputs": {"query": "music"}, "limit": 1})
    rich = sdk.retrievers.execute_retriever(
        retriever_id, asked, return_vectors=True, return_presigned_urls=True
    )
    assert len(rich.documents[0][files.vector_name]) == files.dimensions
    (blob,) = rich.documents[0]["document_blobs"]
    assert httpx.get(blob["presigned_url"]).content == base64.b64decode(PIXEL)


def test_lexical_search_finds_words_and_hybrid_search_fuses(sdk: Sdk, corpus: Corpus) -> None:
    query = {"input_mode": "text", "value": "{{INPUT.query}}"}
    dense = {"feature_uri": corpus.feature_uri, "query": query, "top_k": 10}
    lexical = {**dense, "lexical": True}
    only = {"stage_id": "feature_search", "parameters": {"searches": [lexical], "final_top_k": 10}}
    words = make_retriever(sdk, corpus, {"stage_name": "words", "config": only})
    assert titles(execute(sdk, words.retriever_id, "sonata")) == ["Violin"]
    assert execute(sdk, words.retriever_id, "zeppelin").documents == []
    for fusion in ("rrf", "dbsf", "weighted", "max"):
        both = {"searches": [dense, lexical], "final_top_k": 10, "fusion": fusion}
        config = {"stage_id": "feature_search", "parameters": both}
        hybrid = make_retriever(sdk, corpus, {"stage_name": "hybrid", "config": config})
        assert titles(execute(sdk, hybrid.retriever_id, "croissants"))[0] == "Bakery", fusion


def test_a_search_can_start_from_a_vector_or_a_document(sdk: Sdk, corpus: Corpus) -> None:
    found = sdk.documents.get_document_ns(corpus.document("Glacier"), return_vectors=True)
    vector = {"input_mode": "vector", "value": found.additional_properties["vector"]}
    reference = {"collection_id": corpus.collection_id, "document_id": corpus.document("Glacier")}

    def nearest(query: dict[str, Any]) -> mixpeek.ExecuteRetrieverResponse:
        made = make_retriever(sdk, corpus, search_stage(corpus.feature_uri, query), input_schema={})
        return sdk.retrievers.execute_retriever(made.retriever_id, mixpeek.ExecuteRetrieverRequest(inputs={}))

    by_vector = nearest(vector)
    assert titles(by_vector)[0] == "Glacier"
    assert by_vector.documents[0]["score"] == pytest.approx(1.0, abs=0.02)
    others = [title for title in titles(by_vector) if title != "Glacier"]
    by_document = nearest({"input_mode": "document", "document_ref": reference})
    assert [title for title in titles(by_document) if title != "Glacier"] == others


def test_a_pipeline_runs_its_stages_in_order(sdk: Sdk, corpus: Corpus) -> None:
    later = {"AND": [{"field": "year", "operator": "gte", "value": 1923}]}
    made = make_retriever(
        sdk,
        corpus,
        search_stage(corpus.feature_uri, final_top_k=100),
        stage("attribute_filter", conditions=later),
        stage("sort_attribute", field="year", direction="asc"),
        stage("deduplicate", strategy="field", fields=["year"]),
        stage("limit", limit=2),
    )
    answer = execute(sdk, made.retriever_id)
    assert [each["year"] for each in answer.documents] == [1923, 1931]
    counts = [(each.input_count, each.output_count) for each in answer.stage_statistics.stages.values()]
    assert counts == [(0, 6), (6, 4), (4, 4), (4, 3), (3, 2)]


def test_facets_count_values(sdk: Sdk, corpus: Corpus) -> None:
    made = make_retriever(
        sdk, corpus, search_stage(corpus.feature_uri, facets=[{"key": "title", "limit": 100, "exact": True}])
    )
    (facet,) = execute(sdk, made.retriever_id).facets
    assert facet["key"] == "title"
    assert len(str(facet)) > 0
    assert all(poem["title"] in str(facet) for poem in POEMS)


def test_inputs_are_checked_and_defaulted(sdk: Sdk, corpus: Corpus, retriever_id: str) -> None:
    with pytest.raises(UnprocessableEntityException) as missing:
        sdk.retrievers.execute_retriever(retriever_id, mixpeek.ExecuteRetrieverRequest(inputs={}))
    assert "query" in missing.value.body
    schema = {"query": {"type": "text", "default": "croissants"}, "top": {"type": "integer"}}
    made = make_retriever(sdk, corpus, input_schema=schema)
    answer = sdk.retrievers.execute_retriever(made.retriever_id, mixpeek.ExecuteRetrieverRequest(inputs={}))
    assert titles(answer)[0] == "Bakery"
    with pytest.raises(UnprocessableEntityException) as wrong:
        execute(sdk, made.retriever_id, inputs={"top": "many"})
    assert "top" in wrong.value.body


def test_an_explained_execution_says_what_it_did(sdk: Sdk, retriever_id: str) -> None:
    asked = mixpeek.ExecuteRetrieverRequest(inputs={"query": "music"}, explain=True)
    answer = sdk.retrievers.execute_retriever(retriever_id, asked)
    assert answer.explain_plan


def test_an_adhoc_execution_answers_like_a_stored_one(sdk: Sdk, corpus: Corpus, retriever_id: str) -> None:
    asked = mixpeek.AdhocExecuteRequest.from_dict(
        {
            "collection_identifiers": [corpus.collection_id],
            "input_schema": {"query": {"type": "text", "required": True}},
            "stages": [search_stage(corpus.feature_uri, final_top_k=100)],
            "inputs": {"query": "music"},
            "limit": 3,
        }
    )
    answer = sdk.adhoc_retrievers.execute_adhoc_retriever_with_http_info(asked)
    assert {name.lower(): value for name, value in answer.headers.items()}["x-execution-mode"] == "adhoc"
    stored = execute(sdk, retriever_id, "music", limit=3)
    assert [each["document_id"] for each in answer.data["documents"]] == [
        each["document_id"] for each in stored.documents
    ]
    assert answer.data["status"] == "completed"
    assert answer.data["execution_id"].startswith("exec_")


def test_feature_search_takes_text_or_a_vector(sdk: Sdk, corpus: Corpus) -> None:
    asked = {"collection_identifiers": [corpus.collection_name], "top_k": 2}
    text = {**asked, "query": {"input_mode": "text", "text": "music"}}
    by_text = sdk.feature_search.feature_search(mixpeek.FeatureSearchRequest.from_dict(text))
    assert by_text["results"][0]["title"] == "Violin"
    assert len(by_text["results"]) == 2
    found = sdk.documents.get_document_ns(corpus.document("Orchard"), return_vectors=True)
    query = {"input_mode": "vector", "vector": found.additional_properties["vector"]}
    given = {**asked, "feature_uri": corpus.feature_uri, "query": query}
    by_vector = sdk.feature_search.feature_search(mixpeek.FeatureSearchRequest.from_dict(given))
    assert by_vector["results"][0]["document_id"] == corpus.document("Orchard")
    where = {**text, "filters": {"AND": [{"field": "year", "operator": "lt", "value": 1910}]}}
    filtered = sdk.feature_search.feature_search(mixpeek.FeatureSearchRequest.from_dict(where))
    assert {each["title"] for each in filtered["results"]} == {"Lighthouse", "Orchard"}


def test_the_catalogue_describes_every_stage(sdk: Sdk) -> None:
    listed = {each.stage_id: each for each in sdk.stages.list_stages_retrievers()}
    assert {stage_id: listed[stage_id].category.value for stage_id in STAGES} == STAGES
    for entry in listed.values():
        assert entry.description
        assert entry.icon
        assert entry.parameter_schema["properties"] is not None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda uri: stage("nothing"), "nothing"),
        (lambda uri: search_stage("mixpeek://text_extractor@v1/no_such_model"), "no_such_model"),
        (lambda uri: search_stage("not a uri at all"), "feature_uri"),
        (lambda uri: search_stage(uri, final_top_k=0), "final_top_k"),
        (lambda uri: search_stage(uri, fusion="blend"), "fusion"),
        (lambda uri: stage("limit", limit=0), "limit"),
    ],
    ids=["stage", "unknown-uri", "bad-uri", "top-k", "fusion", "limit"],
)
def test_a_wrong_stage_is_refused_at_creation(sdk: Sdk, corpus: Corpus, wrong: Any, named: str) -> None:
    with pytest.raises(ApiException) as refusal:
        make_retriever(sdk, corpus, wrong(corpus.feature_uri))
    assert refusal.value.status in {404, 422}
    assert named in refusal.value.body


def test_a_vector_of_another_length_is_refused(sdk: Sdk, corpus: Corpus) -> None:
    query = {"input_mode": "vector", "value": [0.1, 0.2, 0.3]}
    asked = mixpeek.AdhocExecuteRequest.from_dict(
        {
            "collection_identifiers": [corpus.collection_id],
            "stages": [search_stage(corpus.feature_uri, query)],
            "inputs": {},
        }
    )
    with pytest.raises(ApiException) as refusal:
        sdk.adhoc_retrievers.execute_adhoc_retriever(asked)
    assert refusal.value.status in {400, 422}
    assert str(corpus.dimensions) in refusal.value.body
