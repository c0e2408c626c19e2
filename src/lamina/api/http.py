"""The FastAPI application: routes, errors, middleware, OpenAPI."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route

from lamina import __version__
from lamina.api import errors
from lamina.api.calls import Public
from lamina.api.middleware import LimitedBody, Observed
from lamina.api.not_built import shadowed
from lamina.api.routes import (
    account,
    batches,
    buckets,
    collections,
    connections,
    discovery,
    documents,
    health,
    inference,
    namespaces,
    objects,
    retrievers,
    secrets,
    storage,
    uploads,
)
from lamina.api.services import Services
from lamina.core.settings import Settings
from lamina.core.types import JsonObject

Opened = Callable[[], AbstractAsyncContextManager[Services]]
"""Opens the services and closes them at the end."""


_ROUTES = (
    retrievers,
    documents,
    objects,
    health,
    account,
    namespaces,
    buckets,
    uploads,
    batches,
    collections,
    connections,
    discovery,
    inference,
    secrets,
    storage,
)
"""Paths are compared in this order: what is called most comes first."""


def create_app(settings: Settings, opened: Opened) -> FastAPI:
    """The HTTP side of an installation."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened() as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Lamina",
        version=__version__,
        description="Multimodal data warehouse: buckets, collections, documents, retrievers.",
        lifespan=lifespan,
        openapi_url="/openapi.json",
        docs_url=None,  # below, without a network
        redoc_url=None,
        redirect_slashes=False,
    )
    _refuse_not_built(app)
    for routes in _ROUTES:
        # Not by include_router: a router within a router matches each path twice, route by route.
        app.router.routes.extend(routes.router.routes)
    _first(app, retrievers.execute_retriever)
    _serve_openapi(app)
    errors.install(app)
    app.add_middleware(LimitedBody, max_bytes=settings.max_request_bytes)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    app.add_middleware(Observed)
    return app


def _refuse_not_built(app: FastAPI) -> None:
    """Routes for operations that are not served but that a served one's pattern would catch."""

    async def refuse(_: Request) -> Response:
        raise HTTPException(404)  # `errors` knows the operation, and asks for a key first

    served = (route for routes in _ROUTES for route in routes.router.routes if isinstance(route, APIRoute))
    for method, path in shadowed(served):
        app.router.routes.append(Route(path, refuse, methods=[method], include_in_schema=False))


def _first(app: FastAPI, endpoint: Callable[..., object]) -> None:
    """Compare paths with this endpoint's before all others: searches need not wait for sixteen misses."""
    app.router.routes.sort(key=lambda route: getattr(route, "endpoint", None) is not endpoint)


def _serve_openapi(app: FastAPI) -> None:
    """The description under the two paths where clients look for it, and the page that shows it."""

    def described() -> JsonObject:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schema.setdefault("components", {})["securitySchemes"] = {
                "Bearer": {"type": "http", "scheme": "bearer", "description": "API key: `sk_…`"}
            }
            schema["security"] = [{"Bearer": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]

    @app.get("/docs/openapi.json", include_in_schema=False, dependencies=[Public])
    async def docs_openapi() -> JsonObject:
        return described()

    # The page's own files come from a package, so that it opens without a network.
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_swagger", "resources")]), name="docs-assets")

    @app.get("/docs", include_in_schema=False, dependencies=[Public])
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )

    @app.get("/", include_in_schema=False, dependencies=[Public])
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")
