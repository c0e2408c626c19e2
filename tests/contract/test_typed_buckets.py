"""Buckets through the typed SDK."""

from typing import Any

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException, UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import make_bucket, make_object, task_finished
from tests.steps import unique

RICH_SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "text", "required": True, "description": "What is searched."},
        "price": {"type": "number", "default": 1.5},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "maker": {"type": "object", "properties": {"name": {"type": "string", "required": True}}},
        "photo": {"type": "image"},
    }
}


def test_a_created_bucket_reads_back_as_it_was_written(sdk: Sdk) -> None:
    made = make_bucket(sdk, RICH_SCHEMA, description="Poems", metadata={"team": "one"})
    assert made.bucket_id.startswith("bkt_")
    assert len(made.bucket_id) == len("bkt_") + 8
    assert made.status == mixpeek.TaskStatusEnum.ACTIVE
    assert made.object_count == 0
    assert made.total_size_bytes == 0
    for identifier in (made.bucket_id, made.bucket_name):
        found = sdk.buckets.get_bucket(identifier)
        assert found.bucket_id == made.bucket_id
        assert found.description == "Poems"
        assert found.metadata == {"team": "one"}
        properties = found.bucket_schema.properties
        assert {name: field.type for name, field in properties.items()} == {
            name: field["type"] for name, field in RICH_SCHEMA["properties"].items()
        }
        assert properties["text"].required is True
        assert properties["price"].default == 1.5
        assert properties["color"].enum == ["red", "blue"]
        assert properties["tags"].items.type == "string"
        assert properties["maker"].properties["name"].type == "string"


