"""What `lamina doctor` looks at. Every check says what it found, and how to mend what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import httpx

from lamina.cli.connection import ADMIN_KEY_FILE, settings
from lamina.cli.failures import UsageFailure
from lamina.core.errors import LaminaError, ValidationError
from lamina.core.settings import Settings

if TYPE_CHECKING:
    from lamina.inference.registry import Models

CLIENT_VARIABLES: Final = frozenset({"LAMINA_URL", "LAMINA_API_KEY", "LAMINA_NAMESPACE"})
"""Variables that the client commands read, besides the settings of the server."""

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 13)
_OLDEST_SQLITE: Final = (3, 35, 0)
_LEAST_FREE_BYTES: Final = 512 << 20
_LITTLE_FREE_BYTES: Final = 4 << 30

_ENGINES: Final = {
    "qdrant_edge": ("vectors", "qdrant-edge-py"),
    "sqlalchemy": ("records", "sqlalchemy"),
    "aiosqlite": ("records", "aiosqlite"),
    "obstore": ("blobs", "obstore"),
    "dbos": ("durable work", "dbos"),
    "onnxruntime": ("inference", "onnxruntime"),
    "tokenizers": ("inference", "tokenizers"),
}
"""Modules that the embedded installation cannot do without: what for, and their package."""


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `mend` says what to do, where something is to be done."""

    check: str
    level: Level
    found: str
    mend: str | None = None


def examine(*, data_dir: Path | None, port: int | None, repair: bool = False) -> Iterator[Finding]:
    """Every check, in the order in which one depends on another. `repair` removes what belongs to nothing."""
    yield _python()
    yield from _engines()
    yield _sqlite()
    try:
        chosen = settings(data_dir=data_dir, port=port)
    except UsageFailure as failure:
        yield Finding(
            "settings", Level.FAILED, str(failure), "correct the variable; docs/settings.md lists all"
        )
        return
    yield _settings()
    yield from _models(chosen)
    yield from _extractors(chosen)
    yield data_folder(chosen.data_dir)
    yield _admin_key(chosen.data_dir)
    yield _disk(chosen.data_dir)
    usable = yield from _records(chosen)
    yield from _servers(chosen)
    if usable:
        yield from _left_overs(chosen, repair)
    yield _port(chosen)


def _python() -> Finding:
    version = sys.version_info
    text = f"Python {version.major}.{version.minor}.{version.micro} at {sys.executable}"
    if version[:2] < _OLDEST_PYTHON:
        return Finding("python", Level.FAILED, text, "install Python 3.11, 3.12 or 3.13")
    if version[:2] > _NEWEST_PYTHON:
        return Finding("python", Level.WARNING, text, "Lamina is tested on Python 3.11, 3.12 and 3.13")
    return Finding("python", Level.OK, text)


def _engines() -> Iterator[Finding]:
    for module, (purpose, package) in _ENGINES.items():
        check = f"engine {package}"
        try:
            import_module(module)
            yield Finding(check, Level.OK, f"{purpose}: version {metadata.version(package)}")
        except (ImportError, OSError, metadata.PackageNotFoundError) as error:
            yield Finding(
                check, Level.FAILED, f"{purpose}: {error}", f"pip install --force-reinstall {package}"
            )


def _sqlite() -> Finding:
    text = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Finding("sqlite", Level.FAILED, text, "use a Python that is built with SQLite 3.35 or later")
    return Finding("sqlite", Level.OK, text)


def _settings() -> Finding:
    known = {f"LAMINA_{name.upper()}" for name in Settings.model_fields} | CLIENT_VARIABLES
    given = {name for name in os.environ if name.startswith("LAMINA_")}
    # The test suite and its scripts have variables of their own.
    unknown = sorted(name for name in given - known if not name.startswith("LAMINA_TEST_"))
    if unknown:
        return Finding(
            "settings",
            Level.WARNING,
            f"no setting is called {', '.join(unknown)}",
            "docs/settings.md lists all",
        )
    return Finding("settings", Level.OK, f"{len(given)} set by variables, the rest at their defaults")


