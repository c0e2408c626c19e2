"""Fixtures that every folder of tests shares: one server for the session and a client of it."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import pytest

from tests.databases import fresh_database
from tests.s3 import S3
from tests.server import RunningServer
from tests.shared import Engines, shared_stores


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """Empty stores for a server: its data folder, or with `--engines=servers` PostgreSQL, Qdrant and S3."""

    @contextmanager
    def elsewhere() -> Iterator[dict[str, str]]:
        with shared_stores(tmp_path_factory.mktemp("shared")) as shared:
            yield shared.env

    return elsewhere if request.config.getoption("engines") == "servers" else lambda: nullcontext({})


@pytest.fixture(scope="session")
def server(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lives as long as the session. Tests use names of their own."""
    small_steps = {"LAMINA_CHUNK_OBJECTS": "64"}  # so that a batch of some hundred can be stopped on its way
    folder = tmp_path_factory.mktemp("lamina") / "data"
    with engines() as stores, RunningServer(folder, env={**stores, **small_steps}) as running:
        yield running


@pytest.fixture(scope="session")
def api(server: RunningServer) -> Iterator[httpx.Client]:
    """An HTTP client with the admin key and `X-Namespace: default`."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database that lives as long as the session."""
    with fresh_database() as url:
        yield url


@pytest.fixture
def empty_postgres_url() -> Iterator[str]:
    """A PostgreSQL database of the test's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 that lives as long as the session. Tests use buckets or prefixes of their own."""
    with S3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log beside a failure."""
    report = yield
    funcargs: dict[str, Any] = getattr(item, "funcargs", {})
    servers = [each for each in funcargs.values() if isinstance(each, RunningServer)]
    if report.failed:
        report.sections += [(f"log of the server on port {each.port}", each.log_tail(40)) for each in servers]
    return report
