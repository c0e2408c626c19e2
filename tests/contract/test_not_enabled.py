"""Operations that the contract has and Lamina does not serve say so; paths that nobody has are not found."""

import re

import httpx
import pytest

from tests.contract.operations import NOT_ENABLED, SERVED, Operation
from tests.steps import refused


def filled(path: str) -> str:
    """The path with something for each of its parameters."""
    return re.sub(r"\{\w+\}", "something", path)


@pytest.mark.parametrize("operation", NOT_ENABLED, ids=str)
def test_an_operation_that_is_not_served_answers_501_and_is_named(
    api: httpx.Client, operation: Operation
) -> None:
    body = None if operation.method == "GET" else "{}"
    answer = api.request(operation.method, filled(operation.path), content=body)
    error = refused(answer, 501, "NotEnabledError")
    assert operation.path in str(error) or filled(operation.path) in str(error)
    assert operation.method in str(error)


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/webhooks", "/v1/buckets/a/b/c/d", "/v2/buckets", "/nothing"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_path_that_is_no_operation_is_not_found(api: httpx.Client, method: str, path: str) -> None:
    refused(api.request(method, path), 404, "NotFoundError")


def test_a_method_that_a_path_does_not_have_is_refused(api: httpx.Client) -> None:
    answer = api.put("/v1/health")
    refused(answer, answer.status_code)
    assert answer.status_code in {404, 405}


@pytest.mark.parametrize("operation", sorted(SERVED), ids=str)
def test_a_served_operation_is_never_501(api: httpx.Client, operation: Operation) -> None:
    destructive = operation.method == "DELETE"
    body = "{}" if operation.method in {"POST", "PUT", "PATCH"} else None
    answer = api.request(operation.method, filled(operation.path), content=body)
    assert answer.status_code < 500, answer.text
    if destructive and "/tasks/" not in operation.path:
        refused(answer, answer.status_code)
