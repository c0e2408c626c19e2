"""What official clients get away with: each lenience, asked for as the client that needs it asks."""

import json
from typing import Any

import httpx
import mixpeek
import pytest

from tests.server import RunningServer
from tests.steps import (
    POEM_SCHEMA,
    POEMS,
    Corpus,
    create_bucket,
    create_collection,
    create_objects,
    create_retriever,
    documents,
    finished,
    invalid,
    ok,
    refused,
    search_stage,
    stage,
    text_extractor,
    unique,
)

ORIGIN = "https://app.example.org"


def adhoc(api: httpx.Client, corpus: Corpus | None, *stages: Any, query: str = "music", **more: Any) -> Any:
    """Execute the stages at once."""
    where = {} if corpus is None else {"collection_identifiers": [corpus.collection_id]}
    return ok(
        api.post(
            "/v1/retrievers/execute", json={**where, "stages": stages, "inputs": {"query": query}, **more}
        )
    )


def best(answer: Any) -> str:
    """The title of the best document."""
    title: str = answer["documents"][0]["title"]
    return title


# 1. Unknown keys ------------------------------------------------------------------------------------------


def unknown_key_calls(corpus: Corpus) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """A call of each kind that answers with an object, to send with a key that nobody knows."""
    search = {
        "query": {"input_mode": "text", "text": "music"},
        "collection_identifiers": [corpus.collection_id],
    }
    bucket = {"bucket_name": unique("b"), "bucket_schema": POEM_SCHEMA}
    collection = {
        "collection_name": unique("c"),
        "source": {"type": "bucket", "bucket_ids": [corpus.bucket_id]},
        "feature_extractor": text_extractor(),
    }
    retriever = {
        "retriever_name": unique("r"),
        "collection_identifiers": [corpus.collection_id],
        "stages": [search_stage(corpus.feature_uri, "music")],
    }
    return {
        "namespace": ("POST", "/v1/namespaces", {"namespace_name": unique("n")}),
        "namespaces": ("POST", "/v1/namespaces/list", {}),
        "bucket": ("POST", "/v1/buckets", bucket),
        "buckets": ("POST", "/v1/buckets/list", {}),
        "objects": ("POST", f"/v1/buckets/{corpus.bucket_id}/objects/list", {}),
        "batch": ("POST", f"/v1/buckets/{corpus.bucket_id}/batches", {"object_ids": corpus.object_ids[:1]}),
        "collection": ("POST", "/v1/collections", collection),
        "collections": ("POST", "/v1/collections/list", {}),
        "documents": ("POST", f"/v1/collections/{corpus.collection_id}/documents/list", {}),
        "all-documents": ("POST", "/v1/documents/list", {}),
        "batch-get": ("POST", "/v1/documents/batch-get", {"document_ids": [corpus.document()]}),
        "retriever": ("POST", "/v1/retrievers", retriever),
        "retrievers": ("POST", "/v1/retrievers/list", {}),
        "adhoc": ("POST", "/v1/retrievers/execute", {"stages": retriever["stages"], "inputs": {}}),
        "search": ("POST", "/v1/features/search", search),
        "tasks": ("POST", "/v1/tasks/list", {}),
    }


ANSWERS = {
    "namespace": mixpeek.NamespaceModel,
    "namespaces": mixpeek.ListNamespacesResponse,
    "bucket": mixpeek.BucketResponse,
    "buckets": mixpeek.ListBucketsResponse,
    "objects": mixpeek.ListObjectsResponse,
    "batch": mixpeek.BatchModel,
    "collection": mixpeek.CollectionResponse,
    "collections": mixpeek.ListCollectionsResponse,
    "documents": mixpeek.ListDocumentsResponse,
    "all-documents": mixpeek.ListDocumentsResponse,
    "batch-get": mixpeek.BatchGetDocumentsResponse,
    "retriever": mixpeek.RetrieverConfig,
    "retrievers": mixpeek.ListRetrieversResponse,
    "adhoc": mixpeek.ExecuteRetrieverResponse,
    "search": mixpeek.ExecuteRetrieverResponse,
    "tasks": mixpeek.ListTasksResponse,
}
"""What the SDK makes of each answer: `warnings` are texts for some and entries for others."""


