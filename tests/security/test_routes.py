"""Every route declares what it needs, and the tests of isolation know every route."""

import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from lamina.api.calls import Access, GuardedRoute, declared, public
from lamina.api.http import create_app
from lamina.api.not_built import not_built
from lamina.api.services import Services
from lamina.core.settings import Settings
from tests.security.matrix import GUARDED, PUBLIC


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The application, with no engine behind it."""

    def unopened() -> AbstractAsyncContextManager[Services]:
        raise NotImplementedError

    return create_app(Settings(), unopened)


def routes(app: FastAPI) -> Iterator[tuple[str, APIRoute | None]]:
    """Every operation of the app by method and path; None for what FastAPI does not declare rights for.

    What is routed to a 501 only is left out: that asks for a key in `errors`.
    """
    for found in iter_route_contexts(app.routes):
        route = found.original_route
        declaring = route if isinstance(route, APIRoute) else None
        methods = found.methods or {"mounted"}
        for method in methods if declaring else methods - {"HEAD"}:  # which comes by itself with a page's GET
            if not_built(method, re.sub(r"{[^}]*}", "x", str(found.path))) is None:
                yield f"{method} {found.path}", declaring


def rights(app: FastAPI) -> dict[str, Access]:
    """What the routes declare that are not public."""
    found = {name: declared(route.dependant) for name, route in routes(app) if route is not None}
    return {name: access for name, access in found.items() if isinstance(access, Access)}


def test_every_route_declares_a_right_or_is_one_of_the_public_ones(app: FastAPI) -> None:
    assert {name for name, _ in routes(app)} - set(rights(app)) == PUBLIC


def test_every_public_route_says_so_itself(app: FastAPI) -> None:
    unmarked = [
        name
        for name, route in routes(app)
        if route is not None and name in PUBLIC and declared(route.dependant) is not public
    ]
    assert not unmarked


def test_the_matrix_has_every_guarded_operation_with_its_right(app: FastAPI) -> None:
    known = {str(one): one.permission for one in GUARDED}
    assert {name: access.permission.value for name, access in rights(app).items()} == known


def test_the_matrix_has_every_operation_of_the_published_description(app: FastAPI) -> None:
    described = {
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert described <= {str(one) for one in GUARDED} | PUBLIC


def test_the_matrix_knows_which_operations_work_in_a_namespace(app: FastAPI) -> None:
    known = {str(one): (one.namespaced, one.listing) for one in GUARDED}
    assert {name: (access.namespaced, access.listing) for name, access in rights(app).items()} == known


def test_every_guarded_route_is_checked_before_its_body_is_read(app: FastAPI) -> None:
    guarded = rights(app)
    late = [name for name, route in routes(app) if name in guarded and not isinstance(route, GuardedRoute)]
    assert not late


def test_only_tasks_outlive_their_namespace(app: FastAPI) -> None:
    assert [name for name, access in rights(app).items() if access.lost_namespace] == [
        "GET /v1/tasks/{task_id}"
    ]


def test_a_route_that_declares_nothing_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)

    def open_to_all() -> None:
        """Forgets to say what it needs."""

    with pytest.raises(TypeError, match="/open"):
        router.get("/open")(open_to_all)
