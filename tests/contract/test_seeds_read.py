"""Golden tests of the two reading pages: batch-get documents (000) and get document (001)."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import RunningServer
from tests.steps import PIXEL, Corpus, create_collection, documents, ingest, invalid, ok, process, refused

IMAGE = base64.b64decode(PIXEL)

UNKNOWN = "doc_" + "0" * 24

LINEAGE = {"root_object_id", "root_bucket_id", "source_type", "source_object_id", "path", "chain"}
INTERNAL = {
    "internal_id",
    "namespace_id",
    "document_id",
    "collection_id",
    "created_at",
    "updated_at",
    "lineage",
    "modality",
    "metadata",
}
"""What the page's own example of `_internal` holds; a document from a bucket has all of it."""

INTERNAL_MORE = {
    "processing", "source_blobs", "document_blobs", "source_details", "mime_type", "size_bytes",
    "content_hash", "_acl",
}  # fmt: skip

USER_FIELDS = {"title", "year", "text"}

EXTRACTOR_FIELDS = {"text_extractor_v1_embedding"}
"""Fields that `text_extractor` itself may put at the root."""

BATCH_GET = {"document_id", "collection_id", "document_blobs", "_internal", "_vectors"}

FLAT = {
    "root_object_id",
    "root_bucket_id",
    "source_type",
    "source_object_id",
    "lineage_path",
    "lineage_chain",
    "source_blobs",
    "internal_metadata",
    "document_blobs",
}
"""The flat fields of page 001 that a document from a bucket has."""

FLAT_OF_COLLECTIONS = {"source_collection_id", "source_document_id"}


def batch_get(api: httpx.Client, ids: list[Any], **more: Any) -> Any:
    """The answer to a batch-get."""
    return ok(api.post("/v1/documents/batch-get", json={"document_ids": ids, **more}))


def user_keys(document: dict[str, Any], known: set[str]) -> set[str]:
    """The keys of a document that are none of `known` and none of the extractor's own."""
    return set(document) - known - {key for key in document if key.startswith("text_extractor")} - {
        "document_schema_version", "chunk_index", "chunk_text", "start_offset", "end_offset",
    }  # fmt: skip


# Page 000 ----------------------------------------------------------------------------------------------


def test_batch_get_answers_in_the_nested_form(api: httpx.Client, corpus: Corpus) -> None:
    answer = batch_get(api, [corpus.document("Violin")])
    assert set(answer) == {"documents", "not_found"}
    (found,) = answer["documents"]
    assert set(found) >= BATCH_GET
    assert user_keys(found, BATCH_GET) >= USER_FIELDS
    assert not (FLAT - {"document_blobs"}) & set(found), "lineage stands in _internal only"
    assert found["document_id"] == corpus.document("Violin")
    assert found["collection_id"] == corpus.collection_id
    assert found["document_blobs"] == []
    assert found["title"] == "Violin"
    assert found["year"] == 1931


def test_internal_has_what_the_pages_example_has(api: httpx.Client, corpus: Corpus) -> None:
    internal = batch_get(api, [corpus.document("Violin")])["documents"][0]["_internal"]
    assert set(internal) >= INTERNAL
    assert set(internal) <= INTERNAL | INTERNAL_MORE
    assert internal["document_id"] == corpus.document("Violin")
    assert internal["collection_id"] == corpus.collection_id
    assert internal["namespace_id"].startswith("ns_")
    assert internal["internal_id"]
    assert internal["modality"] == "text"
    assert internal["metadata"]["ingestion_status"] == "COMPLETED"
    for moment in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", internal[moment])
    lineage = internal["lineage"]
    assert set(lineage) == LINEAGE
    assert lineage["path"] == f"{corpus.bucket_id}/{corpus.collection_id}"
    assert lineage["root_bucket_id"] == corpus.bucket_id
    assert lineage["root_object_id"] == lineage["source_object_id"] == corpus.object("Violin")
    assert lineage["source_type"] == "bucket"


def test_vectors_is_the_list_of_stored_names(api: httpx.Client, corpus: Corpus) -> None:
    (found,) = batch_get(api, [corpus.document()])["documents"]
    assert isinstance(found["_vectors"], list)
    assert corpus.vector_name in found["_vectors"]
    assert all(isinstance(name, str) for name in found["_vectors"])
    assert corpus.vector_name not in found


def test_documents_are_unique_and_in_order_of_first_mention(api: httpx.Client, corpus: Corpus) -> None:
    wanted = [corpus.document(title) for title in ("Bakery", "Lighthouse", "Glacier")]
    answer = batch_get(api, [wanted[0], wanted[1], wanted[0], wanted[2], wanted[1]])
    assert [each["document_id"] for each in answer["documents"]] == wanted
    assert answer["not_found"] == []


def test_what_is_not_found_is_unique_and_in_order(api: httpx.Client, corpus: Corpus) -> None:
    missing = ["doc_" + digit * 24 for digit in "921"]
    answer = batch_get(api, [missing[0], missing[1], corpus.document(), missing[0], missing[2]])
    assert [each["document_id"] for each in answer["documents"]] == [corpus.document()]
    assert answer["not_found"] == missing


