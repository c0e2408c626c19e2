"""Which tests share a worker when they run in parallel (`pytest -n`)."""

import pytest

TYPED = ("tests/contract/test_typed_", "tests/contract/test_operation_coverage")
"""The typed SDK's tests run in one process: the last one counts what all of them performed."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests share a worker, and with it the file's fixtures."""
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        group = "typed-sdk" if path.startswith(TYPED) else path
        item.add_marker(pytest.mark.xdist_group(group))