def _models(chosen: Settings) -> Iterator[Finding]:
    """The model that each capability uses. Only the one for texts is needed by all."""
    from lamina.inference.base import Capability
    from lamina.inference.registry import Models, ModelSettings

    models = Models(ModelSettings.of(chosen))
    for capability in get_args(Capability):
        check = f"model {capability}"
        try:
            name = models.default(capability)
        except ValidationError:
            continue  # nothing is chosen, so nothing is missed
        usable, words = models.available(name)
        if usable:
            yield Finding(check, Level.OK, f"{name}: {words}")
            continue
        level = Level.FAILED if capability == "embed_text" else Level.WARNING
        yield Finding(check, level, f"{name}: {words}", _mend(models, name))


def _mend(models: Models, name: str) -> str:
    try:
        fetched = models.files(name)
    except ValidationError:
        return "correct LAMINA_MODELS; `lamina models list` names them"
    return f"lamina models pull {name}" if fetched else "see the message"


def _extractors(chosen: Settings) -> Iterator[Finding]:
    """The installation's own extractors: those that work, and why the others do not."""
    from lamina.extractors import registry

    registry.use_folder(chosen.extractors.absolute() if chosen.extractors else None)
    for kind in registry.own_extractors():
        yield Finding(f"extractor {kind.name}", Level.OK, f"{kind.version}, of your own")
    for one in registry.refused():
        name = Path(one.where).name
        yield Finding(f"extractor {name}", Level.WARNING, one.reason, f"lamina extractors check {one.where}")


def data_folder(folder: Path) -> Finding:
    """Whether data can be kept in a folder, or where it is to be made. Leaves nothing behind."""
    try:
        with tempfile.NamedTemporaryFile(dir=_existing(folder)) as file:
            file.write(b"lamina")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            "data folder",
            Level.FAILED,
            f"{folder.absolute()} cannot be written: {error.strerror or error}",
            "give a writable one with --data-dir",
        )
    state = "is writable" if folder.is_dir() else "does not exist yet and can be made"
    return Finding("data folder", Level.OK, f"{folder.absolute()} {state}")


def _admin_key(folder: Path) -> Finding:
    file = folder / ADMIN_KEY_FILE
    if not file.exists():
        return Finding("admin key", Level.OK, "none yet; the first start makes one")
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding(
            "admin key", Level.WARNING, f"{file} can be read by others (mode {mode:o})", f"chmod 600 {file}"
        )
    return Finding("admin key", Level.OK, str(file))


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        return Finding("disk", Level.FAILED, text, "free some space, or give another disk with --data-dir")
    if free < _LITTLE_FREE_BYTES:
        return Finding("disk", Level.WARNING, text, "100,000 documents take about 1 GiB")
    return Finding("disk", Level.OK, text)


def _records(chosen: Settings) -> Generator[Finding, None, bool]:
    """The record store, whose tables stay as they are. Whether it may be used, which half a copy may not."""
    from lamina.engines import see_records  # loads the server's packages
    from lamina.transfer.preconditions import refuse_half_copies

    check = "records"
    try:
        seen = asyncio.run(see_records(chosen))
        if seen is not None:
            tables = f"tables at revision {seen.revision}" if seen.revision else "no tables yet"
            yield Finding(check, Level.OK, f"{seen.place}, {tables}")
        check = "copy"
        refuse_half_copies(chosen, seen.mark if seen else None)
    except LaminaError as error:
        found, _, mend = error.message.partition(" To mend it, ")
        yield Finding(check, Level.FAILED, found, mend.rstrip(".") or "see the message")
        return False
    return True


def _servers(chosen: Settings) -> Iterator[Finding]:
    """The bucket and the Qdrant server, in the words in which `lamina serve` refuses one."""
    if chosen.blobs_url is not None:
        yield _bucket(chosen)
    if chosen.vectors_url is not None:
        yield _qdrant(chosen, chosen.vectors_url)
    if chosen.compute == "ray":
        yield _ray(chosen)


