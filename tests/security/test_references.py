"""What looks like a reference to a file is none: no client can name bytes of another tenant."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.security import matrix
from tests.security.estates import TEXT, Estate, Neighbours
from tests.steps import finished, ok, unique

pytestmark = pytest.mark.xdist_group("security-neighbours")  # one server for all of them


@pytest.fixture
def home(neighbours: Neighbours) -> Estate:
    """The estate whose files are wanted."""
    return neighbours.home


@pytest.fixture
def far(neighbours: Neighbours) -> Estate:
    """An estate of another organization."""
    return neighbours.far


@pytest.fixture
def nobody(neighbours: Neighbours) -> httpx.Client:
    """Whoever got hold of a URL."""
    return neighbours.nobody


def stolen(home: Estate) -> tuple[str, str]:
    """A file of the home estate: its permanent URL, and its key."""
    api, ids = home.api, home.ids
    encoded = {"base64": base64.b64encode(TEXT).decode(), "filename": "letter.txt"}
    blob = {"property": "text", "type": "text", "data": encoded}
    made = ok(api.post(f"/v1/buckets/{ids['bucket_identifier']}/objects", json={"blobs": [blob]}))
    permanent: str = made["blobs"][0]["properties"]["url"]
    assert permanent.startswith("lamina://")
    return permanent, permanent.removeprefix("lamina://")


def signed_urls(value: Any) -> Iterator[str]:
    """Every URL to the server's storage in an answer, wherever it stands."""
    if isinstance(value, dict):
        for one in value.values():
            yield from signed_urls(one)
    elif isinstance(value, list):
        for one in value:
            yield from signed_urls(one)
    elif isinstance(value, str) and "/storage/" in value and "signature=" in value:
        yield value


def leaks_nothing(answer: httpx.Response, key: str, nobody: httpx.Client) -> Any:
    """The answer, after a look behind every URL in it: none leads to the key, or to its bytes."""
    assert answer.status_code < 500, answer.text
    body = answer.json() if answer.content else None
    for url in signed_urls(body):
        assert key not in unquote(url), url
        assert TEXT[:50] not in nobody.get(url).content, url
    assert TEXT[:50].decode() not in answer.text
    return body


def test_no_blob_can_be_made_of_anothers_file(home: Estate, far: Estate, nobody: httpx.Client) -> None:
    permanent, key = stolen(home)
    bucket = f"/v1/buckets/{far.ids['bucket_identifier']}"
    text = {"property": "text", "type": "text"}
    for blob in (
        {**text, "data": permanent},
        {**text, "url": permanent},
        {**text, "data": {"url": permanent}},
        {**text, "data": {"url": permanent, "key": key}},
        {**text, "data": "x", "key": key},
        {**text, "data": "x", "key": key, "source_url": permanent, "presigned_url": permanent},
        {**text, "data": "x", "properties": {"url": permanent}},
        {**text, "data": "x", "metadata": {"url": permanent, "key": key}},
        {**text, "data": "x", "details": {"filename": key}, "blob_id": key.split("/")[3]},
        {**text, "data": "x", "key_prefix": key},
        {**text, "data": "x" * 100_000, "metadata": {"url": permanent, "key": key}, "key": key},
        {**text, "data": permanent, "canonicalize_source": False},
        {**text, "data": {"base64": "eA==", "filename": "../" * 8 + key}},
        {**text, "upload_id": home.ids["upload_id"]},
    ):
        answer = far.api.post(f"{bucket}/objects", json={"title": "thief", "blobs": [blob]})
        made = leaks_nothing(answer, key, nobody)
        if answer.status_code != 200:
            continue
        object_id = made["object_id"]
        at = f"{bucket}/objects/{object_id}"
        leaks_nothing(far.api.get(at, params={"return_presigned_urls": True}), key, nobody)
        for change in (
            {"blobs": [{"blob_id": made["blobs"][0]["blob_id"], "key": key}]},
            {"key": key, "source_url": permanent, "url": permanent},
            {"metadata": {"blobs": [{"key": key}], "url": permanent}},
            {"properties": {"url": permanent}},
        ):
            leaks_nothing(far.api.patch(at, json=change), key, nobody)
            leaks_nothing(far.api.put(at, json={"metadata": change, **change}), key, nobody)
        leaks_nothing(far.api.get(at, params={"return_presigned_urls": True}), key, nobody)
    shown = far.api.post(f"{bucket}/objects/list", json={"return_presigned_urls": True, "limit": 100})
    leaks_nothing(shown, key, nobody)


def forged(permanent: str, key: str) -> dict[str, Any]:
    """Everything in a document that could be taken for a reference to a file."""
    ref = {"field": "text", "role": "source", "type": "text", "url": permanent, "key": key}
    return {
        "_internal": {"document_blobs": [ref], "source_blobs": [ref], "namespace_id": key.split("/")[0]},
        "document_blobs": [ref],
        "source_blobs": [ref],
        "presigned_url": permanent,
        "presigned_urls": [{"key_name": "x", "object_key": key, "presigned_url": permanent}],
        "url": permanent,
        "key": key,
        "_internal.document_blobs": [ref],
    }


def asked_for_urls(api: httpx.Client, collection: str, document_id: str) -> Iterator[httpx.Response]:
    """A document in every way that presigns its files."""
    one = f"/v1/collections/{collection}/documents/{document_id}"
    yield api.get(one, params={"return_presigned_urls": True, "return_url": True})
    yield api.get(f"/v1/documents/{document_id}", params={"return_url": True})
    wish = {"return_presigned_urls": True, "limit": 100}
    yield api.post(f"/v1/collections/{collection}/documents/list", json=wish)
    yield api.get(f"/v1/collections/{collection}/documents", params=wish)
    yield api.post("/v1/documents/list", json=wish)
    yield api.post("/v1/documents/list", json={**wish, "group_by": "title"})
    yield api.post(
        "/v1/documents/batch-get", json={"document_ids": [document_id], "return_presigned_urls": True}
    )


