"""Plain requests, answered without FastAPI's own reading of parameters.

Most requests send a JSON object and nothing in the query. Then a route's arguments are known at
once: its path's texts, its `Call`, its body's model, and the defaults of its query parameters. FastAPI
finds the same by going through all parameters of all dependencies, which took a third of what a
search costs besides the engine. Everything else is left to FastAPI, and so is every error: where
anything is out of the ordinary, there are no plain arguments, and FastAPI reads the request anew.
"""

import inspect
from collections.abc import Awaitable, Callable
from types import NoneType
from typing import Any, Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.params import Body
from starlette.requests import ClientDisconnect

from lamina.api.bodies import read_json

Arguments = dict[str, Any]
Admit = Callable[[Request], Awaitable[object]]

_JSON: Final = (None, "application/json")
_UNCHANGING: Final = (bool, int, str, NoneType)
"""Defaults that calls may share."""


class PlainReading:
    """Reads the arguments of one route from plain requests. `admit` makes its parameter `call`."""

    def __init__(self, dependant: Dependant, admit: Admit) -> None:
        self._admit = admit
        (self._call,) = (str(one.name) for one in dependant.dependencies)
        (self._body,) = dependant.body_params
        self._texts = tuple((one.name, one.alias) for one in dependant.path_params)
        self._defaults = {one.name: one.default for one in dependant.query_params}

    @classmethod
    def of(cls, dependant: Dependant, admit: Admit) -> "PlainReading | None":
        """The reading of a route, or None where it has parameters of other kinds."""
        known = (
            [one.call for one in dependant.dependencies] == [admit]
            and [type(one.field_info) for one in dependant.body_params] == [Body]
            and not any(getattr(one.field_info, "embed", None) for one in dependant.body_params)
            and all(one.field_info.annotation is str for one in dependant.path_params)
            and not any(one.field_info.metadata for one in dependant.path_params)
            and all(isinstance(one.default, _UNCHANGING) for one in dependant.query_params)
            and inspect.iscoroutinefunction(dependant.call)
            and _takes_nothing_else(dependant.call, dependant)
        )
        return cls(dependant, admit) if known else None

    async def arguments(self, request: Request) -> Arguments | None:
        """What the route is called with; None for FastAPI to find out, or to say what is wrong.

        Raises what `admit` raises.
        """
        if request.scope["query_string"] or request.headers.get("content-type") not in _JSON:
            return None
        try:
            sent = read_json(await request.body())
        except (ValueError, ClientDisconnect):
            return None
        if not isinstance(sent, dict):
            return None
        call = await self._admit(request)
        body, wrong = self._body.validate(sent, loc=("body",))
        if wrong:
            return None
        path = request.path_params
        texts = {name: path[alias] for name, alias in self._texts}
        return {self._call: call, self._body.name: body, **texts, **self._defaults}


def _takes_nothing_else(endpoint: Callable[..., object], dependant: Dependant) -> bool:
    """Whether the endpoint's parameters are its call, its body, and those of path and query."""
    counted = 2 + len(dependant.path_params) + len(dependant.query_params)
    return len(inspect.signature(endpoint).parameters) == counted
