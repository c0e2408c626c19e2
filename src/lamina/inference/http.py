"""Endpoints that models are asked over: JSON over HTTP, tried again where that may help."""

import logging
from typing import Final

import httpx
import orjson
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from lamina.core.errors import UnavailableError
from lamina.core.types import Json, JsonObject

log = logging.getLogger(__name__)

ATTEMPTS: Final = 4


class AnsweredError(UnavailableError):
    """The endpoint answered with an error. `http_status` is its status, `said` what it sent."""

    http_status: int = 0
    said: str = ""


class Endpoint:
    """A server with a key for it. `purpose` names it in messages: "embedding".

    Tries again on 429, on 5xx and when the connection fails. Raises `UnavailableError` when the endpoint
    does not give what was asked for; no message holds the key.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        purpose: str,
        timeout: float = 60.0,
        longest_wait: float = 8.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.name = f"The {purpose} endpoint {self.url}"
        self._timeout = timeout
        self._longest_wait = longest_wait
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=10.0),
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    def ask(
        self, method: str, path: str, body: JsonObject | None = None, *, missing_ok: bool = False
    ) -> Json:
        """What the endpoint answers; with `missing_ok`, None where it has no such path."""
        retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=min(0.5, self._longest_wait), max=self._longest_wait),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        try:
            response = retrying(self._send, method, path, body)
        except _TransientError as error:
            raise UnavailableError(f"{self.name} failed {ATTEMPTS} times: {error}") from error
        if response.status_code == httpx.codes.NOT_FOUND and missing_ok:
            return None
        if response.is_error:
            said = self._without_key(response.text[:300])
            refusal = AnsweredError(f"{self.name} answered {response.status_code} to {path}: {said}")
            refusal.http_status, refusal.said = response.status_code, said
            raise refusal
        try:
            answer: Json = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            if missing_ok:
                return None
            raise UnavailableError(f"{self.name} answered no JSON to {path}.") from error
        return answer

    def model(self, path: str) -> str:
        """The first model that an OpenAI-compatible server lists."""
        listed = self.ask("GET", path)
        models = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(models, list) or not models or not isinstance(models[0], dict):
            raise UnavailableError(f"{self.name} lists no model under {path}.")
        return str(models[0].get("id"))

    def _send(self, method: str, path: str, body: JsonObject | None) -> httpx.Response:
        try:
            response = self._client.request(method, self.url + path, json=body)
        except httpx.TransportError as error:
            raise _TransientError(f"{type(error).__name__}: {error}") from error
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise _TransientError(f"it answered {response.status_code} to {path}")
        return response

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "…") if self.key else text


def reachable(endpoint: str, purpose: str) -> str:
    """In words, that something listens at the endpoint; `UnavailableError` when nothing does."""
    try:
        httpx.get(endpoint, timeout=5.0)
    except httpx.HTTPError as error:
        raise UnavailableError(f"The {purpose} endpoint {endpoint} does not answer: {error}") from error
    return f"the endpoint {endpoint} answers"


class _TransientError(Exception):
    """A failure that may be gone at the next attempt."""
