"""What holds for every extractor that is registered, however many there are."""

from collections.abc import Callable
from pathlib import Path

import pytest

import lamina.extractors
from lamina.core.errors import NotFoundError, ValidationError
from lamina.extractors.base import BlobValue, Extractor
from lamina.extractors.registry import all_extractors, extractor, extractor_by_id
from lamina.extractors.testing import CHECKS, Trial, check_name
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR, located, samples

every_extractor = pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.id()) for kind in all_extractors().values()]
)


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


@pytest.fixture(scope="module")
def trials(models: Models) -> dict[type[Extractor], Trial]:
    """Every extractor with real media to try it with."""
    files = {
        kind: [BlobValue(located(file).read_bytes(), type, Path(file.path).name) for file, type in found]
        for kind, found in samples().items()
    }
    return {kind: Trial(kind, models, files) for kind in all_extractors().values()}


def test_the_registry_finds_what_the_folders_hold() -> None:
    folders = {path.parent.name for path in Path(lamina.extractors.__path__[0]).glob("*/extractor.py")}
    assert {name for name, _ in all_extractors()} == folders


def test_extractors_are_found_by_name_and_version_and_by_id() -> None:
    for (name, version), kind in all_extractors().items():
        assert extractor(name, version) is kind
        assert all(extractor_by_id(each) is kind for each in (name, f"{name}_{version}", f"{name}@{version}"))
    with pytest.raises(ValidationError, match="text_extractor@v1"):
        extractor("text_extractor", "v9")
    with pytest.raises(NotFoundError):
        extractor_by_id("no_extractor")


@every_extractor
def test_the_uris_of_its_vectors_name_their_models(kind: type[Extractor], models: Models) -> None:
    for made in kind.vectors(kind.Parameters(), models):
        assert str(kind.feature_uri(made.output)) == f"mixpeek://{kind.name}@{kind.version}/{made.output}"


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
@every_extractor
def test_it_keeps_what_every_extractor_promises(
    kind: type[Extractor], check: Callable[[Trial], None], trials: dict[type[Extractor], Trial]
) -> None:
    check(trials[kind])
