"""What a language model says of a segment's frames, over the chat capability."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from lamina.core.errors import ExtractionError, LaminaError
from lamina.core.types import JsonObject
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.inference.base import Image
from lamina.inference.registry import Models
from lamina.media.images import thumbnail


@dataclass(frozen=True, slots=True)
class Shape:
    """A `response_shape` as `extractors.shaping` takes it: this extractor's has no provider of its own."""

    response_shape: str | JsonObject | None
    llm_provider: str | None = None
    llm_model: str | None = None
    llm_api_key: str | None = None


class Describer:
    """Has segments described. After one failure it asks no more: the endpoint is gone, or refuses."""

    def __init__(self, given: MultimodalExtractorParameters, models: Models) -> None:
        self._given = given
        self._models = models
        self.failure: ExtractionError | None = None

    def describe(self, frames: Sequence[Image], said: str) -> str:
        """A description of a segment: its frames are sent in order as JPEG, with what is said in it.

        Empty when there is none; `failure` says why.
        """
        if self.failure is not None:
            return ""
        try:
            return self._models.chat().complete(
                [message(self._given.description_prompt, frames, said)],
                max_tokens=self._given.generation_config.max_output_tokens,
                temperature=self._given.generation_config.temperature,
            )
        except LaminaError as error:
            self.failure = ExtractionError(f"run_video_description: {error.message}", code="llm_failed")
            return ""


def message(prompt: str, frames: Sequence[Image], said: str) -> dict[str, object]:
    """A user's message with pictures, as OpenAI has it."""
    content: list[dict[str, object]] = [{"type": "text", "text": prompt}]
    if said:
        content.append({"type": "text", "text": f"What is said in it: {said}"})
    for frame in frames:
        encoded = base64.b64encode(thumbnail(frame)).decode()
        content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}})
    return {"role": "user", "content": content}
