"""Texts that are found by their tokens, and a site that is crawled, on a running server."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.extractors.pages import page, serving
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import (
    create_bucket,
    create_collection,
    create_objects,
    create_retriever,
    documents,
    finished,
    ok,
    process,
    search_stage,
)

SITE = {"properties": {"site": {"type": "string"}}}


@pytest.fixture(scope="module")
def inside(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that may fetch from loopback."""
    folder, allowed = tmp_path_factory.mktemp("inside") / "data", {"LAMINA_FETCH_PRIVATE_ADDRESSES": "true"}
    with (
        engines() as stores,
        RunningServer(folder, env={**stores, **allowed}) as running,
        running.client() as api,
    ):
        yield api


def found(api: httpx.Client, collection_id: str, uri: str, query: Any, **inputs: Any) -> list[dict[str, Any]]:
    retriever = create_retriever(api, collection_id, search_stage(uri, query))["retriever_id"]
    answer = ok(api.post(f"/v1/retrievers/{retriever}/execute", json={"inputs": {"query": "", **inputs}}))
    listed: list[dict[str, Any]] = answer["documents"]
    return listed


def colbert(**parameters: Any) -> dict[str, Any]:
    return {
        "feature_extractor_name": "colbert_extractor",
        "version": "v1",
        "input_mappings": {"text": "text"},
        "field_passthrough": [{"source_path": "title"}],
        "parameters": parameters,
    }


def test_texts_are_found_by_their_tokens(inside: httpx.Client) -> None:
    bucket_id = create_bucket(inside)["bucket_id"]
    made = create_collection(inside, bucket_id, feature_extractor=colbert())
    (index,) = made["vector_indexes"]
    assert index["feature_uri"] == "mixpeek://colbert_extractor@v1/minilm_tokens_v1"
    assert (index["type"], index["index"]["type"]) == ("multi", "multi_dense")
    process(inside, bucket_id, create_objects(inside, bucket_id))
    uri = index["feature_uri"]
    for query, title in (("trains at the railway", "Railway"), ("ice that melts", "Glacier")):
        hits = found(inside, made["collection_id"], uri, query)
        assert hits[0]["title"] == title
        assert hits[0]["score"] > 1  # a sum over the query's tokens
    violin = next(one for one in documents(inside, made["collection_id"]) if one["title"] == "Violin")
    like = {"input_mode": "document", "document_ref": {"document_id": violin["document_id"]}}
    hits = found(inside, made["collection_id"], uri, like)
    assert "Violin" not in [one["title"] for one in hits]
    assert len(hits) == 5
    by_words = found(inside, made["collection_id"], "mixpeek://colbert_extractor@v1", "sonata")
    assert by_words[0]["title"] == "Violin"


def crawl_of(api: httpx.Client, url: str) -> tuple[str, str, Any]:
    """The collection, its text feature and the task of a crawl that has ended."""
    bucket_id = create_bucket(api, SITE)["bucket_id"]
    extractor = {
        "feature_extractor_name": "web_scraper",
        "version": "v1",
        "input_mappings": {"url": "site"},
        "parameters": {"max_depth": 1, "max_retries": 0, "generate_image_embeddings": False,
                       "generate_structure_embeddings": False},
    }  # fmt: skip
    made = create_collection(api, bucket_id, feature_extractor=extractor)
    object_id = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"site": url}))["object_id"]
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": [object_id]}))["batch_id"]
    return made["collection_id"], made["vector_indexes"][0]["feature_uri"], (batches, batch_id)


def test_a_site_is_crawled_by_the_workers_and_found(inside: httpx.Client) -> None:
    home = page(
        "Bakers", "<p>Sourdough bread rises slowly because wild yeast works at its own pace.</p>",
        '<a href="/wings">wings</a>',
    )  # fmt: skip
    wings = page("Wings", "<p>A swept wing delays the rise of drag near the speed of sound.</p>")
    with serving({"/": home, "/wings": wings}) as site:
        collection_id, uri, (batches, batch_id) = crawl_of(inside, site.url)
        finished(inside, ok(inside.post(f"{batches}/{batch_id}/submit"))["task_id"])
        hits = found(inside, collection_id, uri, "aeroplanes close to mach one")
        assert [one["url"] for one in hits] == [f"{site.url}/wings", f"{site.url}/"]


def test_a_crawl_of_loopback_is_refused_unless_it_is_allowed(api: httpx.Client) -> None:
    with serving({"/": page("Inside", "<p>Nobody should read this page.</p>")}) as site:
        collection_id, _, (batches, batch_id) = crawl_of(api, site.url)
        task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
        finished(api, task_id, status="FAILED")
        batch = ok(api.get(f"/v1/batches/{batch_id}"))
        assert "not public" in str(batch)
        assert documents(api, collection_id) == []
        assert site.asked == []
