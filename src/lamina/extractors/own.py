"""Extractors of an installation's own: those of installed packages, and those of a folder.

A package names its class in the entry point group `lamina.extractors`; a folder has a folder for each
extractor, whose `__init__.py` names its class `EXTRACTOR`, as the built-in ones do. One that cannot be used
is told of, and takes no other away.
"""

import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from pydantic import ValidationError as PydanticError

from lamina.core.fields import FieldType
from lamina.extractors.base import Extractor, ExtractorParameters

GROUP: Final = "lamina.extractors"
"""The entry point group."""

PACKAGE: Final = "lamina_own_extractors"
"""The package that a folder's extractors are modules of, in the server and in its workers alike."""

NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,63}")
VERSION: Final = re.compile(r"v[0-9]+(\.[0-9]+){0,2}")

CATEGORIES: Final = ("general", "text", "image", "video", "audio", "document", "multimodal")


@dataclass(frozen=True, slots=True)
class Refused:
    """An extractor that cannot be used: where it is, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Own:
    """The extractors that were found, by (name, version), and those that cannot be used."""

    extractors: Mapping[tuple[str, str], type[Extractor]]
    refused: Sequence[Refused]


def find(folder: Path | None, taken: frozenset[str]) -> Own:
    """Load the extractors of installed packages and of the folder. `taken` are names that none may have."""
    found: dict[tuple[str, str], type[Extractor]] = {}
    refused: list[Refused] = []
    for where, load in [*_packaged(), *_in_folder(folder)]:
        try:
            kind = load()
            problems = list(wrong(kind))
        except (Exception, SystemExit) as error:  # it is somebody's code, and may do anything
            refused.append(Refused(where, _told(error)))
            continue
        if not problems and kind.name in taken:
            problems = [f"the name '{kind.name}' belongs to a built-in extractor"]
        if not problems and (kind.name, kind.version) in found:
            problems = [f"there is another {kind.name}@{kind.version}"]
        if problems:
            refused.append(Refused(where, "; ".join(problems)))
        else:
            found[kind.name, kind.version] = kind
    return Own(found, refused)


def load_folder(path: Path) -> type[Extractor]:
    """The extractor in a folder. Raises whatever its code raises, `TypeError` where there is none.

    Its modules import each other relatively: `from .parameters import …`.
    """
    path = path.resolve()
    name = f"{PACKAGE}.{path.name}"
    known = sys.modules.get(name)
    if known is None or known.__file__ != str(path / "__init__.py"):
        known = _imported(name, path)
    return _extractor_of(known)


def wrong(kind: type[Extractor]) -> Iterator[str]:
    """What an extractor's class says of itself that cannot be, in words."""
    if not NAME.fullmatch(str(getattr(kind, "name", ""))):
        yield "its name must be 3 to 64 lower-case letters, digits and '_', beginning with a letter"
        return
    if not VERSION.fullmatch(kind.version):
        yield f"its version '{kind.version}' is not of the form v1 or v1.2"
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        yield f"it does not define {', '.join(missing)}"
    if not getattr(kind, "description", ""):
        yield "it has no description"
    if getattr(kind, "category", None) not in CATEGORIES:
        yield f"its category is none of {', '.join(CATEGORIES)}"
    yield from _wrong_inputs(getattr(kind, "inputs", None))
    yield from _wrong_parameters(kind)


def folder_of(kind: type[Extractor]) -> Path:
    """The folder that an extractor's class is defined in."""
    return Path(inspect.getfile(kind)).parent


def _packaged() -> Iterator[tuple[str, "partial[type[Extractor]]"]]:
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        package = point.dist.name if point.dist else "a package"
        yield f"{package} ({point.value})", partial(lambda one: _class(one.load()), point)


def _in_folder(folder: Path | None) -> Iterator[tuple[str, "partial[type[Extractor]]"]]:
    if folder is None:
        return
    if not folder.is_dir():
        yield str(folder), partial(_no_folder, folder)
        return
    alone = (folder / "__init__.py").is_file()
    for path in [folder] if alone else sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith((".", "_")) and any(path.glob("*.py")):
            yield str(path), partial(load_folder, path)


def _no_folder(folder: Path) -> type[Extractor]:
    raise FileNotFoundError(f"{folder.absolute()} is not a folder")


def _imported(name: str, path: Path) -> ModuleType:
    if not (path / "__init__.py").is_file():
        raise TypeError("it has no __init__.py that names an EXTRACTOR")
    above = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    above.__path__ = []
    spec = spec_from_file_location(name, path / "__init__.py", submodule_search_locations=[str(path)])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    _forget(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(name)
        raise
    setattr(above, path.name, module)
    return module


def _forget(name: str) -> None:
    for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[known]


def _extractor_of(module: ModuleType) -> type[Extractor]:
    if not hasattr(module, "EXTRACTOR"):
        raise TypeError("its __init__.py names no EXTRACTOR")
    return _class(module.EXTRACTOR)


def _class(found: object) -> type[Extractor]:
    if not (isinstance(found, type) and issubclass(found, Extractor)):
        raise TypeError(f"{found!r} is not a class of lamina.extractors.base.Extractor")
    return found


def _wrong_inputs(inputs: object) -> Iterator[str]:
    if not isinstance(inputs, Mapping) or not inputs:
        yield "it names no inputs"
        return
    known = {one.value for one in FieldType}
    for name, types in inputs.items():
        if not types or isinstance(types, str) or not set(types) <= known:
            yield f"its input '{name}' accepts {types!r}; there are {', '.join(sorted(known))}"


def _wrong_parameters(kind: type[Extractor]) -> Iterator[str]:
    model = getattr(kind, "Parameters", None)
    if not (isinstance(model, type) and issubclass(model, ExtractorParameters)):
        yield "its Parameters are no class of lamina.extractors.base.ExtractorParameters"
        return
    field = model.model_fields.get("extractor_type")
    if field is None or field.default != kind.name:
        yield f"its parameter extractor_type must have the default '{kind.name}'"
    try:
        model()
    except PydanticError as error:
        names = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        yield f"its parameters need a default each: {names}"


def _told(error: BaseException) -> str:
    """An error of an extractor's code, with the line that it comes from."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    frames = [one for one in frames if not one.filename.startswith("<frozen")]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or '').name}, line {error.lineno})"
        return f"SyntaxError: {error.msg}{where}"
    return f"{type(error).__name__}: {error}{where}"