def test_it_is_still_200_when_everything_is_missing(api: httpx.Client) -> None:
    assert batch_get(api, [UNKNOWN]) == {"documents": [], "not_found": [UNKNOWN]}
    assert batch_get(api, ["anything at all"]) == {"documents": [], "not_found": ["anything at all"]}


def test_another_namespaces_documents_are_not_found(own_api: httpx.Client, corpus: Corpus) -> None:
    assert batch_get(own_api, [corpus.document()]) == {"documents": [], "not_found": [corpus.document()]}


@pytest.mark.parametrize("count", [1, 1000])
def test_one_to_a_thousand_ids_are_accepted(api: httpx.Client, corpus: Corpus, count: int) -> None:
    ids = [corpus.document(), *(f"doc_{n:024x}" for n in range(count - 1))]
    answer = batch_get(api, ids)
    assert len(answer["documents"]) == 1
    assert len(answer["not_found"]) == count - 1


@pytest.mark.parametrize(
    "ids",
    [[], [f"doc_{n:024x}" for n in range(1001)], "doc_1", None, [1], [None], {"a": "b"}],
    ids=["none", "too-many", "a-string", "null", "a-number", "a-null", "an-object"],
)
def test_other_lists_of_ids_are_refused(api: httpx.Client, ids: Any) -> None:
    problems = invalid(api.post("/v1/documents/batch-get", json={"document_ids": ids}), "document_ids")
    assert problems[0]["location"][:2] == ["body", "document_ids"]


