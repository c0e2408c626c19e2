"""Around every request: its id, its log line, its metrics, and the limit on its body."""

import re
import time
from collections.abc import Iterable
from typing import Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamina.api.errors import Refused, envelope, internal_error
from lamina.core.errors import PayloadTooLargeError
from lamina.core.ids import new_id

log = structlog.get_logger()

REQUESTS = Counter("lamina_http_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "lamina_http_request_seconds",
    "Time from request to answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

_QUIET: Final = frozenset({"/v1/health", "/v1/health/liveness", "/v1/liveness", "/metrics"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Observed:
    """Gives each request an id, logs and counts its answer, and answers for defects of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(_header(scope["headers"], b"x-request-id"))
        began = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                limits: dict[str, str] = scope.get("state", {}).get("rate_limit", {})
                added = {"X-Request-Id": request_id, **limits}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in added.items()),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, observed)
            except Exception:
                log.exception("internal_error", method=scope["method"], path=scope["path"])
                if status is not None:  # part of the answer is out; ending the connection tells of the rest
                    raise
                await internal_error()(scope, receive, observed)
            finally:
                self._note(scope, status or 500, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        REQUESTS.labels(method, route, status).inc()
        SECONDS.labels(method, route).observe(seconds)
        if scope["path"] not in _QUIET:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(seconds * 1000, 2),
            )


class LimitedBody:
    """Refuses bodies over the limit before they are read whole. Uploads have a limit of their own."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"].startswith("/storage/"):
            await self.app(scope, receive, send)
            return
        length = _header(scope["headers"], b"content-length")
        if length and length.isdigit() and int(length) > self.max_bytes:
            await self._refuse(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise Refused(
                    PayloadTooLargeError(
                        f"A request may have {self.max_bytes} bytes at most.", limit=self.max_bytes
                    )
                )
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"A request may have {self.max_bytes} bytes at most."
        refusal = envelope(413, message, PayloadTooLargeError.type, details={"limit": self.max_bytes})
        await refusal(scope, receive, send)


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _request_id(sent: str | None) -> str:
    """The caller's own id where it is one; what else a header may hold does not belong into logs."""
    return sent if sent is not None and _REQUEST_ID.fullmatch(sent) else new_id("req")
