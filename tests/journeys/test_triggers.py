"""A collection is told to process what its source holds."""

from typing import Any

import httpx
import pytest

from tests.steps import (
    create_bucket,
    create_collection,
    create_objects,
    documents,
    finished,
    ok,
    process,
    refused,
)

SHIPS = [{"text": f"Ship number {year} sails.", "title": f"s{year}", "year": year} for year in range(6)]


def triggered(
    api: httpx.Client, collection_id: str, status: str = "COMPLETED", **body: Any
) -> dict[str, Any]:
    """The batch of a trigger, once it has ended."""
    answer = ok(api.post(f"/v1/collections/{collection_id}/trigger", json=body), 202)
    finished(api, answer["task_id"], status=status)
    batch: dict[str, Any] = ok(api.get(f"/v1/batches/{answer['batch_id']}"))
    return {**batch, "answer": answer}


def years(api: httpx.Client, collection_id: str) -> list[int]:
    """The years of a collection's documents."""
    return sorted(one["year"] for one in documents(api, collection_id))


def year_is(operator: str, value: Any) -> dict[str, Any]:
    """A filter on the year."""
    return {"AND": [{"field": "year", "operator": operator, "value": value}]}


def test_a_trigger_processes_all_that_the_buckets_hold(api: httpx.Client) -> None:
    first, second = (create_bucket(api)["bucket_id"] for _ in range(2))
    create_objects(api, first, SHIPS[:4])
    create_objects(api, second, SHIPS[4:])
    source = {"type": "bucket", "bucket_ids": [first, second]}
    made = create_collection(api, first, source=source)["collection_id"]
    answer = ok(api.post(f"/v1/collections/{made}/trigger", json={}), 202)
    assert answer["batch_count"] == 2
    assert answer["object_count"] == 6
    for task_id in answer["task_ids"]:
        finished(api, task_id)
    assert years(api, made) == [0, 1, 2, 3, 4, 5]


def test_a_trigger_can_name_buckets_objects_and_a_filter(api: httpx.Client) -> None:
    first, second = (create_bucket(api)["bucket_id"] for _ in range(2))
    ids = create_objects(api, first, SHIPS)
    create_objects(api, second, SHIPS)
    source = {"type": "bucket", "bucket_ids": [first, second]}
    made = create_collection(api, first, source=source)["collection_id"]
    triggered(api, made, include_buckets=[first], source_filters=year_is("gte", 4))
    assert years(api, made) == [4, 5]
    triggered(api, made, include_buckets=[first], object_ids=ids[:1])
    assert years(api, made) == [0, 4, 5]
    refused(api.post(f"/v1/collections/{made}/trigger", json={"include_buckets": ["bkt_none"]}), 422)


