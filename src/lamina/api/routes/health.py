"""Whether the server lives, and its metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lamina import __version__
from lamina.api.answers import answer
from lamina.api.calls import GuardedRoute, Public
from lamina.api.operations import operation
from lamina.api.shapes import Health

router = APIRouter(tags=["Health"], dependencies=[Public], route_class=GuardedRoute)


@router.get("/v1/health", **operation("healthcheck_health", Health))
async def health(request: Request) -> Response:
    """The process answers. Asks no engine."""
    del request
    return answer(Health(version=__version__))


@router.get("/v1/health/liveness", **operation("liveness_health", Health))
@router.get("/v1/liveness", include_in_schema=False)
async def liveness() -> Response:
    """For container probes."""
    return answer(Health(version=__version__))


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """Metrics in the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
