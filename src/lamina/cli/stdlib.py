"""The demo's corpus: the docstrings of Python's standard library, read from its source files."""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lamina.core.types import JsonObject

_SHORTEST, _LONGEST = 80, 1500
_LEFT_OUT: Final = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "site-packages", "turtledemo", "ensurepip"}
)

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(most: int) -> list[JsonObject]:
    """At most so many documented modules, classes and functions, spread evenly over the library."""
    found = [row for file in _files() for row in _documented(file)]
    step = max(1.0, len(found) / most)
    return [found[int(number * step)] for number in range(min(most, len(found)))]


def _files() -> Iterator[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        public = not any(part.startswith("_") and part != "__init__" for part in parts)
        if parts[0] in sys.stdlib_module_names and public and not _LEFT_OUT & set(parts):
            yield file


def _documented(file: Path) -> Iterator[JsonObject]:
    root = Path(sysconfig.get_path("stdlib"))
    parts = file.relative_to(root).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    tree = ast.parse(file.read_bytes())
    for name, node in _walk(module, tree):
        text = ast.get_docstring(node) or ""
        if _SHORTEST <= len(text) <= _LONGEST:
            kind = {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")
            yield {"name": name, "kind": kind, "module": module, "text": text}


def _walk(name: str, node: _Documented) -> Iterator[tuple[str, _Documented]]:
    """A node and the public ones in it, each with its full name."""
    yield name, node
    for child in node.body:
        if isinstance(
            child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not child.name.startswith("_"):
            yield from _walk(f"{name}.{child.name}", child)