def test_a_collections_own_filter_holds_for_every_way_of_processing(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    ids = create_objects(api, bucket_id, SHIPS)
    source = {"type": "bucket", "bucket_ids": [bucket_id], "source_filters": {"filters": year_is("lt", 2)}}
    made = create_collection(api, bucket_id, source=source)["collection_id"]
    batch_id = process(api, bucket_id, ids)
    assert years(api, made) == [0, 1]
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert batch["progress"]["objects_skipped"] == 4
    assert batch["failed_object_count"] == 0
    triggered(api, made, dedup_strategy="force")
    assert years(api, made) == [0, 1]


def test_a_trigger_leaves_unchanged_objects_alone(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    ids = create_objects(api, bucket_id, SHIPS)
    made = create_collection(api, bucket_id)["collection_id"]
    assert triggered(api, made)["progress"]["objects_skipped"] == 0
    stamps = {one["document_id"]: one["_internal"]["updated_at"] for one in documents(api, made)}

    again = triggered(api, made)
    assert again["progress"]["objects_skipped"] == 6
    assert again["documents_written"] == 0
    assert {one["document_id"]: one["_internal"]["updated_at"] for one in documents(api, made)} == stamps

    ok(api.patch(f"/v1/buckets/{bucket_id}/objects/{ids[2]}", json={"title": "Renamed"}))
    changed = triggered(api, made)
    assert (changed["progress"]["objects_skipped"], changed["documents_written"]) == (5, 1)
    assert sorted(one["title"] for one in documents(api, made)) == ["Renamed", "s0", "s1", "s3", "s4", "s5"]

    lost = documents(api, made)[0]["document_id"]
    ok(api.request("DELETE", f"/v1/collections/{made}/documents/batch", json={"document_ids": [lost]}))
    healed = triggered(api, made)
    assert (healed["progress"]["objects_skipped"], healed["documents_written"]) == (5, 1)
    assert triggered(api, made, dedup_strategy="force")["documents_written"] == 6


def test_a_trigger_on_a_collection_processes_its_documents_and_what_reads_them(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    ids = create_objects(api, bucket_id, SHIPS)
    first = create_collection(api, bucket_id)["collection_id"]
    process(api, bucket_id, ids)
    second = create_collection(api, bucket_id, source={"type": "collection", "collection_ids": [first]})
    below = {"type": "collection", "collection_ids": [second["collection_id"]]}
    third = create_collection(api, bucket_id, source=below)["collection_id"]
    batch = triggered(api, second["collection_id"], source_filters=year_is("in", [1, 2]))
    assert batch["type"] == "COLLECTION"
    assert batch["answer"]["total_tiers"] == 2
    assert years(api, second["collection_id"]) == [1, 2]
    assert years(api, third) == [1, 2]
    for document in documents(api, third):
        chain = document["_internal"]["lineage"]["chain"]
        assert [step["collection_id"] for step in chain] == [first, second["collection_id"], third]
    triggered(api, second["collection_id"])
    assert years(api, third) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("source", ["bucket", "collection"])
def test_a_trigger_on_an_empty_source_is_a_failed_batch(api: httpx.Client, source: str) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)["collection_id"]
    if source == "collection":
        below = {"type": "collection", "collection_ids": [made]}
        made = create_collection(api, bucket_id, source=below)["collection_id"]
    batch = triggered(api, made, status="FAILED")
    assert batch["status"] == "FAILED"
    assert "nothing" in batch["error"]
    assert batch["failed_object_count"] == 0


def test_named_collections_of_a_batch_run_alone_and_must_belong_to_the_bucket(api: httpx.Client) -> None:
    bucket_id, other = (create_bucket(api)["bucket_id"] for _ in range(2))
    ids = create_objects(api, bucket_id, SHIPS)
    first = create_collection(api, bucket_id)
    below = {"type": "collection", "collection_ids": [first["collection_id"]]}
    second = create_collection(api, bucket_id, source=below)
    stranger = create_collection(api, other)
    batches = f"/v1/buckets/{bucket_id}/batches"

    def submitted(*names: str) -> httpx.Response:
        batch_id = ok(api.post(batches, json={"object_ids": ids}))["batch_id"]
        return api.post(f"{batches}/{batch_id}/submit", json={"collection_ids": list(names)})

    finished(api, ok(submitted(first["collection_name"]))["task_id"])
    assert years(api, second["collection_id"]) == []
    finished(api, ok(submitted(second["collection_id"]))["task_id"])
    assert years(api, second["collection_id"]) == [0, 1, 2, 3, 4, 5]
    refused(submitted(first["collection_id"], stranger["collection_id"]), 422)
    refused(submitted("col_none"), 422)


def test_a_disabled_collection_is_left_out_with_all_that_reads_it(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    ids = create_objects(api, bucket_id, SHIPS)
    first = create_collection(api, bucket_id)["collection_id"]
    below = {"type": "collection", "collection_ids": [first]}
    second = create_collection(api, bucket_id, source=below)["collection_id"]
    lowest = {"type": "collection", "collection_ids": [second]}
    third = create_collection(api, bucket_id, source=lowest)["collection_id"]
    ok(api.patch(f"/v1/collections/{second}", json={"enabled": False}))
    batch_id = process(api, bucket_id, ids)
    assert ok(api.get(f"/v1/batches/{batch_id}"))["dag_tiers"] == [[first]]
    assert years(api, third) == []
    refused(api.post(f"/v1/collections/{second}/trigger", json={}), 400)


def test_a_collection_that_reads_two_runs_after_both(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    ids = create_objects(api, bucket_id, SHIPS)
    first = create_collection(api, bucket_id)["collection_id"]
    below = {"type": "collection", "collection_ids": [first]}
    second = create_collection(api, bucket_id, source=below)["collection_id"]
    both = {"type": "collection", "collection_ids": [first, second]}
    last = create_collection(api, bucket_id, source=both)["collection_id"]
    batch_id = process(api, bucket_id, ids)
    assert ok(api.get(f"/v1/batches/{batch_id}"))["dag_tiers"] == [[first], [second], [last]]
    assert years(api, last) == sorted([*range(6), *range(6)])
