"""The secrets vault through the typed SDK."""

import json

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException

from tests.contract.sdk import Sdk
from tests.server import RunningServer
from tests.steps import unique

VALUE = "a value that nobody ever sees again"


def test_a_secret_is_listed_by_name_changed_and_deleted_and_its_value_is_never_shown(
    sdk: Sdk, server: RunningServer
) -> None:
    name = unique("stripe").replace("-", "_")
    asked = mixpeek.CreateSecretRequest(secret_name=name, secret_value=VALUE)
    created = sdk.secrets.create_secret_organizations(asked)
    assert (created.secret_name, created.created) == (name, True)
    listed = sdk.secrets.list_secrets_organizations()
    assert name in listed.secrets
    assert listed.count == len(listed.secrets)
    changed = sdk.secrets.update_secret_organizations_name(
        name, mixpeek.UpdateSecretRequest(secret_value=f"{VALUE} 2")
    )
    assert (changed.secret_name, changed.updated) == (name, True)
    with pytest.raises(ApiException) as taken:
        sdk.secrets.create_secret_organizations(asked)
    assert taken.value.status == 409
    gone = sdk.secrets.delete_secret_organizations_name(name)
    assert (gone.secret_name, gone.deleted) == (name, True)
    assert name not in sdk.secrets.list_secrets_organizations().secrets
    shown = json.dumps([one.to_dict() for one in (created, listed, changed, gone)])
    assert VALUE not in shown + server.log


def test_a_secret_that_there_is_not_is_not_found(sdk: Sdk) -> None:
    with pytest.raises(NotFoundException):
        sdk.secrets.delete_secret_organizations_name("nothing")
    with pytest.raises(NotFoundException):
        sdk.secrets.update_secret_organizations_name("nothing", mixpeek.UpdateSecretRequest(secret_value="x"))
