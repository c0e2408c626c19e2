"""Language models: whatever the chat endpoint serves. No default works offline."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry
from lamina.inference.remote_entries import EndpointModel
from lamina.inference.settings import REMOTE_CHAT

MODELS: Final[Sequence[Entry]] = (
    EndpointModel(
        ModelCard(
            name=REMOTE_CHAT,
            capability="chat",
            dimension=0,
            source="remote",
            licence="that of the served model",
            origin="the chat endpoint",
            description="Whatever language model the chat endpoint serves.",
            modality="multimodal",
        ),
        "lamina.inference.chat:RemoteChat",
    ),
)
DEFAULTS: Final[Mapping[Capability, str]] = {}
