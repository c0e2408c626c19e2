"""Fixtures of the tests of commands: the command line, and a scripted server for it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lamina.cli.main import app
from tests.unit.served import Run, Served, serving


@pytest.fixture
def served() -> Iterator[Served]:
    """A server whose answers the test chooses."""
    with serving() as state:
        yield state


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty folder, without any `LAMINA_…` variable but those given."""
    for name in [name for name in os.environ if name.startswith("LAMINA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def start(*arguments: str, **env: str) -> Any:
        return CliRunner().invoke(app, [str(one) for one in arguments], env=env)

    return start
