"""Steps that tests of the running server share, over plain HTTP. Each asserts that it worked."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

TERMINAL = frozenset({"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"})

POEMS: list[dict[str, Any]] = [
    {"title": "Lighthouse", "year": 1901, "text": "The keeper of the lighthouse counts the ships at night."},
    {"title": "Orchard", "year": 1905, "text": "Apples ripen slowly in the orchard behind the old barn."},
    {"title": "Railway", "year": 1923, "text": "The steam train leaves the railway station before dawn."},
    {"title": "Violin", "year": 1931, "text": "She tunes her violin and plays a slow sonata for the guests."},
    {"title": "Glacier", "year": 1931, "text": "The glacier melts into a cold river below the mountain."},
    {
        "title": "Bakery",
        "year": 1947,
        "text": "Fresh bread and butter croissants cool on the bakery counter.",
    },
]
"""Short texts about six different things, so that a search for one of them has one best answer."""

POEM_SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "text", "required": True},
        "title": {"type": "string"},
        "year": {"type": "integer"},
    }
}

PHOTO_SCHEMA: dict[str, Any] = {"properties": {**POEM_SCHEMA["properties"], "photo": {"type": "image"}}}

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG image of one pixel, in base64."""


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def ok(response: httpx.Response, status: int = 200) -> Any:
    """The answer's JSON, after a check of its status."""
    assert response.status_code == status, (
        f"{response.request.method} {response.request.url}: {response.text}"
    )
    return response.json() if response.content else None


