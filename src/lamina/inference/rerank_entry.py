"""The registry's entry of the reranker that is made of the installation's text model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.inference.base import ModelCard
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from lamina.inference.registry import Models


@dataclass(frozen=True, slots=True)
class CosineModel:
    """Compares the vectors of whatever text model the installation uses."""

    card: ModelCard
    files: Sequence[PackageFile] = ()

    def check(self, models: Models) -> str:
        """Which text model it is made of; raises what that one lacks."""
        name = models.default_text_model
        models.entry(name).check(models)
        return f"made of {name}"

    def load(self, models: Models) -> object:
        """The reranker."""
        from lamina.inference.rerank import CosineReranker

        return CosineReranker(self.card, models.text_embedder())
