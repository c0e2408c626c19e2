"""The README's five minutes, run as they stand."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import ROOT, blocks
from tests.server import RunningServer

README = ROOT / "README.md"
WRITTEN_URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server as a newcomer starts it: no settings, a key of its own, in the folder where they are."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("README.md", "docs"):
        (folder / name).symlink_to(ROOT / name)
    with RunningServer(folder / "lamina-data", generated_key=True) as server:
        yield server


def run(language: str, server: RunningServer) -> str:
    """Run all blocks of a language as one script, in the folder and against the server of the test."""
    text = "\n".join(
        block.text for block in blocks(README) if block.language == language and block.note is None
    )
    assert WRITTEN_URL in text
    script = text.replace(WRITTEN_URL, server.url)
    command = {"sh": ["bash", "-euo", "pipefail", "-c", script], "python": [sys.executable, "-c", script]}[
        language
    ]
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    env = server.environment() | {"LAMINA_PORT": str(server.port), "PATH": os.pathsep.join(paths)}
    done = subprocess.run(
        command, cwd=server.data_dir.parent, env=env, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_servers_command_is_the_one_that_is_tested() -> None:
    assert [block.text for block in blocks(README) if block.note == "serve"] == ["lamina serve\n"]


def test_the_commands_and_the_http_call_find_what_was_loaded(first_start: RunningServer) -> None:
    shown = run("sh", first_start)
    assert "COMPLETED" in shown
    assert "`admin.key` | the admin key" in shown
    assert '"documents"' in shown


def test_both_clients_of_the_sdk_work_with_only_the_url_changed(first_start: RunningServer) -> None:
    shown = run("python", first_start)
    assert "Fresh bread cools on the bakery counter. 1947" in shown
    assert shown.count("doc_") == 2
    assert shown.count("obj_") == 2
