"""Golden tests of the page for objects in batch (004)."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from tests.steps import PIXEL, create_bucket, invalid, ok, refused

OBJECT = {
    "object_id",
    "bucket_id",
    "key_prefix",
    "content_hash",
    "blobs",
    "source_details",
    "status",
    "skip_duplicates",
    "created_at",
    "updated_at",
}
"""What a good object's answer holds; `error` is null for it, and null fields are left out."""

BLOB = {"blob_id", "property", "type", "properties", "details"}

TYPES = {
    "string", "number", "integer", "float", "boolean", "object", "array", "date", "datetime",
    "text", "image", "audio", "video", "pdf", "excel",
}  # fmt: skip

SCHEMA = {
    "properties": {
        "content": {"type": "text"},
        "record": {"type": "object"},
        "thumbnail": {"type": "image"},
        "n": {"type": "integer"},
    }
}

PAGES_EXAMPLE = {
    "blobs": [
        {
            "data": {"num_pages": 5, "title": "Service Agreement 2024"},
            "key_prefix": "/contract-2024/content.pdf",
            "metadata": {"author": "John Doe", "department": "Legal"},
            "property": "record",
            "type": "json",
        },
    ],
    "key_prefix": "/documents",
    "metadata": {"category": "contracts", "status": "draft", "year": 2024},
}


@pytest.fixture(scope="module")
def bucket_id(api: httpx.Client) -> str:
    """A bucket with one property of each kind, shared by this module."""
    return str(create_bucket(api, SCHEMA)["bucket_id"])


def send(api: httpx.Client, bucket_id: str, *objects: Any, **request: Any) -> httpx.Response:
    """Create the objects in one call."""
    return api.post(f"/v1/buckets/{bucket_id}/objects/batch", json={"objects": list(objects)}, **request)


def text(data: Any = "words", **more: Any) -> dict[str, Any]:
    """An object with one text blob."""
    return {"blobs": [{"property": "content", "type": "text", "data": data}], **more}


def test_the_answer_is_a_bare_array_in_the_order_sent(api: httpx.Client, bucket_id: str) -> None:
    answer = ok(send(api, bucket_id, *(text(f"words {n}", n=n) for n in range(5))))
    assert isinstance(answer, list)
    assert [each["n"] for each in answer] == list(range(5))
    assert len({each["object_id"] for each in answer}) == 5


def test_an_object_has_the_pages_fields_and_defaults(api: httpx.Client, bucket_id: str) -> None:
    (made,) = ok(send(api, bucket_id, text("words", key_prefix="/a")))
    assert set(made) == OBJECT
    assert re.fullmatch(r"obj_[0-9a-f]+", made["object_id"])
    assert made["bucket_id"] == bucket_id
    assert made["key_prefix"] == "/a"
    assert made["status"] == "DRAFT"
    assert made["skip_duplicates"] is False
    assert re.fullmatch(r"[0-9a-f]{64}", made["content_hash"])
    assert made["source_details"] == [{"type": "bucket", "source_id": bucket_id}]
    for moment in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", made[moment])
    (blob,) = made["blobs"]
    assert set(blob) - {"key_prefix"} == BLOB
    assert blob["property"] == "content"
    assert blob["type"] == "text"
    assert blob["details"]["size_bytes"] == len("words")
    assert blob["details"]["mime_type"].startswith("text/plain")
    assert hashlib.sha256(b"words").hexdigest() in blob["details"]["hash"]


def test_what_was_answered_is_what_is_read(api: httpx.Client, bucket_id: str) -> None:
    (made,) = ok(send(api, bucket_id, text("words", n=3)))
    found = ok(api.get(f"/v1/buckets/{bucket_id}/objects/{made['object_id']}"))
    assert {key: value for key, value in found.items() if key != "document_count"} == made


def test_the_pages_own_example_is_accepted(api: httpx.Client, bucket_id: str) -> None:
    (made,) = ok(send(api, bucket_id, PAGES_EXAMPLE))
    assert made["key_prefix"] == "/documents"
    assert made["metadata"] == {"category": "contracts", "status": "draft", "year": 2024}
    (blob,) = made["blobs"]
    assert blob["type"] == "object"
    assert blob["key_prefix"] == "/contract-2024/content.pdf"
    assert blob["properties"]["title"] == "Service Agreement 2024"
    assert blob["properties"]["num_pages"] == 5
    assert blob["properties"]["author"] == "John Doe"
    assert blob["properties"]["department"] == "Legal"


