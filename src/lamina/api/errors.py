"""One envelope for every refusal: `{success, status, error: {message, type, code, details}}`."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from lamina.api.calls import UnresolvedNamespaceError, authenticated
from lamina.api.not_built import not_built
from lamina.core.errors import LaminaError, UnavailableError
from lamina.core.types import Json, JsonObject

log = structlog.get_logger()

_RETRY_SECONDS = 2


class ErrorDetail(BaseModel):
    """What was wrong, in words and for programs."""

    message: str
    type: str
    code: str | None = None
    details: JsonObject | None = None


class ErrorResponse(BaseModel):
    """The body of every 4xx and 5xx."""

    success: bool = Field(default=False)
    status: int
    error: ErrorDetail


_TYPES = {
    400: "BadRequestError", 401: "UnauthorizedError", 403: "ForbiddenError", 404: "NotFoundError",
    405: "BadRequestError", 413: "BadRequestError", 416: "BadRequestError", 422: "ValidationError",
    429: "TooManyRequestsError", 500: "InternalServerError", 501: "NotEnabledError",
    503: "InferenceServiceUnavailableError",
}  # fmt: skip


def envelope(
    status: int,
    message: str,
    type: str,
    *,
    code: str | None = None,
    details: JsonObject | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error answer."""
    error: JsonObject = {"message": message, "type": type}
    if code:
        error["code"] = code
    if details:
        error["details"] = details
    body = {"success": False, "status": status, "error": error}
    return Response(orjson.dumps(body, default=str), status, headers, "application/json")


class Refused(HTTPException):
    """A refusal while the body is read, where FastAPI turns every other exception into a 400."""

    def __init__(self, error: LaminaError) -> None:
        super().__init__(error.status, error.message)
        self.error = error


def install(app: FastAPI) -> None:
    """Answer every exception in the envelope; `Observed` does it for those that nobody expected."""
    app.add_exception_handler(LaminaError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, LaminaError)
    if isinstance(error, UnresolvedNamespaceError):
        return _empty_list(error, request.url.path)
    details = dict(error.details)
    headers: dict[str, str] = {}
    if error.status == 503:
        details.update(retryable=True, retry_after_seconds=_RETRY_SECONDS)
    if error.retryable:
        headers["Retry-After"] = str(details.get("retry_after_seconds", _RETRY_SECONDS))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnavailableError):
        log.warning("unavailable", message=error.message, path=request.url.path)
    return envelope(
        error.status, error.message, error.type, code=error.code, details=details, headers=headers
    )


def _empty_list(error: LaminaError, path: str) -> Response:
    """A list in a namespace that does not exist is empty, and says so."""
    name, next_step = str(error.details["id"]), "Check the X-Namespace header."
    warning: Json = {"resource": "namespace", "id": name, "reason": "unresolved", "next_step": next_step}
    if path.endswith("/documents/list"):  # whose warnings are texts
        warning = f"The namespace '{name}' is not known. {next_step}"
    body = {
        "results": [],
        "pagination": {"page": 1, "page_size": 0, "total": 0, "total_pages": 0},
        "total_count": 0,
        "warnings": [warning],
    }
    return Response(
        orjson.dumps(body),
        200,
        {"X-Namespace-Unresolved": quote(name, safe=" ")},
        "application/json",
    )


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    problems: list[Json] = [
        {
            "type": one["type"],
            "location": [_step(step) for step in one["loc"]],
            "message": _message(one, request),
        }
        for one in found[:100]
    ]
    first = found[0]
    place = ".".join(str(step) for step in first["loc"][1:]) or "body"
    if first["type"] == "json_invalid":
        place = "body"
    return envelope(
        422,
        f"{place}: {_message(first, request)}",
        "ValidationError",
        details={"validation_errors": problems},
    )


def _message(problem: dict[str, Any], request: Request) -> str:
    """What is wrong, in pydantic's words where these say it."""
    if problem["type"] == "json_invalid":
        return f"The body is not JSON that can be read: {problem['ctx']['error']}"
    if tuple(problem["loc"]) == ("body",) and isinstance(problem.get("input"), bytes):
        sent = request.headers.get("content-type", "")
        return f"Send the body as JSON with Content-Type: application/json, not {sent!r}"
    return str(problem["msg"])


def _step(step: Any) -> Json:
    return step if isinstance(step, int) else str(step)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refused):
        return await _known(request, error.error)
    type = _TYPES.get(
        error.status_code, "BadRequestError" if error.status_code < 500 else "InternalServerError"
    )
    message = str(error.detail)
    if error.status_code in {404, 405}:
        later = not_built(request.method, request.url.path)
        if later is not None:
            try:
                await authenticated(request, request.app.state.services)
            except LaminaError as refusal:
                return await _known(request, refusal)
            return envelope(later.status, later.message, later.type, details=later.details)
    if error.status_code == 404:
        message = f"There is no operation {request.method} {request.url.path}."
    elif error.status_code == 405:
        message = f"{request.method} is not an operation of {request.url.path}."
    return envelope(error.status_code, message, type, headers=dict(error.headers or {}))


def internal_error() -> Response:
    """The answer to a defect of ours, told without its insides."""
    return envelope(
        500, "Something went wrong on our side; the server's log has the details.", "InternalServerError"
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation, for its OpenAPI."""
    return {
        status: {"model": ErrorResponse, "description": _TYPES.get(status, "Error")} for status in statuses
    }


COMMON: Sequence[int] = (400, 401, 403, 404, 413, 422, 429, 500, 501, 503)
