"""What documents of `multimodal_extractor` hold: vectors, fields, and the models behind them."""

from collections.abc import Sequence
from typing import Final, Literal

from lamina.core.types import JsonObject
from lamina.extractors.base import VectorOutput
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.inference.base import Capability, ModelCard
from lamina.inference.registry import Models

INPUTS: Final = ("video", "audio", "image", "text", "gif")

_SEEN: Final = ("video", "audio", "image", "text")
"""Schema types of what the space of text and pictures takes in; a GIF is a video."""

Embedded = Literal["transcription", "ocr", "description"]
"""Texts that the text model embeds. A document may have all three, so their vectors differ in name."""

_SUFFIXES: Final[dict[Embedded, str]] = {
    "transcription": "",
    "ocr": "_ocr",
    "description": "_description",
}
_TEXTS: Final[dict[Embedded, str]] = {
    "transcription": "what is said",
    "ocr": "the text on screen",
    "description": "the description",
}


def text_output(model: str, text: Embedded) -> str:
    """Name of the vector of one of the texts: the model's own for what is said, marked for the others."""
    return model + _SUFFIXES[text]


def vector_outputs(given: MultimodalExtractorParameters, models: Models) -> list[VectorOutput]:
    """The vectors under these parameters: that of what is seen first, then those of texts."""
    found = []
    if given.run_multimodal_embedding:
        card = models.card(models.default("embed_text_for_image"))
        described = f"What is seen, found by words and by pictures: {card.origin}."
        found.append(_output(card, card.name, described, _SEEN))
    wanted: list[Embedded] = []
    if given.run_transcription_embedding:
        wanted.append("transcription")
    if given.run_ocr_embedding:
        wanted.append("ocr")
    if given.run_description_embedding:
        wanted.append("description")
    if wanted:
        card = models.card(models.default_text_model)
        found += [
            _output(
                card, text_output(card.name, one), f"Embedding of {_TEXTS[one]} by {card.origin}.", ["text"]
            )
            for one in wanted
        ]
    return found


def models_used(given: MultimodalExtractorParameters, models: Models) -> list[str]:
    """Names of the models that work cannot begin without."""
    capabilities: list[Capability] = []
    if given.run_multimodal_embedding:
        capabilities.append("embed_text_for_image")
    if given.run_transcription_embedding or given.run_ocr_embedding or given.run_description_embedding:
        capabilities.append("embed_text")
    if given.transcribes:
        capabilities += ["detect_speech", "transcribe"]
    if given.run_ocr:
        capabilities.append("read_text")
    if given.asks_a_language_model:
        capabilities.append("chat")
    return [models.default(one) for one in capabilities]


def fields(given: MultimodalExtractorParameters) -> dict[str, JsonObject]:
    """The fields that documents may have, and the files that later collections can read as if they were."""
    found = {
        "segment_index": _field("integer", "Place of the segment in its video or sound, from 0."),
        "start_time": _field("float", "Where the segment begins, in seconds."),
        "end_time": _field("float", "Where it ends."),
        "media_fragment": _field(
            "string", "Put behind the URL of the source, it plays the segment: `#t=0,10`."
        ),
        "key_frame_time": _field("float", "When the frame is shown that is the thumbnail."),
        "has_speech": _field("boolean", "Whether somebody speaks in it."),
        "text": _field("text", "The text, where the input is one."),
    }
    found["video_segment"] = _field("video", "File: the segment, as MP4.")
    found["audio_segment"] = _field("audio", "File: the segment of a sound.")
    if given.enable_thumbnails:
        found["thumbnail"] = _field("image", "File: the key frame, or the picture.")
    if given.run_multimodal_embedding:
        found["labels"] = _field(
            "array", "What it likely shows: up to five `name`s with their `probability`."
        )
    if given.transcribes or given.run_multimodal_embedding:
        found["transcription"] = _field("text", "What is said.")
        found["words"] = _field("array", "The words said: `text`, and `start` and `end` in seconds.")
        found["language"] = _field("string", "What language is spoken, as an ISO 639-1 code.")
    if given.run_ocr:
        found["ocr_text"] = _field("text", "The text on screen.")
    if given.run_video_description:
        found["description"] = _field("text", "What a language model says of it.")
    return found


def _output(card: ModelCard, name: str, description: str, inputs: Sequence[str]) -> VectorOutput:
    return VectorOutput(
        output=name,
        dimension=card.dimension,
        distance=card.distance,
        kind="dense",
        description=description,
        inputs=list(inputs),
        model=card.name,
    )


def _field(kind: str, description: str) -> JsonObject:
    return {"type": kind, "description": description}
