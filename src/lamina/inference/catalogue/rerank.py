"""Rerankers: whatever the rerank endpoint serves; without one, the order of the text model's vectors."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry
from lamina.inference.remote_entries import EndpointModel
from lamina.inference.rerank_entry import CosineModel
from lamina.inference.settings import REMOTE_RERANK

COSINE: Final = CosineModel(
    ModelCard(
        name="text_embedding_cosine_v1",
        capability="rerank",
        dimension=0,
        source="packaged",
        licence="that of the text model",
        origin="the installation's text model",
        description="Cosine of the text model's vectors: the order of a search by them, no better.",
    )
)

MODELS: Final[Sequence[Entry]] = (
    COSINE,
    EndpointModel(
        ModelCard(
            name=REMOTE_RERANK,
            capability="rerank",
            dimension=0,
            source="remote",
            licence="that of the served model",
            origin="the rerank endpoint",
            description="Whatever cross-encoder the rerank endpoint serves.",
        ),
        "lamina.inference.rerank:RemoteReranker",
    ),
)
DEFAULTS: Final[Mapping[Capability, str]] = {"rerank": COSINE.card.name}
