"""Which tests run on which engines, and which share a worker when they run in parallel (`pytest -n`)."""

import pytest

TYPED = ("tests/contract/test_typed_", "tests/contract/test_operation_coverage")
"""The typed SDK's tests run in one process: the last one counts what all of them performed."""

EMBEDDED_ONLY = (
    # Long films and lectures: how they are taken apart does not depend on the stores.
    "tests/journeys/test_courses.py",
    "tests/journeys/test_videos.py",
    # Thousands of objects: `tests/crash/test_workers.py` has them on servers.
    "tests/journeys/test_processing.py::test_five_thousand_objects_in_one_batch_are_all_accounted_for",
    # URLs that the server signs itself: a bucket signs its own.
    "tests/security/test_presigned.py",
    # What asks no store.
    "tests/contract/test_not_enabled.py",
    "tests/security/test_input_http.py",
)
"""Tests of the fixture `engines` that are not run again on servers, and why."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the servers under test keep their state."""
    parser.addoption(
        "--engines",
        choices=["embedded", "servers"],
        default="embedded",
        help="a data folder, or PostgreSQL, a Qdrant server and S3, on which only tests of stores run",
    )


def runs_on_servers(item: pytest.Item) -> bool:
    """Whether a test has something to prove of PostgreSQL, a Qdrant server and S3."""
    return "engines" in getattr(item, "fixturenames", ()) and not item.nodeid.startswith(EMBEDDED_ONLY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests of the engines. A file's tests share a worker, and with it the file's fixtures."""
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        everywhere = config.getoption("engines") == "embedded"
        (chosen if everywhere or runs_on_servers(item) else left_out).append(item)
        group = "typed-sdk" if path.startswith(TYPED) else path
        item.add_marker(pytest.mark.xdist_group(group))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
