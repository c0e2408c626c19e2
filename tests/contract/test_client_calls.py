"""Sequences of calls that official clients and cookbooks make, in the forms that they send."""

import httpx

from tests.server import RunningServer
from tests.steps import (
    POEMS,
    Corpus,
    create_bucket,
    create_retriever,
    documents,
    finished,
    ok,
    poem_object,
    search_stage,
    unique,
)


def test_the_cookbooks_journey(api: httpx.Client, server: RunningServer) -> None:
    """The extractor cookbook's calls, each in the form it sends."""
    namespace = ok(
        api.post(
            "/v1/namespaces",
            json={
                "namespace_name": unique("cookbook"),
                "feature_extractors": [{"feature_extractor_name": "text_extractor", "version": "v1"}],
                "ttl_seconds": 3600,
            },
        )
    )
    headers = {"X-Namespace": namespace["namespace_id"]}
    schema = {"properties": {"content": {"type": "text"}}}
    bucket = ok(
        api.post("/v1/buckets", json={"bucket_name": unique("b"), "bucket_schema": schema}, headers=headers)
    )
    blob = {"property": "content", "type": "text", "data": "A cookbook about soup."}
    made = ok(
        api.post(
            f"/v1/buckets/{bucket['bucket_id']}/objects",
            json={"content": "A cookbook about soup.", "blobs": [blob]},
            headers=headers,
        )
    )
    collection = ok(
        api.post(
            "/v1/collections",
            json={
                "collection_name": unique("c"),
                "source": {"type": "bucket", "bucket_ids": [bucket["bucket_id"]]},
                "feature_extractor": {
                    "feature_extractor_name": "text_extractor",
                    "version": "v1",
                    "input_mappings": {"text": "content"},
                    "parameters": {},
                    "field_passthrough": ["content"],
                },
            },
            headers=headers,
        )
    )
    body = {
        "batch_name": "cookbook",
        "object_ids": [made["object_id"]],
        "collection_ids": [collection["collection_id"]],
    }
    batches = f"/v1/buckets/{bucket['bucket_id']}/batches"
    batch = ok(api.post(batches, json=body, headers=headers))
    submitted = ok(
        api.post(
            f"{batches}/{batch['batch_id']}/submit",
            json={"collection_ids": [collection["collection_id"]]},
            headers=headers,
        )
    )
    with server.client(namespace=namespace["namespace_id"]) as inside:
        assert finished(inside, submitted["task_id"])["status"].lower() == "completed"
        uri = ok(inside.get(f"/v1/collections/{collection['collection_id']}"))["vector_indexes"][0][
            "feature_uri"
        ]
        retriever = create_retriever(
            inside,
            collection["collection_id"],
            search_stage(uri, {"input_mode": "text", "text": "{{INPUT.query}}"}),
            input_schema={"query": {"type": "string"}},
        )
        asked = {"inputs": {"query": "soup"}}
        answer = ok(inside.post(f"/v1/retrievers/{retriever['retriever_id']}/execute", json=asked))
    assert answer["documents"][0]["content"] == "A cookbook about soup."


def test_the_web_uis_list_of_documents(api: httpx.Client, corpus: Corpus) -> None:
    where = {"AND": [{"field": "year", "operator": "eq", "value": 1931}]}
    body = {"collection_ids": [corpus.collection_id], "page": 1, "page_size": 1, "filters": where}
    first = ok(api.post("/v1/documents/list", json=body))
    second = ok(api.post("/v1/documents/list", json={**body, "page": 2}))
    found = [each["title"] for page in (first, second) for each in page["results"]]
    assert sorted(found) == ["Glacier", "Violin"]


def test_shorthand_filters_mean_equality(api: httpx.Client, corpus: Corpus) -> None:
    listed = documents(api, corpus.collection_id, filters={"year": 1931})
    assert {each["title"] for each in listed} == {"Violin", "Glacier"}


def test_an_object_keeps_a_custom_field_called_like_nothing_else(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={**poem_object(POEMS[0]), "mood": "calm"}))
    assert made["mood"] == "calm"
