"""Language models and rerankers behind an endpoint, against a server that speaks the protocols."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.core.errors import UnavailableError, ValidationError
from lamina.core.settings import Settings
from lamina.inference.chat import RemoteChat, base_url, validator_of
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from tests.openai import LanguageServer, asked, language_server

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0}},
    "required": ["colour", "count"],
}
GOOD = {"colour": "red", "count": 2}
QUESTION = [{"role": "user", "content": "What colour?"}]


@pytest.fixture
def server() -> Iterator[LanguageServer]:
    with language_server() as running:
        yield running


def models(server: LanguageServer, tmp_path: Path, **chat: Any) -> Models:
    endpoint = EndpointSettings(server.url, "sk-secret", **chat)
    return Models(ModelSettings(tmp_path, chat=endpoint, rerank=EndpointSettings(server.url)))


def chat(server: LanguageServer, tmp_path: Path, **chat: Any) -> RemoteChat:
    made = models(server, tmp_path, **chat).chat()
    assert isinstance(made, RemoteChat)
    return made


def test_messages_are_answered_by_the_model_that_the_endpoint_lists(
    server: LanguageServer, tmp_path: Path
) -> None:
    answered = chat(server, tmp_path).answer(QUESTION, max_tokens=9, temperature=0.5)
    assert answered.text == "yes"
    assert answered.usage is not None
    assert (answered.usage.prompt, answered.usage.completion) == (7, 3)
    (body,) = server.requests
    assert body == {"model": "tiny-chat", "messages": QUESTION, "max_tokens": 9, "temperature": 0.5}
    assert server.keys == ["Bearer sk-secret"]


def test_the_model_that_is_named_is_asked(server: LanguageServer, tmp_path: Path) -> None:
    chat(server, tmp_path, model="large-chat").complete(QUESTION)
    assert server.requests[0]["model"] == "large-chat"


def test_an_answer_of_a_schema_is_asked_for_by_its_format(server: LanguageServer, tmp_path: Path) -> None:
    server.reply = lambda body: GOOD
    assert json.loads(chat(server, tmp_path).complete(QUESTION, schema=SCHEMA)) == GOOD
    (body,) = server.requests
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_that_knows_no_format_is_told_in_words(server: LanguageServer, tmp_path: Path) -> None:
    server.structured = False
    server.reply = lambda body: f"<think>Red, I think {{}}</think>\n```json\n{json.dumps(GOOD)}\n```"
    model = chat(server, tmp_path)
    assert json.loads(model.complete(QUESTION, schema=SCHEMA)) == GOOD
    assert json.loads(model.complete(QUESTION, schema=SCHEMA)) == GOOD
    formats = ["response_format" in body for body in server.requests]
    assert formats == [True, False, False]
    assert '"minimum":0' in server.requests[1]["messages"][0]["content"]


@pytest.mark.parametrize("bad", ["red", '{"colour": "green", "count": 1}', '{"colour": "red", "count": -1}'])
def test_an_answer_that_does_not_fit_is_asked_for_again_once(
    server: LanguageServer, tmp_path: Path, bad: str
) -> None:
    server.reply = lambda body: bad if len(server.requests) == 1 else GOOD
    assert json.loads(chat(server, tmp_path).complete(QUESTION, schema=SCHEMA)) == GOOD
    said = server.requests[1]["messages"]
    assert said[-2] == {"role": "assistant", "content": bad}
    assert said[-1]["content"].startswith("That does not fit: ")


def test_an_answer_that_does_not_fit_twice_is_refused_with_the_reason(
    server: LanguageServer, tmp_path: Path
) -> None:
    server.reply = lambda body: {"colour": "green", "count": 1}
    with pytest.raises(UnavailableError, match=r'twice what does not fit the schema: colour: "green"'):
        chat(server, tmp_path).complete(QUESTION, schema=SCHEMA)
    assert len(server.requests) == 2


def test_parameters_that_a_model_refuses_are_changed_and_remembered(
    server: LanguageServer, tmp_path: Path
) -> None:
    def reply(body: dict[str, Any]) -> Any:
        for name in ("max_tokens", "temperature"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}
        return "yes"

    server.reply = reply
    model = chat(server, tmp_path)
    model.complete(QUESTION)
    model.complete(QUESTION, max_tokens=5)
    assert server.requests[-1]["max_completion_tokens"] == 5
    assert len(server.requests) == 4


def test_a_key_that_the_server_repeats_is_not_told(server: LanguageServer, tmp_path: Path) -> None:
    server.reply = lambda body: (401, {"error": {"message": "Incorrect API key: sk-secret"}})
    with pytest.raises(UnavailableError, match="answered 401") as caught:
        chat(server, tmp_path).complete(QUESTION)
    assert "sk-secret" not in caught.value.message
    assert "sk-secret" not in repr(ModelSettings(tmp_path, chat=EndpointSettings("http://e", "sk-secret")))


def test_a_schema_is_checked_and_fetches_nothing(server: LanguageServer) -> None:
    schemas: list[dict[str, Any]] = [
        {"type": "nonsense"},
        {"$ref": f"{server.url}/v1/models"},
        {"$ref": "file:///etc/passwd"},
    ]
    for schema in schemas:
        with pytest.raises(ValidationError, match="not a JSON schema"):
            validator_of(schema)
    assert validator_of(SCHEMA).is_valid(GOOD)


def test_the_base_url_may_name_its_path_or_not() -> None:
    assert base_url("http://host:11434/") == "http://host:11434/v1"
    assert base_url("https://host/v1beta/openai/") == "https://host/v1beta/openai"


def test_the_settings_choose_the_endpoints(tmp_path: Path) -> None:
    without = Models(ModelSettings.of(Settings(data_dir=tmp_path)))
    with pytest.raises(ValidationError, match="set LAMINA_CHAT_ENDPOINT"):
        without.chat()
    assert without.default("rerank") == "text_embedding_cosine_v1"
    settings = Settings(
        data_dir=tmp_path,
        chat_endpoint="http://e",
        chat_key="k",
        chat_model="m",
        rerank_endpoint="http://r",
    )
    made = ModelSettings.of(settings)
    assert made.chat == EndpointSettings("http://e", "k", "m")
    assert Models(made).default("chat") == "remote_chat"
    assert Models(made).default("rerank") == "remote_rerank"


@pytest.mark.parametrize("form", ["tei", "cohere"])
def test_texts_are_scored_over_either_protocol(server: LanguageServer, tmp_path: Path, form: str) -> None:
    server.reranker = form
    texts = [f"text {number}" for number in range(40)] + ["red bread", "red apples ripen"]
    scores = models(server, tmp_path).reranker().score("red apples", texts)
    assert scores.shape == (42,)
    assert scores.dtype == np.float32
    assert scores[-2:].tolist() == [0.5, 1.0]
    assert scores[:40].tolist() == [0.0] * 40


def test_an_endpoint_without_a_reranker_is_told(server: LanguageServer, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="neither /rerank nor /v1/rerank"):
        models(server, tmp_path).reranker().score("a", ["b"])


def test_the_offline_reranker_is_the_cosine_of_the_text_models_vectors(tmp_path: Path) -> None:
    own = Models(ModelSettings(tmp_path))
    texts = ["Fresh bread cools on the counter.", "A glacier melts."]
    scores = own.reranker().score("bakery", texts)
    embedder = own.text_embedder()
    expected = embedder.embed_documents(texts) @ embedder.embed_queries(["bakery"])[0]
    assert scores == pytest.approx(expected)
    assert scores[0] > scores[1]
    assert own.available("text_embedding_cosine_v1") == (True, "made of all_minilm_l6_v2_v1")
    assert own.reranker().score("a", []).shape == (0,)


def test_the_question_is_the_last_message(server: LanguageServer, tmp_path: Path) -> None:
    server.reply = asked
    assert chat(server, tmp_path).complete(QUESTION) == "What colour?"
