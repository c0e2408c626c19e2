"""The journey of `mixpeek.Mixpeek`, the SDK's high-level client, with only its base URL changed."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from mixpeek import Mixpeek
from mixpeek._client.client import MixpeekAPIError

from tests.server import RunningServer
from tests.steps import POEM_SCHEMA, POEMS, Corpus, eventually, search_stage, text_extractor, unique


@pytest.fixture(scope="module")
def namespace(server: RunningServer) -> str:
    """A namespace for this module: `index` takes the first bucket that it finds."""
    client = Mixpeek(server.admin_key, base_url=f"{server.url}/v1")
    return str(client.namespaces.create(name=unique("journey")).namespace_id)


@pytest.fixture(scope="module")
def mp(server: RunningServer, namespace: str) -> Mixpeek:
    """The client, as the documentation makes one."""
    return Mixpeek(server.admin_key, namespace=namespace, base_url=f"{server.url}/v1")


@pytest.fixture(scope="module")
def bucket(mp: Mixpeek) -> Any:
    """A bucket for poems."""
    return mp.buckets.create(name=unique("poems"), bucket_schema=POEM_SCHEMA)


@pytest.fixture(scope="module")
def collection(mp: Mixpeek, bucket: Any) -> Any:
    """A collection that has processed the six poems."""
    made = mp.collections.create(
        name=unique("poems"),
        source={"type": "bucket", "bucket_ids": [bucket.bucket_id]},
        feature_extractor=text_extractor(),
    )
    for poem in POEMS:
        uploaded = mp.buckets.upload(
            bucket.bucket_id, data=poem["text"], title=poem["title"], year=poem["year"]
        )
        assert uploaded.object_id.startswith("obj_")
    finish(mp, mp.collections.trigger(made.collection_id).task_id)
    return made


def finish(mp: Mixpeek, task_id: str) -> None:
    """Wait for the task to complete."""
    eventually(lambda: mp.tasks.get(task_id).status in {"COMPLETED", "FAILED"}, "the task has ended")
    assert mp.tasks.get(task_id).status == "COMPLETED"


def retriever(mp: Mixpeek, collection: Any, **changes: Any) -> Any:
    """A semantic search over the collection."""
    uri = mp.collections.get(collection.collection_id).vector_indexes[0].feature_uri
    return mp.retrievers.create(
        name=unique("retriever"),
        stages=[search_stage(uri)],
        collection_identifiers=[collection.collection_id],
        input_schema={"query": {"type": "string", "required": True}},
        **changes,
    )


def test_namespaces_are_made_listed_read_and_deleted(mp: Mixpeek) -> None:
    made = mp.namespaces.create(name=unique("short"))
    listed = mp.namespaces.list()
    assert 1 <= len(listed.results) <= 10
    assert listed.total_count >= len(listed.results)
    assert mp.namespaces.get(made.namespace_id).namespace_name == made.namespace_name
    answer = mp.namespaces.delete(made.namespace_id)
    finish(mp, answer.task_id)
    with pytest.raises(MixpeekAPIError) as refusal:
        mp.namespaces.get(made.namespace_id)
    assert refusal.value.status == 404
    assert refusal.value.detail["error"]["type"] == "NotFoundError"
    assert refusal.value.retryable is False


def test_buckets_and_collections_are_listed_without_a_body(mp: Mixpeek, bucket: Any, collection: Any) -> None:
    assert bucket.bucket_id in {each.bucket_id for each in mp.buckets.list().results}
    assert mp.buckets.get(bucket.bucket_id).bucket_schema.properties.text.type == "text"
    assert collection.collection_id in {each.collection_id for each in mp.collections.list().results}
    updated = mp.collections.update(collection.collection_id, description="Six poems")
    assert updated.description == "Six poems"


def test_objects_are_paged_with_what_the_client_sends(mp: Mixpeek, bucket: Any, collection: Any) -> None:
    first = mp.buckets.list_objects(bucket.bucket_id, page_size=4)
    assert len(first.results) == 4
    rest = mp.buckets.list_objects(bucket.bucket_id, page_size=4, cursor=first.pagination.next_cursor)
    ids = {each.object_id for each in [*first.results, *rest.results]}
    assert len(ids) == len(first.results) + len(rest.results)


def test_documents_are_listed_read_updated_and_deleted(mp: Mixpeek, collection: Any) -> None:
    listed = mp.documents.list(collection.collection_id, page_size=4)
    assert len(listed.results) == 4
    rest = mp.documents.list(collection.collection_id, page_size=4, cursor=listed.pagination.next_cursor)
    assert len({each.document_id for each in [*listed.results, *rest.results]}) == len(POEMS)
    chosen = listed.results[0]
    found = mp.documents.get(collection.collection_id, chosen.document_id)
    assert found.title == chosen.title
    assert found.root_object_id == found["_internal"].lineage.root_object_id
    changed = mp.documents.update(
        collection.collection_id, chosen.document_id, update_data={"metadata": {"read": True}}
    )
    assert changed.metadata == {"read": True}
    many = mp.documents.batch_update(
        collection.collection_id,
        updates=[{"document_id": chosen.document_id, "update_data": {"metadata": {"read": None}}}],
    )
    assert many.updated_count == 1
    assert not mp.documents.get(collection.collection_id, chosen.document_id).get("metadata")


def test_one_line_search_finds_the_best_document(mp: Mixpeek, collection: Any) -> None:
    answer = mp.search("pastries for breakfast", collection=collection.collection_id, limit=2)
    assert answer.results[0].title == "Bakery"
    assert len(answer.results) == 2
    assert answer.documents == answer.results
    by_name = mp.search("pastries for breakfast", collection=collection.collection_name, limit=1)
    assert by_name.results[0].document_id == answer.results[0].document_id


def test_one_line_search_filters_first(mp: Mixpeek, collection: Any) -> None:
    where = {"AND": [{"field": "year", "operator": "eq", "value": 1931}]}
    answer = mp.search("pastries", collection=collection.collection_id, filters=where)
    assert {each.title for each in answer.results} == {"Violin", "Glacier"}


def test_documents_search_answers_with_results(mp: Mixpeek, collection: Any) -> None:
    answer = mp.documents.search(
        collection_ids=[collection.collection_id], query="a frozen river", page_size=2
    )
    assert answer.results[0].title == "Glacier"
    assert len(answer.results) == 2


def test_retrievers_are_made_run_updated_and_deleted(mp: Mixpeek, collection: Any) -> None:
    made = retriever(mp, collection, description="before")
    assert made.retriever_id.startswith("ret_")
    assert made.retriever.retriever_id == made.retriever_id
    assert made.retriever_id in {each.retriever_id for each in mp.retrievers.list().results}
    answer = mp.retrievers.execute(made.retriever_id, inputs={"query": "sonata"}, settings={"limit": 1})
    assert [each.title for each in answer.results] == ["Violin"]
    assert mp.retrievers.run(made.retriever_id, inputs={"query": "sonata"}).results[0].title == "Violin"
    updated = mp.retrievers.update(made.retriever_id, description="after")
    assert updated.retriever.description == "after"
    mp.retrievers.delete(made.retriever_id)
    with pytest.raises(MixpeekAPIError) as refusal:
        mp.retrievers.get(made.retriever_id)
    assert refusal.value.status == 404


def test_own_vectors_are_searched_through_a_passing_retriever(mp: Mixpeek) -> None:
    name = unique("vectors")
    made = mp.namespaces.create(
        namespace_id=name, vector_configs=[{"name": "v", "dimension": 2, "metric": "cosine"}]
    )
    assert made.namespace_id == name
    rows = [
        {"document_id": key, "vectors": {"v": value}, "payload": {"k": key}}
        for key, value in (("a", [1.0, 0.0]), ("b", [0.0, 1.0]))
    ]
    assert mp.namespaces.documents.upsert(namespace_id=name, documents=rows).inserted == 2
    query = [{"vector_name": "v", "vector": [0.9, 0.1], "top_k": 5}]
    answer = mp.search(namespace_id=name, queries=query)
    assert [each.document_id for each in answer.results] == ["a", "b"]
    other = Mixpeek(mp.api_key, namespace=name, base_url=mp.base_url)
    assert other.retrievers.list().results == []


def test_index_uploads_into_the_first_bucket_and_triggers(mp: Mixpeek, bucket: Any, collection: Any) -> None:
    before = mp.buckets.get(bucket.bucket_id).object_count
    made = mp.index(
        "data:text/plain,A%20submarine%20dives",
        collection=collection.collection_id,
        metadata={"title": "Dive"},
    )
    assert made.object_id.startswith("obj_")
    assert mp.buckets.get(bucket.bucket_id).object_count == before + 1

    def found() -> bool:
        best = mp.search("a submarine dives", collection=collection.collection_id, limit=1).results
        return bool(best) and best[0]["_internal"].lineage.root_object_id == made.object_id

    eventually(found, "the indexed object is found")


def test_a_namespace_given_to_a_call_becomes_the_header(mp: Mixpeek, corpus: Corpus) -> None:
    made = mp.buckets.create(name=unique("elsewhere"), bucket_schema=POEM_SCHEMA, namespace="default")
    with pytest.raises(MixpeekAPIError):
        mp.buckets.get(made.bucket_id)
    there = Mixpeek(mp.api_key, namespace="default", base_url=mp.base_url)
    assert there.buckets.get(made.bucket_id).bucket_name == made.bucket_name


def test_a_key_that_sees_one_namespace_needs_to_name_none(server: RunningServer, namespace: str) -> None:
    silent = Mixpeek(server.admin_key, base_url=f"{server.url}/v1")
    assert silent.collections.list().results is not None


def test_deleting_answers_with_json(mp: Mixpeek, bucket: Any) -> None:
    made = mp.collections.create(
        name=unique("gone"),
        source={"type": "bucket", "bucket_ids": [bucket.bucket_id]},
        feature_extractor=text_extractor(),
    )
    assert mp.collections.delete(made.collection_id) is not None
    gone = mp.buckets.create(name=unique("gone"), bucket_schema=POEM_SCHEMA)
    finish(mp, mp.buckets.delete(gone.bucket_id).task_id)


def test_what_is_not_served_yet_says_so_at_once(mp: Mixpeek) -> None:
    started = time.monotonic()
    with pytest.raises(MixpeekAPIError) as refusal:
        mp.collections.clone("col_0000000000", name="copy")
    assert refusal.value.status == 501
    assert refusal.value.detail["error"]["type"] == "NotEnabledError"
    assert refusal.value.retryable is False
    assert time.monotonic() - started < 5


class Busy(BaseHTTPRequestHandler):
    """Answers 503 in Lamina's form once, then passes everything on to the server."""

    refusals: ClassVar[int] = 0
    upstream: ClassVar[str] = ""

    def do_POST(self) -> None:
        """Refuse the first call."""
        Busy.refusals += 1
        if Busy.refusals == 1:
            details = {"retryable": True, "retry_after_seconds": 0.05}
            error = {"message": "Busy.", "type": "InferenceServiceUnavailableError", "details": details}
            self._answer(503, {"success": False, "status": 503, "error": error})
        else:
            self._answer(200, {"results": []})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture
def busy() -> Iterator[str]:
    """A server that is unavailable for one call."""
    Busy.refusals = 0
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}/v1"
    listener.shutdown()
    listener.server_close()


def test_the_clients_retry_reads_the_envelope_of_a_503(busy: str) -> None:
    assert Mixpeek("sk_test", base_url=busy).buckets.list().results == []
    assert Busy.refusals == 2
