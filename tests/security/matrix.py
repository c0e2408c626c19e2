"""Every operation that needs a key: what right it needs, and a request that would do something real."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Ids = Mapping[str, str]
"""By path parameter: the resources of one estate."""

Body = Callable[[Ids], dict[str, Any]]

LEVELS: Final = ("read", "write", "delete", "admin")


@dataclass(frozen=True)
class Operation:
    """One operation. `inside` is the resource in its path whose scope is enough to call it.

    `namespaced` operations work in the namespace of the header; `listing` ones answer an unknown
    namespace with an empty list.
    """

    method: str
    path: str
    permission: str
    body: Body | None = None
    inside: str | None = None
    namespaced: bool = True
    listing: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def addresses(self) -> bool:
        """Whether its path names a resource."""
        return "{" in self.path

    def url(self, ids: Ids) -> str:
        """The path with an estate's ids in it."""
        return self.path.format_map(ids)

    def content(self, ids: Ids) -> dict[str, Any] | None:
        """The body, with an estate's ids in it."""
        return None if self.body is None else self.body(ids)


def _same(**fields: Any) -> Body:
    return lambda ids: fields


SCHEMA: Final = {"properties": {"text": {"type": "text"}, "title": {"type": "string"}}}


def _matching(ids: Ids) -> list[dict[str, Any]]:
    parameters = {"field": "title", "operator": "exists", "value": True}
    return [
        {"stage_name": "all", "config": {"stage_id": "attribute_filter", "parameters": parameters}},
    ]


def retriever(ids: Ids, name: str = "intruder") -> dict[str, Any]:
    """A retriever over an estate's collection that finds all that has a title."""
    return {
        "retriever_name": name,
        "collection_identifiers": [ids["collection_identifier"]],
        "stages": _matching(ids),
    }


def collection(ids: Ids, name: str = "intruder") -> dict[str, Any]:
    """A collection over an estate's bucket."""
    return {
        "collection_name": name,
        "source": {"type": "bucket", "bucket_ids": [ids["bucket_identifier"]]},
        "feature_extractor": {
            "feature_extractor_name": "passthrough_extractor",
            "version": "v1",
            "field_passthrough": [{"source_path": "title"}],
        },
    }


def connection(name: str) -> dict[str, Any]:
    """A storage connection that nothing is read with."""
    credentials = {"access_key_id": "AKID", "secret_access_key": "a secret that only its owner knows"}
    config = {"credentials": credentials, "endpoint_url": "http://127.0.0.1:9000"}
    return {"name": name, "provider_type": "s3", "provider_config": config, "test_before_save": False}


def upload() -> dict[str, Any]:
    """An upload of a text."""
    return {"filename": "letter.txt", "content_type": "text/plain", "blob_property": "text"}


def _in(inside: str, *rows: tuple[str, str, str, Body | None]) -> tuple[Operation, ...]:
    return tuple(Operation(method, path, right, body, inside) for method, path, right, body in rows)


def _named(ids: Ids) -> dict[str, Any]:
    return {"document_ids": [ids["document_id"]]}


def _update(ids: Ids) -> dict[str, Any]:
    return {"document_id": ids["document_id"], "update_data": {"title": "changed"}}


_BUCKET = "/v1/buckets/{bucket_identifier}"
_OBJECT = _BUCKET + "/objects/{object_identifier}"
_UPLOAD = _BUCKET + "/uploads/{upload_id}"
_BATCH = _BUCKET + "/batches/{batch_id}"
_COLLECTION = "/v1/collections/{collection_identifier}"
_DOCUMENT = _COLLECTION + "/documents/{document_id}"
_RETRIEVER = "/v1/retrievers/{retriever_id}"
_KEYS = "/v1/organizations/users/{user_email}/api-keys"

_SECRETS = "/v1/organizations/secrets"
_CONNECTIONS = "/v1/organizations/connections"
_CONNECTION = _CONNECTIONS + "/{connection_identifier}"

_CHANGE = _same(metadata={"changed": True})
_TITLE = _same(title="changed")
_OF_ALL = _same(update_data={"title": "changed"})

