"""Storage connections through the typed SDK."""

import json

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException

from tests.contract.sdk import Sdk
from tests.server import RunningServer
from tests.steps import unique

SECRET = "a secret access key that nobody sees again"


def test_a_connection_is_created_listed_changed_and_deleted_and_its_credentials_are_never_shown(
    sdk: Sdk, server: RunningServer
) -> None:
    name = unique("archive")
    credentials = {"type": "access_key", "access_key_id": "AKIDARCHIVE", "secret_access_key": SECRET}
    asked = mixpeek.StorageConnectionCreateRequest(
        name=name,
        provider_type="s3",
        provider_config={"credentials": credentials, "endpoint_url": "http://127.0.0.1:9000"},
        test_before_save=False,
    )
    made = sdk.connections.create_storage_connection_organizations(asked)
    assert made.connection_id.startswith("conn_")
    assert (made.name, made.status, made.is_active) == (name, "ACTIVE", True)
    assert sdk.connections.get_storage_connection_organizations(name).connection_id == made.connection_id
    listed = sdk.connections.list_storage_connections_organizations(
        list_storage_connections_request=mixpeek.ListStorageConnectionsRequest(provider_type="s3"), limit=100
    )
    assert name in {one.name for one in listed.results}
    assert listed.total >= 1
    change = mixpeek.StorageConnectionUpdateRequest(description="Old films", status="SUSPENDED")
    changed = sdk.connections.update_storage_connection_organizations(made.connection_id, change)
    assert (changed.description, changed.status, changed.is_active) == ("Old films", "SUSPENDED", False)
    tried = sdk.connections.test_storage_connection_organizations(made.connection_id)
    assert tried.success is False
    assert "not public" in tried.message
    with pytest.raises(ApiException) as taken:
        sdk.connections.create_storage_connection_organizations(asked)
    assert taken.value.status == 409
    sdk.connections.delete_storage_connection_organizations(made.connection_id)
    ended = sdk.connections.get_storage_connection_organizations(made.connection_id)
    assert (ended.status, ended.is_active) == ("ARCHIVED", False)
    shown = json.dumps([one.to_dict() for one in (made, listed, changed, ended)], default=str)
    for hidden in (SECRET, "AKIDARCHIVE", "sealed"):
        assert hidden not in shown + server.log


def test_a_connection_that_there_is_not_is_not_found(sdk: Sdk) -> None:
    with pytest.raises(NotFoundException):
        sdk.connections.get_storage_connection_organizations("conn_000000000000000")
