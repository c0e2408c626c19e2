"""Size of the default installation: what pip puts into a fresh environment, and the weights that are fetched.

    python -m bench.install_size

Makes an environment with `tools/venv.sh`, installs the locked packages as `make setup` does for use, and
counts the bytes of every file that pip recorded, by package; files that Python compiles belong to them.
Packages that a fresh environment has without Lamina (pip, setuptools) are not counted, nor are those that
only build it. Weights are the files of every capability's default model, as `lamina models pull` fetches
them; those that come inside packages are counted there.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from bench.harness import ROOT, Figure, arguments, fresh, rounded, size_of
from lamina.inference.registry import Models, ModelSettings, built_in
from tests.media import MODELS_DIR

REACH_MB = 600
LARGEST = 20


def main() -> None:
    """Install, count, and compare."""
    arguments(__doc__).parse_args()
    figure = Figure("install_size", "Size of the default installation, MB")
    packages = installed(fresh("install_size") / "venv")
    fresh("install_size")  # what was measured is of no use to anybody
    weights = fetched()
    largest = sorted(packages, key=lambda name: -packages[name])[:LARGEST]
    figure.note("packages", rounded(sum(packages.values()) / 1e6))
    figure.note("largest_packages", {name: rounded(packages[name] / 1e6) for name in largest})
    figure.note("number_of_packages", len(packages))
    figure.note("weights_fetched", rounded(sum(weights.values()) / 1e6))
    figure.note("weights", {name: rounded(size / 1e6) for name, size in weights.items()})
    total = (sum(packages.values()) + sum(weights.values())) / 1e6
    figure.wanted("default installation with weights, MB", rounded(total), most=REACH_MB)
    figure.write()


def installed(venv: Path) -> dict[str, int]:
    """Bytes of each package that an environment gets for Lamina, which is one of them."""
    run(ROOT / "tools" / "venv.sh", venv)
    before = set(sizes(venv))
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "build.txt")
    building = set(sizes(venv))
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt")
    needed = locked() | {"lamina"}
    run(*pip, "--no-deps", "--no-build-isolation", ROOT)
    return {
        name: size for name, size in sizes(venv).items() if name in needed or name not in before | building
    }


def locked() -> set[str]:
    """Names of the packages in the lock of the runtime."""
    lines = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    return {
        _name(line.partition("==")[0]) for line in lines if "==" in line and not line.startswith((" ", "#"))
    }


def sizes(venv: Path) -> dict[str, int]:
    """Bytes of each package of an environment."""
    (packages,) = (venv / "lib").glob("python*/site-packages")
    return {_name(one.name): size_of(_files(one)) for one in distributions(path=[str(packages)])}


def fetched() -> dict[str, int]:
    """Bytes of the files that `lamina models pull` fetches, by package."""
    models = Models(ModelSettings(MODELS_DIR))
    files = {file for name in built_in()[1].values() for file in models.files(name)}
    weights: dict[str, int] = {}
    for file in sorted(files, key=lambda file: (file.archive.package, file.path)):
        place = file.kept(MODELS_DIR)
        if place.is_file():
            weights[file.archive.package] = weights.get(file.archive.package, 0) + place.stat().st_size
    return weights


def run(*command: object) -> None:
    """A command that must work."""
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {done.stderr[-2000:]}")


def _files(package: Distribution) -> Iterator[Path]:
    for file in package.files or ():
        yield Path(str(package.locate_file(file)))


def _name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
