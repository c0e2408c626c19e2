"""Objects in somebody's bucket are read where they lie, with the credentials of a named connection."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.server import RunningServer
from tests.steps import create_bucket, create_collection, documents, finished, invalid, ok, process, unique

CONNECTIONS = "/v1/organizations/connections"
TEXT = "The keeper of the lighthouse counts the ships at night."


@pytest.fixture(scope="module")
def shelf(s3: S3) -> str:
    """Somebody's bucket with a text in it."""
    name = s3.bucket(f"shelf-{secrets.token_hex(6)}")
    s3.put(name, "books/a lighthouse.txt", TEXT.encode(), "text/plain")
    return name


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that may fetch from loopback, with variables that must not get into what it signs."""
    env = {
        "LAMINA_FETCH_PRIVATE_ADDRESSES": "true",
        "AWS_ACCESS_KEY_ID": "OPERATOR",
        "AWS_SECRET_ACCESS_KEY": "operators-secret",
        "AWS_SESSION_TOKEN": "OPERATORSTOKEN",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    }
    with RunningServer(tmp_path_factory.mktemp("connections") / "data", env=env) as running:
        yield running


@pytest.fixture
def local(own: RunningServer) -> Iterator[httpx.Client]:
    with own.client() as client:
        yield client


def connection(s3: S3, **changes: Any) -> dict[str, Any]:
    """The request for a connection to it."""
    credentials = {"type": "access_key", "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    config = {"credentials": credentials, "endpoint_url": s3.url}
    return {"name": unique("shelf"), "provider_type": "s3", "provider_config": config, **changes}


def text_at(data: Any) -> dict[str, Any]:
    """The request for an object with a text that lies there."""
    return {"blobs": [{"property": "text", "type": "text", "data": data}]}


def test_a_text_is_read_where_it_lies(local: httpx.Client, own: RunningServer, s3: S3, shelf: str) -> None:
    bucket_id = create_bucket(local)["bucket_id"]
    objects = f"/v1/buckets/{bucket_id}/objects"
    collection_id = create_collection(local, bucket_id)["collection_id"]
    url = f"s3://{shelf}/books/a+lighthouse.txt"
    s3.put(shelf, "books/a+lighthouse.txt", TEXT.encode(), "binary/octet-stream")
    (problem,) = invalid(local.post(objects, json=text_at(url)))
    assert "storage connection" in problem["message"]

    made = ok(local.post(CONNECTIONS, json=connection(s3)))
    one = ok(local.post(objects, json=text_at(url)))
    assert one["blobs"][0]["properties"] == {"url": url}
    process(local, bucket_id, [one["object_id"]])
    (document,) = documents(local, collection_id)
    assert document["text"] == TEXT
    assert [file["url"] for file in document["document_blobs"]] == [url]
    shown = ok(local.get(f"{objects}/{one['object_id']}?return_presigned_urls=true"))
    signed = shown["blobs"][0]["presigned_url"]
    assert "OPERATOR" not in signed
    assert httpx.get(signed).text == TEXT
    assert not list((own.data_dir / "blobs").rglob("*.txt")), "it was mirrored"

    spaced = {**text_at({"url": f"s3://{shelf}/books/a lighthouse.txt"}), "skip_duplicates": True}
    two = [ok(local.post(objects, json=body)) for body in (spaced, {**text_at(url), "skip_duplicates": True})]
    assert two[0]["object_id"] not in (one["object_id"], two[1]["object_id"])
    assert two[1]["object_id"] == one["object_id"]
    process(local, bucket_id, [two[0]["object_id"]])
    assert [found["text"] for found in documents(local, collection_id)] == [TEXT, TEXT]
    sentence = f"{url} is where the book lies."
    told = ok(local.post(objects, json=text_at(sentence)))
    assert told["blobs"][0]["properties"]["data"] == sentence

    # A second connection makes the choice the client's; one that is suspended reads nothing.
    other = ok(local.post(CONNECTIONS, json=connection(s3)))
    (problem,) = invalid(local.post(objects, json=text_at(url)))
    assert other["name"] in problem["message"]
    ok(local.post(objects, json=text_at({"url": url, "connection_id": other["connection_id"]})))
    ok(local.patch(f"{CONNECTIONS}/{other['connection_id']}", json={"is_active": False}))
    invalid(local.post(objects, json=text_at({"url": url, "connection_id": other["name"]})))
    ok(local.delete(f"{CONNECTIONS}/{made['connection_id']}"))
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(local.post(batches, json={"object_ids": [one["object_id"]]}))["batch_id"]
    finished(local, ok(local.post(f"{batches}/{batch_id}/submit"))["task_id"], status="FAILED")
    (failure,) = ok(local.get(f"{batches}/{batch_id}/failed-documents"))["results"]
    assert "no active connection" in str(failure)


def test_a_connection_is_tried_before_it_is_kept(
    local: httpx.Client, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with S3(tmp_path_factory.mktemp("strict"), {"INITIAL_NO_AUTH_ACTION_COUNT": "1"}) as strict:
        (problem,) = invalid(local.post(CONNECTIONS, json=connection(strict)))
        assert "refuses the credentials" in problem["message"]
        kept = ok(local.post(CONNECTIONS, json=connection(strict, test_before_save=False)))
        path = f"{CONNECTIONS}/{kept['connection_id']}"
        assert ok(local.post(f"{path}/test"))["success"] is False
        assert ok(local.get(path))["consecutive_failures"] == 1
    config = {"endpoint_url": s3.url, "credentials": {"access_key_id": ACCESS_KEY}}
    ok(local.patch(path, json={"provider_config": config}))  # the secret is kept
    assert ok(local.post(f"{path}/test")) == {
        "success": True,
        "message": "The provider takes the credentials.",
    }
    ok(local.delete(path))


def test_a_connection_may_be_limited_to_a_prefix_of_a_bucket(local: httpx.Client, s3: S3, shelf: str) -> None:
    body = connection(s3)
    body["provider_config"] |= {"bucket": shelf, "prefix": "books/"}
    made = ok(local.post(CONNECTIONS, json=body))
    objects = f"/v1/buckets/{create_bucket(local)['bucket_id']}/objects"
    named = {"connection_id": made["connection_id"]}
    ok(local.post(objects, json=text_at({"url": f"s3://{shelf}/books/x.txt", **named})))
    for elsewhere in (f"s3://{shelf}/letters/x.txt", "s3://other/books/x.txt"):
        invalid(local.post(objects, json=text_at({"url": elsewhere, **named})))
    for strange in (f"s3://{shelf}/books/../letters/x", f"s3://{shelf}", f"s3://u@{shelf}/books/x"):
        invalid(local.post(objects, json=text_at({"url": strange, **named})))
    ok(local.delete(f"{CONNECTIONS}/{made['connection_id']}"))


@pytest.mark.parametrize("endpoint", [None, "http://169.254.169.254", "http://[::1]:9000", "http://10.0.0.7"])
def test_no_connection_leads_into_the_servers_own_network(
    api: httpx.Client, s3: S3, shelf: str, endpoint: str | None
) -> None:
    """`api` is a server that may not fetch from private addresses."""
    body = connection(s3)
    body["provider_config"]["endpoint_url"] = endpoint or s3.url
    (problem,) = invalid(api.post(CONNECTIONS, json=body))
    assert "not public" in problem["message"]
    made = ok(api.post(CONNECTIONS, json={**body, "test_before_save": False}))
    tried = ok(api.post(f"{CONNECTIONS}/{made['connection_id']}/test"))
    assert tried["success"] is False
    assert "not public" in tried["message"]

    bucket_id = create_bucket(api)["bucket_id"]
    create_collection(api, bucket_id)
    data = {"url": f"s3://{shelf}/books/a lighthouse.txt", "connection_id": made["name"]}
    one = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=text_at(data)))
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": [one["object_id"]]}))["batch_id"]
    finished(api, ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"], status="FAILED")
    (failure,) = ok(api.get(f"{batches}/{batch_id}/failed-documents"))["results"]
    assert "not public" in str(failure)
    ok(api.delete(f"{CONNECTIONS}/{made['connection_id']}"))


@pytest.mark.parametrize(
    ("provider", "config", "status"),
    [
        ("dropbox", {}, 501),
        ("google_drive", {"credentials": {}}, 501),
        ("s3", {"credentials": {"type": "iam_role", "role_arn": "x", "external_id": "y"}}, 501),
        ("s3", {}, 422),
        ("s3", {"credentials": {"access_key_id": "a"}}, 422),
        ("gcs", {"credentials": {"service_account_json": {}}, "bucket": "b"}, 422),
        ("azure_blob", {"credentials": {"account_name": "evil.example/", "account_key": "a"}}, 422),
    ],
)
def test_a_configuration_that_is_none_is_refused(
    api: httpx.Client, provider: str, config: dict[str, Any], status: int
) -> None:
    body = {"name": unique("bad"), "provider_type": provider, "provider_config": config}
    answer = api.post(CONNECTIONS, json=body)
    assert answer.status_code == status, answer.text
