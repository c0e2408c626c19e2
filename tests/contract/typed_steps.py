"""Steps that the typed tests share, performed through the SDK."""

import time
from typing import Any

import mixpeek

from tests.contract.sdk import Sdk
from tests.steps import POEM_SCHEMA, POEMS, TERMINAL, poem_object, text_extractor, unique


def task_finished(
    sdk: Sdk, task_id: str, *, status: str = "COMPLETED", seconds: float = 90.0
) -> mixpeek.TaskResponse:
    """Poll the task until it has ended; it must have ended with `status`."""
    deadline = time.monotonic() + seconds
    while True:
        task = sdk.tasks.get_task(task_id)
        if task.status in TERMINAL:
            assert task.status == status, task
            return task
        assert time.monotonic() < deadline, f"the task did not end within {seconds} s: {task}"
        time.sleep(0.05)


def make_bucket(sdk: Sdk, schema: dict[str, Any] | None = None, **fields: Any) -> mixpeek.BucketResponse:
    """A new bucket, for poems unless a schema is given."""
    asked = {"bucket_name": unique("bucket"), "bucket_schema": schema or POEM_SCHEMA, **fields}
    return sdk.buckets.create_bucket(mixpeek.BucketCreateRequest.from_dict(asked))


def make_object(
    sdk: Sdk, bucket_id: str, poem: dict[str, Any] | None = None, **fields: Any
) -> mixpeek.ObjectResponse:
    """A new object that holds one poem."""
    asked = {**poem_object(poem or POEMS[0]), **fields}
    return sdk.objects.create_object_buckets(bucket_id, mixpeek.CreateObjectRequest.from_dict(asked))


def make_collection(sdk: Sdk, bucket_id: str, **changes: Any) -> mixpeek.CollectionResponse:
    """A new collection that reads the bucket with `text_extractor`."""
    asked = {
        "collection_name": unique("collection"),
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": text_extractor(),
        **changes,
    }
    return sdk.collections.create_collection(mixpeek.CreateCollectionRequest.from_dict(asked))


def make_batch(sdk: Sdk, bucket_id: str, object_ids: list[str], **fields: Any) -> mixpeek.BatchModel:
    """A new batch in DRAFT."""
    asked = mixpeek.CreateBatchRequest.from_dict({"object_ids": object_ids, **fields})
    return sdk.bucket_batches.create_batch_buckets_batches(bucket_id, asked)


def make_document(sdk: Sdk, collection_id: str, **fields: Any) -> mixpeek.DocumentResponse:
    """A new document, created directly."""
    asked = mixpeek.DocumentCreateRequest.from_dict({"collection_id": collection_id, **fields})
    return sdk.collection_documents.create_document(collection_id, asked)


def fields_of(document: mixpeek.DocumentResponse) -> dict[str, Any]:
    """The user's fields of a document: what the SDK keeps beside its own attributes."""
    kept: dict[str, Any] = document.additional_properties
    return kept
