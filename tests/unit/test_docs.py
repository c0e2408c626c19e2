"""What the documentation says is what there is."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
import typer.main

from lamina.cli.checks import CLIENT_VARIABLES
from lamina.cli.failures import ExitCode
from lamina.cli.main import app
from lamina.core.settings import Settings
from tests.documentation import ROOT, blocks, documents
from tools import models_table

PLUGINS: Final = {
    "docs/extractors.md": "extractors/*/__init__.py",
    "docs/stages.md": "retrieval/stages/*/*/__init__.py",
}
LOCKS: Final = sorted(ROOT.glob("requirements/*.txt"))


def rows(page: str) -> dict[str, list[str]]:
    """The tables of a page: the cells of each row, by the name in its first cell."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and (name := re.match(r"`([^`]+)`", cells[0])):
            found[name[1]] = cells
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    documented = rows("docs/settings.md")
    settings = {f"LAMINA_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert set(documented) == set(settings) | CLIENT_VARIABLES
    for name, field in settings.items():
        default = documented[name][1]
        if field.default_factory is not None:
            assert default == "one per core"
            continue
        value = field.get_default()
        shown = "none" if value is None else f"`{value}`".replace("'", '"')
        assert default == shown, name


@pytest.mark.parametrize("page", PLUGINS)
def test_every_extractor_and_stage_is_documented_and_nothing_else(page: str) -> None:
    folders = {file.parent.name for file in (ROOT / "src/lamina").glob(PLUGINS[page])}
    assert set(rows(page)) == folders


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/guides/commands.md").read_text("utf-8")
    group = typer.main.get_group(app)
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        for each in [f"{name} {sub}" for sub in below] if below else [name]:
            assert f"`lamina {each}" in text, each


def test_the_table_of_models_is_that_of_the_registry() -> None:
    page = models_table.PAGE.read_text("utf-8")
    assert page == models_table.written(page), "run `python tools/models_table.py`"


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/guides/commands.md").read_text("utf-8")
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \|", text, re.MULTILINE), code


def test_links_lead_to_files_that_exist() -> None:
    for page in documents():
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} → {target}"


def test_examples_are_written_in_their_language() -> None:
    found = [(page, block) for page in documents() for block in blocks(page)]
    assert found
    for page, block in found:
        if block.language == "python":
            compile(block.text, str(page), "exec")
        elif block.language in {"sh", "console"}:
            checked = subprocess.run(
                ["bash", "-n"], input=block.text, text=True, capture_output=True, check=False
            )
            assert checked.returncode == 0, f"{page}: {checked.stderr}"


def test_every_decision_has_a_number_a_title_and_a_status() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("*.md"))
    numbers = [page.name[:4] for page in decisions]
    assert len(set(numbers)) == len(numbers)
    for page in decisions:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        assert re.search(r"^Status: ", text, re.MULTILINE), page.name


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_every_package_by_hash_and_names_no_place(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert not re.search(r"://|file:|^--|^-[a-z]\b|^\.?/", text, re.MULTILINE)
    packages = re.split(r"\n(?=[a-z0-9])", text)
    assert all("==" in one and "--hash=sha256:" in one for one in packages if not one.startswith("#"))


def test_the_development_lock_has_the_versions_of_the_runtime_lock() -> None:
    def versions(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text("utf-8")
        return set(re.findall(r"^[a-z0-9._-]+==[^\s\\]+", text, re.MULTILINE))

    assert versions("runtime.txt") <= versions("dev.txt")
