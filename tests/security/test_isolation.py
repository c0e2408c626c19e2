"""No one gets in: every operation with every wrong key, scope, namespace and organization.

What is refused is refused with the right status, reads the same whether or not the thing exists, and
changes nothing.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.security import matrix
from tests.security.estates import ADMIN, MISSING, SECRET, Estate, estate, two_organizations
from tests.security.matrix import ACROSS, BUCKET, CALLER, COLLECTION, GUARDED, LEVELS, RETRIEVER, Operation
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import invalid, ok, refused, unique

pytestmark = pytest.mark.xdist_group("security-isolation")  # one server for all of them


@dataclass(frozen=True)
class World:
    """The estate that nobody else may touch (`home`), and those of its neighbours."""

    server: RunningServer
    nobody: httpx.Client
    """Sends no key."""
    home: Estate
    near: Estate
    """Another namespace of the same organization."""
    far: Estate
    """Another organization."""
    keys: Mapping[str, str]
    """Useless keys, by what is wrong with them."""
    before: Mapping[str, Any]
    """What the home estate holds."""
    clients: dict[tuple[str, str | None], httpx.Client]
    """Clients that were made; making one takes longer than most requests."""
    shared: dict[tuple[str, ...], httpx.Client]
    """Clients of the keys that many tests use."""

    def client(self, key: str, namespace: str | None = "home") -> httpx.Client:
        """A client with a key, in the home namespace unless another is named, or none."""
        named = self.home.namespace if namespace == "home" else namespace
        if (key, named) not in self.clients:
            self.clients[key, named] = self.server.client(api_key=key, namespace=named)
        return self.clients[key, named]

    def holder(self, permission: str, *scope: str) -> httpx.Client:
        """The client of a key with one right and at most one scope, the same for all tests."""
        name = (permission, *scope)
        if name not in self.shared:
            scopes = [(scope[0], scope[1])] if scope else None
            self.shared[name] = self.client(self.key(permission, scopes=scopes))
        return self.shared[name]

    def key(self, *permissions: str, scopes: list[tuple[str, str]] | None = None, **fields: Any) -> str:
        """A new key of the admin, with that much power."""
        return new_key(
            self.home.api,
            permissions=list(permissions),
            scopes=[{"resource_type": type, "resource_id": id} for type, id in scopes or []],
            **fields,
        )

    def unchanged(self, operation: Operation | None = None) -> None:
        """The home estate is as it was. Looked at only after what could have changed it."""
        if operation is None or operation.permission != "read":
            assert self.home.contents() == self.before


def new_key(api: httpx.Client, user: str = ADMIN, **fields: Any) -> str:
    made = ok(api.post(f"/v1/organizations/users/{user}/api-keys", json={"name": unique("key"), **fields}))
    key: str = made["key"]
    return key


def useless_keys(api: httpx.Client) -> dict[str, str]:
    """Keys that were or could have been good, all with full rights."""
    admin: dict[str, Any] = {"permissions": ["admin"]}
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    suspended = f"{unique('suspended')}@example.org"
    user = {"email": suspended, "user_name": "Suspended", "status": "suspended"}
    ok(api.post("/v1/organizations/users", json=user))
    revoked = ok(api.post(f"/v1/organizations/users/{ADMIN}/api-keys", json={"name": "revoked", **admin}))
    ok(api.get("/v1/me", headers={"Authorization": f"Bearer {revoked['key']}"}))  # it is remembered now
    ok(api.delete(f"/v1/organizations/users/{ADMIN}/api-keys/revoked"))
    return {
        "unknown": f"sk_{secrets.token_hex(24)}",
        "revoked": revoked["key"],
        "expired": new_key(api, expires_at=past, **admin),
        "suspended": new_key(api, user=suspended, **admin),
    }


@pytest.fixture(scope="module")
def world(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("isolation") / "data"
    with two_organizations(engines, folder) as (server, api, other, nobody):
        ok(api.post("/v1/namespaces", json={"namespace_name": "near"}))
        with server.client(namespace="near") as neighbour:
            home, near, far = estate(api, "default"), estate(neighbour, "near"), estate(other, "default")
            found = World(server, nobody, home, near, far, useless_keys(api), home.contents(), {}, {})
            yield found
            for client in found.clients.values():
                client.close()


def send(client: httpx.Client, operation: Operation, ids: Mapping[str, str]) -> httpx.Response:
    """The operation's request about these resources."""
    return client.request(operation.method, operation.url(ids), json=operation.content(ids))


