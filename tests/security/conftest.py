"""Servers that several files of tests share: one for nonsense, one with two organizations."""

import time
from collections.abc import Iterator

import pytest

from tests.security.estates import LARGEST, Estate, Neighbours, estate, two_organizations
from tests.security.nonsense import SECONDS
from tests.server import RunningServer
from tests.shared import Engines
from tests.steps import ok


@pytest.fixture(scope="session")
def hostile(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that is only ever sent nonsense. At the end it is well, and had no defect to report."""
    with engines() as stores, RunningServer(tmp_path_factory.mktemp("input") / "data", env=stores) as running:
        yield running
        with running.client() as client:
            began = time.monotonic()
            ok(client.get("/v1/me"))
            ok(client.get("/v1/buckets"))
            assert time.monotonic() - began < SECONDS
        assert "internal_error" not in running.log, running.log_tail(200)
        assert "Traceback" not in running.log, running.log_tail(200)


@pytest.fixture(scope="session")
def home(hostile: RunningServer) -> Iterator[Estate]:
    """One of everything, so that nonsense gets as far as it can."""
    with hostile.client() as api:
        yield estate(api, "default")


@pytest.fixture(scope="session")
def neighbours(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """A server with two organizations that takes small files only."""
    folder = tmp_path_factory.mktemp("neighbours") / "data"
    limit = {"LAMINA_MAX_BLOB_BYTES": str(LARGEST)}
    with two_organizations(engines, folder, **limit) as (server, api, other, nobody):
        yield Neighbours(server, estate(api, "default"), estate(other, "default"), nobody)
        assert "internal_error" not in server.log, server.log_tail(200)
