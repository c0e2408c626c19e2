"""Extractors of an installation's own: of a folder, of a package, broken, and used by a server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lamina.cli.main import app
from lamina.extractors import registry
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.own import find, load_folder
from lamina.extractors.testing import CHECKS, CheckFailed, Trial
from lamina.inference.registry import Models, ModelSettings
from tests.server import RunningServer
from tests.steps import create_bucket, finished, ok, unique

BROKEN = {
    "no_class": ("", "names no EXTRACTOR"),
    "no_extractor": ("EXTRACTOR = dict", "is not a class of lamina.extractors.base.Extractor"),
    "bad_syntax": ("def f(:", "SyntaxError: invalid syntax (__init__.py, line 1)"),
    "raises": ("\n1 / 0", "ZeroDivisionError: division by zero (__init__.py, line 2)"),
    "leaves": ("import sys\nsys.exit(1)", "SystemExit"),
    "no_module": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
}


def command(*arguments: str, expect: int = 0) -> str:
    done = CliRunner().invoke(app, ["extractors", *arguments])
    assert done.exit_code == expect, done.output
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the template as extractor `paragraphs`; what other tests see is as before."""
    command("new", "paragraphs", "--into", str(tmp_path / "own"))
    yield tmp_path / "own"
    registry.use_folder(None)