def neutral(answer: httpx.Response, ids: Mapping[str, str]) -> tuple[int, str]:
    """Status and body, with the ids that the request itself named taken out."""
    text = answer.text
    for name, value in sorted(ids.items(), key=lambda one: -len(one[1])):
        text = text.replace(value, f"<{name.replace('namespace_identifier', 'namespace_id')}>")
    return answer.status_code, text


def every(*operations: Operation) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=str)


# Keys


@every(*GUARDED)
def test_an_operation_needs_a_key_that_is_good(world: World, operation: Operation) -> None:
    headers: dict[str, dict[str, str]] = {
        **{name: {"Authorization": f"Bearer {key}"} for name, key in world.keys.items()},
        "none": {},
        "empty": {"Authorization": ""},
        "no scheme": {"Authorization": world.server.admin_key},
        "no key": {"Authorization": "Bearer"},
        "another scheme": {"Authorization": f"Basic {world.server.admin_key}"},
        "two keys": {"Authorization": f"Bearer {world.server.admin_key} {world.server.admin_key}"},
        "a key and more": {"Authorization": f"Bearer {world.server.admin_key}0"},
        "half a key": {"Authorization": f"Bearer {world.server.admin_key[:-1]}"},
        "its hash": {"Authorization": f"Bearer {hash_of(world)}"},
        "another header": {"X-API-Key": world.server.admin_key},
    }
    url, content = operation.url(world.home.ids), operation.content(world.home.ids)
    for wrong, sent in headers.items():
        answer = world.nobody.request(
            operation.method, url, json=content, headers={"X-Namespace": world.home.namespace, **sent}
        )
        refused(answer, 401, "UnauthorizedError")
        assert answer.headers["www-authenticate"] == "Bearer", wrong
    world.unchanged(operation)


def hash_of(world: World) -> str:
    keys = ok(world.home.api.get(f"/v1/organizations/users/{ADMIN}/api-keys"))["results"]
    found: str = next(one["key_hash"] for one in keys if one["name"] == "admin-key")
    return found


def test_a_key_in_the_address_is_no_key(world: World) -> None:
    for name in ("api_key", "token", "access_token", "key", "authorization"):
        refused(world.nobody.get("/v1/buckets", params={name: world.server.admin_key}), 401)


def test_a_stranger_learns_nothing_about_a_body(world: World) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"bucket_name": 1}'):
        refused(world.nobody.post("/v1/buckets", content=body), 401, "UnauthorizedError")


def test_a_stranger_cannot_tell_which_unserved_operations_there_are(world: World) -> None:
    refused(world.nobody.post("/v1/taxonomies", json={}), 401, "UnauthorizedError")


def test_a_key_ends_at_once_when_it_is_revoked(world: World) -> None:
    api, name = world.home.api, unique("short")
    made = ok(api.post(f"/v1/organizations/users/{ADMIN}/api-keys", json={"name": name}))
    holder = world.client(made["key"])
    for _ in range(3):
        ok(holder.get("/v1/me"))
    ok(api.delete(f"/v1/organizations/users/{ADMIN}/api-keys/{name}"))
    refused(holder.get("/v1/me"), 401, "UnauthorizedError")


def test_an_expired_key_says_so_and_frees_its_name(world: World) -> None:
    api, name = world.home.api, unique("dated")
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    keys = f"/v1/organizations/users/{ADMIN}/api-keys"
    ok(api.post(keys, json={"name": name, "expires_at": past}))
    again = ok(api.post(keys, json={"name": name}))
    found = {one["key_id"]: one["status"] for one in ok(api.get(keys))["results"] if one["name"] == name}
    assert sorted(found.values()) == ["active", "expired"]
    assert found[again["key_id"]] == "active"
    refused(api.post(keys, json={"name": name}), 409, "AlreadyExistsError")


