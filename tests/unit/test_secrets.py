"""Sealed values: bound to their place and key, and put where parameters refer to them."""

import os
from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import SecretStr

from lamina.core.errors import ValidationError
from lamina.core.scope import Scope
from lamina.core.settings import Settings, key_of
from lamina.core.types import JsonObject
from lamina.platform.secrets import SECRETS, Secret, SecretCreate, SecretService
from lamina.stores.records.sql import SqlRecordStore

HOME, FAR = Scope("org_home"), Scope("org_far")


async def test_a_value_is_sealed_for_its_organization_and_name(tmp_path: Path) -> None:
    records = await SqlRecordStore.open(f"sqlite+aiosqlite:///{tmp_path / 'records.sqlite'}")
    key = os.urandom(32)
    stored = records.repository(SECRETS)
    vault = SecretService(stored, key)
    await vault.create(HOME, SecretCreate(secret_name="llm", secret_value="open sesame"))
    await vault.create(HOME, SecretCreate(secret_name="mail", secret_value="{{SECRET.llm}}"))
    given: JsonObject = {
        "llm_api_key": "x{{SECRET.llm}}y{{ SECRET.mail }}",
        "llm_model": "{{SECRET.llm}}",
        "n": 1,
    }
    found = await vault.resolved(HOME, given)
    assert found == {**given, "llm_api_key": "xopen sesamey{{SECRET.llm}}"}
    sealed = (await stored.get(HOME.of_organization(), "llm")).sealed
    assert "sesame" not in sealed

    with pytest.raises(ValidationError, match="There is no secret 'llm'"):
        await vault.resolved(FAR, {"llm_api_key": "{{SECRET.llm}}"})
    await stored.add(FAR.of_organization(), Secret(secret_name="llm", sealed=sealed))
    for reader, scope in ((vault, FAR), (SecretService(stored, os.urandom(32)), HOME)):
        with pytest.raises(ValidationError, match="cannot be read with the key") as caught:
            await reader.resolved(scope, {"llm_api_key": "{{SECRET.llm}}"})
        assert caught.value.code == "secret_unreadable"
    await records.close()


def test_a_setting_stands_for_the_key_of_a_file() -> None:
    file = os.urandom(32)
    told = Settings(secrets_key=SecretStr(f"base64:{b64encode(file).decode()}"))
    assert told.secrets_key is not None
    assert key_of(told.secrets_key) == file
    assert len(key_of(SecretStr("words of our own"))) == 32
    for wrong in ("base64:" + b64encode(file[:31]).decode(), "base64:this is no base64"):
        with pytest.raises(ValueError, match="what follows base64:"):
            Settings(presign_key=SecretStr(wrong))
