"""Operations of the contract that are not served (yet): they answer 501 and name themselves."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from fastapi.routing import APIRoute

from lamina.core.errors import NotEnabledError


@cache
def _operations() -> list[tuple[re.Pattern[str], str, frozenset[str]]]:
    lines = files("lamina.api").joinpath("not_built.txt").read_text().splitlines()
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            path, *methods = line.split()
            pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path.rstrip("/")))
            found.append((re.compile(f"^{pattern}/?$"), path, frozenset(methods)))
    return found


def not_built(method: str, path: str) -> NotEnabledError | None:
    """The refusal of an operation that the contract has and this version does not."""
    for pattern, operation, methods in _operations():
        if method in methods and pattern.match(path):
            return NotEnabledError(
                f"{method} {operation} is not served by this version of Lamina.",
                operation=f"{method} {operation}",
            )
    return None


def shadowed(served: Iterable[APIRoute]) -> Iterator[tuple[str, str]]:
    """Operations, as (method, path), that the pattern of a served route would catch: `/batches/queue`
    reads like `/batches/{batch_id}`. They need routes of their own, ahead of the others."""
    routes = list(served)
    for _, path, methods in _operations():
        example = re.sub(r"\{[^}]*\}", "x", path)
        for method in sorted(methods):
            if any(method in (route.methods or ()) and route.path_regex.match(example) for route in routes):
                yield method, path