def test_nobody_makes_or_revokes_an_admin_key_by_its_name(world: World) -> None:
    keys = f"/v1/organizations/users/{world.home.ids['user_email']}/api-keys"
    refused(world.home.api.post(keys, json={"name": "admin-key"}), 403, "ForbiddenError")
    refused(
        world.home.api.delete(f"/v1/organizations/users/{ADMIN}/api-keys/admin-key"), 403, "ForbiddenError"
    )


def test_a_key_for_one_principal_is_not_made_while_it_would_see_everything(world: World) -> None:
    keys = f"/v1/organizations/users/{ADMIN}/api-keys"
    asked = {"name": unique("key"), "principal_id": "customer-7"}
    refused(world.home.api.post(keys, json=asked), 501, "NotEnabledError")


def test_a_key_for_some_origins_is_refused_to_other_pages(world: World) -> None:
    allowed = ["https://docs.example.com", "https://*.example.org"]
    holder = world.client(world.key("read", allowed_origins=allowed))
    ok(holder.get("/v1/me"))  # not a browser
    for origin in ("https://docs.example.com", "https://a.example.org", "https://a.b.example.org"):
        ok(holder.get("/v1/me", headers={"Origin": origin}))
    for origin in (
        "https://example.org",
        "http://a.example.org",
        "https://docs.example.com.evil.net",
        "https://evil.net/.example.org",
        "https://evilexample.org",
        "https://docs.example.com:444",
        "null",
    ):
        refused(holder.get("/v1/me", headers={"Origin": origin}), 403, "ForbiddenError")


# Permissions


@every(*[one for one in GUARDED if one.permission != "read"])
def test_a_key_with_less_than_the_right_is_refused(world: World, operation: Operation) -> None:
    for level in LEVELS[: LEVELS.index(operation.permission)]:
        holder = world.holder(level)
        error = refused(send(holder, operation, world.home.ids), 403, "ForbiddenError")
        assert error["details"] == {"required": operation.permission, "granted": [level]}
        told = neutral(send(holder, operation, MISSING), MISSING)
        assert told == neutral(send(holder, operation, world.home.ids), world.home.ids)
    world.unchanged(operation)


@every(*GUARDED)
def test_the_right_itself_is_enough(world: World, operation: Operation) -> None:
    holder = world.holder(operation.permission)
    if operation.addresses:
        answer = send(holder, operation, MISSING)
        assert answer.status_code not in {401, 403}, answer.text
    elif operation.method == "GET":
        ok(send(holder, operation, MISSING))


# Scopes


@every(*[one for one in GUARDED if one not in CALLER])
def test_a_key_for_something_else_does_not_reach(world: World, operation: Operation) -> None:
    elsewhere = [
        ("namespace", world.near.namespace),
        ("namespace", "near"),
        ("namespace", world.far.namespace),
        ("bucket", world.near.ids["bucket_identifier"]),
        ("bucket", "letters"),  # the name that the estate's bucket has, and others have too
        ("collection", world.near.ids["collection_identifier"]),
        ("collection", "letters"),
        ("retriever", world.near.ids["retriever_id"]),
        ("retriever", "letters"),
        ("organization", ok(world.far.api.get("/v1/me"))["organization_id"]),
        ("user", "*"),
        ("document", "*"),
    ]
    for type, id in elsewhere:
        holder = world.holder("admin", type, id)
        there = send(holder, operation, world.home.ids)
        refused(there, 403, "ForbiddenError")
        missing = send(holder, operation, MISSING)
        assert neutral(there, world.home.ids) == neutral(missing, MISSING), (type, id)
    world.unchanged(operation)


INSIDE = {"bucket": "bucket_identifier", "collection": "collection_identifier", "retriever": "retriever_id"}


@pytest.mark.parametrize("type", INSIDE)
@every(*BUCKET, *COLLECTION, *RETRIEVER, *ACROSS)
def test_a_key_for_one_resource_reaches_it_and_nothing_else(
    world: World, operation: Operation, type: str
) -> None:
    ids = {**MISSING, INSIDE[type]: world.home.ids[INSIDE[type]]}
    holder = world.holder("admin", type, ids[INSIDE[type]])
    if operation.inside != type:
        refused(send(holder, operation, ids), 403, "ForbiddenError")
    elif operation.permission == "read" or "{" in operation.path.replace(f"{{{INSIDE[type]}}}", ""):
        answer = send(holder, operation, ids)  # of things in it that do not exist
        assert answer.status_code not in {401, 403}, answer.text
    world.unchanged(operation)


