"""What a process needs to know to load models: small enough to send to every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # workers read no settings, so they need not import them
    from pydantic import SecretStr

    from lamina.core.settings import Settings

REMOTE_CHAT: Final = "remote_chat"
REMOTE_RERANK: Final = "remote_rerank"
"""Names of the registry entries for whatever models these endpoints serve."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """A server that speaks a model's protocol, the key to show it, and the model's name there."""

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The part of the settings that models depend on.

    `choices` names the model of a capability in place of its default, `endpoint` is the base URL of an
    embedding server, `chat` and `rerank` are those of the other kinds, `chat_providers` the chat endpoints of
    providers that parameters may name, `threads` what one call may use, `cache_bytes`
    what is remembered of what models made, and `models_dir` the folder of local models and of downloads.
    """

    models_dir: Path
    choices: Mapping[str, str] = field(default_factory=dict)
    endpoint: str | None = None
    endpoint_key: str | None = field(default=None, repr=False)
    chat: EndpointSettings = EndpointSettings()
    rerank: EndpointSettings = EndpointSettings()
    chat_providers: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    cache_bytes: int = 0

    def choice(self, capability: str) -> str | None:
        """The model that is chosen for a capability: by its name, or by naming an endpoint."""
        if capability in self.choices:
            return self.choices[capability]
        if capability == "chat" and self.chat.url is not None:
            return REMOTE_CHAT
        if capability == "rerank" and self.rerank.url is not None:
            return REMOTE_RERANK
        return None

    @classmethod
    def of(cls, settings: Settings) -> ModelSettings:
        """The models' part of an installation's settings."""
        return cls(
            models_dir=settings.models_dir or settings.data_dir / "models",
            choices={"embed_text": settings.text_embedding_model, **settings.models},
            endpoint=settings.embedding_endpoint,
            endpoint_key=_text(settings.embedding_endpoint_key),
            chat=EndpointSettings(settings.chat_endpoint, _text(settings.chat_key), settings.chat_model),
            rerank=EndpointSettings(
                settings.rerank_endpoint, _text(settings.rerank_key), settings.rerank_model
            ),
            chat_providers=settings.chat_providers,
            threads=settings.inference_threads,
            cache_bytes=settings.inference_cache_bytes,
        )


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
