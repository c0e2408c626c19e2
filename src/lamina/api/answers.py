"""Answers: JSON without null fields, written once, with the request's warnings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import orjson
from fastapi import Response
from pydantic import BaseModel

from lamina.api.calls import Call
from lamina.core.models import Request
from lamina.core.paging import PageRequest, Slice, pagination
from lamina.core.types import Json, JsonObject

T = TypeVar("T")

IncEx: TypeAlias = set[str] | dict[str, Any]
"""Fields to leave out of a model's JSON, as pydantic takes them."""


def answer(
    content: BaseModel | Mapping[str, Json] | Sequence[Json],
    call: Call | None = None,
    *,
    status: int = 200,
    hide: IncEx | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A model or plain JSON as the answer. Null fields of models are left out."""
    body = plain(content, hide) if isinstance(content, BaseModel) else content
    if call is not None and call.warnings and isinstance(body, Mapping):
        known = body.get("warnings")
        body = {**body, "warnings": [*(known if isinstance(known, list) else []), *call.warnings]}
    return Response(orjson.dumps(body), status, headers, "application/json")


def plain(model: BaseModel, hide: IncEx | None = None) -> JsonObject:
    """A model as JSON without its null fields."""
    dumped: JsonObject = model.model_dump(mode="json", exclude_none=True, exclude=hide)
    return dumped


def listed(
    asked: PageRequest,
    got: Slice[T],
    show: Callable[[T], Json],
    call: Call | None = None,
    **further: Json,
) -> Response:
    """A page of a list: `results`, `pagination`, and what else this list has.

    Warnings are entries here, not texts: the contract's lists have them so.
    """
    body: JsonObject = {
        "results": [show(one) for one in got.items],
        "pagination": page_shown(asked, got),
        **further,
    }
    if call is not None and call.warnings:
        body["warnings"] = [entry(text) for text in call.warnings]
    return Response(orjson.dumps(body), media_type="application/json")


def entry(text: str) -> JsonObject:
    """A warning as the lists of resources have it."""
    return {"resource": "request", "reason": text, "next_step": "Remove the key, or see /docs for the names."}


def page_shown(asked: PageRequest, got: Slice[Any]) -> JsonObject:
    """`pagination` of a list."""
    return plain(pagination(asked, got))


def note_unknown(call: Call, body: BaseModel | None, place: str = "") -> None:
    """Name the keys of a body that nothing reads, so that a misspelling does not pass unseen."""
    if body is None:
        return
    if isinstance(body, Request) and not body.extra_is_content:
        for name in body.model_extra or {}:
            call.warnings.append(f"Unknown key '{place}{name}' was ignored.")
    sent = body.model_fields_set
    for name in (name for name in type(body).model_fields if name in sent):
        value = getattr(body, name)
        if isinstance(value, Request):
            note_unknown(call, value, f"{place}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Request):
            for number, one in enumerate(value):
                note_unknown(call, one, f"{place}{name}.{number}.")