def test_a_key_for_one_bucket_puts_objects_into_it_and_nowhere_else(world: World) -> None:
    api = world.near.api
    mine, yours = (
        ok(api.post("/v1/buckets", json={"bucket_name": unique("b"), "bucket_schema": matrix.SCHEMA}))
        for _ in range(2)
    )
    key = world.key("write", scopes=[("bucket", mine["bucket_id"])])
    holder = world.client(key, "near")
    made = ok(holder.post(f"/v1/buckets/{mine['bucket_id']}/objects", json={"title": "a"}))
    ok(holder.post(f"/v1/buckets/{mine['bucket_name']}/objects", json={"title": "b"}))
    ok(holder.get(f"/v1/buckets/{mine['bucket_id']}/objects/{made['object_id']}"))
    refused(holder.post(f"/v1/buckets/{yours['bucket_id']}/objects", json={"title": "c"}), 403)
    refused(holder.delete(f"/v1/buckets/{mine['bucket_id']}"), 403)
    refused(holder.get("/v1/buckets"), 403)
    # Neither by a bucket of the other's name, nor in another namespace.
    ok(api.patch(f"/v1/buckets/{yours['bucket_id']}", json={"bucket_name": mine["bucket_id"] + "x"}))
    refused(holder.get(f"/v1/buckets/{mine['bucket_id']}x"), 403)
    refused(holder.get("/v1/buckets/letters", headers={"X-Namespace": world.home.namespace}), 403)
    assert ok(api.get(f"/v1/buckets/{yours['bucket_id']}"))["object_count"] == 0
    assert ok(api.get(f"/v1/buckets/{mine['bucket_id']}"))["object_count"] == 2


def test_a_key_for_one_bucket_takes_no_objects_and_uploads_of_another(world: World) -> None:
    ids, api = world.near.ids, world.near.api
    mine = ok(api.post("/v1/buckets", json={"bucket_name": unique("b"), "bucket_schema": matrix.SCHEMA}))
    bucket = f"/v1/buckets/{mine['bucket_id']}"
    holder = world.client(world.key("write", scopes=[("bucket", mine["bucket_id"])]), "near")
    blob = {"property": "text", "type": "text", "upload_id": ids["upload_id"]}
    invalid(holder.post(f"{bucket}/objects", json={"blobs": [blob]}), "upload_id")
    others = {"object_ids": [ids["object_identifier"]]}
    refused(holder.post(f"{bucket}/batches", json=others), 404, "NotFoundError")
    own = ok(holder.post(f"{bucket}/objects", json={"title": "a"}))["object_id"]
    batch = ok(holder.post(f"{bucket}/batches", json={"object_ids": [own]}))["batch_id"]
    refused(holder.post(f"{bucket}/batches/{batch}/objects", json=others), 404, "NotFoundError")
    refused(holder.get(f"{bucket}/batches/{ids['batch_id']}"), 404, "NotFoundError")
    refused(holder.get(f"{bucket}/objects/{ids['object_identifier']}"), 404, "NotFoundError")


def test_a_key_for_one_collection_reads_no_document_outside_of_it(world: World) -> None:
    ids, api = world.near.ids, world.near.api
    made = ok(api.post("/v1/collections", json=matrix.collection(ids, unique("c"))))["collection_id"]
    documents = f"/v1/collections/{made}/documents"
    holder = world.client(world.key("write", scopes=[("collection", made)]), "near")
    wish = {
        "title": "bait", "more": [ids["document_id"]], "source_document_id": ids["document_id"],
        "root_object_id": ids["object_identifier"],
    }  # fmt: skip
    bait = ok(holder.post(documents, json=wish))["document_id"]
    ok(holder.get(f"{documents}/{bait}"))
    refused(holder.get(f"{documents}/{ids['document_id']}"), 404, "NotFoundError")
    refused(holder.get(f"/v1/documents/{bait}"), 403, "ForbiddenError")
    for field in ("more", "parent", "ancestors", "root_object", "children"):
        answers = (
            holder.get(f"{documents}/{bait}", params={"expand": field}),
            holder.post(f"{documents}/list", json={"expand": [field]}),
        )
        for answer in answers:
            refused(answer, 403, "ForbiddenError")
    assert SECRET in api.get(f"{documents}/{bait}", params={"expand": "more"}).text


