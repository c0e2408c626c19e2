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
    description: str = "Successful response",
) -> dict[str, Any]:
    """Keyword arguments of a route decorator.

    Routes answer with a finished `Response`; `model` documents its body and is held against it by
    the contract tests.
    """
    success: dict[str, Any] = {"description": description}
    if model is not None:
        success["model"] = model
    return {
        "operation_id": operation_id,
        "status_code": status,
        "response_model": None,
        "responses": {**documented(*COMMON, *errors), status: success},
    }
