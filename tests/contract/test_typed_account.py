"""Health, account, organization, users and API keys through the typed SDK."""

import hashlib
import json

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, ForbiddenException, NotFoundException, UnauthorizedException

from tests.contract.sdk import Sdk
from tests.server import RunningServer
from tests.steps import unique

ADMIN = "admin@lamina.local"


def test_health_and_liveness_answer_without_a_key(server: RunningServer) -> None:
    anyone = Sdk(server.url, "sk_nobody", "nowhere")
    health = anyone.health.healthcheck_health()
    assert health["status"] == "OK"
    assert anyone.health.liveness_health_with_http_info().status_code == 200


def test_health_counts_for_the_admin_too(sdk: Sdk) -> None:
    assert sdk.health.healthcheck_health()["status"] == "OK"
    assert sdk.health.liveness_health() is not None


def test_me_names_organization_user_and_key(sdk: Sdk) -> None:
    me = sdk.account.whoami_me()
    assert me.organization_id.startswith("org_")
    assert me.user_email == ADMIN
    assert me.key.key_type == "standard"
    assert "admin" in me.key.permissions
    assert me.principal_scoped is False


def test_the_organization_is_the_one_of_the_key(sdk: Sdk) -> None:
    organization = sdk.organizations.get_organization()
    assert organization.organization_id == sdk.account.whoami_me().organization_id
    assert organization.account_type in set(mixpeek.AccountTier)
    assert organization.rate_limits.search >= 1
    assert organization.created_at <= organization.updated_at


def test_a_created_user_is_listed(sdk: Sdk) -> None:
    email = f"{unique('reader')}@example.org"
    asked = mixpeek.UserCreateRequest(email=email, user_name="A Reader", role=mixpeek.UserRole.VIEWER)
    created = sdk.users.create_user_organizations(asked)
    assert email in json.dumps(created)
    listed = sdk.users.list_users_organizations(limit=1000)
    assert email in json.dumps(listed)
    assert ADMIN in json.dumps(listed)
    viewers = json.dumps(sdk.users.list_users_organizations(limit=1000, role=mixpeek.UserRole.VIEWER))
    assert email in viewers
    assert ADMIN not in viewers


def test_a_users_email_is_taken_once(sdk: Sdk) -> None:
    asked = mixpeek.UserCreateRequest(email=f"{unique('twin')}@example.org", user_name="Twin")
    sdk.users.create_user_organizations(asked)
    with pytest.raises(ApiException) as refusal:
        sdk.users.create_user_organizations(asked)
    assert refusal.value.status == 409


def test_a_key_is_shown_once_works_and_ends_when_revoked(sdk: Sdk, server: RunningServer) -> None:
    asked = mixpeek.APIKeyCreateRequest(name=unique("key"), permissions=[mixpeek.Permission.READ])
    created = sdk.keys.create_key_organizations_users_email(ADMIN, asked)
    assert created.key.startswith("sk_")
    assert created.key_hash == hashlib.sha256(created.key.encode()).hexdigest()
    assert created.key_prefix == created.key[:10] + "..."
    assert created.permissions == [mixpeek.Permission.READ]
    assert created.status == mixpeek.KeyStatus.ACTIVE

    reader = Sdk(server.url, created.key, "default")
    assert reader.account.whoami_me().key.permissions == ["read"]
    assert reader.buckets.list_buckets().results is not None
    with pytest.raises(ForbiddenException):
        reader.buckets.create_bucket(
            mixpeek.BucketCreateRequest.from_dict(
                {"bucket_name": unique("no"), "bucket_schema": {"properties": {"text": {"type": "text"}}}}
            )
        )

    listed = json.dumps(sdk.keys.list_keys_organizations_users_email(ADMIN))
    assert asked.name in listed
    assert created.key not in listed

    answer = sdk.keys.delete_key_organizations_users_email_name(ADMIN, asked.name)
    assert answer.success is True
    with pytest.raises(UnauthorizedException):
        reader.account.whoami_me()
    assert asked.name not in json.dumps(sdk.keys.list_keys_organizations_users_email(ADMIN))
    revoked = sdk.keys.list_keys_organizations_users_email(ADMIN, include_revoked=True)
    assert asked.name in json.dumps(revoked)


def test_a_key_bound_to_a_namespace_sees_no_other(sdk: Sdk, server: RunningServer) -> None:
    name = unique("scoped")
    mine = sdk.namespaces.create_namespace(mixpeek.CreateNamespaceRequest(namespace_name=name))
    scope = mixpeek.ResourceScopeInput(resource_type="namespace", resource_id=mine.namespace_id)
    asked = mixpeek.APIKeyCreateRequest(
        name=unique("key"), permissions=[mixpeek.Permission.READ, mixpeek.Permission.WRITE], scopes=[scope]
    )
    created = sdk.keys.create_key_organizations_users_email(ADMIN, asked)
    assert created.scopes[0].resource_id == mine.namespace_id
    assert Sdk(server.url, created.key, name).buckets.list_buckets().results == []
    with pytest.raises((ForbiddenException, NotFoundException)):
        Sdk(server.url, created.key, "default").buckets.get_bucket("bkt_00000000")


def test_the_admin_key_cannot_be_revoked(sdk: Sdk) -> None:
    with pytest.raises(ApiException) as refusal:
        sdk.keys.delete_key_organizations_users_email_name(ADMIN, "admin-key")
    assert 400 <= refusal.value.status < 500
    assert sdk.account.whoami_me().user_email == ADMIN


def test_a_wrong_key_is_unauthorized_with_a_typed_error(server: RunningServer) -> None:
    with pytest.raises(UnauthorizedException) as refusal:
        Sdk(server.url, "sk_" + "0" * 48, "default").account.whoami_me()
    assert refusal.value.data.status == 401
    assert refusal.value.data.error.type == "UnauthorizedError"
    assert refusal.value.data.success is False
