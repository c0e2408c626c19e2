"""A language model behind an endpoint, asked over HTTP."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.openai import LanguageServer, asked, language_server
from tests.server import RunningServer
from tests.steps import ok, refused

SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}


@pytest.fixture(scope="module")
def language() -> Iterator[LanguageServer]:
    with language_server() as running:
        yield running


@pytest.fixture(scope="module")
def own(language: LanguageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {**language.environment, "LAMINA_WORKERS": "1"}
    with RunningServer(tmp_path_factory.mktemp("inference") / "data", env=env) as running:
        yield running


def test_prompts_are_answered_by_the_model_that_is_named(
    own: RunningServer, language: LanguageServer
) -> None:
    language.reply = lambda body: {"answer": len(str(asked(body)))} if "response_format" in body else "yes"
    with own.client() as api:
        body = {"provider": "openai", "model": "gpt-4o-mini", "inputs": {"prompts": ["What is AI?"]}}
        found = ok(
            api.post("/v1/inference", json={**body, "parameters": {"temperature": 0.7, "max_tokens": 9}})
        )
        assert found["data"] == "yes"
        assert (found["provider"], found["model"]) == ("openai", "gpt-4o-mini")
        assert found["tokens_used"] == {"prompt": 7, "completion": 3, "total": 10}
        sent = language.requests[-1]
        assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("gpt-4o-mini", 0.7, 9)
        body["inputs"] = {"prompts": ["four", "seven"]}
        found = ok(api.post("/v1/inference", json={**body, "parameters": {"schema": SCHEMA}}))
        assert found["data"] == [{"answer": 4}, {"answer": 5}]
        picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
        body["inputs"] = {"prompts": ["What is it?"], "image_base64": picture}
        ok(api.post("/v1/inference", json=body))
        _, shown = language.requests[-1]["messages"][0]["content"]
        assert shown["image_url"]["url"] == f"data:image/png;base64,{picture}"
        wrong = {**body, "parameters": {"temperature": "hot"}}
        refused(api.post("/v1/inference", json=wrong), 422, "ValidationError")


def test_the_server_answers_others_while_a_model_works(own: RunningServer, language: LanguageServer) -> None:
    begun, answered = Event(), Event()

    def slowly(body: dict[str, Any]) -> str:
        begun.set()
        assert answered.wait(30)
        return "late"

    language.reply = slowly
    with own.client() as api, own.client() as other, ThreadPoolExecutor(1) as threads:
        body = {"provider": "openai", "model": "m", "inputs": {"prompts": ["slow"]}}
        slow = threads.submit(api.post, "/v1/inference", json=body)
        assert begun.wait(30)
        ok(other.get("/v1/health"))
        assert not slow.done()
        answered.set()
        assert ok(slow.result())["data"] == "late"