def test_a_key_for_one_retriever_executes_it_only(world: World) -> None:
    ids, api = world.near.ids, world.near.api
    other = ok(api.post("/v1/retrievers", json=matrix.retriever(ids, unique("r"))))["retriever_id"]
    holder = world.client(world.key("admin", scopes=[("retriever", ids["retriever_id"])]), "near")
    found = ok(holder.post(f"/v1/retrievers/{ids['retriever_id']}/execute", json={}))
    assert ids["document_id"] in [one["document_id"] for one in found["documents"]]
    ok(holder.get(f"/v1/retrievers/{ids['retriever_id']}"))
    for refusal in (
        holder.post(f"/v1/retrievers/{other}/execute", json={}),
        holder.patch(f"/v1/retrievers/{ids['retriever_id']}", json=matrix.retriever(ids, "wider")),
        holder.delete(f"/v1/retrievers/{ids['retriever_id']}"),
        holder.post("/v1/retrievers/execute", json=matrix.retriever(ids)),
        holder.get(f"/v1/collections/{ids['collection_identifier']}"),
        holder.get(f"/v1/documents/{ids['document_id']}"),
    ):
        refused(refusal, 403, "ForbiddenError")


def test_a_key_for_one_namespace_needs_no_header_and_sees_all_of_it(world: World) -> None:
    for scope in (world.near.namespace, "near"):
        key = world.key("admin", scopes=[("namespace", scope)])
        holder = world.client(key, namespace=None)
        for operation in (*BUCKET, *COLLECTION, *RETRIEVER, *ACROSS):
            if operation.permission == "read":
                answer = send(holder, operation, world.near.ids)
                assert answer.status_code not in {401, 403, 404}, answer.text
        ok(holder.get(f"/v1/namespaces/{world.near.namespace}"))
        refused(holder.get("/v1/buckets", headers={"X-Namespace": "default"}), 403)
        refused(holder.get("/v1/buckets", headers={"X-Namespace": "nowhere"}), 403)
        refused(holder.get(f"/v1/namespaces/{world.home.namespace}"), 403)


def test_a_key_knows_itself_whatever_its_scopes_are(world: World) -> None:
    for scope in (("namespace", "near"), ("bucket", world.home.ids["bucket_identifier"]), ("secret", "x")):
        holder = world.client(world.key("read", scopes=[scope]))
        assert ok(holder.get("/v1/me"))["key"]["permissions"] == ["read"]


def test_a_key_for_the_organization_is_as_wide_as_one_without_scopes(world: World) -> None:
    organization = ok(world.home.api.get("/v1/me"))["organization_id"]
    for id in (organization, "*"):
        holder = world.client(world.key("read", scopes=[("organization", id)]))
        assert ok(holder.get("/v1/buckets")) == ok(world.home.api.get("/v1/buckets"))
        ok(holder.get("/v1/organizations"))


# Namespaces and organizations


def addressed(*operations: Operation) -> list[Operation]:
    """Those about a resource in their path; tasks have tests of their own."""
    return [one for one in operations if one.addresses and "task" not in one.path]


@every(*addressed(*BUCKET, *COLLECTION, *RETRIEVER, *ACROSS))
def test_another_namespaces_resource_reads_as_missing(world: World, operation: Operation) -> None:
    neighbour = world.client(world.server.admin_key, "near")
    there = send(neighbour, operation, world.home.ids)
    assert there.status_code in {404, 422}, there.text
    refused(there, 404, "NotFoundError")
    assert neutral(there, world.home.ids) == neutral(send(neighbour, operation, MISSING), MISSING)
    world.unchanged(operation)


