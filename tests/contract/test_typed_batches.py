"""Batches and tasks through the typed SDK."""

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import make_batch, make_bucket, make_collection, make_object, task_finished
from tests.steps import POEMS, TERMINAL, eventually, poem_object, unique

Status = mixpeek.TaskStatusEnum


@pytest.fixture(scope="module")
def bucket_id(sdk: Sdk) -> str:
    """A bucket with a collection that reads it, shared by this module."""
    made = make_bucket(sdk).bucket_id
    make_collection(sdk, made)
    return str(made)


def submit(sdk: Sdk, bucket_id: str, batch_id: str) -> mixpeek.TaskResponse:
    """Submit the batch."""
    return sdk.bucket_batches.submit_batch_buckets_batches(bucket_id, batch_id)


def test_a_batch_goes_from_draft_to_completed(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    collection_id = make_collection(sdk, bucket_id).collection_id
    objects = [make_object(sdk, bucket_id, poem).object_id for poem in POEMS]

    made = make_batch(sdk, bucket_id, objects[:4], batch_name="Poems", metadata={"campaign_id": "c1"})
    assert made.batch_id.startswith("btch_")
    assert made.bucket_id == bucket_id
    assert made.status == Status.DRAFT
    assert made.object_ids == objects[:4]
    assert made.batch_name == "Poems"
    assert made.metadata.campaign_id == "c1"

    added = sdk.bucket_batches.add_objects_to_batch_buckets_batches(
        bucket_id, made.batch_id, mixpeek.AddObjectsToBatchRequest(object_ids=objects[3:])
    )
    assert added.object_ids == objects

    task = submit(sdk, bucket_id, made.batch_id)
    assert task.status in {
        Status.PENDING,
        Status.QUEUED,
        Status.IN_PROGRESS,
        Status.PROCESSING,
        Status.COMPLETED,
    }
    task_finished(sdk, task.task_id)
    assert sdk.collection_documents.count_documents(collection_id).count == len(objects)

    done = sdk.bucket_batches.get_batch_buckets_batches(bucket_id, made.batch_id)
    assert done.status == Status.COMPLETED
    assert done.task_id == task.task_id
    assert done.collection_ids == [collection_id]
    assert done.documents_written == len(objects)
    assert done.failed_object_count == 0
    assert done.progress.processed == done.progress.total == len(objects)
    assert done.progress.percent == 100
    assert [tier.status for tier in done.tier_tasks] == [Status.COMPLETED]
    assert done.tier_tasks[0].collection_ids == [collection_id]
    assert done.total_tiers == 1
    assert sdk.batches.get_batch_by_id_batches(made.batch_id).to_dict() == done.to_dict()
    assert sdk.objects.get_object_buckets(bucket_id, objects[0]).status == Status.COMPLETED


def test_a_batch_runs_through_tiers_of_collections(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    first = make_collection(sdk, bucket_id).collection_id
    source = {"type": "collection", "collection_id": first}
    second = make_collection(sdk, bucket_id, source=source).collection_id
    objects = [make_object(sdk, bucket_id, poem).object_id for poem in POEMS[:2]]
    made = make_batch(sdk, bucket_id, objects)
    task_finished(sdk, submit(sdk, bucket_id, made.batch_id).task_id)

    done = sdk.batches.get_batch_by_id_batches(made.batch_id)
    assert done.total_tiers == 2
    assert [tier.collection_ids for tier in done.tier_tasks] == [[first], [second]]
    assert done.dag_tiers == [[first], [second]]
    deep = sdk.collection_documents.list_documents(second).results
    assert len(deep) == 2
    for document in deep:
        lineage = document.internal.lineage
        assert lineage.root_object_id in objects
        assert lineage.root_bucket_id == bucket_id
        assert lineage.source_type == "collection"
        assert lineage.source_collection_id == first
        assert lineage.path == f"{bucket_id}/{first}/{second}"
        assert [step["collection_id"] for step in lineage.chain] == [first, second]
        parent = sdk.documents.get_document_ns(lineage.source_document_id)
        assert parent.collection_id == first


def test_running_a_batch_again_writes_no_second_document(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    collection_id = make_collection(sdk, bucket_id).collection_id
    objects = [make_object(sdk, bucket_id, poem).object_id for poem in POEMS[:3]]
    for strategy in ("skip", "replace", "force"):
        made = make_batch(sdk, bucket_id, objects, dedup_strategy=strategy)
        task_finished(sdk, submit(sdk, bucket_id, made.batch_id).task_id)
        assert sdk.collection_documents.count_documents(collection_id).count == len(objects)


def test_a_batch_can_be_limited_to_some_collections(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    wanted, other = (make_collection(sdk, bucket_id).collection_id for _ in range(2))
    held = make_object(sdk, bucket_id).object_id
    made = make_batch(sdk, bucket_id, [held], collection_ids=[wanted])
    task_finished(sdk, submit(sdk, bucket_id, made.batch_id).task_id)
    assert sdk.collection_documents.count_documents(wanted).count == 1
    assert sdk.collection_documents.count_documents(other).count == 0


def test_batches_of_a_bucket_are_listed_and_filtered(sdk: Sdk, bucket_id: str) -> None:
    held = make_object(sdk, bucket_id).object_id
    draft = make_batch(sdk, bucket_id, [held])
    done = make_batch(sdk, bucket_id, [held])
    task_finished(sdk, submit(sdk, bucket_id, done.batch_id).task_id)
    everything = sdk.bucket_batches.list_batches_buckets(bucket_id)
    assert {draft.batch_id, done.batch_id} <= {each.batch_id for each in everything.results}
    assert everything.total_count == len(everything.results)
    asked = mixpeek.ListBatchesRequest(status=Status.DRAFT)
    drafts = sdk.bucket_batches.list_batches_buckets(bucket_id, list_batches_request=asked)
    ids = {each.batch_id for each in drafts.results}
    assert draft.batch_id in ids
    assert done.batch_id not in ids


def test_a_batch_is_changed_and_submitted_only_in_draft(sdk: Sdk, bucket_id: str) -> None:
    held = make_object(sdk, bucket_id).object_id
    made = make_batch(sdk, bucket_id, [held])
    task_finished(sdk, submit(sdk, bucket_id, made.batch_id).task_id)
    with pytest.raises(ApiException) as again:
        submit(sdk, bucket_id, made.batch_id)
    assert 400 <= again.value.status < 500
    with pytest.raises(ApiException) as adding:
        sdk.bucket_batches.add_objects_to_batch_buckets_batches(
            bucket_id, made.batch_id, mixpeek.AddObjectsToBatchRequest(object_ids=[held])
        )
    assert 400 <= adding.value.status < 500


def test_a_batch_needs_objects_that_exist(sdk: Sdk, bucket_id: str) -> None:
    with pytest.raises(ApiException) as refusal:
        make_batch(sdk, bucket_id, ["obj_" + "0" * 24])
    assert refusal.value.status in {404, 422}
    assert "obj_" + "0" * 24 in refusal.value.data.error.message


def test_a_deleted_batch_is_gone_and_its_objects_stay(sdk: Sdk, bucket_id: str) -> None:
    held = make_object(sdk, bucket_id).object_id
    made = make_batch(sdk, bucket_id, [held])
    assert sdk.bucket_batches.delete_batch_buckets_batches(bucket_id, made.batch_id).success is True
    with pytest.raises(NotFoundException):
        sdk.batches.get_batch_by_id_batches(made.batch_id)
    assert sdk.objects.get_object_buckets(bucket_id, held).object_id == held


def long_batch(sdk: Sdk) -> tuple[str, str, str]:
    """A submitted batch with work for some seconds: its bucket, its id and its collection."""
    bucket_id = make_bucket(sdk).bucket_id
    collection_id = make_collection(sdk, bucket_id).collection_id
    poem = {**POEMS[0], "text": " ".join(poem["text"] for poem in POEMS) * 4}
    asked = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": [poem_object(poem)] * 100})
    objects: list[str] = []
    for _ in range(5):
        answer = sdk.objects.create_objects_batch_buckets(bucket_id, asked)
        objects += [each.object_id for each in answer.succeeded]
    batch_id = make_batch(sdk, bucket_id, objects).batch_id
    submit(sdk, bucket_id, batch_id)
    return bucket_id, batch_id, collection_id


def test_a_cancelled_batch_stops_and_says_so(sdk: Sdk) -> None:
    bucket_id, batch_id, collection_id = long_batch(sdk)
    answer = sdk.bucket_batches.cancel_batch_buckets_batches(bucket_id, batch_id, reason="not needed")
    assert answer.task_id == sdk.batches.get_batch_by_id_batches(batch_id).task_id
    eventually(
        lambda: sdk.batches.get_batch_by_id_batches(batch_id).status in TERMINAL, "the batch has ended"
    )
    ended = sdk.batches.get_batch_by_id_batches(batch_id)
    assert ended.status == Status.CANCELED
    assert sdk.tasks.get_task(answer.task_id).status == Status.CANCELED
    written = sdk.collection_documents.count_documents(collection_id).count
    assert written == (ended.documents_written or 0)
    assert written < len(ended.object_ids)


def test_a_killed_task_cancels_its_batch_and_can_be_killed_again(sdk: Sdk) -> None:
    _, batch_id, _ = long_batch(sdk)
    task_id = sdk.batches.get_batch_by_id_batches(batch_id).task_id
    assert sdk.tasks.kill_task(task_id).success is True
    eventually(lambda: sdk.tasks.get_task(task_id).status in TERMINAL, "the task has ended")
    assert sdk.tasks.get_task(task_id).status == Status.CANCELED
    assert sdk.batches.get_batch_by_id_batches(batch_id).status == Status.CANCELED
    assert sdk.tasks.kill_task(task_id).success is True
    assert sdk.tasks.kill_task(unique("task_unknown")).success is True


def test_tasks_are_listed_filtered_and_searched(sdk: Sdk, bucket_id: str) -> None:
    made = make_batch(sdk, bucket_id, [make_object(sdk, bucket_id).object_id])
    task = task_finished(sdk, submit(sdk, bucket_id, made.batch_id).task_id)
    recent = mixpeek.ListTasksRequest.from_dict({"sort": {"field": "created_at", "direction": "desc"}})
    listed = sdk.tasks.list_tasks(limit=1000, list_tasks_request=recent)
    assert task.task_id in {each.task_id for each in listed.results}

    by_id = {"AND": [{"field": "task_id", "operator": "eq", "value": task.task_id}]}
    found = sdk.tasks.list_tasks(list_tasks_request=mixpeek.ListTasksRequest.from_dict({"filters": by_id}))
    assert [each.task_id for each in found.results] == [task.task_id]
    searched = sdk.tasks.list_tasks(list_tasks_request=mixpeek.ListTasksRequest(search=task.task_id))
    assert [each.task_id for each in searched.results] == [task.task_id]

    asked = mixpeek.ListTasksRequest(status=Status.COMPLETED, task_type=task.task_type)
    completed = sdk.tasks.list_tasks(limit=1000, list_tasks_request=asked)
    assert completed.results
    assert {(each.status, each.task_type) for each in completed.results} == {
        (Status.COMPLETED, task.task_type)
    }


def test_an_unknown_task_is_not_found(sdk: Sdk) -> None:
    with pytest.raises(NotFoundException) as refusal:
        sdk.tasks.get_task("task_unknown")
    assert refusal.value.data.error.type == "NotFoundError"
