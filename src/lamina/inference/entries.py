"""What the registry holds: a model's card, the files that it needs, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from lamina.inference.base import ModelCard
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from lamina.inference.registry import Models


class Entry(Protocol):
    """A model of the catalogue. Cheap to make: whatever is heavy is imported by `load`."""

    @property
    def card(self) -> ModelCard:
        """What it is."""

    @property
    def files(self) -> Sequence[PackageFile]:
        """What `lamina models pull` fetches for it."""

    def check(self, models: Models) -> str:
        """Where it is, in words.

        Raises a `LaminaError` that says what it lacks and how to mend that.
        """

    def load(self, models: Models) -> object:
        """The model, ready for use: one of the Protocols in `inference.base`, by the card's capability."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model whose weights are files of packages.

    `loader` is `module:function`, called as `function(card, paths, models)` with the place of each of
    `weights` under its name there. A model that is made of others names them in `parts`.
    """

    card: ModelCard
    loader: str
    weights: Mapping[str, PackageFile] = field(default_factory=dict)
    parts: Sequence[str] = ()

    @property
    def files(self) -> Sequence[PackageFile]:
        """What `lamina models pull` fetches for it."""
        return tuple(self.weights.values())

    def check(self, models: Models) -> str:
        """Where the weights are, once their checksums were found right."""
        paths = [file.locate(models.settings.models_dir) for file in self.weights.values()]
        for part in self.parts:
            models.entry(part).check(models)
        places = ", ".join(sorted({str(path.parent) for path in paths}))
        made = f"made of {' and '.join(self.parts)}" if self.parts else ""
        return "; ".join(one for one in (f"checksums right: {places}" if places else "", made) if one)

    def load(self, models: Models) -> object:
        """The model; `UnavailableError` says which file is missing or damaged."""
        paths = {name: file.locate(models.settings.models_dir) for name, file in self.weights.items()}
        module, _, function = self.loader.partition(":")
        return getattr(import_module(module), function)(self.card, paths, models)
