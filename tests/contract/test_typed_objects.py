"""Objects of a bucket through the typed SDK."""

import base64
import hashlib
import urllib.parse
from typing import Any

import httpx
import mixpeek
import pytest
from mixpeek.exceptions import (
    ApiException,
    BadRequestException,
    ConflictException,
    NotFoundException,
    UnprocessableEntityException,
)

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import make_bucket, make_collection, make_object
from tests.steps import POEMS, Corpus, eventually, poem_object

SKU_SCHEMA = {
    "properties": {
        "text": {"type": "text"},
        "sku": {"type": "string", "required": True},
        "price": {"type": "number"},
    }
}


@pytest.fixture(scope="module")
def bucket_id(sdk: Sdk) -> str:
    """A bucket for poems, shared by this module."""
    return str(make_bucket(sdk).bucket_id)


def test_a_created_object_has_its_fields_and_its_blobs_details(sdk: Sdk, bucket_id: str) -> None:
    made = make_object(sdk, bucket_id, POEMS[2], key_prefix="/poems", metadata={"shelf": 3})
    text = POEMS[2]["text"].encode()
    assert made.object_id.startswith("obj_")
    assert made.bucket_id == bucket_id
    assert made.key_prefix == "/poems"
    assert made.status == mixpeek.TaskStatusEnum.DRAFT
    assert made.additional_properties["title"] == "Railway"
    assert made.additional_properties["year"] == 1923
    assert made.additional_properties["metadata"] == {"shelf": 3}
    assert [(each.type, each.source_id) for each in made.source_details] == [("bucket", bucket_id)]
    (blob,) = made.blobs
    assert blob.blob_id.startswith("blob_")
    assert blob.var_property == "text"
    assert blob.type == mixpeek.BucketSchemaFieldType.TEXT
    assert blob.details.size_bytes == len(text)
    assert blob.details.mime_type.startswith("text/plain")
    assert hashlib.sha256(text).hexdigest() in blob.details.hash

    found = sdk.objects.get_object_buckets(bucket_id, made.object_id)
    assert found.to_dict() | {"document_count": 0} == made.to_dict() | {"document_count": 0}


@pytest.mark.parametrize(
    ("kind", "data", "stored"),
    [
        ("text", "plain words", b"plain words"),
        ("text", "data:text/plain," + urllib.parse.quote("a URI, quoted"), b"a URI, quoted"),
        ("text", "data:text/plain;base64," + base64.b64encode(b"from a URI").decode(), b"from a URI"),
        (
            "text",
            {"base64": base64.b64encode(b"from base64").decode(), "mime_type": "text/plain"},
            b"from base64",
        ),
    ],
    ids=["text", "quoted-uri", "data-uri", "base64"],
)
def test_blob_data_is_stored_as_its_bytes(
    sdk: Sdk, bucket_id: str, kind: str, data: object, stored: bytes
) -> None:
    made = make_object(sdk, bucket_id, blobs=[{"property": "text", "type": kind, "data": data}])
    assert made.blobs[0].details.size_bytes == len(stored)
    found = sdk.objects.get_object_buckets(bucket_id, made.object_id, return_presigned_urls=True)
    answer = httpx.get(found.blobs[0].presigned_url)
    assert answer.status_code == 200
    assert answer.content == stored
    part = httpx.get(found.blobs[0].presigned_url, headers={"Range": "bytes=1-4"})
    assert part.status_code == 206
    assert part.content == stored[1:5]
    assert part.headers["content-range"] == f"bytes 1-4/{len(stored)}"


def test_presigned_urls_come_only_when_asked_for(sdk: Sdk, bucket_id: str) -> None:
    made = make_object(sdk, bucket_id)
    assert made.blobs[0].presigned_url is None
    assert sdk.objects.get_object_buckets(bucket_id, made.object_id).blobs[0].presigned_url is None
    asked = mixpeek.ListObjectsRequest(return_presigned_urls=True)
    listed = sdk.objects.list_objects_buckets(bucket_id, limit=1000, list_objects_request=asked)
    assert all(blob.presigned_url for each in listed.results for blob in each.blobs)


def test_objects_created_in_batch_come_in_the_sdks_envelope(sdk: Sdk, bucket_id: str) -> None:
    asked = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": [poem_object(poem) for poem in POEMS]})
    answer = sdk.objects.create_objects_batch_buckets(bucket_id, asked)
    assert answer.total_requested == answer.succeeded_count == len(POEMS)
    assert answer.failed_count == 0
    assert answer.failed == []
    listed = sdk.objects.list_objects_get_buckets(bucket_id, limit=1000)
    assert {each.object_id for each in answer.succeeded} <= {each.object_id for each in listed.results}


