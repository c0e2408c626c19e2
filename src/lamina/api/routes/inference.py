"""Models asked directly, without a collection or a retriever."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from lamina.api.answers import answer, note_unknown
from lamina.api.calls import Call, GuardedRoute, needs
from lamina.api.operations import operation
from lamina.core.models import Model, Request
from lamina.core.types import Json, JsonObject
from lamina.extractors.readiness import require_model
from lamina.ingest.sniffing import sniff
from lamina.platform.access import Permission, ResourceType
from lamina.processing.inference import MAX_BYTES, Inference, chosen, file_key, infer, written

router = APIRouter(prefix="/v1/inference", tags=["Inference"], route_class=GuardedRoute)


class RawInference(Request):
    """`RawInferenceRequest` of the contract. A model of this installation is named by `inference_name`."""

    provider: str | None = Field(default=None, max_length=100)
    model: str | None = Field(default=None, max_length=200)
    inference_name: str | None = Field(default=None, max_length=200)
    feature_uri: str | None = Field(default=None, max_length=500)
    inputs: JsonObject
    parameters: JsonObject | None = None
    enable_semantic_cache: bool = False
    cache_delta: float | None = Field(default=None, ge=0.0, le=1.0)


class RawInferenceAnswer(Model):
    """`RawInferenceResponse` of the contract."""

    data: Json
    provider: str
    model: str
    tokens_used: dict[str, int] | None = None
    latency_ms: float
    cached: bool = False


@router.post("", **operation("execute_raw_inference", RawInferenceAnswer))
async def execute_raw_inference(
    body: RawInference, call: Annotated[Call, needs(Permission.READ, ResourceType.NAMESPACE)]
) -> Response:
    """One input for one model: a vector, words, labels, faces, scores or an answer."""
    note_unknown(call, body)
    if body.enable_semantic_cache:
        call.warnings.append("enable_semantic_cache has no effect: answers are not cached here.")
    models = call.services.models
    name, chat_model = chosen(
        models,
        inference_name=body.inference_name,
        feature_uri=body.feature_uri,
        provider=body.provider,
        model=body.model,
        inputs=body.inputs,
    )
    await asyncio.to_thread(require_model, models, name, "This inference", "model")
    asked = await _with_file(call, Inference(name, body.inputs, body.parameters or {}, chat_model=chat_model))
    if asked.content is None or models.entry(name).card.capability == "chat":
        made = await asyncio.to_thread(infer, models, asked)
    else:  # decoding what somebody sends belongs into a process that may die of it
        made = await call.services.pool.infer(asked)
    shown = RawInferenceAnswer(
        data=made.data,
        provider=body.provider or "lamina",
        model=chat_model or name,
        tokens_used=made.tokens,
        latency_ms=made.milliseconds,
    )
    return answer(shown, call)


async def _with_file(call: Call, asked: Inference) -> Inference:
    """The request with the bytes of its picture or sound, where it has one."""
    key = file_key(call.services.models, asked)
    if key is None:
        return asked
    value, field = asked.inputs[key], f"inputs.{key}"
    content = written(value, field)
    if content is None:
        fetched = await call.services.blobs.fetcher.fetch(
            str(value), accept=None, max_bytes=MAX_BYTES, field=field
        )
        content = fetched.content
    inputs = {name: one for name, one in asked.inputs.items() if name != key}
    return replace(asked, inputs=inputs, content=content, mime_type=sniff(content))