@every(*addressed(*[one for one in GUARDED if one not in CALLER]))
def test_another_organizations_resource_reads_as_missing(world: World, operation: Operation) -> None:
    there = send(world.far.api, operation, world.home.ids)
    refused(there, 404, "NotFoundError")
    assert neutral(there, world.home.ids) == neutral(send(world.far.api, operation, MISSING), MISSING)
    world.unchanged(operation)


def test_a_task_is_seen_and_stopped_by_its_organization_only(world: World) -> None:
    theirs, missing = (f"/v1/tasks/{ids['task_id']}" for ids in (world.home.ids, MISSING))
    for stranger in (world.far.api, world.holder("admin", "namespace", "near")):
        stranger.headers["X-Namespace"] = "default" if stranger is world.far.api else "near"
        refused(stranger.get(theirs), 404, "NotFoundError")
        assert neutral(stranger.get(theirs), world.home.ids) == neutral(stranger.get(missing), MISSING)
        gone = stranger.delete(theirs)  # stopping what does not exist is no error
        assert neutral(gone, world.home.ids) == neutral(stranger.delete(missing), MISSING)
    world.unchanged()


@every(*[one for one in GUARDED if one.namespaced and "task" not in one.path])
def test_another_organizations_namespace_reads_as_missing(world: World, operation: Operation) -> None:
    def asked(namespace: str, ids: Mapping[str, str]) -> httpx.Response:
        stranger = world.client(key_of(world.far), namespace=namespace)
        return send(stranger, operation, ids)

    there = asked(world.home.namespace, world.home.ids)
    missing = asked(MISSING["namespace_id"], MISSING)
    assert neutral(there, world.home.ids) == neutral(missing, MISSING)
    if operation.listing:
        assert ok(there)["results"] == []
        assert there.headers["x-namespace-unresolved"] == world.home.namespace
    else:
        refused(there, 404, "NotFoundError")
    world.unchanged(operation)


def key_of(owner: Estate) -> str:
    return owner.api.headers["authorization"].removeprefix("Bearer ")


@every(*[one for one in GUARDED if not one.addresses and one.permission == "read"])
def test_a_list_shows_nothing_of_others(world: World, operation: Operation) -> None:
    for stranger in (world.near, world.far):
        text = send(stranger.api, operation, stranger.ids).text
        for name, value in world.home.ids.items():
            own = stranger is world.near and not operation.namespaced  # of the same organization
            assert own or name == "key_name" or value not in text, (name, value)


REFERENCES: dict[str, Any] = {
    "a collection over a bucket": ("POST", "/v1/collections", lambda at: matrix.collection(at, unique("c"))),
    "a collection over a collection": (
        "POST",
        "/v1/collections",
        lambda at: {
            **matrix.collection(at, unique("c")),
            "source": {"type": "collection", "collection_ids": [at["collection_identifier"]]},
        },
    ),
    "a retriever over a collection": ("POST", "/v1/retrievers", lambda at: matrix.retriever(at, unique("r"))),
    "a search over a collection": ("POST", "/v1/retrievers/execute", matrix.retriever),
    "a feature search over a collection": (
        "POST",
        "/v1/features/search",
        lambda at: {"query": "letter", "collection_identifiers": [at["collection_identifier"]]},
    ),
    "a text search over a collection": (
        "POST",
        "/v1/documents/search",
        lambda at: {"query": "letter", "collection_ids": [at["collection_identifier"]]},
    ),
    "a list over collections": (
        "POST",
        "/v1/documents/list",
        lambda at: {"collection_ids": [at["collection_identifier"]]},
    ),
    "an upsert into a collection": (
        "POST",
        "/v1/namespaces/{namespace_identifier}/documents/upsert",
        lambda at: {
            "collection_id": at["collection_identifier"],
            "documents": [{"document_id": "doc_intruder", "payload": {"a": 1}}],
        },
    ),
    "a batch of objects": (
        "POST",
        "/v1/buckets/{bucket_identifier}/batches",
        lambda at: {"object_ids": [at["object_identifier"]]},
    ),
    "an object from an upload": (
        "POST",
        "/v1/buckets/{bucket_identifier}/objects",
        lambda at: {"blobs": [{"property": "text", "type": "text", "upload_id": at["upload_id"]}]},
    ),
    "a trigger of some buckets": (
        "POST",
        "/v1/collections/{collection_identifier}/trigger",
        lambda at: {"include_buckets": [at["bucket_identifier"]]},
    ),
}
"""Requests that are about their own namespace, and name something else in their bodies."""


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_body_cannot_name_what_belongs_to_others(world: World, reference: str) -> None:
    method, path, body = REFERENCES[reference]
    for own in (world.near, world.far):
        url = path.format_map(own.ids)
        there = own.api.request(method, url, json=body(world.home.ids))
        assert there.status_code in {404, 422}, there.text
        missing = own.api.request(method, url, json=body(MISSING))
        assert neutral(there, world.home.ids) == neutral(missing, MISSING)
    world.unchanged()