@pytest.mark.parametrize("kind", ANSWERS)
def test_unknown_keys_are_ignored_and_named(api: httpx.Client, corpus: Corpus, kind: str) -> None:
    method, path, body = unknown_key_calls(corpus)[kind]
    answer = ok(api.request(method, path, json={**body, "zzz_unknown": 1}))
    assert "zzz_unknown" in json.dumps(answer["warnings"])
    assert ANSWERS[kind].from_dict(answer) is not None


def test_known_keys_alone_give_no_warnings(api: httpx.Client, corpus: Corpus) -> None:
    method, path, body = unknown_key_calls(corpus)["documents"]
    assert not ok(api.request(method, path, json=body)).get("warnings")


def test_the_limit_in_settings_is_honoured(api: httpx.Client, corpus: Corpus) -> None:
    made = create_retriever(api, corpus.collection_id, search_stage(corpus.feature_uri))
    body = {"inputs": {"query": "music"}, "settings": {"limit": 2}}
    assert len(ok(api.post(f"/v1/retrievers/{made['retriever_id']}/execute", json=body))["documents"]) == 2


# 2. Documents and results, flat and nested ------------------------------------------------------------------


def test_an_execution_answers_with_documents_and_results(api: httpx.Client, corpus: Corpus) -> None:
    answer = adhoc(api, corpus, search_stage(corpus.feature_uri))
    assert answer["documents"] == answer["results"]
    assert len(answer["results"]) == len(POEMS)
    assert {"document_id", "score", "collection_id"} <= set(answer["results"][0])


def test_a_created_retriever_comes_flat_and_nested(api: httpx.Client, corpus: Corpus) -> None:
    made = create_retriever(api, corpus.collection_id, search_stage(corpus.feature_uri))
    assert made["retriever_id"] == made["retriever"]["retriever_id"]
    assert made["retriever_name"] == made["retriever"]["retriever_name"]


# 3. Stages, queries, collections, inputs -----------------------------------------------------------------


def stage_shapes(corpus: Corpus) -> dict[str, Any]:
    """One search, in every shape that a client sends it in."""
    searches = [{"feature_uri": corpus.feature_uri, "query": "{{INPUT.query}}", "top_k": 10}]
    parameters = {"searches": searches, "final_top_k": 10}
    text = {"input_mode": "text", "text": "{{INPUT.query}}"}
    return {
        "config": {"stage_name": "s", "config": {"stage_id": "feature_search", "parameters": parameters}},
        "typed": {
            "stage_name": "s",
            "stage_type": "filter",
            "config": {"stage_id": "feature_search", "parameters": parameters},
        },
        "top-level": {"stage_name": "s", "stage_id": "feature_search", "parameters": parameters},
        "legacy": {
            "type": "feature_search",
            "query": "{{INPUT.query}}",
            "collection_ids": [corpus.collection_id],
        },
        "legacy-extractor": {
            "type": "feature_search",
            "feature_extractor": {"type": "text"},
            "query": "classical music",
            "collection_ids": [corpus.collection_name],
            "limit": 10,
        },
        "query-text": {
            "stage_name": "s",
            "config": {
                "stage_id": "feature_search",
                "parameters": {"searches": [{**searches[0], "query": text}]},
            },
        },
    }


@pytest.mark.parametrize(
    "shape", ["config", "typed", "top-level", "legacy", "legacy-extractor", "query-text"]
)
@pytest.mark.parametrize("how", ["adhoc", "stored"])
def test_every_shape_of_a_stage_is_understood(
    api: httpx.Client, corpus: Corpus, shape: str, how: str
) -> None:
    asked = stage_shapes(corpus)[shape]
    if how == "adhoc":
        assert best(adhoc(api, corpus, asked, query="classical music")) == "Violin"
        return
    made = create_retriever(api, corpus.collection_id, asked)
    (only,) = made["stages"]
    assert only["config"]["stage_id"] == "feature_search"
    assert only["parameters"] == only["config"]["parameters"]
    body = {"inputs": {"query": "classical music"}}
    assert best(ok(api.post(f"/v1/retrievers/{made['retriever_id']}/execute", json=body))) == "Violin"