def test_an_image_may_be_named_by_a_url_in_its_data(api: httpx.Client, bucket_id: str) -> None:
    """The page's second blob. Where the URL cannot be fetched, the answer is a clear 4xx, never a 500."""
    data = {"filename": "https://example.invalid/images/smartphone-x1.jpg", "mime_type": "image/jpeg"}
    blob = {"data": data, "property": "thumbnail", "type": "image", "metadata": {"height": 300, "width": 200}}
    answer = send(api, bucket_id, {"blobs": [blob]})
    if answer.status_code == 200:
        (made,) = answer.json()
        assert made["blobs"][0]["properties"]["height"] == 300
    else:
        assert "example.invalid" in str(refused(answer, answer.status_code))
        assert 400 <= answer.status_code < 500


IMAGE = base64.b64decode(PIXEL)


@pytest.mark.parametrize(
    "data",
    [
        PIXEL,
        "data:image/png;base64," + PIXEL,
        {"base64": PIXEL, "mime_type": "image/png", "filename": "dot.png"},
    ],
    ids=["base64", "data-uri", "object"],
)
def test_an_image_is_stored_and_sniffed(api: httpx.Client, bucket_id: str, data: Any) -> None:
    (made,) = ok(send(api, bucket_id, {"blobs": [{"property": "thumbnail", "type": "image", "data": data}]}))
    details = made["blobs"][0]["details"]
    assert details["size_bytes"] == len(IMAGE)
    assert details["mime_type"] == "image/png"
    assert hashlib.sha256(IMAGE).hexdigest() in details["hash"]
    if isinstance(data, dict):
        assert details["filename"] == "dot.png"
    assert PIXEL not in str(made), "bytes are not echoed"


@pytest.mark.parametrize("written", ["json", "JSON", "object", "OBJECT"])
def test_other_spellings_of_a_type_are_read_and_the_enums_emitted(
    api: httpx.Client, bucket_id: str, written: str
) -> None:
    (made,) = ok(send(api, bucket_id, {"blobs": [{"property": "record", "type": written, "data": {"a": 1}}]}))
    assert made["blobs"][0]["type"] == "object"
    assert made["blobs"][0]["type"] in TYPES


@pytest.mark.parametrize("count", [0, 1, 100])
def test_up_to_a_hundred_objects_are_accepted(api: httpx.Client, bucket_id: str, count: int) -> None:
    assert len(ok(send(api, bucket_id, *[text()] * count))) == count


def test_more_than_a_hundred_objects_are_refused(api: httpx.Client, bucket_id: str) -> None:
    problems = invalid(send(api, bucket_id, *[text()] * 101), "objects")
    assert problems[0]["location"][:2] == ["body", "objects"]


@pytest.mark.parametrize(
    "body", [{}, {"objects": None}, {"objects": {}}, {"objects": [1]}, {"objects": ["x"]}, []]
)
def test_objects_must_be_a_list_of_objects(api: httpx.Client, bucket_id: str, body: Any) -> None:
    invalid(api.post(f"/v1/buckets/{bucket_id}/objects/batch", json=body))


@pytest.mark.parametrize("length", [1, 100])
def test_a_property_has_up_to_a_hundred_characters(api: httpx.Client, length: int) -> None:
    name = "p" * length
    made = create_bucket(api, {"properties": {name: {"type": "text"}}})["bucket_id"]
    ok(send(api, made, {"blobs": [{"property": name, "type": "text", "data": "x"}]}))


@pytest.mark.parametrize("name", ["", "p" * 101])
def test_other_lengths_of_a_property_are_refused(api: httpx.Client, bucket_id: str, name: str) -> None:
    invalid(send(api, bucket_id, {"blobs": [{"property": name, "type": "text", "data": "x"}]}), "property")


@pytest.mark.parametrize(
    ("blob", "field"),
    [
        ({"type": "text", "data": "x"}, "property"),
        ({"property": "content", "data": "x"}, "type"),
        ({"property": "content", "type": "hologram", "data": "x"}, "type"),
        ({"property": "content", "type": "text"}, "data"),
        ({"property": "content", "type": "text", "data": "x", "upload_id": "upl_1"}, "upload_id"),
        ({"property": "content", "type": "text", "upload_id": "not-an-upload"}, "upload_id"),
        ({"property": "content", "type": "image", "data": "x"}, "type"),
        ({"property": "thumbnail", "type": "image", "data": "data:image/png;base64,@@@"}, "data"),
    ],
    ids=["no-property", "no-type", "bad-type", "no-data", "both", "bad-upload", "other-type", "bad-base64"],
)
def test_a_wrong_blob_is_refused_by_field(
    api: httpx.Client, bucket_id: str, blob: dict[str, Any], field: str
) -> None:
    invalid(send(api, bucket_id, {"blobs": [blob]}), field)