def test_ids_of_others_are_not_found_among_many(world: World) -> None:
    for own in (world.near, world.far):
        theirs, mine = world.home.ids["document_id"], own.ids["document_id"]
        got = ok(own.api.post("/v1/documents/batch-get", json={"document_ids": [theirs, mine, "doc_none"]}))
        assert [one["document_id"] for one in got["documents"]] == [mine]
        assert got["not_found"] == [theirs, "doc_none"]
        at = f"/v1/collections/{own.ids['collection_identifier']}/documents/batch"
        changed = ok(
            own.api.post(at, json={"updates": [{"document_id": theirs, "update_data": {"title": "changed"}}]})
        )
        assert changed["updated_count"] == 0
        assert ok(own.api.request("DELETE", at, json={"document_ids": [theirs]}))["deleted_count"] == 0
    world.unchanged()


def test_a_batch_that_skips_its_checks_still_processes_only_its_own_objects(world: World) -> None:
    theirs = world.home.ids["object_identifier"]
    for own in (world.near, world.far):
        batches = f"/v1/buckets/{own.ids['bucket_identifier']}/batches"
        before = documents_of(own)
        made = own.api.post(batches, params={"skip_validation": True}, json={"object_ids": [theirs]})
        if made.status_code != 200:
            continue
        submitted = own.api.post(f"{batches}/{made.json()['batch_id']}/submit")
        if submitted.status_code == 200:
            ended(own.api, submitted.json()["task_id"])
        assert documents_of(own) == before
        assert theirs not in str(before)
    world.unchanged()


def test_a_scope_can_be_narrowed_to_operations_and_widened_by_a_pattern(world: World) -> None:
    bucket = world.home.ids["bucket_identifier"]

    def holder(type: str, id: str, *operations: str) -> httpx.Client:
        scope = {"resource_type": type, "resource_id": id, "operations": list(operations)}
        key = new_key(world.home.api, permissions=["read", "write"], scopes=[scope])
        return world.client(key, namespace=world.home.namespace)

    description = {"description": "changed by a reader?"}
    for type, id in (
        ("bucket", bucket),
        ("namespace", f"{world.home.namespace[:4]}*"),
        ("organization", "*"),
    ):
        reader = holder(type, id, "read_data")
        ok(reader.get(f"/v1/buckets/{bucket}"))
        refused(reader.patch(f"/v1/buckets/{bucket}", json=description), 403, "ForbiddenError")
        writer = holder(type, id, "write_data")  # is let in, and told what is wrong
        invalid(writer.patch(f"/v1/buckets/{bucket}", json={"bucket_name": ""}), "bucket_name")
    strange = {"resource_type": "bucket", "resource_id": bucket, "operations": ["read"]}
    path = f"/v1/organizations/users/{ADMIN}/api-keys"
    invalid(world.home.api.post(path, json={"name": unique("key"), "scopes": [strange]}), "operations")
    world.unchanged()


def test_a_scoped_key_sees_no_other_namespaces_deletion(world: World) -> None:
    def made(name: str) -> str:
        body = {"namespace_name": name, "feature_extractors": []}
        return str(ok(world.home.api.post("/v1/namespaces", json=body))["namespace_id"])

    other = made(unique("other"))
    task = ok(world.home.api.delete(f"/v1/namespaces/{other}"))["task_id"]
    ended(world.home.api, task)
    kept = unique("kept")
    made(kept)
    holder = world.holder("admin", "namespace", kept)
    holder.headers["X-Namespace"] = kept
    refused(holder.get(f"/v1/tasks/{task}"), 404, "NotFoundError")


