"""Sizes, headers, names of files and what is hardly HTTP."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.security import matrix
from tests.security.estates import Estate
from tests.security.nonsense import (
    raw,
    request,
    survived,
)
from tests.server import RunningServer
from tests.steps import invalid, ok, refused, unique

pytestmark = pytest.mark.xdist_group("security-nonsense")  # one server for all of them

# Sizes


def test_too_many_are_refused(home: Estate) -> None:
    ids = home.ids
    documents = f"/v1/collections/{ids['collection_identifier']}/documents"
    update = {"document_id": "doc_x", "update_data": {"a": 1}}
    upsert = {"document_id": "doc_x", "vectors": {"v": [1.0]}}
    for method, path, body in (
        ("POST", "/v1/documents/batch-get", {"document_ids": []}),
        ("POST", "/v1/documents/batch-get", {"document_ids": ["doc_x"] * 1001}),
        ("POST", f"/v1/buckets/{ids['bucket_identifier']}/objects/batch",
        {"objects": [{"title": "x"}] * 101}),
        ("POST", f"/v1/buckets/{ids['bucket_identifier']}/uploads/batch",
        {"uploads": [matrix.upload()] * 101}),
        ("POST", f"/v1/buckets/{ids['bucket_identifier']}/batches", {"object_ids": []}),
        ("POST", f"{documents}/batch", {"updates": []}),
        ("POST", f"{documents}/batch", {"updates": [update] * 1001}),
        ("DELETE", f"{documents}/batch", {"document_ids": ["doc_x"] * 1001}),
        ("POST", f"/v1/namespaces/{ids['namespace_id']}/documents/upsert", {"documents": [upsert] * 1001}),
        ("POST", "/v1/retrievers", {**matrix.retriever(ids), "stages": []}),
        ("POST", "/v1/features/search", {"query": "x", "top_k": 1001}),
    ):  # fmt: skip
        invalid(home.api.request(method, path, json=body))


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(hostile: RunningServer) -> None:
    head = request(
        hostile, "/v1/buckets", "Host: x", "Content-Type: application/json", f"Content-Length: {1 << 40}",
        method="POST",
    )  # fmt: skip
    answer = raw(hostile, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"limit":33554432' in answer


def test_a_body_that_grows_too_large_is_refused_on_the_way(home: Estate) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"bucket_name": "'
        for _ in range(40):
            yield b"a" * (1 << 20)

    try:
        answer = home.api.post("/v1/buckets", content=pieces())
    except httpx.TransportError:  # the server need not wait for the rest
        return
    error = refused(answer, 413, "BadRequestError")
    assert error["details"]["limit"] == 32 << 20


def test_a_stranger_cannot_make_the_server_read_a_large_body(hostile: RunningServer) -> None:
    head = (
        b"POST /v1/buckets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 30000000\r\n\r\n{"
    )
    answer = raw(hostile, head)  # though the rest never comes
    assert answer.startswith(b"HTTP/1.1 401 ")


# Headers


def test_a_request_id_is_taken_over_only_when_it_is_one(hostile: RunningServer, home: Estate) -> None:
    for good in ("abc", "0f8e-11", "a" * 128, "trace:1/2+3=4_5.6"):
        assert home.api.get("/v1/me", headers={"X-Request-Id": good}).headers["x-request-id"] == good
    for bad in ("a b", "a" * 129, '"', "<script>", "a\tb", "{}", "%0d%0a", "ä"):
        answer = home.api.get("/v1/me", headers={b"X-Request-Id": bad.encode("latin-1")})
        assert answer.headers["x-request-id"].startswith("req_")
    injected = raw(hostile, request(hostile, "/v1/me", "Host: x", "X-Request-Id: a\r\n Set-Cookie: a=b"))
    assert b"set-cookie" not in injected.lower()


def test_no_header_of_a_request_gets_into_an_answer(hostile: RunningServer, home: Estate) -> None:
    for path in ("/v1/buckets", "/v1/tasks/list", "/v1/documents/list"):
        for value in ("%0d%0aSet-Cookie:a=b", "%0aSet-Cookie:a=b", "a%0d%0a%0d%0a<script>", "ä%f0%9f%92%a5"):
            with hostile.client(namespace=None) as client:
                method = "GET" if path == "/v1/buckets" else "POST"
                answer = survived(client.request(method, f"{path}?namespace={value}"))
                assert "set-cookie" not in answer.headers
                assert "<script>" not in str(answer.headers)
    for header in (b"X-Namespace", b"User-Agent", b"Accept", b"Origin", b"Referer", b"Range", b"Cookie"):
        for sent in (b"\xff\xfe", b"a" * 20_000, b"' OR 1=1", b"../..", b"{{7*7}}", b"%0d%0a"):
            survived(home.api.get("/v1/buckets", headers={header: sent}))


@pytest.mark.parametrize(
    "host",
    ["", "[::1", "a b", 'evil"><script>', "a:b", "a:99999999", "..", "x" * 2_000, "\xff", "@", "a/b?c#d"],
)
def test_a_strange_host_is_no_failure(hostile: RunningServer, home: Estate, host: str) -> None:
    bucket = home.ids["bucket_identifier"]
    path = f"/v1/buckets/{bucket}/objects/{home.ids['object_identifier']}?return_presigned_urls=true"
    answer = raw(hostile, request(hostile, path, f"Host: {host}"))
    status = int(answer.split(b" ", 2)[1])
    assert status < 500, answer[:500]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/buckets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n",
        b"NONSENSE /v1/me HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/m\xffe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere.example/v1/me HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_hardly_http_is_no_failure(hostile: RunningServer, head: bytes) -> None:
    try:
        answer = raw(hostile, head)
    except (TimeoutError, ConnectionError):
        return
    assert not answer or int(answer.split(b" ", 2)[1]) < 500, answer[:500]


def test_unknown_methods_do_not_fill_the_metrics(hostile: RunningServer) -> None:
    for number in range(20):
        raw(hostile, b"METHOD%d /v1/health HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    with hostile.anonymous() as nobody:
        assert "METHOD" not in nobody.get("/metrics").text


def test_a_preflight_is_answered_without_a_key(hostile: RunningServer) -> None:
    with hostile.anonymous() as nobody:
        wanted = "authorization,x-namespace,content-type,x-public-api-key"
        answer = nobody.options(
            "/v1/retrievers/x/execute",
            headers={
                "Origin": "https://a.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": wanted,
            },
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in wanted.split(","))
        refusal = nobody.get("/v1/me", headers={"Origin": "https://a.example"})
        refused(refusal, 401)
        assert refusal.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in refusal.headers


# Files


def files(server: RunningServer) -> set[str]:
    """Every file on the server's side, outside of its blob store."""
    root = server.data_dir.parent
    kept = {server.data_dir / "blobs", server.data_dir / "vectors"}
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path) for path in found if not any(folder in path.parents for folder in kept)}


