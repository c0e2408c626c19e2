"""Write the locks in `requirements/` from `pyproject.toml`: every platform, every file's hash, no index URL.

Versions that a lock has are kept while they fit; `--upgrade` takes the newest that fit.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
OLDEST_PYTHON: Final = "3.11"
LOCKS: Final = (
    # The runtime lock comes first: development gets the same versions of what both have.
    ("requirements/runtime.txt", ["pyproject.toml"]),
    (
        "requirements/dev.txt",
        ["pyproject.toml", "--extra", "dev", "--constraint", "requirements/runtime.txt"],
    ),
    ("requirements/build.txt", ["requirements/build.in"]),
    ("requirements/s3.txt", ["requirements/s3.in"]),
)
PLACES: Final = ("://", "file:", "--index-url", "--extra-index-url", "--find-links", "--trusted-host")
"""What would say where the packages were found when the lock was written."""


def main() -> None:
    """Write all locks."""
    for lock, sources in LOCKS:
        command = ["uv", "pip", "compile", *sources, "--output-file", lock]
        command += ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"]
        command += ["--no-annotate", "--custom-compile-command", "make lock", "--quiet", *sys.argv[1:]]
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)
        text = (ROOT / lock).read_text("utf-8")
        if found := [place for place in PLACES if place in text]:
            sys.exit(f"{lock} names a place of this machine: {', '.join(found)}")
        print(f"{lock}: {text.count('==')} packages")


if __name__ == "__main__":
    main()
