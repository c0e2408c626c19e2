"""Uploads through the typed SDK: a presigned PUT to where the blobs lie, then a confirmation."""

import hashlib

import httpx
import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import make_bucket, task_finished
from tests.server import RunningServer
from tests.steps import unique


@pytest.fixture(scope="module")
def bucket_id(sdk: Sdk) -> str:
    """A bucket for poems, shared by this module."""
    return str(make_bucket(sdk).bucket_id)


def create(sdk: Sdk, bucket_id: str, **fields: object) -> mixpeek.UploadResponse:
    """A new upload of a text file."""
    asked = {
        "filename": f"{unique('poem')}.txt",
        "content_type": "text/plain",
        "blob_property": "text",
        "blob_type": "text",
        **fields,
    }
    return sdk.uploads.create_upload_buckets(bucket_id, mixpeek.CreateUploadRequest.from_dict(asked))


def send(upload: mixpeek.UploadResponse, content: bytes) -> httpx.Response:
    """PUT the bytes where the upload says."""
    return httpx.put(upload.presigned_url, content=content, headers={"Content-Type": upload.content_type})


def test_an_upload_becomes_an_object(sdk: Sdk, bucket_id: str, server: RunningServer) -> None:
    content = f"A poem sent by PUT, {unique('poem')}.".encode()
    made = create(sdk, bucket_id, object_metadata={"title": "Sent"}, metadata={"from": "test"})
    assert made.upload_id.startswith("upl_")
    assert made.bucket_id == bucket_id
    assert made.status == mixpeek.TaskStatusEnum.PENDING
    assert made.presigned_url.startswith(server.files_url)
    assert made.presigned_url_expiration == 3600
    assert made.is_duplicate is False
    assert made.expires_at > made.created_at
    assert send(made, content).is_success

    confirmed = sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id)
    assert confirmed.status == mixpeek.TaskStatusEnum.COMPLETED
    assert confirmed.file_size_bytes == len(content)
    assert hashlib.sha256(content).hexdigest() in confirmed.file_hash

    held = sdk.objects.get_object_buckets(bucket_id, confirmed.object_id, return_presigned_urls=True)
    assert held.blobs[0].var_property == "text"
    assert held.blobs[0].details.filename == made.filename
    assert held.blobs[0].details.size_bytes == len(content)
    assert httpx.get(held.blobs[0].presigned_url).content == content

    found = sdk.uploads.get_upload_buckets(bucket_id, made.upload_id)
    assert found["status"] == "COMPLETED"
    assert found["object_id"] == confirmed.object_id
    assert found["metadata"] == {"from": "test"}


def test_confirming_twice_makes_one_object(sdk: Sdk, bucket_id: str) -> None:
    made = create(sdk, bucket_id)
    send(made, unique("twice").encode())
    first = sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id)
    second = sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id)
    assert first.object_id == second.object_id


def test_a_confirmation_checks_size_and_presence(sdk: Sdk, bucket_id: str) -> None:
    made = create(sdk, bucket_id)
    with pytest.raises(ApiException) as missing:
        sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id)
    assert 400 <= missing.value.status < 500
    send(made, b"four")
    with pytest.raises(ApiException) as wrong_size:
        sdk.uploads.confirm_upload_buckets(
            bucket_id, made.upload_id, confirm_upload_request=mixpeek.ConfirmUploadRequest(file_size_bytes=5)
        )
    assert 400 <= wrong_size.value.status < 500


def test_a_confirmation_can_be_asynchronous(sdk: Sdk, bucket_id: str) -> None:
    made = create(sdk, bucket_id)
    send(made, unique("later").encode())
    confirmed = sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id, var_async=True)
    task_finished(sdk, confirmed.task_id)
    assert sdk.uploads.get_upload_buckets(bucket_id, made.upload_id)["object_id"].startswith("obj_")