def _bucket(chosen: Settings) -> Finding:
    from lamina.engines import check_blobs  # loads the server's packages

    try:
        asyncio.run(check_blobs(chosen))
    except LaminaError as error:
        found, _, mend = error.message.partition(" To mend: ")
        return Finding("blobs", Level.FAILED, found, mend or "correct LAMINA_BLOBS_URL; see docs/settings.md")
    return Finding("blobs", Level.OK, f"{chosen.blobs_url} can be read and written")


def _qdrant(chosen: Settings, url: str) -> Finding:
    from lamina.engines import check_vectors  # loads the server's packages

    try:
        asyncio.run(check_vectors(chosen))
    except LaminaError as error:
        return Finding("vectors", Level.FAILED, error.message, "see the message")
    if chosen.vectors_api_key is not None and not (url.startswith("https://") or "//127." in url):
        return Finding(
            "vectors",
            Level.WARNING,
            f"the API key goes to {url} unencrypted",
            "give the Qdrant server a certificate, and LAMINA_VECTORS_URL with https://",
        )
    return Finding("vectors", Level.OK, f"Qdrant server at {url}")


def _ray(chosen: Settings) -> Finding:
    from lamina.app import check_compute  # loads the server's packages

    try:
        asyncio.run(check_compute(chosen))
    except LaminaError as error:
        found, _, mend = error.message.partition(" To mend it, ")
        return Finding("compute", Level.FAILED, found, mend.rstrip(".") or "see the message")
    return Finding("compute", Level.OK, f"Ray cluster at {chosen.ray_address or 'this machine'}")


def _left_overs(chosen: Settings, repair: bool) -> Iterator[Finding]:
    """What outlived what it belonged to, in a folder that no server uses at the moment."""
    # A start leaves one of them, whatever the engines are. A look from elsewhere may be the first one at a
    # database, and must not make tables there; a repair is asked for.
    started = any((chosen.data_dir / one).exists() for one in ("records.sqlite", "executor.id"))
    if not started and not (repair and chosen.records_url):
        return
    try:
        counts = asyncio.run(_orphans(chosen, repair))
    except LaminaError as error:
        yield Finding("left-overs", Level.OK, f"not looked for: {error.message}")
        return
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    if not found:
        yield Finding("left-overs", Level.OK, "none: every document and blob belongs to something")
    elif repair:
        yield Finding("left-overs", Level.OK, f"removed {found} that belonged to nothing")
    else:
        yield Finding("left-overs", Level.WARNING, f"{found} belong to nothing", "lamina doctor --repair")


async def _orphans(chosen: Settings, repair: bool) -> Counter[str]:
    from lamina.app import open_reconciler  # loads the server's packages

    counts: Counter[str] = Counter()
    async with open_reconciler(chosen, alone=repair) as (reconciler, scopes):
        for scope in scopes:
            found = await (reconciler.repair(scope) if repair else reconciler.orphans(scope))
            counts.update(found.counts)
    return counts


def _port(chosen: Settings) -> Finding:
    check = f"port {chosen.port}"
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((chosen.host, chosen.port))
        except OSError as error:
            if _lamina_answers(chosen):
                return Finding(check, Level.OK, "a Lamina server is running here")
            mend = "stop what listens there, or choose another with --port or LAMINA_PORT"
            return Finding(check, Level.FAILED, f"{chosen.host}: {error.strerror or error}", mend)
    return Finding(check, Level.OK, f"free on {chosen.host}")


def _lamina_answers(chosen: Settings) -> bool:
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    try:
        with httpx.Client(trust_env=False, timeout=3.0) as http:
            answer = http.get(f"http://{host}:{chosen.port}/v1/health")
            return answer.is_success and "status" in answer.json()
    except (httpx.HTTPError, ValueError):
        return False


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