def refused(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The `error` of a refusal, after a check that the answer is the contract's envelope."""
    where = f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    assert response.status_code == status, where
    assert response.headers["content-type"].startswith("application/json"), where
    body: dict[str, Any] = response.json()
    assert body["success"] is False, where
    assert body["status"] == status, where
    error: dict[str, Any] = body["error"]
    assert isinstance(error["message"], str), where
    assert error["message"], where
    assert isinstance(error["type"], str), where
    assert "Traceback" not in response.text, where
    assert set(body) <= {"success", "status", "error", "request_id"}, where
    if kind is not None:
        assert error["type"] == kind, where
    return error


def invalid(response: httpx.Response, field: str | None = None) -> list[dict[str, Any]]:
    """The `validation_errors` of a 422; with `field`, one of them must name it."""
    error = refused(response, 422, "ValidationError")
    problems: list[dict[str, Any]] = error["details"]["validation_errors"]
    assert problems, error
    for problem in problems:
        assert isinstance(problem["type"], str), problem
        assert isinstance(problem["location"], list), problem
        assert isinstance(problem["message"], str), problem
    if field is not None:
        words = {part for problem in problems for part in [*problem["location"], *problem["message"].split()]}
        assert field in {str(word).strip("'\".,:;") for word in words}, problems
    return problems


def finished(api: httpx.Client, task_id: str, *, status: str = "COMPLETED", seconds: float = 90.0) -> Any:
    """Poll the task until it has ended; it must have ended with `status`."""
    deadline = time.monotonic() + seconds
    while True:
        task = ok(api.get(f"/v1/tasks/{task_id}"))
        if task["status"] in TERMINAL:
            assert task["status"] == status, task
            return task
        assert time.monotonic() < deadline, f"the task did not end within {seconds} s: {task}"
        time.sleep(0.05)


def eventually(holds: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Wait until it holds; fails with `what` when it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def create_bucket(api: httpx.Client, schema: Mapping[str, Any] = POEM_SCHEMA, **fields: Any) -> Any:
    """A new bucket."""
    return ok(
        api.post("/v1/buckets", json={"bucket_name": unique("bucket"), "bucket_schema": schema, **fields})
    )


def poem_object(poem: Mapping[str, Any]) -> dict[str, Any]:
    """The request that puts one poem into a bucket: its text as a blob, the rest as fields."""
    return {
        "blobs": [{"property": "text", "type": "text", "data": poem["text"]}],
        **{name: value for name, value in poem.items() if name != "text"},
    }


def poem_with_photo(poem: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with an image as a second blob: a file, which the blob store holds (`PHOTO_SCHEMA`)."""
    data = {"base64": PIXEL, "mime_type": "image/png", "filename": f"{poem['title']}.png"}
    made = poem_object(poem)
    return {**made, "blobs": [*made["blobs"], {"property": "photo", "type": "image", "data": data}]}


def create_objects(
    api: httpx.Client,
    bucket_id: str,
    poems: Sequence[Mapping[str, Any]] = POEMS,
    form: Callable[[Mapping[str, Any]], dict[str, Any]] = poem_object,
) -> list[str]:
    """New objects, in one call; their ids in the order given."""
    body = {"objects": [form(poem) for poem in poems]}
    return [
        created["object_id"] for created in ok(api.post(f"/v1/buckets/{bucket_id}/objects/batch", json=body))
    ]


def text_extractor(**changes: Any) -> dict[str, Any]:
    """A collection's `feature_extractor`: one document for a poem, with title and year."""
    return {
        "feature_extractor_name": "text_extractor",
        "version": "v1",
        "input_mappings": {"text": "text"},
        "field_passthrough": [{"source_path": "title"}, {"source_path": "year"}, {"source_path": "text"}],
        **changes,
    }


def create_collection(api: httpx.Client, bucket_id: str, **changes: Any) -> Any:
    """A new collection that reads the bucket with `text_extractor`."""
    body = {
        "collection_name": unique("collection"),
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": text_extractor(),
    }
    return ok(api.post("/v1/collections", json={**body, **changes}))


def process(api: httpx.Client, bucket_id: str, object_ids: Sequence[str], **batch: Any) -> str:
    """Put the objects through the collections that read the bucket; the batch's id once it is done."""
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id: str = ok(api.post(batches, json={"object_ids": list(object_ids), **batch}))["batch_id"]
    finished(api, ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"])
    return batch_id


def documents(api: httpx.Client, collection_id: str, **query: Any) -> list[dict[str, Any]]:
    """Documents of the collection, up to a thousand."""
    answer = ok(api.post(f"/v1/collections/{collection_id}/documents/list", json={"limit": 1000, **query}))
    listed: list[dict[str, Any]] = answer["results"]
    return listed


@dataclass(frozen=True)
class Corpus:
    """Objects that went through a collection. `documents` are by title."""

    bucket_id: str
    object_ids: list[str]
    collection_id: str
    collection_name: str
    batch_id: str
    feature_uri: str
    vector_name: str
    dimensions: int
    documents: dict[str, str]

    def document(self, title: str = "Lighthouse") -> str:
        """The id of one document."""
        return self.documents[title]

    def object(self, title: str = "Lighthouse") -> str:
        """The id of the object that one document came from."""
        return self.object_ids[[poem["title"] for poem in POEMS].index(title)]


def ingest(
    api: httpx.Client,
    form: Callable[[Mapping[str, Any]], dict[str, Any]] = poem_object,
    schema: Mapping[str, Any] = POEM_SCHEMA,
) -> Corpus:
    """The six poems: bucket, objects, collection and documents."""
    bucket_id = create_bucket(api, schema)["bucket_id"]
    object_ids = create_objects(api, bucket_id, form=form)
    made = create_collection(api, bucket_id)
    batch_id = process(api, bucket_id, object_ids)
    index = ok(api.get(f"/v1/collections/{made['collection_id']}"))["vector_indexes"][0]
    return Corpus(
        bucket_id=bucket_id,
        object_ids=object_ids,
        collection_id=made["collection_id"],
        collection_name=made["collection_name"],
        batch_id=batch_id,
        feature_uri=index["feature_uri"],
        vector_name=index["index"]["name"],
        dimensions=index["index"]["dimensions"],
        documents={found["title"]: found["document_id"] for found in documents(api, made["collection_id"])},
    )


def search_stage(uri: str, query: Any = "{{INPUT.query}}", **parameters: Any) -> dict[str, Any]:
    """A `feature_search` stage in the form that the SDK sends. A string becomes a text query."""
    asked = {"input_mode": "text", "value": query} if isinstance(query, str) else query
    searches = [{"feature_uri": uri, "query": asked, "top_k": 100}]
    return {
        "stage_name": "search",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {"searches": searches, **parameters}},
    }


def stage(stage_id: str, **parameters: Any) -> dict[str, Any]:
    """Any other stage, in the same form."""
    return {"stage_name": stage_id, "config": {"stage_id": stage_id, "parameters": parameters}}


def create_retriever(
    api: httpx.Client, collection_id: str, *stages: Mapping[str, Any], **changes: Any
) -> Any:
    """A new retriever that takes one text, `query`."""
    body = {
        "retriever_name": unique("retriever"),
        "collection_identifiers": [collection_id],
        "input_schema": {"query": {"type": "text", "required": True}},
        "stages": list(stages),
    }
    return ok(api.post("/v1/retrievers", json={**body, **changes}))