def test_an_upload_without_an_object_can_be_named_by_a_blob(sdk: Sdk, bucket_id: str) -> None:
    made = create(sdk, bucket_id, create_object_on_confirm=False)
    content = unique("named").encode()
    send(made, content)
    assert sdk.uploads.confirm_upload_buckets(bucket_id, made.upload_id).object_id is None
    asked = {
        "blobs": [{"property": "text", "type": "text", "upload_id": made.upload_id}],
        "title": "By upload",
    }
    held = sdk.objects.create_object_buckets(bucket_id, mixpeek.CreateObjectRequest.from_dict(asked))
    assert held.blobs[0].details.size_bytes == len(content)


def test_a_file_that_is_there_already_is_found_by_its_hash(sdk: Sdk, bucket_id: str) -> None:
    content = unique("known").encode()
    file_hash = hashlib.sha256(content).hexdigest()
    first = create(sdk, bucket_id, file_hash=file_hash)
    send(first, content)
    confirmed = sdk.uploads.confirm_upload_buckets(bucket_id, first.upload_id)
    again = create(sdk, bucket_id, file_hash=file_hash)
    assert again.is_duplicate is True
    assert first.upload_id in {again.upload_id, again.duplicate_of_upload_id}
    assert again.object_id in {None, confirmed.object_id}
    anew = create(sdk, bucket_id, file_hash=file_hash, skip_duplicates=False)
    assert anew.is_duplicate is False


def test_uploads_are_created_in_batch_and_listed(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    each = {"filename": "a.txt", "content_type": "text/plain", "blob_property": "text", "blob_type": "text"}
    asked = mixpeek.BatchUploadRequest.from_dict(
        {
            "uploads": [{**each, "metadata": {"n": 1}}, {**each, "filename": "b.txt"}],
            "shared_metadata": {"n": 0, "trip": "north"},
        }
    )
    made = sdk.uploads.create_uploads_batch_buckets(bucket_id, asked)
    assert made.total == 2
    assert [upload.metadata for upload in made.uploads] == [
        {"n": 1, "trip": "north"},
        {"n": 0, "trip": "north"},
    ]

    listed = sdk.uploads.list_uploads_buckets(bucket_id)
    assert {upload.upload_id for upload in listed.results} == {upload.upload_id for upload in made.uploads}
    assert listed.stats.total_uploads == 2
    assert listed.stats.uploads_by_status == {"PENDING": 2}
    searched = sdk.uploads.list_uploads_buckets(
        bucket_id, list_uploads_request=mixpeek.ListUploadsRequest(search="b.txt")
    )
    assert [upload.filename for upload in searched.results] == ["b.txt"]


def test_a_pending_upload_can_be_cancelled_a_completed_one_not(
    sdk: Sdk, bucket_id: str, server: RunningServer
) -> None:
    pending = create(sdk, bucket_id)
    answer = sdk.uploads.delete_upload_buckets_with_http_info(bucket_id, pending.upload_id)
    assert answer.status_code == 204
    late = send(pending, b"late").status_code
    assert late in {403, 404, 409, 410} or server.files_url != server.url  # S3 goes on taking them
    with pytest.raises(NotFoundException):
        sdk.uploads.confirm_upload_buckets(bucket_id, pending.upload_id)
    completed = create(sdk, bucket_id)
    send(completed, unique("done").encode())
    sdk.uploads.confirm_upload_buckets(bucket_id, completed.upload_id)
    with pytest.raises(ApiException) as refusal:
        sdk.uploads.delete_upload_buckets(bucket_id, completed.upload_id)
    assert 400 <= refusal.value.status < 500


def test_an_unknown_upload_is_not_found(sdk: Sdk, bucket_id: str) -> None:
    with pytest.raises(NotFoundException):
        sdk.uploads.get_upload_buckets(bucket_id, "upl_0000000000000000")


@pytest.mark.parametrize("filename", ["../etc/passwd", "a/../../b", "x" * 256, ""])
def test_a_filename_stays_in_its_folder(sdk: Sdk, bucket_id: str, filename: str) -> None:
    body = {"filename": filename, "content_type": "text/plain"}
    with pytest.raises(ApiException) as refusal:
        sdk.uploads.create_upload_buckets(bucket_id, mixpeek.CreateUploadRequest.model_construct(**body))
    assert refusal.value.status == 422