def test_no_document_can_be_made_to_show_anothers_file(
    home: Estate, far: Estate, nobody: httpx.Client
) -> None:
    permanent, key = stolen(home)
    collection, api = far.ids["collection_identifier"], far.api
    documents = f"/v1/collections/{collection}/documents"
    for name, value in forged(permanent, key).items():
        fields = {"title": "thief", name: value}
        answer = api.post(documents, json=fields)
        leaks_nothing(answer, key, nobody)
        plain = ok(api.post(documents, json={"title": "thief"}))["document_id"]
        for change in (
            api.patch(f"{documents}/{plain}", json=fields),
            api.put(f"{documents}/{plain}", json=fields),
            api.patch(f"/v1/documents/{plain}", json={"metadata": fields}),
            api.post(f"{documents}/batch", json={"updates": [{"document_id": plain, "update_data": fields}]}),
            api.patch(f"{documents}/bulk", json={"filters": {"document_id": plain}, "update_data": fields}),
            api.post(
                f"/v1/namespaces/{far.namespace}/documents/upsert",
                json={
                    "collection_id": collection,
                    "documents": [{"document_id": plain, "payload": fields, "metadata": fields}],
                },
            ),
        ):
            leaks_nothing(change, key, nobody)
        for shown in asked_for_urls(api, collection, plain):
            leaks_nothing(shown, key, nobody)


def test_no_lineage_can_be_made_to_lead_to_anothers_file(
    home: Estate, far: Estate, nobody: httpx.Client
) -> None:
    _, key = stolen(home)
    collection, api = far.ids["collection_identifier"], far.api
    lineage = {
        "root_object_id": home.ids["object_identifier"], "root_bucket_id": home.ids["bucket_identifier"],
        "source_object_id": home.ids["object_identifier"], "source_document_id": home.ids["document_id"],
        "source_collection_id": home.ids["collection_identifier"], "source_type": "bucket",
        "lineage_path": key, "ref": home.ids["document_id"],
    }  # fmt: skip
    made = ok(api.post(f"/v1/collections/{collection}/documents", json={"title": "thief", **lineage}))
    expand = "root_object,parent,ancestors,children,ref"
    for path in (
        f"/v1/collections/{collection}/documents/{made['document_id']}",
        f"/v1/documents/{made['document_id']}",
    ):
        shown = api.get(path, params={"expand": expand, "return_presigned_urls": True})
        expanded = leaks_nothing(shown, key, nobody)["_expanded"]
        assert not any(expanded.values()), expanded


def test_no_retriever_can_be_made_to_sign_anothers_file(
    home: Estate, far: Estate, nobody: httpx.Client
) -> None:
    permanent, key = stolen(home)
    for name in ("_internal", "document_blobs", "url", "presigned_urls", "source_blobs"):
        template = json.dumps({"document_id": "doc_x", name: forged(permanent, key)[name]})
        stage = {
            "stage_name": "forge",
            "config": {"stage_id": "json_transform", "parameters": {"template": template}},
        }
        asked = matrix.retriever(far.ids)
        asked["stages"].append(stage)
        asked["return_presigned_urls"] = True
        for stream in (False, True):
            answer = far.api.post("/v1/retrievers/execute", json={**asked, "stream": stream})
            assert answer.status_code == 200, answer.text
            for url in re.findall(r'http://[^"]*/storage/[^"]*signature=[0-9a-f]+', answer.text):
                assert key not in unquote(url), url
                assert TEXT[:50] not in nobody.get(url).content


def test_no_extractor_can_be_made_to_read_anothers_file(
    home: Estate, far: Estate, nobody: httpx.Client
) -> None:
    permanent, key = stolen(home)
    api = far.api
    schema = {"properties": {"text": {"type": "text"}, "link": {"type": "string"}}}
    bucket = ok(api.post("/v1/buckets", json={"bucket_name": unique("b"), "bucket_schema": schema}))[
        "bucket_id"
    ]
    fields = [
        {"source_path": "link"},
        {"source_path": "text"},
        {"source_path": "text", "target_path": "_internal.a"},
    ]
    extractor = {
        "feature_extractor_name": "passthrough_extractor", "version": "v1", "field_passthrough": fields,
        "include_all_source_fields": True,
    }  # fmt: skip
    source = {"type": "bucket", "bucket_ids": [bucket]}
    asked = {"collection_name": unique("c"), "source": source, "feature_extractor": extractor}
    collection = ok(api.post("/v1/collections", json=asked))["collection_id"]
    blob = {"property": "text", "type": "text", "data": permanent, "metadata": {"url": permanent, "key": key}}
    answer = api.post(
        f"/v1/buckets/{bucket}/objects", json={"link": permanent, "url": permanent, "blobs": [blob]}
    )
    if answer.status_code != 200:
        answer = api.post(f"/v1/buckets/{bucket}/objects", json={"link": permanent, "url": permanent})
    made = ok(answer)["object_id"]
    batch = ok(api.post(f"/v1/buckets/{bucket}/batches", json={"object_ids": [made]}))["batch_id"]
    finished(api, ok(api.post(f"/v1/buckets/{bucket}/batches/{batch}/submit"))["task_id"])
    found = ok(api.get(f"/v1/collections/{collection}/documents"))["results"]
    assert found
    for document in found:
        for shown in asked_for_urls(api, collection, document["document_id"]):
            leaks_nothing(shown, key, nobody)