def test_in_the_sdks_envelope_bad_objects_fail_alone(sdk: Sdk, bucket_id: str) -> None:
    bad = {"blobs": [{"property": "text", "type": "text", "data": "x"}], "year": "not a year"}
    asked = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": [poem_object(POEMS[0]), bad]})
    answer = sdk.objects.create_objects_batch_buckets(bucket_id, asked)
    assert (answer.succeeded_count, answer.failed_count, answer.total_requested) == (1, 1, 2)
    assert answer.failed[0].object_index == 1
    assert "year" in answer.failed[0].error
    only_bad = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": [bad]})
    with pytest.raises(UnprocessableEntityException):
        sdk.objects.create_objects_batch_buckets(bucket_id, only_bad)


def test_the_sdks_envelope_says_which_objects_were_there_before(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id

    def send(*objects: dict[str, Any]) -> list[tuple[str, int, bool, str | None]]:
        asked = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": list(objects)})
        answer = sdk.objects.create_objects_batch_buckets(bucket_id, asked)
        return [(one.object_id, one.object_index, one.replayed, one.replayed_by) for one in answer.succeeded]

    keyed, plain = {**poem_object(POEMS[0]), "idempotency_key": "first"}, poem_object(POEMS[1])
    bad = {**poem_object(POEMS[2]), "year": "soon"}
    first, second, again = send(keyed, bad, plain, keyed)
    assert first[1:] == (0, False, None)
    assert second[1:] == (2, False, None)
    assert again == (first[0], 3, True, "idempotency_key")
    assert send({**plain, "skip_duplicates": True}, keyed) == [
        (second[0], 0, True, "skip_duplicates"),
        (first[0], 1, True, "idempotency_key"),
    ]


def test_objects_are_filtered_sorted_selected_and_counted(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    for poem in POEMS:
        make_object(sdk, bucket_id, poem)
    asked = mixpeek.ListObjectsRequest.from_dict(
        {
            "filters": {"AND": [{"field": "year", "operator": "gte", "value": 1923}]},
            "sort": {"field": "year", "direction": "desc"},
        }
    )
    found = sdk.objects.list_objects_buckets(bucket_id, include_total=True, list_objects_request=asked)
    years = [each.additional_properties["year"] for each in found.results]
    assert years == sorted((poem["year"] for poem in POEMS if poem["year"] >= 1923), reverse=True)
    assert found.pagination.total == len(years)

    asked = mixpeek.ListObjectsRequest.from_dict({"search": "violin"})
    searched = sdk.objects.list_objects_buckets(bucket_id, list_objects_request=asked)
    assert [each.additional_properties["title"] for each in searched.results] == ["Violin"]


def test_a_cursor_walks_through_all_objects_once(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    made = [make_object(sdk, bucket_id, poem).object_id for poem in POEMS]
    seen: list[str] = []
    cursor = None
    while True:
        page = sdk.objects.list_objects_get_buckets(bucket_id, limit=4, cursor=cursor)
        seen += [each.object_id for each in page.results]
        cursor = page.pagination.next_cursor
        if cursor is None or len(seen) > len(made):
            break
    assert seen == made


def test_an_object_counts_its_documents(sdk: Sdk, corpus: Corpus) -> None:
    counted = sdk.objects.get_object_buckets(corpus.bucket_id, corpus.object())
    assert counted.document_count == 1
    assert counted.status == mixpeek.TaskStatusEnum.COMPLETED
    uncounted = sdk.objects.get_object_buckets(
        corpus.bucket_id, corpus.object(), include_document_count=False
    )
    assert uncounted.document_count is None


def test_a_patch_sets_custom_fields_at_the_root(sdk: Sdk, bucket_id: str) -> None:
    made = make_object(sdk, bucket_id)
    asked = mixpeek.PatchObjectRequest.from_dict({"year": 1999, "key_prefix": "/later"})
    patched = sdk.objects.patch_object_buckets(bucket_id, made.object_id, asked)
    assert patched.additional_properties["year"] == 1999
    assert patched.additional_properties["title"] == made.additional_properties["title"]
    assert patched.key_prefix == "/later"
    assert [blob.blob_id for blob in patched.blobs] == [blob.blob_id for blob in made.blobs]


@pytest.mark.parametrize("reserved", [{"status": "COMPLETED"}, {"object_id": "obj_x"}, {"blobs": []}])
def test_a_patch_of_system_fields_is_refused(sdk: Sdk, bucket_id: str, reserved: dict[str, object]) -> None:
    made = make_object(sdk, bucket_id)
    with pytest.raises(UnprocessableEntityException) as refusal:
        sdk.objects.patch_object_buckets(
            bucket_id, made.object_id, mixpeek.PatchObjectRequest.from_dict(reserved)
        )
    assert next(iter(reserved)) in refusal.value.body


def test_a_put_updates_metadata_where_it_is_held(sdk: Sdk, bucket_id: str) -> None:
    made = make_object(sdk, bucket_id, metadata={"shelf": 1, "row": 2})
    asked = mixpeek.UpdateObjectRequest.from_dict(
        {"metadata": {"shelf": 9, "year": 2001}, "key_prefix": "/p"}
    )
    updated = sdk.objects.update_object_buckets(bucket_id, made.object_id, asked)
    assert updated.additional_properties["metadata"] == {"shelf": 9, "row": 2}
    assert updated.additional_properties["year"] == 2001
    assert updated.key_prefix == "/p"


def test_a_deleted_object_takes_its_documents_with_it(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    collection_id = make_collection(sdk, bucket_id).collection_id
    asked = mixpeek.CreateObjectRequest.from_dict(poem_object(POEMS[0]))
    made = sdk.objects.create_object_buckets(bucket_id, asked, auto_process=True)

    def count() -> int:
        return int(sdk.collection_documents.count_documents(collection_id).count)

    eventually(lambda: count() == 1, "the object processed by itself has its document")
    answer = sdk.objects.delete_object_buckets_with_http_info(bucket_id, made.object_id)
    assert answer.status_code == 204
    with pytest.raises(NotFoundException):
        sdk.objects.get_object_buckets(bucket_id, made.object_id)
    eventually(lambda: count() == 0, "the object's document is gone")


def test_a_unique_keys_policies(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk, SKU_SCHEMA, unique_key={"fields": ["sku"]}).bucket_id

    def put(policy: str | None, sku: str, price: float) -> mixpeek.ObjectResponse:
        asked = mixpeek.CreateObjectRequest.from_dict({"sku": sku, "price": price})
        return sdk.objects.create_object_buckets(bucket_id, asked, policy=policy)

    with pytest.raises(BadRequestException):
        put(None, "a", 1)
    first = put("insert", "a", 1)
    with pytest.raises(ConflictException):
        put("insert", "a", 2)
    with pytest.raises(NotFoundException):
        put("update", "b", 2)
    assert put("update", "a", 3).object_id == first.object_id
    assert put("upsert", "a", 4).object_id == first.object_id
    assert put("upsert", "b", 5).object_id != first.object_id
    found = sdk.objects.get_object_buckets(bucket_id, first.object_id)
    assert found.additional_properties["price"] == 4
    assert sdk.buckets.get_bucket(bucket_id).object_count == 2


def test_an_idempotency_key_makes_one_object(sdk: Sdk, bucket_id: str) -> None:
    first = make_object(sdk, bucket_id, idempotency_key="once-and-only-once")
    assert make_object(sdk, bucket_id, idempotency_key="once-and-only-once").object_id == first.object_id


def test_skip_duplicates_keeps_one_blob_of_equal_bytes(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    first = make_object(sdk, bucket_id)
    second = make_object(sdk, bucket_id, skip_duplicates=True)
    assert first.additional_properties["content_hash"] == second.additional_properties["content_hash"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"year": "soon"}, "year"),
        ({"blobs": []}, "text"),
        ({"blobs": [{"property": "nothing", "type": "text", "data": "x"}]}, "nothing"),
        ({"blobs": [{"property": "text", "type": "text"}]}, "data"),
        ({"blobs": [{"property": "text", "type": "text", "data": "x", "upload_id": "upl_1"}]}, "upload_id"),
    ],
    ids=["type", "required", "unknown-property", "no-data", "data-and-upload"],
)
def test_an_object_must_fit_the_buckets_schema(
    sdk: Sdk, bucket_id: str, wrong: dict[str, Any], named: str
) -> None:
    with pytest.raises(ApiException) as refusal:
        make_object(sdk, bucket_id, **wrong)
    assert refusal.value.status == 422
    assert named in refusal.value.body
