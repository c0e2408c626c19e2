"""How a route is declared: its operation id, its answers, its right."""

from typing import Any

from pydantic import BaseModel

from lamina.api.errors import COMMON, documented


def operation(
    operation_id: str,
    model: type[BaseModel] | Any | None = None,
    *,
    status: int = 200,
    errors: tuple[int, ...] = (),
    refusal: type[BaseModel] | None = None,
    description: str = "Successful response",
) -> dict[str, Any]:
    """Keyword arguments of a route decorator.

    Routes answer with a finished `Response`; `model` documents its body and is held against it by
    the contract tests, and so is `refusal`, which a 422 may answer with in place of the error envelope.
    """
    success: dict[str, Any] = {"description": description}
    if model is not None:
        success["model"] = model
    refusals = documented(*COMMON, *errors)
    if refusal is not None:
        refusals[422]["model"] = refusals[422]["model"] | refusal
    return {
        "operation_id": operation_id,
        "status_code": status,
        "response_model": None,
        "responses": {**refusals, status: success},
    }