ORGANIZATION: Final = (
    Operation("GET", "/v1/organizations", "read", namespaced=False),
    Operation("GET", "/v1/organizations/users", "read", namespaced=False),
    Operation(
        "POST", "/v1/organizations/users", "admin", namespaced=False,
        body=_same(email="intruder@example.org", user_name="Intruder"),
    ),
    Operation("GET", _KEYS, "admin", namespaced=False),
    Operation("POST", _KEYS, "admin", namespaced=False, body=_same(name="intruder", permissions=["admin"])),
    Operation("DELETE", _KEYS + "/{key_name}", "admin", namespaced=False),
    Operation("GET", _SECRETS, "read", namespaced=False),
    Operation(
        "POST", _SECRETS, "admin", namespaced=False,
        body=_same(secret_name="intruder", secret_value="intruding"),
    ),
    Operation(
        "PUT", _SECRETS + "/{secret_name}", "admin", namespaced=False, body=_same(secret_value="intruding")
    ),
    Operation("DELETE", _SECRETS + "/{secret_name}", "admin", namespaced=False),
    Operation("POST", _CONNECTIONS, "admin", namespaced=False, body=_same(**connection("intruder"))),
    Operation("POST", _CONNECTIONS + "/list", "read", namespaced=False, body=_same()),
    Operation("GET", _CONNECTION, "read", namespaced=False),
    Operation("PATCH", _CONNECTION, "admin", namespaced=False, body=_same(description="changed")),
    Operation("POST", _CONNECTION + "/test", "admin", namespaced=False),
    Operation("DELETE", _CONNECTION, "admin", namespaced=False),
    Operation("GET", "/v1/namespaces", "read", namespaced=False),
    Operation("POST", "/v1/namespaces", "admin", namespaced=False, body=_same(namespace_name="intruder")),
    Operation("POST", "/v1/namespaces/list", "read", namespaced=False, body=_same()),
    Operation(
        "POST", "/v1/namespaces/standalone", "admin", namespaced=False, body=_same(namespace_id="intruder")
    ),
)  # fmt: skip
"""What belongs to the organization, so that no scope within it is enough."""

NAMESPACE: Final = tuple(
    Operation(method, path, right, body, "namespace", namespaced=False)
    for method, path, right, body in (
        ("GET", "/v1/namespaces/{namespace_identifier}", "read", None),
        ("PATCH", "/v1/namespaces/{namespace_identifier}", "write", _same(description="changed")),
        ("DELETE", "/v1/namespaces/{namespace_identifier}", "delete", None),
        (
            "POST", "/v1/namespaces/{namespace_id}/documents/upsert", "write",
            _same(documents=[{"document_id": "doc_intruder", "vectors": {"own": [1.0, 2.0]}}]),
        ),
        ("GET", "/v1/namespaces/{namespace_id}/documents/{document_id}", "read", None),
    )
)  # fmt: skip

BUCKET: Final = _in(
    "bucket",
    ("GET", _BUCKET, "read", None),
    ("PATCH", _BUCKET, "write", _same(description="changed")),
    ("PUT", _BUCKET, "write", _same(description="changed")),
    ("DELETE", _BUCKET, "delete", None),
    ("GET", _BUCKET + "/objects", "read", None),
    ("POST", _BUCKET + "/objects", "write", _same(title="intruder")),
    ("POST", _BUCKET + "/objects/batch", "write", _same(objects=[{"title": "intruder"}])),
    ("POST", _BUCKET + "/objects/list", "read", _same()),
    ("GET", _OBJECT, "read", None),
    ("PATCH", _OBJECT, "write", _TITLE),
    ("PUT", _OBJECT, "write", _CHANGE),
    ("DELETE", _OBJECT, "delete", None),
    ("POST", _BUCKET + "/uploads", "write", lambda ids: upload()),
    ("POST", _BUCKET + "/uploads/batch", "write", lambda ids: {"uploads": [upload()]}),
    ("POST", _BUCKET + "/uploads/list", "read", _same()),
    ("GET", _UPLOAD, "read", None),
    ("DELETE", _UPLOAD, "delete", None),
    ("POST", _UPLOAD + "/confirm", "write", _same()),
    ("POST", _BUCKET + "/batches", "write", lambda ids: {"object_ids": [ids["object_identifier"]]}),
    ("POST", _BUCKET + "/batches/list", "read", _same()),
    ("GET", _BATCH, "read", None),
    ("DELETE", _BATCH, "delete", None),
    ("POST", _BATCH + "/objects", "write", lambda ids: {"object_ids": [ids["object_identifier"]]}),
    ("POST", _BATCH + "/submit", "write", _same()),
    ("POST", _BATCH + "/cancel", "write", None),
    ("POST", _BATCH + "/retry", "write", None),
    ("GET", _BATCH + "/failed-documents", "read", None),
)