def test_the_one_line_searchs_legacy_filter_stage(api: httpx.Client, corpus: Corpus) -> None:
    where = {
        "type": "attribute_filter",
        "conditions": {"AND": [{"field": "year", "operator": "lt", "value": 1910}]},
    }
    answer = adhoc(api, None, where, stage_shapes(corpus)["legacy"], query="apple trees")
    assert {each["title"] for each in answer["documents"]} == {"Lighthouse", "Orchard"}
    assert best(answer) == "Orchard"


def test_collection_ids_are_collection_identifiers(api: httpx.Client, corpus: Corpus) -> None:
    for name, value in (
        ("collection_ids", corpus.collection_id),
        ("collection_ids", corpus.collection_name),
        ("collection_identifiers", corpus.collection_name),
    ):
        body = {"stages": [search_stage(corpus.feature_uri)], "inputs": {"query": "music"}, name: [value]}
        answer = ok(api.post("/v1/retrievers/execute", json=body))
        assert {each["collection_id"] for each in answer["documents"]} == {corpus.collection_id}
    made = create_retriever(
        api, corpus.collection_id, search_stage(corpus.feature_uri), collection_ids=[corpus.collection_id]
    )
    assert made["collection_ids"] == made["collection_identifiers"] == [corpus.collection_id]


@pytest.mark.parametrize(
    "schema",
    [
        {"query": {"type": "text", "required": True}},
        {"query": {"type": "string", "required": True}},
        {"properties": {"query": {"type": "string", "required": True}}},
        {"properties": {"query": {"type": "text"}}, "required": ["query"]},
    ],
    ids=["text", "string", "properties", "required-list"],
)
def test_an_input_schema_may_be_wrapped(api: httpx.Client, corpus: Corpus, schema: dict[str, Any]) -> None:
    made = create_retriever(api, corpus.collection_id, search_stage(corpus.feature_uri), input_schema=schema)
    assert set(made["input_schema"]) == {"query"}
    execute = f"/v1/retrievers/{made['retriever_id']}/execute"
    assert ok(api.post(execute, json={"inputs": {"query": "music"}}))["documents"]
    refused(api.post(execute, json={"inputs": {}}), 422, "ValidationError")


def test_templates_read_inputs_under_all_their_names(api: httpx.Client, corpus: Corpus) -> None:
    for spelling in ("{{INPUT.query}}", "{{ inputs.query }}", "{{input.query}}"):
        assert (
            best(adhoc(api, corpus, search_stage(corpus.feature_uri, spelling), query="croissants"))
            == "Bakery"
        )


# 4. Blobs, passthrough, schemas, sources ------------------------------------------------------------------


def test_a_blobs_url_is_its_data(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    blob = {"property": "text", "type": "text", "url": "data:text/plain,words%20in%20a%20URI"}
    made = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"blobs": [blob], "metadata": {"a": 1}}))
    assert made["blobs"][0]["details"]["size_bytes"] == len("words in a URI")
    assert made["metadata"] == {"a": 1}