def changed(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of `paragraphs` under another name, with one thing changed in its class."""
    copy = shutil.copytree(folder / "paragraphs", folder / name)
    for file in copy.glob("*.py"):
        text = file.read_text().replace('"paragraphs"', f'"{name}"')
        file.write_text(text.replace(old, new) if file.name == "extractor.py" else text)
    return copy


def test_an_extractor_of_a_folder_is_found_beside_the_built_in_ones(folder: Path) -> None:
    registry.use_folder(folder)
    kind = registry.extractor("paragraphs", "v1")
    assert registry.is_own(kind)
    assert not registry.is_own(registry.extractor("text_extractor", "v1"))
    assert registry.own_extractors() == [kind]
    assert load_folder(folder / "paragraphs") is kind
    models = Models(ModelSettings(folder))
    (parts,) = kind(kind.Parameters(), models).extract([Source("a", {"text": "One two.\n\nThree."})])
    assert [part.fields["words"] for part in parts] == [2, 1]  # type: ignore[union-attr]


def test_a_folder_may_be_the_extractors_own(folder: Path) -> None:
    assert [kind for kind, _ in find(folder / "paragraphs", frozenset()).extractors] == ["paragraphs"]


def test_a_broken_extractor_is_told_of_and_takes_no_other_away(folder: Path) -> None:
    for name, (code, _) in BROKEN.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    (folder / "no_init").mkdir()
    (folder / "no_init" / "extractor.py").write_text("")
    (folder / "notes").mkdir()
    own = find(folder, frozenset())
    assert list(own.extractors) == [("paragraphs", "v1")]
    reasons = {Path(one.where).name: one.reason for one in own.refused}
    assert set(reasons) == {*BROKEN, "no_init"}
    for name, (_, reason) in BROKEN.items():
        assert reason in reasons[name]
    assert "has no __init__.py" in reasons["no_init"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name: ClassVar[str] = "changed"', 'name: ClassVar[str] = "Bad Name"', "lower-case letters"),
        ('name: ClassVar[str] = "changed"', 'name: ClassVar[str] = "text_extractor"', "extractor_type"),
        ('ClassVar[str] = "v1"', 'ClassVar[str] = "one"', "its version 'one'"),
        ('category: ClassVar[str] = "text"', 'category: ClassVar[str] = "poetry"', "its category is none of"),
        ('["text", "string"]', '["text", "poem"]', "accepts ['text', 'poem']"),
        ("{INPUT: [", "{} or {INPUT: [", ""),
        ("    Parameters: ClassVar[type[ExtractorParameters]] = Parameters\n", "", "its Parameters are no"),
        ("def output_schema", "def fields", "it does not define output_schema"),
    ],
)
def test_a_class_that_says_what_cannot_be_is_refused(folder: Path, old: str, new: str, reason: str) -> None:
    changed(folder, "changed", old, new)
    own = find(folder, frozenset({"text_extractor"}))
    assert ("paragraphs", "v1") in own.extractors
    if not reason:
        assert ("changed", "v1") in own.extractors
        return
    (refused,) = own.refused
    assert reason in refused.reason


def test_names_that_are_taken_are_refused(folder: Path) -> None:
    shutil.copytree(folder / "paragraphs", folder / "same")
    own = find(folder, frozenset())
    assert [one.reason for one in own.refused] == ["there is another paragraphs@v1"]
    own = find(folder / "paragraphs", frozenset({"paragraphs"}))
    assert [one.reason for one in own.refused] == ["the name 'paragraphs' belongs to a built-in extractor"]
    own = find(folder / "nothing", frozenset())
    assert "is not a folder" in own.refused[0].reason


def test_an_installed_package_names_its_extractor(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    shutil.copytree(folder / "paragraphs", site / "acme_paragraphs")
    information = site / "acme_paragraphs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-paragraphs\nVersion: 1.0\n")
    points = "[lamina.extractors]\nparagraphs = acme_paragraphs:EXTRACTOR\nbroken = acme_paragraphs:NOTHING\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(site))
    own = find(None, frozenset())
    assert list(own.extractors) == [("paragraphs", "v1")]
    (refused,) = own.refused
    assert refused.where == "acme-paragraphs (acme_paragraphs:NOTHING)"


def test_the_template_passes_its_own_tests(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "."],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{len(CHECKS) + 1} passed" in done.stdout


def test_the_commands_list_and_check(folder: Path) -> None:
    (folder / "raises").mkdir()
    (folder / "raises" / "__init__.py").write_text("1 / 0")
    changed(folder, "undeclared", '"words": {"type"', '"number": {"type"')
    listed = {one["name"]: one for one in json.loads(command("list", "--extractors", str(folder), "--json"))}
    assert listed["paragraphs"]["source"] == "custom"
    assert listed["paragraphs"]["models"] == ["all_minilm_l6_v2_v1"]
    assert listed["text_extractor"]["source"] == "builtin"
    assert "ZeroDivisionError" in listed[str(folder / "raises")]["state"]
    checked = json.loads(command("check", "--extractors", str(folder), "--json", expect=1))
    failed = {(one["extractor"], one["check"]): one["found"] for one in checked if not one["ok"]}
    declared = "its vectors and fields are declared and are what documents get"
    assert failed["undeclared_v1", declared] == "fields that output_schema does not name: words"
    assert (str(folder / "raises"), "it can be loaded") in failed
    assert not [one for one, _ in failed if one == "paragraphs_v1"]
    command("check", str(folder / "paragraphs"))
    command("check", "no_such_extractor", expect=2)


def test_a_template_takes_no_place_that_is_taken(folder: Path) -> None:
    for name in ("paragraphs", "text_extractor", "Bad", "a"):
        command("new", name, "--into", str(folder), expect=2)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("position=str(number)", 'position="0"', "positions repeat"),
        ("lexical=text", "lexical=str(id(part_of))", "NameError"),
        ("vectors={model: next(vectors)}", "vectors={}", "no document has any vector"),
    ],
)
def test_checks_find_what_does_not_hold(folder: Path, old: str, new: str, reason: str) -> None:
    kind = load_folder(changed(folder, f"wrong_{len(new)}", old, new))
    text = BlobValue(b"Apples ripen.\n\nBread cools.", "text/plain")
    trial = Trial(kind, Models(ModelSettings(folder)), {"text": [text]})
    said = []
    for check in CHECKS:
        try:
            check(trial)
        except (CheckFailed, NameError) as failure:
            said.append(f"{type(failure).__name__} {failure}")
    assert any(reason in one for one in said)


def test_a_server_lists_and_uses_an_extractor_of_its_own(folder: Path, tmp_path: Path) -> None:
    (folder / "raises").mkdir()
    (folder / "raises" / "__init__.py").write_text("1 / 0")
    env = {"LAMINA_EXTRACTORS": str(folder), "LAMINA_WORKERS": "1"}
    with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
        assert "extractor_refused" in server.log
        assert "ZeroDivisionError" in server.log
        entry = ok(api.get("/v1/collections/features/extractors/paragraphs_v1"))
        assert entry["source"] == "custom"
        assert entry["available"] is True
        bucket = create_bucket(api, {"properties": {"body": {"type": "text"}}})["bucket_id"]
        ok(api.post(f"/v1/buckets/{bucket}/objects", json={"body": "Apples ripen.\n\nBread cools slowly."}))
        made = ok(
            api.post(
                "/v1/collections",
                json={
                    "collection_name": unique("own"),
                    "source": {"type": "bucket", "bucket_ids": [bucket]},
                    "feature_extractor": {
                        "feature_extractor_name": "paragraphs",
                        "version": "v1",
                        "input_mappings": {"text": "body"},
                        "parameters": {"min_words": 3},
                    },
                },
            )
        )
        started = ok(api.post(f"/v1/collections/{made['collection_id']}/trigger", json={}), 202)
        finished(api, started["task_id"])
        documents = ok(api.get(f"/v1/collections/{made['collection_id']}/documents"))["results"]
        assert [(one["text"], one["words"]) for one in documents] == [("Bread cools slowly.", 3)]
