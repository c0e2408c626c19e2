"""A tiny input for each capability: whether a model that is there also works."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from lamina.inference.base import Capability, Image, Samples, Vectors
from lamina.inference.registry import Models

_TEXTS: Final = ("A lamina is a thin layer.", "Bread cools on the counter.")
_WORDS: Final = "LAMINA 2026"
_RATE: Final = 16_000


def try_out(models: Models, name: str) -> str:
    """What a model makes of the tiny input, in words. Loads the model; raises whatever it raises."""
    return _TRIALS[models.entry(name).card.capability](models, name)


def _embed_text(models: Models, name: str) -> str:
    return _vectors(models.text_embedder(name).embed_documents(_TEXTS))


def _embed_tokens(models: Models, name: str) -> str:
    return _vectors(models.token_embedder(name).embed_documents(_TEXTS)[0])


def _embed_image_tokens(models: Models, name: str) -> str:
    return _vectors(models.image_token_embedder(name).embed_images([_picture()])[0])


def _embed_image(models: Models, name: str) -> str:
    return _vectors(models.image_embedder(name).embed_images([_picture()]))


def _embed_text_for_image(models: Models, name: str) -> str:
    embedder = models.text_image_embedder(name)
    return _vectors(np.concatenate([embedder.embed_images([_picture()]), embedder.embed_queries(_TEXTS[:1])]))


def _embed_audio(models: Models, name: str) -> str:
    embedder = models.audio_embedder(name)
    return _vectors(embedder.embed_audio([_tone(embedder.sample_rate)]))


def _embed_speaker(models: Models, name: str) -> str:
    return _vectors(models.speaker_embedder(name).embed_speakers([_tone(_RATE)]))


def _embed_face(models: Models, name: str) -> str:
    return _vectors(models.face_embedder(name).embed_faces([np.full((112, 112, 3), 127, np.uint8)]))


def _transcribe(models: Models, name: str) -> str:
    return f"{len(models.transcriber(name).transcribe(_tone(_RATE), language='en').text.split())} words"


def _detect_speech(models: Models, name: str) -> str:
    return f"{len(models.speech_detector(name).detect(_tone(_RATE)))} stretches of speech"


def _read_text(models: Models, name: str) -> str:
    return f"reads '{' '.join(line.text for line in models.text_reader(name).read(_picture()))}'"


def _find_faces(models: Models, name: str) -> str:
    return f"{len(models.face_finder(name).find(_picture()))} faces"


def _label_image(models: Models, name: str) -> str:
    labeler = models.image_labeler(name)
    (row,) = labeler.probabilities([_picture()])
    return f"sees '{labeler.names[int(row.argmax())]}'"


def _rerank(models: Models, name: str) -> str:
    scores = models.reranker(name).score("What is a lamina?", _TEXTS)
    return "the answer first" if scores[0] > scores[1] else "the answer last"


def _chat(models: Models, name: str) -> str:
    said = models.chat(name).complete([{"role": "user", "content": "Say yes."}], max_tokens=16)
    return f"says '{' '.join(said.split())[:40]}'"


_TRIALS: Final[Mapping[Capability, Callable[[Models, str], str]]] = {
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
    "chat": _chat,
}


def _vectors(made: Vectors) -> str:
    if not np.isfinite(made).all():
        raise ValueError("a vector has numbers that are not finite")
    return f"{len(made)} × {made.shape[1]} numbers"


def _picture() -> Image:
    """Black words on white, 480 × 160."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    drawn = Pictures.new("RGB", (480, 160), "white")
    ImageDraw.Draw(drawn).text((30, 50), _WORDS, "black", ImageFont.load_default(56))
    return np.asarray(drawn, np.uint8)


def _tone(rate: int) -> Samples:
    """Two seconds of the note A."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
