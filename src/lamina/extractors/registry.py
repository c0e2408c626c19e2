"""The extractors there are: every folder of this package that holds one, and the installation's own."""

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from lamina import extractors
from lamina.core.errors import NotFoundError, ValidationError
from lamina.extractors.base import Extractor
from lamina.extractors.own import Own, Refused, find

_folder: Path | None = None


def use_folder(folder: Path | None) -> None:
    """Take the extractors of a folder along; for a server at its start, and each of its workers."""
    global _folder
    _folder = folder
    _own.cache_clear()
    all_extractors.cache_clear()


@cache
def names() -> frozenset[str]:
    """Names of the built-in extractors: those of their folders. None is loaded for that."""
    return frozenset(module.name for module in pkgutil.iter_modules(extractors.__path__) if module.ispkg)


@cache
def _built_in(name: str) -> type[Extractor]:
    """The extractor of a folder, whose `__init__` names its class `EXTRACTOR`.

    Loaded when it is asked for: those of media bring decoders along, which a server of texts need not hold.
    """
    found: type[Extractor] = import_module(f"lamina.extractors.{name}").EXTRACTOR
    return found


@cache
def all_extractors() -> dict[tuple[str, str], type[Extractor]]:
    """Extractors by (name, version)."""
    built_in = [_built_in(name) for name in sorted(names())]
    return {**{(one.name, one.version): one for one in built_in}, **_own().extractors}


def own_extractors() -> Sequence[type[Extractor]]:
    """Those that are not built in."""
    return list(_own().extractors.values())


def refused() -> Sequence[Refused]:
    """The installation's own that cannot be used, and why."""
    return _own().refused


def is_own(kind: type[Extractor]) -> bool:
    """Whether an extractor is not built in."""
    return kind.name not in names() or _built_in(kind.name) is not kind


@cache
def _own() -> Own:
    return find(_folder, names())


def extractor(name: str, version: str) -> type[Extractor]:
    """The extractor of that name and version; `ValidationError` lists those there are."""
    found = _built_in(name) if name in names() else _own().extractors.get((name, version))
    if found is None or found.version != version:
        known = sorted(f"{name}@{version}" for name, version in all_extractors())
        raise ValidationError(
            f"Feature extractor '{name}@{version}' does not exist; there are {', '.join(known)}.",
            field="feature_extractor.feature_extractor_name",
            code="feature_extractor_not_found",
        )
    return found


def extractor_by_id(identifier: str) -> type[Extractor]:
    """The extractor with that name or `{name}_{version}`; the newest version of a bare name."""
    for (name, version), found in sorted(all_extractors().items(), reverse=True):
        if identifier in {name, found.id(), f"{name}@{version}"}:
            return found
    raise NotFoundError("feature_extractor", identifier, code="feature_extractor_not_found")
