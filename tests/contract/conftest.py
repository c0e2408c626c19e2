"""Fixtures of the contract's tests: the typed SDK, and a corpus that tests only read."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.sdk import Sdk
from tests.server import RunningServer
from tests.steps import PHOTO_SCHEMA, Corpus, ingest, poem_with_photo, unique

COVERAGE = "test_every_served_operation_was_performed_by_the_sdk"


@pytest.fixture(scope="session")
def sdk(server: RunningServer) -> Sdk:
    """The typed SDK with the admin key, in the namespace `default`."""
    return Sdk(server.url, server.admin_key, "default")


@pytest.fixture(scope="session")
def corpus(api: httpx.Client) -> Corpus:
    """Six processed poems in the namespace `default`. Read them, do not change them."""
    return ingest(api)


@pytest.fixture(scope="session")
def files(api: httpx.Client) -> Corpus:
    """The same, each with an image beside its text."""
    return ingest(api, poem_with_photo, PHOTO_SCHEMA)


@pytest.fixture
def own_namespace(api: httpx.Client) -> str:
    """The name of a fresh namespace that belongs to one test."""
    name = unique("space")
    created = api.post("/v1/namespaces", json={"namespace_name": name})
    assert created.status_code == httpx.codes.OK, created.text
    return name


@pytest.fixture
def own_api(server: RunningServer, own_namespace: str) -> Iterator[httpx.Client]:
    """An HTTP client in a fresh namespace that belongs to one test."""
    with server.client(namespace=own_namespace) as client:
        yield client


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the coverage test after all typed tests, and only when all of them run."""
    coverage = [item for item in items if item.name == COVERAGE]
    rest = [item for item in items if item.name != COVERAGE]
    collected = {item.path for item in rest}
    complete = all(path in collected for path in Path(__file__).parent.glob("test_typed_*.py"))
    items[:] = [*rest, *coverage] if complete else rest
    if not complete and coverage:
        config.hook.pytest_deselected(items=coverage)
