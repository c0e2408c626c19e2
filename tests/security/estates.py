"""Two organizations on one server, with one of everything in each namespace that strangers must not reach."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.security import matrix
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import finished, ok, unique

ADMIN = "admin@lamina.local"

SECRET = "a letter that only its owner reads"

TEXT = b"".join(b"line %05d of a file that only its owner reads\n" % number for number in range(4_000))
"""More than is kept in a record, so that it becomes a file."""

LARGEST = 1 << 20
"""Bytes that a file may have on the server of the neighbours."""

_SECOND_ORGANIZATION = """
import asyncio, json, sys
from lamina.app import open_services
from lamina.core.scope import Scope
from lamina.core.settings import Settings
from lamina.platform.api_keys import ApiKeyCreate
from lamina.platform.namespaces import NamespaceCreate
from lamina.platform.organizations import UserCreate

async def make():
    async with open_services(Settings()) as services:
        organization = await services.organizations.create("Second")
        scope = Scope(organization.organization_id)
        user = await services.organizations.create_user(
            scope, UserCreate(email="admin@second.example.org", user_name="Second")
        )
        key = await services.keys.create(
            scope, user, ApiKeyCreate(name="second", permissions=["admin"]), created_by=None
        )
        await services.namespaces.create(scope, NamespaceCreate(namespace_name="default"))
        print(json.dumps([organization.organization_id, key.key]), file=sys.stderr)

asyncio.run(make())
"""
"""No operation makes an organization, so this is done on the data folder, before the server starts."""


def second_organization(server: RunningServer) -> str:
    """The admin key of another organization, with a namespace `default`; the server must not run."""
    server.data_dir.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        [sys.executable, "-c", _SECOND_ORGANIZATION],
        env={**server.environment(), "LAMINA_DATA_DIR": str(server.data_dir), "LAMINA_LOG_LEVEL": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    key: str = json.loads(made.stderr.strip().splitlines()[-1])[1]
    return key


@contextmanager
def two_organizations(
    engines: Engines, folder: Path, **env: str
) -> Iterator[tuple[RunningServer, httpx.Client, httpx.Client, httpx.Client]]:
    """A running server, with clients of its first and its second organization, and one without a key."""
    with engines() as stores:
        server = RunningServer(folder, env={**stores, **env})
        second = second_organization(server)
        with (
            server,
            server.client() as api,
            server.client(api_key=second) as other,
            server.anonymous() as nobody,
        ):
            yield server, api, other, nobody


@dataclass(frozen=True)
class Estate:
    """One of everything in one namespace, with a client that owns it."""

    api: httpx.Client
    ids: Mapping[str, str]

    @property
    def namespace(self) -> str:
        """Its namespace's id."""
        return self.ids["namespace_identifier"]

    def contents(self) -> dict[str, Any]:
        """All that could have changed."""
        reads = [
            "/v1/namespaces/{namespace_identifier}",
            "/v1/buckets",
            "/v1/buckets/{bucket_identifier}/objects?limit=100",
            "/v1/collections",
            "/v1/collections/{collection_identifier}/documents?limit=100",
            "/v1/retrievers",
            "/v1/organizations/users/{key_owner}/api-keys",
            "/v1/organizations/secrets",
        ]
        lists = [
            "/v1/buckets/{bucket_identifier}/uploads/list",
            "/v1/buckets/{bucket_identifier}/batches/list",
            "/v1/tasks/list",
            "/v1/organizations/connections/list",
        ]
        found = {path: ok(self.api.get(path.format_map(self.ids))) for path in reads}
        return found | {path: ok(self.api.post(path.format_map(self.ids))) for path in lists}


def estate(api: httpx.Client, namespace: str) -> Estate:
    """Make one of everything in a namespace. Its names are the same in every namespace."""
    owner = f"{unique('owner')}@example.org"
    ok(api.post("/v1/organizations/users", json={"email": owner, "user_name": "Owner"}))
    key = ok(api.post(f"/v1/organizations/users/{owner}/api-keys", json={"name": "spare"}))
    secret = unique("secret")
    ok(api.post("/v1/organizations/secrets", json={"secret_name": secret, "secret_value": SECRET}))
    lent = ok(api.post("/v1/organizations/connections", json=matrix.connection(unique("bucket"))))
    bucket = ok(api.post("/v1/buckets", json={"bucket_name": "letters", "bucket_schema": matrix.SCHEMA}))[
        "bucket_id"
    ]
    letter = {"base64": "YSBsZXR0ZXIgdGhhdCBvbmx5IGl0cyBvd25lciByZWFkcw==", "filename": "letter.txt"}
    blob = {"property": "text", "type": "text", "data": letter}
    one = ok(api.post(f"/v1/buckets/{bucket}/objects", json={"title": "letter", "blobs": [blob]}))
    at = {"bucket_identifier": bucket, "object_identifier": one["object_id"]}
    made = ok(api.post("/v1/collections", json=matrix.collection(at, "letters")))["collection_id"]
    at["collection_identifier"] = made
    document = ok(api.post(f"/v1/collections/{made}/documents", json={"title": "letter", "text": SECRET}))
    upload = ok(api.post(f"/v1/buckets/{bucket}/uploads", json=matrix.upload()))
    done = ok(api.post(f"/v1/buckets/{bucket}/batches", json={"object_ids": [one["object_id"]]}))
    task = ok(api.post(f"/v1/buckets/{bucket}/batches/{done['batch_id']}/submit"))["task_id"]
    draft = ok(api.post(f"/v1/buckets/{bucket}/batches", json={"object_ids": [one["object_id"]]}))
    found = ok(api.post("/v1/retrievers", json=matrix.retriever(at, "letters")))
    finished(api, task)
    namespace_id = ok(api.get(f"/v1/namespaces/{namespace}"))["namespace_id"]
    return Estate(
        api,
        {
            **at,
            "namespace_identifier": namespace_id,
            "namespace_id": namespace_id,
            "document_id": document["document_id"],
            "upload_id": upload["upload_id"],
            "batch_id": draft["batch_id"],
            "task_id": task,
            "retriever_id": found["retriever_id"],
            "user_email": owner,
            "key_owner": owner,
            "key_name": key["name"],
            "secret_name": secret,
            "connection_identifier": lent["connection_id"],
        },
    )


@dataclass(frozen=True)
class Neighbours:
    """Estates of two organizations on one server, and somebody without a key."""

    server: RunningServer
    home: Estate
    far: Estate
    nobody: httpx.Client


MISSING: Mapping[str, str] = {
    "bucket_identifier": "bkt_00000000",
    "object_identifier": f"obj_{0:024}",
    "collection_identifier": "col_0000000000",
    "document_id": f"doc_{0:024}",
    "upload_id": f"upl_{0:016}",
    "batch_id": f"btch_{0:016}",
    "task_id": f"task_{0:024}",
    "retriever_id": f"ret_{0:014}",
    "namespace_identifier": "ns_0000000000",
    "namespace_id": "ns_0000000000",
    "user_email": "nobody@example.org",
    "key_name": "nothing",
    "secret_name": "no-secret",
    "connection_identifier": f"conn_{0:015}",
}
"""Ids of the right form that nothing has."""