def test_one_bad_object_refuses_the_whole_array(api: httpx.Client) -> None:
    bucket_id = create_bucket(api, SCHEMA)["bucket_id"]
    problems = invalid(send(api, bucket_id, text(), text(n="three")), "n")
    assert "1" in [str(part) for part in problems[0]["location"]], "the object is named by its place"
    assert ok(api.get(f"/v1/buckets/{bucket_id}/objects"))["results"] == []


def test_data_may_be_any_json(api: httpx.Client) -> None:
    kinds = {
        "string": "s",
        "integer": 3,
        "float": 0.5,
        "boolean": True,
        "object": {"a": 1},
        "array": [1, "b"],
    }
    bucket_id = create_bucket(api, {"properties": {kind: {"type": kind} for kind in kinds}})["bucket_id"]
    blobs = [{"property": kind, "type": kind, "data": value} for kind, value in kinds.items()]
    (made,) = ok(send(api, bucket_id, {"blobs": blobs}))
    assert [blob["type"] for blob in made["blobs"]] == list(kinds)


def test_nothing_is_processed_unless_asked_for(api: httpx.Client, bucket_id: str) -> None:
    body = {"objects": [text()], "auto_process": True}
    invalid(api.post(f"/v1/buckets/{bucket_id}/objects/batch", json=body), "auto_process")
    invalid(send(api, bucket_id, text(auto_process=True)), "auto_process")


def test_a_bucket_with_a_unique_key_refuses_the_call(api: httpx.Client) -> None:
    made = create_bucket(api, {"properties": {"n": {"type": "integer"}}}, unique_key={"fields": ["n"]})
    refused(send(api, made["bucket_id"], {"n": 1}), 422)


def test_skip_duplicates_is_kept(api: httpx.Client, bucket_id: str) -> None:
    (made,) = ok(send(api, bucket_id, text(skip_duplicates=True)))
    assert made["skip_duplicates"] is True


# The SDK's envelope ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_options",
    [
        {"headers": {"User-Agent": "OpenAPI-Generator/1.3.783/python"}},
        {"headers": {"User-Agent": "OpenAPI-Generator/9.9/other"}},
        {"params": {"response": "envelope"}},
    ],
    ids=["typed-sdk", "any-generator", "query"],
)
def test_the_envelope_is_for_those_who_need_it(
    api: httpx.Client, bucket_id: str, request_options: dict[str, Any]
) -> None:
    answer = ok(send(api, bucket_id, text(), text(n="three"), **request_options))
    assert {"succeeded", "failed", "total_requested", "succeeded_count", "failed_count"} <= set(answer)
    assert (answer["total_requested"], answer["succeeded_count"], answer["failed_count"]) == (2, 1, 1)
    assert set(answer["succeeded"][0]) >= OBJECT - {"key_prefix"}
    (failed,) = answer["failed"]
    assert failed["object_index"] == 1
    assert failed["error_type"]
    assert "n" in failed["error"]


def test_an_entry_that_is_no_object_fails_alone_in_the_envelope(api: httpx.Client, bucket_id: str) -> None:
    both = (text(), {"key_prefix": 5})
    answer = ok(send(api, bucket_id, *both, params={"response": "envelope"}))
    assert (answer["succeeded_count"], answer["failed_count"]) == (1, 1)
    assert answer["failed"][0]["object_index"] == 1
    assert "key_prefix" in answer["failed"][0]["error"]
    (problem,) = invalid(send(api, bucket_id, *both), "key_prefix")
    assert problem["location"] == ["body", "objects", 1, "key_prefix"]


@pytest.mark.parametrize("agent", ["python-httpx/0.28", "curl/8.0", "my OpenAPI-Generator/1", "Mozilla/5.0"])
def test_everyone_else_gets_the_array(api: httpx.Client, bucket_id: str, agent: str) -> None:
    assert isinstance(ok(send(api, bucket_id, text(), headers={"User-Agent": agent})), list)


def test_a_batch_that_fails_as_a_whole_is_a_422(api: httpx.Client, bucket_id: str) -> None:
    answer = send(api, bucket_id, text(n="three"), params={"response": "envelope"})
    assert answer.status_code == 422
    assert "n" in answer.text


def test_an_unknown_bucket_is_not_found(api: httpx.Client) -> None:
    error = refused(send(api, "bkt_00000000", text()), 404, "NotFoundError")
    assert error["details"] == {"resource": "bucket", "id": "bkt_00000000"}
