"""Raw inference: one input for one model, in a worker where it is a file, in a thread where it is text."""

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from urllib.parse import unquote_to_bytes

import numpy as np
import orjson
from numpy.typing import NDArray

from lamina.core.errors import UnavailableError, ValidationError
from lamina.core.features import parse_feature_uri
from lamina.core.types import Json, JsonObject
from lamina.extractors.registry import extractor
from lamina.inference.base import Capability, Image, Samples
from lamina.inference.registry import Models
from lamina.inference.settings import REMOTE_CHAT, EndpointSettings

MAX_TEXTS: Final = 1000
MAX_BYTES: Final = 64 << 20
"""Of a file that is given by URL or in base64."""

LABELS: Final = 10
"""The likeliest labels of a picture that are told."""

_RATE: Final = 16_000

_FILES: Final[Mapping[Capability, str]] = {
    "embed_image": "image", "label_image": "image", "read_text": "image", "find_faces": "image",
    "embed_face": "image", "embed_text_for_image": "image", "embed_image_tokens": "image",
    "transcribe": "audio", "detect_speech": "audio", "embed_audio": "audio", "embed_speaker": "audio",
}  # fmt: skip
"""The kind of file that a capability takes: the inputs are `image_url` or `image_base64`, and so on."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What is asked of a model. `content` is a file's bytes, `chat_model` a name at the chat endpoint."""

    model: str
    inputs: JsonObject
    parameters: JsonObject
    content: bytes | None = None
    mime_type: str | None = None
    chat_model: str | None = None


def chosen(
    models: Models,
    *,
    inference_name: str | None,
    feature_uri: str | None,
    provider: str | None,
    model: str | None,
    inputs: JsonObject,
) -> tuple[str, str | None]:
    """The registry's name of the model that a request means, and its name at the chat endpoint.

    With `prompts`, a provider's model is asked for at the installation's chat endpoint, whoever's that is.
    Raises `ValidationError` when the request names none that there is.
    """
    if inference_name is not None:
        return _known(models, inference_name, "inference_name"), None
    if feature_uri is not None:
        uri = parse_feature_uri(feature_uri)
        extractor(uri.extractor, uri.version)
        return _known(models, uri.output, "feature_uri"), None
    if model is not None and models.knows(model):
        return model, None
    if "prompts" in inputs:
        default = models.default("chat")
        return default, model if default == REMOTE_CHAT else None
    if model is not None:
        return _known(models, model, "model"), None
    what = f"the provider '{provider}' needs a model" if provider else "the request names no model"
    raise ValidationError(
        f"Name a model by inference_name, by feature_uri, or by provider and model; {what}.", field="model"
    )


def file_key(models: Models, asked: Inference) -> str | None:
    """The input that holds the file, or None where the model is given text.

    Raises `ValidationError` when the model needs a file and none is given.
    """
    capability = models.entry(asked.model).card.capability
    kind = "image" if capability == "chat" else _FILES.get(capability)
    if kind is None:
        return None
    found = next(
        (key for key in (f"{kind}_url", f"{kind}_base64") if asked.inputs.get(key) is not None), None
    )
    if found is None and capability != "chat" and not _takes_text(capability, asked.inputs):
        raise ValidationError(
            f"The model '{asked.model}' needs {kind}_url or {kind}_base64.", field="inputs", code="no_input"
        )
    return found


