"""What nobody should send, and how the server must take it."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.security import matrix
from tests.security.matrix import GUARDED, Operation
from tests.server import RunningServer
from tests.steps import refused

SECONDS = 10.0
"""Longest time for any single answer, on a machine that does other things besides."""


def survived(answer: httpx.Response) -> httpx.Response:
    """An answer that is no failure of the server: success, or a refusal in the envelope."""
    where = f"{answer.request.method} {answer.request.url!r:.300}: {answer.status_code} {answer.text:.600}"
    assert answer.status_code < 500 or answer.status_code == 501, where
    if answer.status_code >= 400:
        refused(answer, answer.status_code)
    assert answer.elapsed.total_seconds() < SECONDS, where
    return answer


def rejected(answer: httpx.Response) -> dict[str, Any]:
    """The error of a refusal, whichever 4xx it is."""
    survived(answer)
    assert 400 <= answer.status_code < 500, f"{answer.request.url!r:.300}: {answer.text:.600}"
    return refused(answer, answer.status_code)


BODIES = [one for one in GUARDED if one.body is not None]

DESTRUCTIVE = {"DELETE /v1/namespaces/{namespace_identifier}", "DELETE /v1/buckets/{bucket_identifier}"}


def every(*operations: Operation) -> pytest.MarkDecorator:
    """One test for each operation."""
    return pytest.mark.parametrize("operation", operations, ids=str)


def raw(server: RunningServer, request: bytes, *, seconds: float = SECONDS) -> bytes:
    """The answer to bytes that no HTTP client would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(request)
        connection.settimeout(seconds)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
            head, _, body = answer.partition(b"\r\n\r\n")
            length = [one for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")]
            if length and len(body) >= int(length[0].split(b":")[1]):
                break
        return answer


def request(server: RunningServer, path: str, *headers: str, method: str = "GET") -> bytes:
    """The head of a request with the admin's key."""
    lines = [f"{method} {path} HTTP/1.1", f"Authorization: Bearer {server.admin_key}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


HOSTILE: list[Any] = [
    None, True, -1, 0, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30), 1e308, -1e308, 5e-324, 0.1,
    "", " ", "\n", "\t\x01\x7f", "a" * 70_000, "ä" * 5_000, "💥" * 2_000, "\u202e\u200b\ufeff",
    "\ufffe\uffff",
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "C:\\x", "a/b", ".", "..", "%00", "%s%n",
    "*",
    "*" * 2_000, "%", "_", "'", '"', "`", "\\", "$where", "x'; DROP TABLE buckets; --", "1 OR 1=1", "a.b.c.d",
    "." * 500, "_internal", "_internal.namespace_id", "document_id", "$.a[0]", "a[0]", "{{ 7 * 7 }}",
    "{% raw %}",
    "lamina://ns_0/x", "file:///etc/passwd", "http://[", "data:;base64,", "mixpeek://", "doc_", "obj_",
    [], [None], [[]], ["a"] * 2_000, list(range(2_000)), {}, {"": None}, {"$ne": 1}, {"a": {"b": {"c": []}}},
    {"__proto__": {"a": 1}}, {"type": "dynamic", "field": "inputs.x"}, {f"k{i}": i for i in range(500)},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from places(one, (*path, number))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """The body with another value at a place."""
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


FURTHER: Mapping[str, Mapping[str, Any]] = {
    "/v1/buckets": {"unique_key": {"fields": ["title"], "default_policy": "upsert"}, "metadata": {}},
    "/v1/buckets/{bucket_identifier}": {"bucket_schema": matrix.SCHEMA, "metadata": {}, "unique_key": {}},
    "/v1/buckets/{bucket_identifier}/objects": {
        "blobs": [{"property": "text", "type": "text", "data": "x", "metadata": {}, "key_prefix": "/a"}],
        "key_prefix": "/a", "skip_duplicates": False, "idempotency_key": "i", "edges": [],
    },
    "/v1/buckets/{bucket_identifier}/objects/batch": {
        "objects": [{"blobs": [{"property": "text", "type": "text", "data": {"base64": "",
        "filename": "x"}}]}],
    },
    "/v1/buckets/{bucket_identifier}/objects/{object_identifier}": {
        "metadata": {"key_prefix": "/a", "edges": [], "tags": []}, "key_prefix": "/a",
        "skip_duplicates": False,
    },
    "/v1/buckets/{bucket_identifier}/uploads": {
        "file_size_bytes": 1, "presigned_url_expiration": 60, "metadata": {},
        "object_metadata": {"title": "x"},
        "blob_type": "text", "file_hash": "0" * 64,
    },
    "/v1/buckets/{bucket_identifier}/batches": {
        "filters": {}, "limit": 1, "collection_ids": [], "metadata": {}, "batch_name": "b",
        "dedup_strategy": "skip",
    },
    "/v1/collections": {"metadata": {}, "input_schema": matrix.SCHEMA, "description": ""},
    "/v1/collections/{collection_identifier}/documents": {
        "document_id": "doc_x", "metadata": {}, "vectors": {"v": [1.0]}, "content_hash": "x",
        "features": [{"feature_extractor_id": "own_v1", "vectors": {"own": [1.0]}, "payload": {}}],
        "lineage_chain": [{"collection_id": "c", "feature_extractor_id": "f"}], "root_object_id": "o",
    },
    "/v1/collections/{collection_identifier}/documents/batch": {"filters": {"title": "x"},
    "update_data": {"a": 1}},
    "/v1/collections/{collection_identifier}/documents/bulk": {"filters": {"title": "none"}},
    "/v1/collections/{collection_identifier}/trigger": {
        "include_buckets": [], "object_ids": [], "source_filters": {}, "dedup_strategy": "skip",
    },
    "/v1/namespaces": {
        "namespace_id": "x", "ttl_seconds": 60, "vector_configs": [{"name": "v", "dimension": 2,
        "metric": "dot"}],
        "payload_indexes": [{"field_name": "f", "type": "keyword"}], "description": "",
        "feature_extractors": [{"feature_extractor_name": "text_extractor", "version": "v1"}],
    },
    "/v1/namespaces/{namespace_identifier}": {
        "ttl_seconds": 315_360_000, "payload_indexes": [{"field_name": "f", "type": "keyword"}],
    },
    "/v1/namespaces/{namespace_id}/documents/upsert": {
        "documents": [
            {
                "document_id": "doc_u", "vectors": {"a": [1.0, 2.0], "s": {"indices": [1], "values": [0.5]}},
                "payload": {"a": 1}, "metadata": {"b": 1}, "acl": {"read": ["x"]},
            }
        ],
    },
    "/v1/organizations/users/{user_email}/api-keys": {
        "scopes": [{"resource_type": "bucket", "resource_id": "x"}], "rate_limit_override": 1_000_000,
        "expires_at": "2020-01-01T00:00:00Z", "allowed_origins": ["https://a.b"], "description": "",
    },
    "/v1/documents/list": {
        "filters": {"title": "x"}, "sort": {"field": "title", "direction": "asc"}, "search": "x", "limit": 1,
        "offset": 0, "group_by": "title", "select": ["title"], "expand": ["ref"], "collection_ids": [],
        "partition": {"index": 0, "count": 2}, "return_vector_names": True, "cursor": "x",
        "include_total": True,
    },
    "/v1/retrievers": {
        "input_schema": {"q": {"type": "text", "required": True, "default": "x", "enum": ["x"]}},
        "budget_limits": {"max_time_ms": 1000}, "tags": [], "metadata": {}, "display_config": {},
    },
    "/v1/retrievers/{retriever_id}": {"input_schema": {"q": {"type": "text"}}, "tags": []},
    "/v1/retrievers/execute": {
        "inputs": {"q": "x"}, "filters": {"title": "x"}, "select": ["title"], "settings": {"limit": 1},
        "pagination": {"method": "cursor", "limit": 1, "cursor": "x"}, "limit": 1, "return_vectors": True,
    },
    "/v1/features/search": {
        "collection_identifiers": [], "feature_uri": "mixpeek://x@v1/y", "top_k": 1,
        "filters": {"title": "x"},
    },
}  # fmt: skip
"""Fields besides those of the matrix, by path: nonsense goes into each of them."""

LISTED: Mapping[str, Any] = {
    "filters": {"title": "x"}, "sort": {"field": "created_at", "direction": "asc"}, "search": "x", "limit": 1,
    "page_size": 1, "offset": 0, "page": 1, "cursor": "x", "include_total": True, "case_sensitive": False,
    "select": ["title"], "return_presigned_urls": True,
}  # fmt: skip


def full(operation: Operation, ids: Mapping[str, str]) -> dict[str, Any]:
    """The body of an operation with all that it may hold."""
    body = operation.content(ids) or {}
    if operation.path.endswith("/list"):
        body = {**body, **LISTED}
    return {**body, **FURTHER.get(operation.path, {})}
