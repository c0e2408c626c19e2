"""Retrievers: checked when made, read back as written, changed without breaking callers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import (
    AlreadyExistsError,
    NotEnabledError,
    NotFoundError,
    ValidationError,
)
from lamina.core.paging import PageRequest
from lamina.retrieval.retrievers import RETRIEVERS, CreateRequest, PatchRequest, Retriever
from lamina.retrieval.service import RetrieverService
from lamina.stores.records.sql import SqlRecordStore
from tests.stages.world import SCOPE, URI, Collections, collection, places, search, stage, vector_index


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RetrieverService]:
    store = await SqlRecordStore.open(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    collections = Collections()
    collections.known = [collection("colors", vector_index()), collection("bare")]
    yield RetrieverService(store.repository(RETRIEVERS), collections)
    await store.close()


BODY: dict[str, Any] = {
    "retriever_name": "finder",
    "collection_identifiers": ["colors"],
    "stages": [search("{{INPUT.query}}", final_top_k=5)],
    "input_schema": {"query": {"type": "text", "required": True}},
}


async def made(service: RetrieverService, **changes: Any) -> Retriever:
    return await service.create(SCOPE, CreateRequest.model_validate({**BODY, **changes}), by="usr_1")


async def test_what_is_read_posts_again_unchanged(service: RetrieverService) -> None:
    stages = [
        search("{{INPUT.query}}", fusion="dbsf", facets=["color"]),
        {**stage("limit", limit="{{INPUT.k}}"), "on_error": "skip", "output_alias": "few", "batch_size": 10},
        {"type": "attribute_filter", "conditions": {"color": "red"}},
    ]
    first = await made(
        service,
        stages=stages,
        input_schema={
            "query": "text",
            "k": {"type": "integer", "default": 3, "examples": [1], "ui": "slider"},
        },
        description="d",
        tags=["t"],
        metadata={"a": {"b": None}},
        display_config={"title": "T"},
        budget_limits={"max_time_ms": 500},
    )
    read = (await service.get(SCOPE, "finder")).model_dump(mode="json", exclude_none=True)
    second = await made(service, **{**read, "retriever_name": "again"})
    own = {"retriever_id", "retriever_name", "created_at", "updated_at"}
    assert second.model_dump(exclude=own) == first.model_dump(exclude=own)
    assert read["stages"][0]["parameters"] == stages[0]["config"]["parameters"]
    assert read["metadata"] == {"a": {}} or read["metadata"] == {"a": {"b": None}}


async def test_a_new_retriever_has_what_the_contract_shows(service: RetrieverService) -> None:
    retriever = await made(service)
    read = retriever.model_dump(mode="json", exclude_none=True)
    assert read["retriever_id"].startswith("ret_") and len(read["retriever_id"]) == 18
    assert read["collection_ids"] == read["collection_identifiers"] == ["col_colors"]
    assert read["fusion"] == "rrf"
    assert read["stages"][0]["stage_type"] == "filter"
    address = {"scheme": "mixpeek", "extractor": "text_extractor", "version": "v1", "output": "three_axes_v1"}
    assert read["feature_dependencies"] == [address]
    assert (read["version"], read["is_published"], read["created_by"]) == (1, False, "usr_1")
    assert (await made(service, retriever_name="plain", stages=[stage("limit")])).fusion is None


async def test_names_are_unique(service: RetrieverService) -> None:
    await made(service)
    with pytest.raises(AlreadyExistsError):
        await made(service)


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"stages": [stage("nothing")]}, "stages.0.config.stage_id"),
        ({"stages": [stage("limit"), stage("limit", limit=0)]}, "stages.1.config.parameters.limit"),
        ({"stages": [search(final_top_k=0)]}, "stages.0.config.parameters.final_top_k"),
        ({"stages": [search(top_k=9000)]}, "stages.0.config.parameters.searches.0.top_k"),
        ({"stages": [search(fusion="blend")]}, "stages.0.config.parameters.fusion"),
        ({"stages": [search(weights=1)]}, "stages.0.config.parameters.weights"),
        ({"stages": [search(feature_uri="not a uri")]}, "stages.0.config.parameters.searches.0.feature_uri"),
        ({"stages": [search("{{ nothing.x }}")]}, "stages.0.config.parameters.searches.0.query"),
        ({"stages": [search(filters={"OR": 3})]}, "stages.0.config.parameters.searches.0.filters.OR"),
        ({"stages": [search("{{INPUT.q}}", top_k=0)]}, "stages.0.config.parameters.searches.0.top_k"),
        ({"stages": [stage("feature_search", searches=[{"query": "{{INPUT.q}}"}])]},
         "stages.0.config.parameters.searches.0.feature_uri"),
        ({"input_schema": {"k": {"type": "integer", "default": "x"}}}, "input_schema.k.default"),
        ({"collection_identifiers": ["bare"]}, "stages.0.config.parameters.searches.0.feature_uri"),
    ],
    ids=range(13),
)  # fmt: skip
async def test_what_is_wrong_is_named_with_its_place(
    service: RetrieverService, changes: dict[str, Any], at: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        await made(service, **changes)
    assert at in places(refusal)
    with pytest.raises(NotFoundError):
        await service.get(SCOPE, "finder")


async def test_an_unknown_feature_names_those_there_are(service: RetrieverService) -> None:
    with pytest.raises(ValidationError, match=URI):
        await made(service, stages=[search(feature_uri="mixpeek://text_extractor@v1/nope")])


async def test_an_unknown_stage_names_those_there_are(service: RetrieverService) -> None:
    with pytest.raises(ValidationError, match=r"attribute_filter, deduplicate, feature_search"):
        await made(service, stages=[stage("nothing")])


@pytest.mark.parametrize("stage_id", ["rerank", "mmr", "llm_filter", "taxonomy_enrich"])
async def test_stages_of_the_contract_that_are_not_built_say_so(
    service: RetrieverService, stage_id: str
) -> None:
    with pytest.raises(NotEnabledError, match=stage_id):
        await made(service, stages=[stage(stage_id)])


@pytest.mark.parametrize("identifiers", [{"collection_identifiers": ["gone"]}, {"collection_ids": ["gone"]}])
async def test_collections_have_to_exist(service: RetrieverService, identifiers: dict[str, Any]) -> None:
    body = (
        {**BODY, **identifiers}
        if "collection_identifiers" in identifiers
        else {
            **{key: value for key, value in BODY.items() if key != "collection_identifiers"},
            **identifiers,
        }
    )
    with pytest.raises(NotFoundError, match="gone"):
        await service.create(SCOPE, CreateRequest.model_validate(body))
    with pytest.raises(NotFoundError, match="gone"):
        await made(service, stages=[search(collection_identifiers=["gone"])])


async def test_publishing_is_refused_until_it_is_there(service: RetrieverService) -> None:
    for changes in ({"visibility": "public"}, {"requires_subscription": True}):
        with pytest.raises(NotEnabledError, match="Publishing"):
            await made(service, **changes)


async def test_a_patch_changes_what_it_names_and_counts_the_version(service: RetrieverService) -> None:
    before = await made(service, description="d", tags=["t"])
    patch = PatchRequest.model_validate({"retriever_name": "other", "description": None, "tags": ["u"]})
    after = await service.patch(SCOPE, before.retriever_id, patch, by="usr_2")
    assert (after.retriever_name, after.description, after.tags, after.version) == ("other", None, ["u"], 2)
    assert after.stages == before.stages
    assert after.updated_at > before.updated_at
    assert (after.created_by, after.updated_by) == ("usr_1", "usr_2")
    assert await service.get(SCOPE, "other") == after


async def test_patched_stages_are_checked_like_new_ones(service: RetrieverService) -> None:
    retriever = await made(service)
    wrong = PatchRequest.model_validate({"stages": [stage("limit", limit=0)]})
    with pytest.raises(ValidationError, match="limit"):
        await service.patch(SCOPE, retriever.retriever_id, wrong)
    with pytest.raises(ValidationError, match="no feature at all"):
        await service.patch(
            SCOPE, retriever.retriever_id, PatchRequest.model_validate({"collection_identifiers": ["bare"]})
        )
    assert (await service.get(SCOPE, retriever.retriever_id)).version == 1


@pytest.mark.parametrize(
    ("schema", "breaks"),
    [
        ({}, ["'query' is removed"]),
        ({"query": {"type": "integer", "required": True}}, ["changes its type from text to integer"]),
        ({"query": "text", "k": {"type": "integer", "required": True}}, ["'k' is new and required"]),
        ({"query": {"type": "text", "enum": ["a"]}}, ["'query' accepts fewer values"]),
        ({"k": {"type": "integer", "required": True}}, ["'query' is removed", "'k' is new and required"]),
    ],
)
async def test_an_input_schema_only_grows(
    service: RetrieverService, schema: dict[str, Any], breaks: list[str]
) -> None:
    retriever = await made(service)
    with pytest.raises(ValidationError) as refusal:
        await service.patch(
            SCOPE, retriever.retriever_id, PatchRequest.model_validate({"input_schema": schema})
        )
    assert all(text in refusal.value.message for text in breaks)
    problems: Any = refusal.value.details["validation_errors"]
    assert len(problems) == len(breaks)


async def test_growing_an_input_schema_is_fine(service: RetrieverService) -> None:
    retriever = await made(service)
    schema = {
        "query": {"type": "string", "required": True, "description": "d", "default": "red"},
        "k": {"type": "integer"},
        "lang": {"type": "text", "required": True, "default": "en"},
    }
    patch = PatchRequest.model_validate({"input_schema": schema})
    assert set((await service.patch(SCOPE, retriever.retriever_id, patch)).input_schema) == set(schema)


async def test_retrievers_are_listed_and_deleted(service: RetrieverService) -> None:
    names = [f"r{n}" for n in range(3)]
    for name in names:
        await made(service, retriever_name=name)
    listed = await service.list_page(SCOPE, PageRequest(limit=2, include_total=True))
    assert [retriever.retriever_name for retriever in listed.items] == names[:2]
    assert listed.total == 3
    found = await service.list_page(SCOPE, PageRequest(), search="r2")
    assert [retriever.retriever_name for retriever in found.items] == ["r2"]
    gone = await service.delete(SCOPE, "r2")
    assert gone.retriever_name == "r2"
    with pytest.raises(NotFoundError):
        await service.delete(SCOPE, "r2")