def written(value: Json, field: str) -> bytes | None:
    """The bytes of an input that holds them itself, as a data URI or base64; None for a URL to fetch."""
    if not isinstance(value, str):
        raise ValidationError("This must be a text.", field=field)
    if value.startswith(("http://", "https://")):
        return None
    head, comma, body = value.partition(",") if value.startswith("data:") else ("base64", ",", value)
    try:
        content = base64.b64decode(body, validate=True) if head.endswith("base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise ValidationError("This is neither an http URL nor valid base64.", field=field) from error
    if not comma or not content or len(content) > MAX_BYTES:
        raise ValidationError(f"This is empty, or larger than {MAX_BYTES >> 20} MiB.", field=field)
    return content


@dataclass(frozen=True, slots=True)
class Inferred:
    """A model's answer. `tokens` are those of a language model, where its server counts them."""

    data: Json
    milliseconds: float
    tokens: dict[str, int] | None = None


def infer(models: Models, asked: Inference) -> Inferred:
    """What the model makes of it. Raises `ValidationError` for inputs that it cannot take."""
    capability = models.entry(asked.model).card.capability
    started = time.perf_counter()
    if capability == "chat":
        data, tokens = _chat(models, asked)
    else:
        data, tokens = _RUNS[capability](models, asked), None
    return Inferred(data, round((time.perf_counter() - started) * 1e3, 3), tokens)


def _known(models: Models, name: str, field: str) -> str:
    if not models.knows(name):
        known = ", ".join(sorted(card.name for card in models.cards()))
        raise ValidationError(
            f"There is no model '{name}' here; there are {known}.", field=field, code="unknown_model"
        )
    return name


def _takes_text(capability: Capability, inputs: JsonObject) -> bool:
    return capability in {"embed_text_for_image", "embed_image_tokens"} and (
        "text" in inputs or "texts" in inputs
    )


def _embed_text(models: Models, asked: Inference) -> Json:
    texts = _texts(asked.inputs)
    embedder = models.text_embedder(asked.model)
    as_query = asked.parameters.get("embedding_task", "retrieval_query") == "retrieval_query"
    vectors = embedder.embed_queries(texts) if as_query else embedder.embed_documents(texts)
    return _vectors(asked.inputs, vectors)


def _embed_tokens(models: Models, asked: Inference) -> Json:
    every = models.token_embedder(asked.model).embed_queries(_texts(asked.inputs))
    return {"embeddings": [rows.tolist() for rows in every]}


def _embed_image(models: Models, asked: Inference) -> Json:
    return {"embedding": models.image_embedder(asked.model).embed_images([_picture(asked)])[0].tolist()}


def _embed_image_tokens(models: Models, asked: Inference) -> Json:
    embedder = models.image_token_embedder(asked.model)
    if asked.content is None:
        return {"embeddings": [rows.tolist() for rows in embedder.embed_queries(_texts(asked.inputs))]}
    return {"embeddings": [rows.tolist() for rows in embedder.embed_images([_picture(asked)])]}


def _embed_text_for_image(models: Models, asked: Inference) -> Json:
    embedder = models.text_image_embedder(asked.model)
    if asked.content is None:
        return _vectors(asked.inputs, embedder.embed_queries(_texts(asked.inputs)))
    return {"embedding": embedder.embed_images([_picture(asked)])[0].tolist()}


def _label_image(models: Models, asked: Inference) -> Json:
    labeler = models.image_labeler(asked.model)
    (row,) = labeler.probabilities([_picture(asked)])
    best = np.argsort(-row)[:LABELS]
    return {"labels": [{"name": labeler.names[at], "probability": float(row[at])} for at in best]}


def _read_text(models: Models, asked: Inference) -> Json:
    lines = models.text_reader(asked.model).read(_picture(asked))
    return {
        "text": "\n".join(line.text for line in lines),
        "lines": [{"text": one.text, "confidence": one.confidence, "box": list(one.box)} for one in lines],
    }


def _find_faces(models: Models, asked: Inference) -> Json:
    faces = models.face_finder(asked.model).find(_picture(asked))
    return {
        "faces": [
            {"box": list(one.box), "score": one.score, "landmarks": one.landmarks.tolist()} for one in faces
        ]
    }


def _embed_face(models: Models, asked: Inference) -> Json:
    picture = _picture(asked)
    faces = models.face_finder().find(picture)
    embedder = models.face_embedder(asked.model)
    vectors = embedder.embed_faces([embedder.align(picture, one) for one in faces]) if faces else ()
    return {
        "faces": [
            {"box": list(one.box), "score": one.score, "embedding": vector.tolist()}
            for one, vector in zip(faces, vectors, strict=True)
        ]
    }


def _transcribe(models: Models, asked: Inference) -> Json:
    language = asked.parameters.get("language")
    if language is not None and not isinstance(language, str):
        raise ValidationError("language must be an ISO 639-1 code.", field="parameters.language")
    found = models.transcriber(asked.model).transcribe(_sound(asked, _RATE), language=language)
    utterances: list[Json] = [
        {
            "text": one.text,
            "start": one.start,
            "end": one.end,
            "words": [{"text": word.text, "start": word.start, "end": word.end} for word in one.words],
        }
        for one in found.utterances
    ]
    return {"text": found.text, "language": found.language, "utterances": utterances}


def _detect_speech(models: Models, asked: Inference) -> Json:
    spans = models.speech_detector(asked.model).detect(_sound(asked, _RATE))
    return {"speech": [{"start": one.start, "end": one.end} for one in spans]}


def _embed_audio(models: Models, asked: Inference) -> Json:
    embedder = models.audio_embedder(asked.model)
    return {"embedding": embedder.embed_audio([_sound(asked, embedder.sample_rate)])[0].tolist()}


def _embed_speaker(models: Models, asked: Inference) -> Json:
    return {
        "embedding": models.speaker_embedder(asked.model).embed_speakers([_sound(asked, _RATE)])[0].tolist()
    }


def _rerank(models: Models, asked: Inference) -> Json:
    query, given = asked.inputs.get("query"), asked.inputs.get("documents", asked.inputs.get("texts"))
    if not isinstance(query, str) or not query:
        raise ValidationError("A reranker needs a query.", field="inputs.query", code="no_input")
    texts = _strings(given, "inputs.documents")
    scores = [float(one) for one in models.reranker(asked.model).score(query, texts)]
    order = sorted(range(len(texts)), key=lambda at: -scores[at])
    return {"scores": scores, "results": [{"index": at, "score": scores[at]} for at in order]}


_RUNS: Final[Mapping[Capability, Callable[[Models, Inference], Json]]] = {
    "embed_text": _embed_text,
    "embed_tokens": _embed_tokens,
    "embed_image": _embed_image,
    "embed_image_tokens": _embed_image_tokens,
    "embed_text_for_image": _embed_text_for_image,
    "embed_audio": _embed_audio,
    "embed_speaker": _embed_speaker,
    "embed_face": _embed_face,
    "transcribe": _transcribe,
    "detect_speech": _detect_speech,
    "read_text": _read_text,
    "find_faces": _find_faces,
    "label_image": _label_image,
    "rerank": _rerank,
}


def _chat(models: Models, asked: Inference) -> tuple[Json, dict[str, int] | None]:
    """An answer for each prompt; with `schema`, as JSON. One prompt has its answer alone."""
    from lamina.inference.chat import RemoteChat

    prompts = _strings(asked.inputs.get("prompts"), "inputs.prompts")
    schema = asked.parameters.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise ValidationError("schema must be a JSON schema.", field="parameters.schema")
    limit = _number(asked.parameters, "max_tokens", 1024, 1, 1_000_000)
    temperature = _number(asked.parameters, "temperature", 0.0, 0.0, 2.0)
    chat = models.chat(asked.model)
    own = models.settings.chat
    if asked.chat_model is not None and own.url is not None:
        chat = RemoteChat(chat.card, EndpointSettings(own.url, own.key, asked.chat_model))
    answers: list[Json] = []
    counted = {"prompt": 0, "completion": 0, "total": 0}
    for prompt in prompts:
        messages = [{"role": "user", "content": _shown(prompt, asked)}]
        if isinstance(chat, RemoteChat):
            answered = chat.answer(messages, schema=schema, max_tokens=int(limit), temperature=temperature)
            text = answered.text
            if answered.usage is not None:
                counted["prompt"] += answered.usage.prompt
                counted["completion"] += answered.usage.completion
        else:
            text = chat.complete(messages, schema=schema, max_tokens=int(limit), temperature=temperature)
        answers.append(orjson.loads(text) if schema is not None else text)
    counted["total"] = counted["prompt"] + counted["completion"]
    return answers[0] if len(answers) == 1 else answers, counted if counted["total"] else None


def _shown(prompt: str, asked: Inference) -> Json:
    """A prompt, with the picture beside it."""
    if asked.content is None:
        return prompt
    address = f"data:{asked.mime_type or 'image/jpeg'};base64,{base64.b64encode(asked.content).decode()}"
    return [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": address}}]


def _texts(inputs: JsonObject) -> list[str]:
    if "texts" in inputs:
        return _strings(inputs["texts"], "inputs.texts")
    return _strings(inputs.get("text"), "inputs.text")


def _vectors(inputs: JsonObject, vectors: NDArray[np.float32]) -> Json:
    """One for `text`, a list for `texts`."""
    return {"embeddings": vectors.tolist()} if "texts" in inputs else {"embedding": vectors[0].tolist()}


def _strings(value: Json, field: str) -> list[str]:
    found: Sequence[Json] = [value] if isinstance(value, str) else value if isinstance(value, list) else ()
    texts = [one for one in found if isinstance(one, str)]
    if not texts or len(texts) != len(found) or len(texts) > MAX_TEXTS:
        name = field.rpartition(".")[2]
        raise ValidationError(
            f"inputs needs '{name}': a text, or 1 to {MAX_TEXTS} of them.", field=field, code="no_input"
        )
    return texts


def _number(parameters: JsonObject, name: str, default: float, least: float, most: float) -> float:
    value = parameters.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValidationError(f"{name} must be from {least} to {most}.", field=f"parameters.{name}")
    return value


def _picture(asked: Inference) -> Image:
    from lamina.media.images import read_image

    if asked.content is None:
        raise UnavailableError("The picture was not read.")
    return read_image(BytesIO(asked.content), name="image").pixels


def _sound(asked: Inference, rate: int) -> Samples:
    from lamina.media.audio import read_sound

    if asked.content is None:
        raise UnavailableError("The sound was not read.")
    return read_sound(BytesIO(asked.content), rate, name="audio")