def test_fields_may_be_passed_through_by_name_alone(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    create_objects(api, bucket_id, POEMS[:1])
    made = create_collection(
        api, bucket_id, feature_extractor=text_extractor(field_passthrough=["title", "year"])
    )
    passed = [each["source_path"] for each in made["feature_extractor"]["field_passthrough"]]
    assert passed == ["title", "year"]
    finished(api, ok(api.post(f"/v1/collections/{made['collection_id']}/trigger"), 202)["task_id"])
    (found,) = documents(api, made["collection_id"])
    assert (found["title"], found["year"]) == ("Lighthouse", 1901)


def test_schema_is_bucket_schema(api: httpx.Client) -> None:
    made = ok(api.post("/v1/buckets", json={"bucket_name": unique("b"), "schema": POEM_SCHEMA}))
    assert set(made["bucket_schema"]["properties"]) == set(POEM_SCHEMA["properties"])


def test_a_schema_needs_known_types(api: httpx.Client) -> None:
    schema = {"properties": {"text": {"type": "hologram"}}}
    answer = api.post("/v1/buckets", json={"bucket_name": unique("b"), "bucket_schema": schema})
    invalid(answer, "text")


@pytest.mark.parametrize("form", ["bucket_id", "bucket_ids"])
def test_bucket_id_is_bucket_ids(api: httpx.Client, corpus: Corpus, form: str) -> None:
    value: Any = corpus.bucket_id if form == "bucket_id" else [corpus.bucket_id]
    made = create_collection(api, corpus.bucket_id, source={"type": "bucket", form: value})
    assert made["source"]["bucket_ids"] == [corpus.bucket_id]


def test_a_plural_list_of_one_extractor_is_understood(api: httpx.Client, corpus: Corpus) -> None:
    body = {
        "collection_name": unique("c"),
        "source": {"type": "bucket", "bucket_ids": [corpus.bucket_id]},
        "feature_extractors": [text_extractor()],
    }
    made = ok(api.post("/v1/collections", json=body))
    assert made["feature_extractor"]["feature_extractor_id"] == "text_extractor_v1"


@pytest.mark.parametrize(
    ("path", "body", "answered"),
    [
        ("/v1/buckets", {"bucket_schema": POEM_SCHEMA}, "bucket_name"),
        ("/v1/namespaces", {}, "namespace_name"),
    ],
)
def test_name_alone_names_a_resource(
    api: httpx.Client, path: str, body: dict[str, Any], answered: str
) -> None:
    name = unique("n8n")
    assert ok(api.post(path, json={"name": name, **body}))[answered] == name


@pytest.mark.parametrize("name", ["a/b/c", "..", "/abc"])
@pytest.mark.parametrize("path", ["/v1/buckets", "/v1/namespaces"])
def test_a_name_that_no_path_can_hold_is_refused(api: httpx.Client, path: str, name: str) -> None:
    invalid(api.post(path, json={"name": name, "bucket_schema": POEM_SCHEMA}))


# 5. Optional bodies and GET aliases ----------------------------------------------------------------------

LISTS = ["/v1/namespaces", "/v1/buckets", "/v1/collections", "/v1/retrievers"]


@pytest.mark.parametrize("path", [*LISTS, "/v1/tasks", "/v1/documents"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"null", b'{"note": "no JSON body provided"}'])
def test_a_list_needs_no_body(api: httpx.Client, corpus: Corpus, path: str, content: bytes | None) -> None:
    headers = {"Content-Type": "application/json"}
    answer = ok(api.post(f"{path}/list", content=content, headers=headers))
    assert answer["results"]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_can_be_read_with_get(api: httpx.Client, corpus: Corpus, path: str) -> None:
    got = ok(api.get(path, params={"limit": 1000}))
    posted = ok(api.post(f"{path}/list", json={"limit": 1000}))
    paged = ok(api.post(f"{path}/list", params={"limit": 1000}))
    assert got["results"] == posted["results"] == paged["results"]
    assert got["pagination"] == posted["pagination"]


def test_submit_trigger_and_confirm_need_no_body(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    collection_id = create_collection(api, bucket_id)["collection_id"]
    object_ids = create_objects(api, bucket_id, POEMS[:1])
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": object_ids}))["batch_id"]
    headers = {"Content-Type": "application/json"}
    submitted = ok(api.post(f"{batches}/{batch_id}/submit", headers=headers))
    finished(api, submitted["task_id"])
    triggered = ok(api.post(f"/v1/collections/{collection_id}/trigger", headers=headers), 202)
    finished(api, triggered["task_id"])
    asked = {"filename": "a.txt", "content_type": "text/plain", "blob_property": "text", "blob_type": "text"}
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=asked))
    httpx.put(upload["presigned_url"], content=b"abc", headers={"Content-Type": "text/plain"})
    ok(api.post(f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm", headers=headers))


# 6. Namespaces ------------------------------------------------------------------------------------------


def test_a_namespace_goes_by_name_id_or_query(server: RunningServer, corpus: Corpus) -> None:
    with server.client(namespace=None) as client:
        namespace_id = ok(client.get("/v1/namespaces/default"))["namespace_id"]
        path = f"/v1/buckets/{corpus.bucket_id}"
        for name in ("default", namespace_id):
            assert ok(client.get(path, headers={"X-Namespace": name}))["bucket_id"] == corpus.bucket_id
            assert ok(client.get(path, params={"namespace": name}))["bucket_id"] == corpus.bucket_id


def test_a_key_limited_to_one_namespace_needs_to_name_none(
    server: RunningServer, own_api: httpx.Client
) -> None:
    made = create_bucket(own_api)
    namespace_id = ok(own_api.get(f"/v1/namespaces/{own_api.headers['X-Namespace']}"))["namespace_id"]
    asked = {
        "name": unique("key"),
        "permissions": ["read"],
        "scopes": [{"resource_type": "namespace", "resource_id": namespace_id}],
    }
    key = ok(own_api.post("/v1/organizations/users/admin@lamina.local/api-keys", json=asked))["key"]
    with server.client(api_key=key, namespace=None) as client:
        assert ok(client.get(f"/v1/buckets/{made['bucket_id']}"))["bucket_id"] == made["bucket_id"]


def test_without_a_name_the_default_namespace_is_meant(server: RunningServer, corpus: Corpus) -> None:
    with server.client(namespace=None) as client:
        assert ok(client.get(f"/v1/buckets/{corpus.bucket_id}"))["bucket_id"] == corpus.bucket_id


def test_a_list_in_an_unknown_namespace_is_empty_and_says_why(server: RunningServer) -> None:
    with server.client(namespace="ns_0000000000") as client:
        answer = client.post("/v1/buckets/list")
        assert ok(answer)["results"] == []
        assert "X-Namespace-Unresolved" in answer.headers
        (warning,) = answer.json()["warnings"]
        assert warning["resource"] == "namespace"
        assert warning["reason"] == "unresolved"
        (text,) = ok(client.post("/v1/documents/list", json={}))["warnings"]
        assert "'ns_0000000000' is not known" in text
        refused(client.get("/v1/buckets/bkt_00000000"), 404, "NotFoundError")


# 7. Null fields, statuses, CORS, schema -------------------------------------------------------------------


def nulls(value: Any, path: str = "") -> list[str]:
    """Where null stands in an answer."""
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in nulls(each, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for n, each in enumerate(value) for found in nulls(each, f"{path}[{n}]")]
    return []


def test_null_fields_are_left_out(api: httpx.Client, corpus: Corpus) -> None:
    retriever = create_retriever(api, corpus.collection_id, search_stage(corpus.feature_uri))
    for path in (
        "/v1/me",
        "/v1/organizations",
        "/v1/namespaces/default",
        f"/v1/buckets/{corpus.bucket_id}",
        f"/v1/buckets/{corpus.bucket_id}/objects/{corpus.object()}",
        f"/v1/batches/{corpus.batch_id}",
        f"/v1/collections/{corpus.collection_id}",
        f"/v1/documents/{corpus.document()}",
        f"/v1/retrievers/{retriever['retriever_id']}",
    ):
        found = [where for where in nulls(ok(api.get(path))) if not where.endswith(".default")]
        assert found == [], path


def test_a_users_own_null_is_kept(api: httpx.Client, corpus: Corpus) -> None:
    """Null is left out of our fields; a value that a user wrote is the user's."""
    body = {"collection_id": corpus.collection_id, "metadata": {"note": None, "deep": {"x": None}}}
    made = ok(api.post(f"/v1/collections/{corpus.collection_id}/documents", json=body))
    path = f"/v1/collections/{corpus.collection_id}/documents/{made['document_id']}"
    found = ok(api.get(path))
    ok(api.delete(path))
    assert found["metadata"] == made["metadata"] == {"note": None, "deep": {"x": None}}


def test_a_browser_may_call_from_anywhere(server: RunningServer) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-namespace, x-public-api-key, content-type",
    }
    with server.anonymous(headers=asked) as browser:
        answer = browser.options("/v1/retrievers/ret_1/execute")
        assert answer.status_code in {200, 204}
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        for name in ("authorization", "x-namespace", "x-public-api-key", "content-type"):
            assert name in allowed or allowed == "*"
    with server.client(headers={"Origin": ORIGIN}) as browser:
        assert browser.get("/v1/me").headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
        assert browser.get("/v1/buckets/bkt_00000000").headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}


def test_the_schema_is_served_at_both_addresses(api: httpx.Client) -> None:
    first, second = ok(api.get("/openapi.json")), ok(api.get("/docs/openapi.json"))
    assert first == second
    names = [
        each["operationId"]
        for path in first["paths"].values()
        for each in path.values()
        if "operationId" in each
    ]
    assert len(names) == len(set(names)) >= 86


def test_stages_work_after_a_legacy_one(api: httpx.Client, corpus: Corpus) -> None:
    answer = adhoc(api, corpus, stage_shapes(corpus)["legacy"], stage("limit", limit=1), query="bread")
    assert [each["title"] for each in answer["documents"]] == ["Bakery"]
