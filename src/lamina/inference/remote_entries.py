"""The remote models' entries, apart from what it takes to reach them: workers seldom need that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from lamina.core.errors import UnavailableError
from lamina.inference.base import ModelCard
from lamina.inference.packages import PackageFile
from lamina.inference.settings import EndpointSettings

if TYPE_CHECKING:
    from lamina.inference.registry import Models

ENDPOINT_CHOICE: Final = "remote"
"""Name of the registry entry that stands for whatever model the endpoint serves."""


@dataclass(frozen=True, slots=True)
class RemoteTextModel:
    """A text model behind the embedding endpoint."""

    card: ModelCard
    files: Sequence[PackageFile] = ()

    def check(self, models: Models) -> str:
        """That the endpoint answers; `UnavailableError` when it does not, or when there is none."""
        endpoint = self._endpoint(models)
        if self.card.name == ENDPOINT_CHOICE:
            card = models.card(ENDPOINT_CHOICE)  # asks the endpoint
            return f"{card.origin} with {card.dimension} dimensions at {endpoint}"
        from lamina.inference.http import reachable

        return reachable(endpoint, "embedding")

    def load(self, models: Models) -> object:
        """The embedder."""
        from lamina.inference.remote import RemoteTextEmbedder

        return RemoteTextEmbedder(self.card, self._endpoint(models), models.settings.endpoint_key)

    def _endpoint(self, models: Models) -> str:
        if models.settings.endpoint is None:
            raise UnavailableError(
                f"Model '{self.card.name}' needs an endpoint: set LAMINA_EMBEDDING_ENDPOINT to the base URL "
                "of an OpenAI-compatible or text-embeddings-inference server."
            )
        return models.settings.endpoint


@dataclass(frozen=True, slots=True)
class EndpointModel:
    """Whatever model an endpoint of its own serves: that for `chat`, or that for `rerank`.

    `loader` is `module:class`, called with the card and the endpoint's settings.
    """

    card: ModelCard
    loader: str
    files: Sequence[PackageFile] = ()

    def check(self, models: Models) -> str:
        """That the endpoint answers; `UnavailableError` when it does not, or when there is none."""
        endpoint = self._endpoint(models)
        from lamina.inference.http import reachable

        return reachable(str(endpoint.url), self.card.capability)

    def load(self, models: Models) -> object:
        """The model, ready to be asked."""
        module, _, name = self.loader.partition(":")
        return getattr(import_module(module), name)(self.card, self._endpoint(models))

    def _endpoint(self, models: Models) -> EndpointSettings:
        settings = models.settings
        endpoint = settings.chat if self.card.capability == "chat" else settings.rerank
        if endpoint.url is None:
            raise UnavailableError(
                f"Model '{self.card.name}' needs an endpoint: set "
                f"LAMINA_{self.card.capability.upper()}_ENDPOINT to the base URL of a server."
            )
        return endpoint


REMOTE_CARDS: Final = (
    ModelCard(
        name="text-embedding-3-small",
        capability="embed_text",
        dimension=1536,
        source="remote",
        licence="proprietary",
        origin="OpenAI",
        description="OpenAI's smaller text embedding, over the embedding endpoint.",
        max_tokens=8192,
    ),
    ModelCard(
        name="text-embedding-3-large",
        capability="embed_text",
        dimension=3072,
        source="remote",
        licence="proprietary",
        origin="OpenAI",
        description="OpenAI's larger text embedding, over the embedding endpoint.",
        max_tokens=8192,
    ),
    ModelCard(
        name=ENDPOINT_CHOICE,
        capability="embed_text",
        dimension=0,
        source="remote",
        licence="that of the served model",
        origin="the embedding endpoint",
        description="Whatever model the embedding endpoint serves.",
        max_tokens=512,
    ),
)

REMOTE_MODELS: Final = tuple(RemoteTextModel(card) for card in REMOTE_CARDS)
