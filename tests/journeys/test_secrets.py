"""A secret of the vault is used where a parameter refers to it, and lies in the open nowhere."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.openai import LanguageServer, language_server
from tests.server import RunningServer
from tests.steps import create_bucket, finished, invalid, ok, refused, unique

VALUE = "sk-proj-of-the-organization-0123456789"


@pytest.fixture(scope="module")
def language() -> Iterator[LanguageServer]:
    with language_server() as running:
        running.reply = lambda body: {"topic": "fruit"}
        yield running


@pytest.fixture(scope="module")
def own(language: LanguageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"LAMINA_CHAT_ENDPOINT": language.url, "LAMINA_WORKERS": "1", "LAMINA_LOG_LEVEL": "debug"}
    with RunningServer(tmp_path_factory.mktemp("secrets") / "data", env=env) as running:
        yield running


def collection(api: httpx.Client, bucket: str, **parameters: Any) -> httpx.Response:
    extractor = {
        "feature_extractor_name": "text_extractor",
        "version": "v1",
        "input_mappings": {"text": "text"},
        "parameters": {"response_shape": {"properties": {"topic": {"type": "string"}}}, **parameters},
    }
    source = {"type": "bucket", "bucket_ids": [bucket]}
    body = {"collection_name": unique("shaped"), "source": source, "feature_extractor": extractor}
    return api.post("/v1/collections", json=body)


def test_a_reference_is_resolved_for_the_work_only(own: RunningServer, language: LanguageServer) -> None:
    with own.client() as api:
        ok(api.post("/v1/organizations/secrets", json={"secret_name": "llm", "secret_value": VALUE}))
        bucket = create_bucket(api, {"properties": {"text": {"type": "text"}}})["bucket_id"]
        ok(api.post(f"/v1/buckets/{bucket}/objects", json={"text": "Apples ripen."}))
        made = ok(collection(api, bucket, llm_api_key="{{SECRET.llm}}"))
        assert made["feature_extractor"]["parameters"]["llm_api_key"] == "{{SECRET.llm}}"
        path = f"/v1/collections/{made['collection_id']}"
        finished(api, ok(api.post(f"{path}/trigger", json={}), 202)["task_id"])
        (document,) = ok(api.get(f"{path}/documents"))["results"]
        assert document["topic"] == "fruit"
        assert language.keys[-1] == f"Bearer {VALUE}"

        ok(api.put("/v1/organizations/secrets/llm", json={"secret_value": f"{VALUE}-2"}))
        ok(api.post(f"/v1/buckets/{bucket}/objects", json={"text": "Pears ripen."}))
        finished(api, ok(api.post(f"{path}/trigger", json={}), 202)["task_id"])
        assert language.keys[-1] == f"Bearer {VALUE}-2"

        ok(api.delete("/v1/organizations/secrets/llm"))
        ok(api.post(f"/v1/buckets/{bucket}/objects", json={"text": "Plums ripen."}))
        task = ok(api.post(f"{path}/trigger", json={}), 202)
        ended = finished(api, task["task_id"], status="FAILED")
        batch = ok(api.get(f"/v1/batches/{task['batch_id']}"))
        assert "There is no secret 'llm'" in f"{ended}{batch}"
    assert VALUE not in own.log
    for file in own.data_dir.rglob("*"):
        if file.is_file():
            assert VALUE.encode() not in file.read_bytes(), file


def test_the_key_that_seals_is_for_its_owner_only(own: RunningServer) -> None:
    key: Path = own.data_dir / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.stat().st_size == 32


def test_a_reference_must_lead_to_a_secret_and_stand_in_a_key(own: RunningServer) -> None:
    with own.client() as api:
        bucket = create_bucket(api, {"properties": {"text": {"type": "text"}}})["bucket_id"]
        invalid(collection(api, bucket, llm_api_key="{{SECRET.nothing}}"), "llm_api_key")
        error = refused(collection(api, bucket, llm_api_key="{{ SECRET.nothing }}"), 422)
        assert error["code"] == "secret_not_found"
        ok(api.post("/v1/organizations/secrets", json={"secret_name": "other", "secret_value": VALUE}))
        error = refused(collection(api, bucket, llm_model="{{SECRET.other}}"), 422)
        assert error["code"] == "secret_not_allowed"
        shape = {"properties": {"a": {"description": "{{SECRET.other}}", "type": "string"}}}
        assert refused(collection(api, bucket, response_shape=shape), 422)["code"] == "secret_not_allowed"
        for name in ("", "a" * 101, "with space", "a/b"):
            invalid(api.post("/v1/organizations/secrets", json={"secret_name": name, "secret_value": "x"}))
        invalid(api.post("/v1/organizations/secrets", json={"secret_name": "empty", "secret_value": ""}))