COLLECTION: Final = _in(
    "collection",
    ("GET", _COLLECTION, "read", None),
    ("PATCH", _COLLECTION, "write", _same(description="changed")),
    ("DELETE", _COLLECTION, "delete", None),
    ("GET", _COLLECTION + "/features", "read", None),
    ("POST", _COLLECTION + "/trigger", "write", _same()),
    ("POST", _COLLECTION + "/documents", "write", _same(title="intruder")),
    ("GET", _COLLECTION + "/documents", "read", None),
    ("POST", _COLLECTION + "/documents/list", "read", _same()),
    ("GET", _COLLECTION + "/documents/count", "read", None),
    ("POST", _COLLECTION + "/documents/batch", "write", lambda ids: {"updates": [_update(ids)]}),
    ("DELETE", _COLLECTION + "/documents/batch", "delete", _named),
    ("PATCH", _COLLECTION + "/documents/bulk", "write", _OF_ALL),
    ("GET", _DOCUMENT, "read", None),
    ("PATCH", _DOCUMENT, "write", _TITLE),
    ("PUT", _DOCUMENT, "write", _TITLE),
    ("DELETE", _DOCUMENT, "delete", None),
)  # fmt: skip

RETRIEVER: Final = (
    *_in(
        "retriever",
        ("GET", _RETRIEVER, "read", None),
        ("POST", _RETRIEVER + "/execute", "read", _same()),
    ),
    Operation("PATCH", _RETRIEVER, "write", _same(description="changed")),
    Operation("DELETE", _RETRIEVER, "delete"),
)

ACROSS: Final = (
    Operation("GET", "/v1/buckets", "read", listing=True),
    Operation("POST", "/v1/buckets", "write", _same(bucket_name="intruder", bucket_schema=SCHEMA)),
    Operation("POST", "/v1/buckets/list", "read", _same(), listing=True),
    Operation("POST", "/v1/batches/list", "read", _same(), listing=True),
    Operation("GET", "/v1/batches/{batch_id}", "read"),
    Operation("POST", "/v1/batches/{batch_id}/cancel", "write"),
    Operation("POST", "/v1/tasks/list", "read", _same(), listing=True),
    Operation("GET", "/v1/tasks/{task_id}", "read"),
    Operation("DELETE", "/v1/tasks/{task_id}", "delete"),
    Operation("GET", "/v1/collections", "read", listing=True),
    Operation("POST", "/v1/collections", "write", collection),
    Operation("POST", "/v1/collections/list", "read", _same(), listing=True),
    Operation("POST", "/v1/documents/batch-get", "read", _named),
    Operation("POST", "/v1/documents/list", "read", _same(), listing=True),
    Operation("POST", "/v1/documents/search", "read", _same(query="letter")),
    Operation("GET", "/v1/documents/{document_id}", "read"),
    Operation("PATCH", "/v1/documents/{document_id}", "write", _TITLE),
    Operation("PUT", "/v1/documents/{document_id}", "write", _TITLE),
    Operation(
        "POST", "/v1/inference", "read", _same(inference_name="all_minilm_l6_v2_v1", inputs={"text": "a"})
    ),
    Operation("POST", "/v1/features/search", "read", _same(query="letter")),
    Operation("GET", "/v1/retrievers", "read", listing=True),
    Operation("POST", "/v1/retrievers", "write", retriever),
    Operation("POST", "/v1/retrievers/list", "read", _same(), listing=True),
    Operation("POST", "/v1/retrievers/execute", "read", lambda ids: {"stages": _matching(ids)}),
)
"""What needs the whole namespace: no scope of one resource in it is enough."""

CALLER: Final = tuple(Operation("GET", path, "read", namespaced=False) for path in ("/v1/me", "/v1/account"))
"""What is about the key itself, whatever its scopes are."""

GUARDED: Final = (*CALLER, *ORGANIZATION, *NAMESPACE, *BUCKET, *COLLECTION, *RETRIEVER, *ACROSS)
"""Every operation that needs a key."""

PUBLIC: Final = frozenset(
    {
        "mounted /docs/assets",
        "GET /",
        "GET /docs",
        "GET /docs/openapi.json",
        "GET /openapi.json",
        "GET /metrics",
        "GET /v1/health",
        "GET /v1/health/liveness",
        "GET /v1/liveness",
        "GET /v1/collections/features/extractors",
        "GET /v1/collections/features/extractors/{feature_extractor_id}",
        "GET /v1/discovery/extractors",
        "GET /v1/retrievers/stages",
        # These check the signature of their URL.
        "GET /storage/{key:path}",
        "HEAD /storage/{key:path}",
        "PUT /storage/{key:path}",
    }
)
"""Every operation that needs none."""
