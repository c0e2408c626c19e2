"""The server against its own OpenAPI: whatever is asked, well or badly, the answer is as described."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.operations import SERVED, Operation
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import POEMS, create_bucket, create_retriever, ingest, ok, poem_object, search_stage

KEPT = {
    Operation("DELETE", "/v1/namespaces/{namespace_identifier}"),
    Operation("DELETE", "/v1/organizations/users/{user_email}/api-keys/{key_name}"),
}
"""Not fuzzed: they could remove the namespace or the key that everything else needs."""


def never_breaks(context: CheckContext, response: Response, case: Case) -> None:
    """No 5xx, but for the 501 with which an option that is not built yet says so."""
    if response.status_code == 501:
        assert response.json()["error"]["type"] == "NotEnabledError"
    else:
        not_a_server_error(context, response, case)


CHECKS = [never_breaks, status_code_conformance, content_type_conformance, response_schema_conformance]

EXAMPLES = {GenerationMode.POSITIVE: 12, GenerationMode.NEGATIVE: 10}
"""Requests made for each operation, with what its description allows and with what it does not."""


@pytest.fixture(scope="module")
def fuzzed(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own, since the requests leave all sorts of things behind."""
    with (
        engines() as stores,
        RunningServer(tmp_path_factory.mktemp("fuzzed") / "data", env=stores) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def existing(fuzzed: RunningServer) -> dict[str, str]:
    """Something that exists for each path parameter, so that requests get past "not found"."""
    with fuzzed.client() as client:
        corpus = ingest(client)
        bucket = f"/v1/buckets/{corpus.bucket_id}"
        upload = ok(
            client.post(f"{bucket}/uploads", json={"filename": "a.txt", "content_type": "text/plain"})
        )
        namespace_id = ok(client.get("/v1/namespaces/default"))["namespace_id"]
        retriever = create_retriever(client, corpus.collection_id, search_stage(corpus.feature_uri))
        ok(client.post("/v1/organizations/secrets", json={"secret_name": "spare", "secret_value": "x"}))
        keys = {"access_key_id": "a", "secret_access_key": "b"}
        config = {"credentials": keys, "endpoint_url": "http://127.0.0.1:9000"}  # refused before it is asked
        lent = {"name": "spare", "provider_type": "s3", "provider_config": config, "test_before_save": False}
        return {
            "connection_identifier": ok(client.post("/v1/organizations/connections", json=lent))[
                "connection_id"
            ],
            "secret_name": "spare",
            # Another one, for it may be told that its time is over.
            "namespace_identifier": ok(client.post("/v1/namespaces", json={"namespace_name": "spare"}))[
                "namespace_id"
            ],
            "namespace_id": namespace_id,
            "bucket_identifier": corpus.bucket_id,
            "object_identifier": corpus.object(),
            "upload_id": upload["upload_id"],
            "batch_id": corpus.batch_id,
            "task_id": ok(client.get(f"/v1/batches/{corpus.batch_id}"))["task_id"],
            "collection_identifier": corpus.collection_id,
            "document_id": corpus.document(),
            "retriever_id": retriever["retriever_id"],
            "feature_extractor_id": "text_extractor_v1",
            "user_email": "admin@lamina.local",
        }


@pytest.fixture(scope="module")
def openapi(fuzzed: RunningServer) -> Any:
    """The schema that the server publishes, as schemathesis reads it."""
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


@pytest.mark.parametrize("mode", list(EXAMPLES), ids=lambda mode: str(mode.value))
@pytest.mark.parametrize("operation", sorted(SERVED - KEPT), ids=str)
def test_answers_are_as_described(
    operation: Operation, mode: GenerationMode, openapi: Any, fuzzed: RunningServer, existing: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {fuzzed.admin_key}", "X-Namespace": existing["namespace_id"]}
    requests = openapi[operation.path][operation.method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES[mode],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests, exists=st.booleans())
    def answers_as_described(case: Case, exists: bool) -> None:
        if exists and operation.method != "DELETE":
            case.path_parameters.update({name: existing[name] for name in case.path_parameters})
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

    try:
        answers_as_described()
    except Unsatisfiable:
        described = openapi.raw_schema["paths"][operation.path][operation.method.lower()]
        assert mode is GenerationMode.NEGATIVE
        assert not described.get("parameters")
        assert "requestBody" not in described, "only what takes nothing can be given nothing wrong"


def described(api: httpx.Client) -> dict[str, Any]:
    """The published schema."""
    answer: dict[str, Any] = api.get("/openapi.json").json()
    return answer


def test_every_served_operation_is_described(api: httpx.Client) -> None:
    paths = described(api)["paths"]
    missing = [str(each) for each in SERVED if each.method.lower() not in paths.get(each.path, {})]
    assert not missing, sorted(missing)


def test_every_operation_has_a_unique_name_that_tools_can_use(api: httpx.Client) -> None:
    names = [
        operation["operationId"]
        for path in described(api)["paths"].values()
        for method, operation in path.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    assert len(names) == len(set(names))
    assert all(name.replace("_", "").replace("-", "").isalnum() and len(name) <= 64 for name in names), names


def test_every_served_operation_describes_the_error_envelope(api: httpx.Client) -> None:
    found = described(api)
    for operation in SERVED:
        responses = found["paths"][operation.path][operation.method.lower()]["responses"]
        assert set(responses) & {"200", "202", "204"}, operation
        content = responses["422" if "422" in responses else "default"]["content"]
        assert "ErrorResponse" in str(content), operation
        assert "HTTPValidationError" not in str(responses), operation


def test_both_answers_to_objects_in_batch_are_described(api: httpx.Client) -> None:
    found = described(api)
    responses = found["paths"]["/v1/buckets/{bucket_identifier}/objects/batch"]["post"]["responses"]

    def fits(answer: Any, status: int) -> bool:
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        return jsonschema_rs.is_valid({**schema, "components": found["components"]}, answer)

    where = f"/v1/buckets/{create_bucket(api)['bucket_id']}/objects/batch"
    good, bad = poem_object(POEMS[0]), {"year": "long ago"}
    for objects, params, status in (
        ([good], {}, 200),
        ([bad], {}, 422),
        ([good, bad], {"response": "envelope"}, 200),
        ([bad], {"response": "envelope"}, 422),
    ):
        answer = api.post(where, json={"objects": objects}, params=params)
        assert answer.status_code == status, answer.text
        assert fits(answer.json(), status), answer.text
    assert not any(fits({"succeeded": [{}], "failed": []}, status) for status in (200, 422))


def test_the_schema_needs_no_key(fuzzed: RunningServer) -> None:
    with fuzzed.anonymous() as nobody:
        for path in ("/openapi.json", "/docs/openapi.json"):
            answer = nobody.get(path)
            assert answer.status_code == 200
            assert answer.json()["openapi"].startswith("3.")
        assert nobody.get("/docs").status_code == 200