def test_a_bucket_counts_its_objects_and_their_bytes(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    sizes = [make_object(sdk, bucket_id).blobs[0].details.size_bytes for _ in range(3)]
    found = sdk.buckets.get_bucket(bucket_id)
    assert found.object_count == 3
    assert found.total_size_bytes == sum(sizes)


def test_buckets_are_listed_by_post_and_by_get(sdk: Sdk) -> None:
    made = [make_bucket(sdk) for _ in range(2)]
    posted = sdk.buckets.list_buckets(limit=1000)
    got = sdk.buckets.list_buckets_get(limit=1000)
    for listed in (posted, got):
        ids = [each.bucket_id for each in listed.results]
        assert {each.bucket_id for each in made} <= set(ids)
        assert len(ids) == len(set(ids))
        assert listed.total_count == len(ids)


def test_buckets_are_searched_filtered_sorted_and_paged(sdk: Sdk) -> None:
    mark = unique("mark")
    made = [make_bucket(sdk, bucket_name=f"{mark}-{letter}") for letter in "bca"]
    asked = mixpeek.ListBucketsRequest(
        search=mark.upper(), sort={"field": "bucket_name", "direction": "desc"}
    )
    found = sdk.buckets.list_buckets(list_buckets_request=asked)
    assert [each.bucket_name[-1] for each in found.results] == ["c", "b", "a"]

    got = sdk.buckets.list_buckets_get(search=mark, limit=2, include_total=True)
    assert len(got.results) == 2
    assert got.pagination.total == 3
    assert got.pagination.total_pages == 2
    rest = sdk.buckets.list_buckets_get(search=mark, limit=2, page=2)
    assert {each.bucket_id for each in [*got.results, *rest.results]} == {each.bucket_id for each in made}

    asked = mixpeek.ListBucketsRequest(filters={"bucket_name": f"{mark}-a"})
    filtered = sdk.buckets.list_buckets(list_buckets_request=asked)
    assert [each.bucket_id for each in filtered.results] == [made[2].bucket_id]


def test_a_cursor_walks_through_all_buckets_once(sdk: Sdk) -> None:
    mark = unique("walk")
    made = {make_bucket(sdk, bucket_name=f"{mark}-{n}").bucket_id for n in range(5)}
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = sdk.buckets.list_buckets_get(search=mark, limit=2, cursor=cursor)
        seen += [each.bucket_id for each in page.results]
        cursor = page.pagination.next_cursor
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == made


def test_patch_and_put_change_only_what_they_name(sdk: Sdk) -> None:
    made = make_bucket(sdk, description="before", metadata={"kept": True})
    patched = sdk.buckets.patch_bucket(made.bucket_id, mixpeek.BucketPatchRequest(description="after"))
    assert patched.description == "after"
    assert patched.bucket_name == made.bucket_name
    assert patched.metadata == {"kept": True}
    renamed = unique("renamed")
    updated = sdk.buckets.update_bucket(made.bucket_id, mixpeek.BucketUpdateRequest(bucket_name=renamed))
    assert updated.bucket_name == renamed
    assert updated.description == "after"
    assert sdk.buckets.get_bucket(renamed).bucket_id == made.bucket_id


def test_a_schema_grows_freely_but_breaks_only_when_forced(sdk: Sdk) -> None:
    made = make_bucket(sdk)
    wider = {"properties": {"text": {"type": "text", "required": True}, "title": {"type": "string"}}}
    grown = {"properties": {**wider["properties"], "year": {"type": "integer"}, "mood": {"type": "string"}}}
    patched = sdk.buckets.patch_bucket(
        made.bucket_id, mixpeek.BucketPatchRequest.from_dict({"bucket_schema": grown})
    )
    assert "mood" in patched.bucket_schema.properties
    broken = mixpeek.BucketPatchRequest.from_dict(
        {"bucket_schema": {"properties": {**grown["properties"], "year": {"type": "string"}}}}
    )
    with pytest.raises(ApiException) as refusal:
        sdk.buckets.patch_bucket(made.bucket_id, broken)
    assert 400 <= refusal.value.status < 500
    forced = sdk.buckets.patch_bucket(made.bucket_id, broken, force_schema_break=True)
    assert forced.bucket_schema.properties["year"].type == "string"


def test_a_unique_keys_fields_are_fixed_and_its_policy_is_not(sdk: Sdk) -> None:
    schema = {"properties": {"text": {"type": "text"}, "sku": {"type": "string", "required": True}}}
    made = make_bucket(sdk, schema, unique_key={"fields": ["sku"], "default_policy": "upsert"})
    assert made.unique_key.fields == ["sku"]
    assert made.unique_key.default_policy == "upsert"
    policy = {"unique_key": {"fields": ["sku"], "default_policy": "insert"}}
    patched = sdk.buckets.patch_bucket(made.bucket_id, mixpeek.BucketPatchRequest.from_dict(policy))
    assert patched.unique_key.default_policy == "insert"
    other = mixpeek.BucketPatchRequest.from_dict({"unique_key": {"fields": ["text"]}})
    for bucket_id in (made.bucket_id, make_bucket(sdk, schema).bucket_id):
        with pytest.raises(UnprocessableEntityException) as refusal:
            sdk.buckets.patch_bucket(bucket_id, other)
        assert "unique_key" in refusal.value.body
    assert sdk.buckets.get_bucket(made.bucket_id).unique_key.fields == ["sku"]


def test_a_taken_name_is_refused(sdk: Sdk) -> None:
    made = make_bucket(sdk)
    with pytest.raises(ApiException) as refusal:
        make_bucket(sdk, bucket_name=made.bucket_name)
    assert refusal.value.status == 409


def test_a_deleted_bucket_is_gone_with_its_objects(sdk: Sdk) -> None:
    made = make_bucket(sdk)
    held = make_object(sdk, made.bucket_id)
    answer = sdk.buckets.delete_bucket(made.bucket_id)
    assert answer["bucket_id"] == made.bucket_id
    assert answer["bucket_name"] == made.bucket_name
    assert answer["object_count"] == 1
    task_finished(sdk, answer["task_id"])
    with pytest.raises(NotFoundException):
        sdk.buckets.get_bucket(made.bucket_id)
    with pytest.raises(NotFoundException) as refusal:
        sdk.objects.get_object_buckets(made.bucket_id, held.object_id)
    assert refusal.value.data.error.type == "NotFoundError"