def test_a_missing_list_of_ids_is_refused(api: httpx.Client) -> None:
    invalid(api.post("/v1/documents/batch-get", json={}), "document_ids")
    invalid(
        api.post("/v1/documents/batch-get", json={"document_ids": ["a"], "return_presigned_urls": "maybe"})
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused_in_the_envelope(api: httpx.Client, content: bytes) -> None:
    answer = api.post(
        "/v1/documents/batch-get", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    refused(answer, answer.status_code)


# Presigned URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"return_presigned_urls": False}])
def test_urls_are_not_presigned_unless_asked_for(
    api: httpx.Client, files: Corpus, more: dict[str, Any]
) -> None:
    assert "presigned" not in str(batch_get(api, [files.document()], **more))


BLOB = {"field", "url", "role", "type"}
BLOB_MORE = {"filename", "size_bytes", "content_type", "checksum", "created_at", "source_blob_id"}


def test_a_stored_file_is_presigned_when_asked_for(api: httpx.Client, files: Corpus) -> None:
    (bare,) = batch_get(api, [files.document()])["documents"][0]["document_blobs"]
    assert set(bare) >= BLOB
    assert set(bare) <= BLOB | BLOB_MORE
    assert bare["field"] == "photo"
    assert bare["role"] == "source"
    assert bare["type"] == "image"
    assert bare["filename"] == "Lighthouse.png"
    assert bare["size_bytes"] == len(IMAGE)
    assert bare["content_type"] == "image/png"
    (rich,) = batch_get(api, [files.document()], return_presigned_urls=True)["documents"][0]["document_blobs"]
    assert set(rich) == set(bare) | {"presigned_url"}
    assert httpx.get(rich["presigned_url"]).content == IMAGE


@pytest.mark.parametrize("name", ["return_presigned_urls", "return_url"])
def test_a_read_document_has_presigned_urls_when_asked_for(
    api: httpx.Client, files: Corpus, name: str
) -> None:
    path = f"/v1/collections/{files.collection_id}/documents/{files.document()}"
    bare = ok(api.get(path))
    assert not bare.get("presigned_urls")
    assert "presigned_url" not in bare
    rich = ok(api.get(path, params={name: "true"}))
    assert httpx.get(rich["presigned_url"]).content == IMAGE
    (only,) = rich["presigned_urls"]
    assert set(only) == {"key_name", "object_key", "presigned_url"}
    assert httpx.get(only["presigned_url"]).content == IMAGE
    assert "presigned" not in str(ok(api.get(path, params={name: "false"})).get("presigned_url", ""))


# Page 001 ----------------------------------------------------------------------------------------------


def test_get_answers_in_the_flat_form_beside_internal(api: httpx.Client, corpus: Corpus) -> None:
    found = ok(api.get(f"/v1/collections/{corpus.collection_id}/documents/{corpus.document('Violin')}"))
    assert set(found) >= {"document_id", "collection_id", "_internal"} | FLAT
    assert not set(found) & FLAT_OF_COLLECTIONS, "null fields are left out"
    known = {"document_id", "collection_id", "_internal", "presigned_urls", "metadata"} | FLAT
    assert user_keys(found, known) == USER_FIELDS
    internal = found["_internal"]
    assert found["root_object_id"] == corpus.object("Violin") == internal["lineage"]["root_object_id"]
    assert found["root_bucket_id"] == corpus.bucket_id
    assert found["source_type"] == "bucket"
    assert found["source_object_id"] == corpus.object("Violin")
    assert (
        found["lineage_path"] == internal["lineage"]["path"] == f"{corpus.bucket_id}/{corpus.collection_id}"
    )
    assert found["internal_metadata"] == internal["metadata"]
    assert found["document_blobs"] == []
    assert "vector" not in found


def test_the_lineage_chain_names_every_step(api: httpx.Client, corpus: Corpus) -> None:
    found = ok(api.get(f"/v1/collections/{corpus.collection_id}/documents/{corpus.document()}"))
    (step,) = found["lineage_chain"]
    assert set(step) <= {"collection_id", "feature_extractor_id", "document_id", "timestamp"}
    assert step["collection_id"] == corpus.collection_id
    assert step["feature_extractor_id"] == "text_extractor_v1"
    assert re.match(r"\d{4}-\d\d-\d\dT", step["timestamp"])


def test_source_blobs_are_light_references(api: httpx.Client, corpus: Corpus) -> None:
    found = ok(api.get(f"/v1/collections/{corpus.collection_id}/documents/{corpus.document()}"))
    (blob,) = found["source_blobs"]
    assert set(blob) >= {"blob_id", "blob_property", "blob_type"}
    assert blob["blob_property"] == "text"
    assert blob["blob_type"] == "text"
    held = ok(api.get(f"/v1/buckets/{corpus.bucket_id}/objects/{corpus.object()}"))
    assert blob["blob_id"] == held["blobs"][0]["blob_id"]


def test_the_primary_vector_comes_as_vector_when_asked_for(api: httpx.Client, corpus: Corpus) -> None:
    path = f"/v1/collections/{corpus.collection_id}/documents/{corpus.document()}"
    found = ok(api.get(path, params={"return_vectors": "true"}))
    assert len(found["vector"]) == corpus.dimensions
    assert all(isinstance(value, float) for value in found["vector"])
    assert found[corpus.vector_name] == found["vector"]


def test_a_document_from_a_collection_names_its_parent(api: httpx.Client) -> None:
    corpus = ingest(api)
    child = create_collection(
        api, corpus.bucket_id, source={"type": "collection", "collection_id": corpus.collection_id}
    )
    process(api, corpus.bucket_id, [corpus.object()], dedup_strategy="force")
    (listed,) = documents(api, child["collection_id"])
    found = ok(api.get(f"/v1/collections/{child['collection_id']}/documents/{listed['document_id']}"))
    assert found["source_type"] == "collection"
    assert found["source_collection_id"] == corpus.collection_id
    assert found["source_document_id"] == corpus.document()
    assert "source_object_id" not in found
    assert found["root_object_id"] == corpus.object()
    assert found["lineage_path"] == f"{corpus.bucket_id}/{corpus.collection_id}/{child['collection_id']}"
    assert [step["collection_id"] for step in found["lineage_chain"]] == [
        corpus.collection_id,
        child["collection_id"],
    ]


def test_unknown_ids_are_not_found_and_named(api: httpx.Client, corpus: Corpus) -> None:
    error = refused(
        api.get(f"/v1/collections/{corpus.collection_id}/documents/{UNKNOWN}"), 404, "NotFoundError"
    )
    assert error["details"]["id"] == UNKNOWN
    assert error["details"]["resource"] == "document"
    error = refused(api.get(f"/v1/collections/col_0000000000/documents/{UNKNOWN}"), 404, "NotFoundError")
    assert error["details"]["id"] == "col_0000000000"
    assert error["details"]["resource"] == "collection"


# Headers ----------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(server: RunningServer) -> Iterator[httpx.Client]:
    """A client that sends neither key nor namespace."""
    with server.anonymous() as client:
        yield client


@pytest.mark.parametrize("header", [None, "", "Bearer sk_wrong", "Basic YTpi", "sk_wrong"])
def test_without_a_good_key_nothing_is_read(nobody: httpx.Client, corpus: Corpus, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for answer in (
        nobody.post("/v1/documents/batch-get", json={"document_ids": [corpus.document()]}, headers=headers),
        nobody.get(f"/v1/collections/{corpus.collection_id}/documents/{corpus.document()}", headers=headers),
    ):
        refused(answer, 401, "UnauthorizedError")


def test_the_namespace_is_named_by_header_or_query(server: RunningServer, corpus: Corpus) -> None:
    body = {"document_ids": [corpus.document()]}
    with server.client(namespace=None) as client:
        namespace_id = ok(client.get("/v1/namespaces/default"))["namespace_id"]
        for name in ("default", namespace_id):
            by_header = client.post("/v1/documents/batch-get", json=body, headers={"X-Namespace": name})
            by_query = client.post("/v1/documents/batch-get", json=body, params={"namespace": name})
            assert len(ok(by_header)["documents"]) == len(ok(by_query)["documents"]) == 1
        unknown = client.post("/v1/documents/batch-get", json=body, headers={"X-Namespace": "ns_0000000000"})
        refused(unknown, 404, "NotFoundError")