ESCAPES = [
    "../../../../evil.txt", "..\\..\\evil.txt", "/etc/evil.txt", "..", ".", "a/../../evil.txt",
    "....//evil.txt",
    "%2e%2e%2fevil.txt", "..%2fevil.txt", "evil\x00.txt", "evil\n.txt", "~/evil.txt", "C:\\evil.txt",
    "a" * 5_000,
    "💥" * 300, ".partial/evil.txt", "con", "evil.txt ", "\u2025/evil.txt", "..;/evil", "", " ", "#?&=",
]  # fmt: skip


def test_no_name_leads_out_of_the_blob_store(hostile: RunningServer, home: Estate) -> None:
    before = files(hostile)
    bucket = f"/v1/buckets/{home.ids['bucket_identifier']}"
    for name in ESCAPES:
        body = {**matrix.upload(), "filename": name}
        made = survived(home.api.post(f"{bucket}/uploads", content=json.dumps(body)))
        if made.status_code == 200:
            survived(
                home.api.put(
                    made.json()["presigned_url"], content=b"x", headers={"Content-Type": "text/plain"}
                )
            )
            survived(home.api.post(f"{bucket}/uploads/{made.json()['upload_id']}/confirm"))
        data = {"base64": base64.b64encode(b"x").decode(), "filename": name, "mime_type": "text/plain"}
        for blob in (
            {"property": "text", "type": "text", "data": data},
            {"property": "text", "type": "text", "data": "x", "key_prefix": name},
        ):
            stored = survived(home.api.post(f"{bucket}/objects", json={"blobs": [blob], "key_prefix": name}))
            if stored.status_code == 200:
                url = f"{bucket}/objects/{stored.json()['object_id']}"
                shown = ok(home.api.get(url, params={"return_presigned_urls": True}))
                read = shown["blobs"][0].get("presigned_url")
                assert read is None or home.api.get(read).content == b"x"
    assert files(hostile) - before <= {one for one in files(hostile) if "sqlite" in one}


def test_no_property_leads_out_of_the_blob_store(hostile: RunningServer, home: Estate) -> None:
    before = files(hostile)
    for name in (*ESCAPES, "a/b", "a b", "ä"):
        schema = {"properties": {name: {"type": "text"}, "title": {"type": "string"}}}
        asked = {"bucket_name": unique("names"), "bucket_schema": schema}
        made = survived(home.api.post("/v1/buckets", json=asked))
        if made.status_code != 200:
            continue
        objects = f"/v1/buckets/{made.json()['bucket_id']}/objects"
        stored = survived(
            home.api.post(
                objects, json={"blobs": [{"property": name, "type": "text", "data": "x" * 100_000}]}
            )
        )
        small = survived(
            home.api.post(objects, json={"blobs": [{"property": name, "type": "text", "data": "x"}]})
        )
        for one in (stored, small):
            if one.status_code == 200:
                answer = home.api.get(f"{objects}/{one.json()['object_id']}?return_presigned_urls=true")
                survived(answer)
        survived(home.api.post(f"{objects}/list", json={"return_presigned_urls": True}))
    assert files(hostile) - before <= {one for one in files(hostile) if "sqlite" in one}


@pytest.mark.parametrize(
    "data",
    [
        "data:text/plain;base64,!!!!", "data:text/plain;base64,AAA", "data:", "data:,", "file:///etc/passwd",
        "s3://", "lamina://ns/x", "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/", "http://", "https://user:pass@127.0.0.1/", "gopher://x", "http://[::1]/",
        "http://0/",
        {"url": "file:///etc/passwd"}, {"url": "lamina://x"}, {"base64": "!!!"}, {"base64": 5},
        {"base64": None},
        {}, [], {"url": 5}, {"url": "http://127.0.0.1/", "base64": "eA=="}, 5, True,
    ],
    ids=str,
)  # fmt: skip
def test_no_source_of_a_blob_reads_what_it_must_not(home: Estate, data: Any) -> None:
    asked = {"bucket_name": unique("images"), "bucket_schema": {"properties": {"image": {"type": "image"}}}}
    bucket = ok(home.api.post("/v1/buckets", json=asked))["bucket_id"]
    blob = {"property": "image", "type": "image", "data": data}
    answer = survived(home.api.post(f"/v1/buckets/{bucket}/objects", json={"blobs": [blob]}))
    assert answer.status_code in {422, 501}
    assert "root:" not in answer.text
    assert ok(home.api.get(f"/v1/buckets/{bucket}/objects"))["results"] == []