def documents_of(owner: Estate) -> Any:
    path = f"/v1/collections/{owner.ids['collection_identifier']}/documents"
    return ok(owner.api.get(path, params={"limit": 100}))["results"]


def ended(api: httpx.Client, task_id: str) -> None:
    from tests.steps import TERMINAL, eventually

    eventually(lambda: ok(api.get(f"/v1/tasks/{task_id}"))["status"] in TERMINAL, "the task ends")


def test_filters_and_sorts_reach_no_other_tenant(world: World) -> None:
    home = world.home.namespace
    for own in (world.near, world.far):
        for filters in (
            {"field": "_internal.namespace_id", "operator": "eq", "value": home},
            {"OR": [{"field": "title", "operator": "exists", "value": True}, {"namespace_id": home}]},
            {"NOT": [{"field": "collection_id", "operator": "eq", "value": "x"}]},
            {"organization_id": {"ne": "x"}},
        ):
            for answer in (
                own.api.post("/v1/documents/list", json={"filters": filters, "limit": 1000}),
                own.api.post("/v1/buckets/list", json={"filters": filters}),
                own.api.post("/v1/tasks/list", json={"filters": filters}),
                own.api.post(
                    "/v1/retrievers/execute", json={**matrix.retriever(own.ids), "filters": filters}
                ),
            ):
                assert answer.status_code in {200, 422}, answer.text
                assert not [one for one in world.home.ids.values() if len(one) > 8 and one in answer.text]


def test_a_namespace_id_is_taken_for_every_organization(world: World) -> None:
    for owner, other in ((world.home, world.far), (world.far, world.home)):
        id = unique("taken")
        ok(owner.api.post("/v1/namespaces/standalone", json={"namespace_id": id}))
        documents = [{"document_id": "doc_1", "payload": {"text": SECRET}, "vectors": {"own": [1.0, 0.0]}}]
        ok(owner.api.post(f"/v1/namespaces/{id}/documents/upsert", json={"documents": documents}))
        refused(other.api.post("/v1/namespaces/standalone", json={"namespace_id": id}), 409)
        named = {"namespace_name": unique("n"), "namespace_id": id}
        refused(other.api.post("/v1/namespaces", json=named), 409)
        refused(other.api.get(f"/v1/namespaces/{id}/documents/doc_1"), 404)
        assert SECRET not in other.api.post("/v1/documents/list", headers={"X-Namespace": id}).text


def test_no_namespace_takes_the_name_or_id_that_another_answers_to(world: World) -> None:
    api, name = world.home.api, unique("name")
    made = ok(api.post("/v1/namespaces", json={"namespace_name": name}))
    refused(api.post("/v1/namespaces/standalone", json={"namespace_id": name}), 409)
    refused(api.post("/v1/namespaces", json={"namespace_name": made["namespace_id"]}), 409)
    other = ok(api.post("/v1/namespaces", json={"namespace_name": unique("name")}))["namespace_id"]
    refused(api.patch(f"/v1/namespaces/{other}", json={"namespace_name": made["namespace_id"]}), 409)
    refused(api.patch(f"/v1/namespaces/{other}", json={"namespace_name": name}), 409)
    # An organization's names are its own.
    ok(world.far.api.post("/v1/namespaces", json={"namespace_name": name}))


def test_the_namespace_of_the_query_is_checked_like_that_of_the_header(world: World) -> None:
    stranger = world.client(key_of(world.far), namespace=None)
    bucket = world.home.ids["bucket_identifier"]
    refused(stranger.get(f"/v1/buckets/{bucket}", params={"namespace": world.home.namespace}), 404)
    holder = world.client(world.key("read", scopes=[("namespace", "near")]), "near")
    # The header goes before the query, so that nobody is checked in one and served in another.
    bucket = world.near.ids["bucket_identifier"]
    ok(holder.get(f"/v1/buckets/{bucket}", params={"namespace": world.home.namespace}))
