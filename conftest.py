"""Which tests run on which engines, and which share a worker when they run in parallel (`pytest -n`)."""

import pytest

TYPED = ("tests/contract/test_typed_", "tests/contract/test_operation_coverage")
"""The typed SDK's tests run in one process: the last one counts what all of them performed."""

ON_SERVERS = ("tests/contract/", "tests/journeys/", "tests/security/", "tests/stages/")
"""Folders whose tests of the fixture `engines` run with `--engines=servers`, and no other tests."""

EMBEDDED_ONLY = (
    "tests/journeys/test_courses.py",
    "tests/journeys/test_videos.py",
)
"""But not these, which are about"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the servers under test keep their state."""
    parser.addoption(
        "--engines",
        choices=["embedded", "servers"],
        default="embedded",
        help="what tests run on: a data folder, or PostgreSQL, a Qdrant server and S3",
    )


def runs_on_servers(path: str, item: pytest.Item) -> bool:
    """Whether a test has something to prove of PostgreSQL, a Qdrant server and S3."""
    uses_stores = "engines" in getattr(item, "fixturenames", ())
    return uses_stores and path.startswith(ON_SERVERS) and not path.startswith(EMBEDDED_ONLY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests of the engines. A file's tests share a worker, and with it the file's fixtures."""
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        everywhere = config.getoption("engines") == "embedded"
        (chosen if everywhere or runs_on_servers(path, item) else left_out).append(item)
        group = "typed-sdk" if path.startswith(TYPED) else path
        item.add_marker(pytest.mark.xdist_group(group))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
