"""Language models behind an endpoint that speaks OpenAI's `chat/completions`.

OpenAI's own does, and vLLM, llama.cpp, Ollama and many others. An answer of a given JSON schema is asked for
by `response_format`; a server that does not know that is told the schema in words. Either way the answer is
held against the schema, and asked for once more when it does not fit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Final, NoReturn
from urllib.parse import urlsplit

import jsonschema_rs
import orjson

from lamina.core.errors import UnavailableError, ValidationError
from lamina.core.types import Json, JsonObject
from lamina.inference.base import ModelCard
from lamina.inference.http import AnsweredError, Endpoint
from lamina.inference.settings import EndpointSettings

TIMEOUT: Final = 180.0
"""Seconds for one answer: a small machine's model writes a few words a second."""

_REFUSALS: Final = frozenset({400, 404, 415, 422, 501})
"""Statuses with which servers refuse a `response_format` or a parameter that they do not know."""

_FENCED: Final = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)

Message = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an answer, as the server counts them."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer's text and, where the server tells, its tokens."""

    text: str
    usage: Usage | None = None


class RemoteChat:
    """A language model over HTTP: `settings.model`, or the first that the endpoint lists."""

    def __init__(self, card: ModelCard, settings: EndpointSettings, *, longest_wait: float = 8.0) -> None:
        if settings.url is None:
            raise UnavailableError("There is no chat endpoint: set LAMINA_CHAT_ENDPOINT.")
        self.card = card
        self._endpoint = Endpoint(
            base_url(settings.url), settings.key, purpose="chat", timeout=TIMEOUT, longest_wait=longest_wait
        )
        self._model = settings.model
        self._lock = Lock()
        self._structured = True
        self._without: set[str] = set()

    @property
    def model(self) -> str:
        """The model's name at the endpoint."""
        with self._lock:
            if self._model is None:
                self._model = self._endpoint.model("/models")
        return self._model

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: JsonObject | None = None,
        max_tokens: int = 1024,
        temperature: float = 0.0,
    ) -> str:
        """The answer's text; with `schema`, JSON that fits it.

        Raises `UnavailableError` when the endpoint fails, and when its answer does not fit twice.
        """
        return self.answer(messages, schema=schema, max_tokens=max_tokens, temperature=temperature).text

    def answer(
        self,
        messages: Sequence[Message],
        *,
        schema: JsonObject | None = None,
        max_tokens: int = 1024,
        temperature: float = 0.0,
    ) -> ChatAnswer:
        """The same with the number of tokens."""
        asked = [dict(message) for message in messages]
        if schema is None:
            return self._ask(asked, None, max_tokens, temperature)
        validator = validator_of(schema)
        answered = self._ask(asked, schema, max_tokens, temperature)
        found = _json_in(answered.text, validator)
        if isinstance(found, _Unfit):
            again: list[dict[str, object]] = [
                *asked,
                {"role": "assistant", "content": answered.text},
                {
                    "role": "user",
                    "content": f"That does not fit: {found.reason}. Answer again, with nothing but JSON that "
                    f"fits this JSON schema: {orjson.dumps(schema).decode()}",
                },
            ]
            answered = self._ask(again, schema, max_tokens, temperature)
            found = _json_in(answered.text, validator)
        if isinstance(found, _Unfit):
            raise UnavailableError(
                f"{self._endpoint.name} ({self.model}) answered twice what does not fit the schema: "
                f"{found.reason}.",
                code="unfit_answer",
            )
        return ChatAnswer(orjson.dumps(found).decode(), answered.usage)

    def _ask(
        self,
        messages: Sequence[Mapping[str, object]],
        schema: JsonObject | None,
        max_tokens: int,
        temperature: float,
    ) -> ChatAnswer:
        """One answer, in the form that the server knows."""
        if schema is None:
            return _read(self._endpoint, self._post(messages, None, max_tokens, temperature))
        if self._structured:
            try:
                return _read(self._endpoint, self._post(messages, schema, max_tokens, temperature))
            except AnsweredError as refusal:
                if refusal.http_status not in _REFUSALS:
                    raise
                self._structured = False  # what follows shows whether that was the reason
                try:
                    return self._ask(messages, schema, max_tokens, temperature)
                except AnsweredError:
                    self._structured = True
                    raise
        told = {
            "role": "system",
            "content": "Answer with nothing but JSON that fits this JSON schema, without any other word: "
            f"{orjson.dumps(schema).decode()}",
        }
        return _read(self._endpoint, self._post([told, *messages], None, max_tokens, temperature))

    def _post(
        self,
        messages: Sequence[Mapping[str, object]],
        schema: JsonObject | None,
        max_tokens: int,
        temperature: float,
    ) -> Json:
        """The server's answer. Some models of OpenAI refuse parameters: those that they name are changed."""
        while True:
            limit = "max_completion_tokens" if "max_tokens" in self._without else "max_tokens"
            body: JsonObject = {"model": self.model, "messages": list(messages), limit: max_tokens}  # type: ignore[arg-type]
            if "temperature" not in self._without:
                body["temperature"] = temperature
            if schema is not None:
                body["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": schema},
                }
            try:
                return self._endpoint.ask("POST", "/chat/completions", body)
            except AnsweredError as refusal:
                named = {
                    name
                    for name in ("max_tokens", "temperature")
                    if f"'{name}'" in refusal.said and name not in self._without
                }
                if refusal.http_status != 400 or not named:
                    raise
                self._without |= named


def base_url(url: str) -> str:
    """The URL that `/chat/completions` follows; `/v1` where it names no path."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        orjson.loads(schema), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
    )


def validator_of(schema: JsonObject) -> jsonschema_rs.Validator:
    """What holds values against a JSON schema; `ValidationError` when it is none.

    It fetches nothing: a `$ref` leads to a place in the schema itself, or nowhere.
    """
    try:
        return _validator(orjson.dumps(schema))
    except (ValueError, TypeError) as error:
        reason = getattr(error, "message", str(error))
        raise ValidationError(f"This is not a JSON schema: {reason}.", code="not_a_schema") from error


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} lies outside of the schema")


@dataclass(frozen=True, slots=True)
class _Unfit:
    reason: str


def _json_in(text: str, validator: jsonschema_rs.Validator) -> "Json | _Unfit":
    """The JSON in an answer, which may stand in a code block or after a model's thoughts."""
    text = _THOUGHT.sub("", text)
    fenced = _FENCED.search(text)
    try:
        value: Json = orjson.loads((fenced[1] if fenced else text).strip())
    except orjson.JSONDecodeError as error:
        return _Unfit(f"it is not JSON ({error})")
    problem = next(iter(validator.iter_errors(value)), None)
    if problem is None:
        return value
    where = ".".join(map(str, problem.instance_path))
    return _Unfit(f"{where}: {problem.message}" if where else problem.message)


def _read(endpoint: Endpoint, answered: Json) -> ChatAnswer:
    """The first choice of an answer."""
    try:
        text = answered["choices"][0]["message"]["content"]  # type: ignore[index,call-overload]
    except (KeyError, IndexError, TypeError) as error:
        raise UnavailableError(f"{endpoint.name} answered no message.") from error
    usage = answered.get("usage") if isinstance(answered, dict) else None
    counted = None
    if isinstance(usage, dict):
        counted = Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    return ChatAnswer(text if isinstance(text, str) else "", counted)


def _count(value: Json) -> int:
    return value if isinstance(value, int) else 0
