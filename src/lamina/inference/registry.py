"""The models that a process can use, by name; each is loaded when it is first asked for."""

import pkgutil
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, cached_property
from importlib import import_module
from threading import Lock
from time import monotonic
from typing import Final, cast

from lamina.core.errors import LaminaError, ValidationError
from lamina.inference import base, catalogue
from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.hub import folder_models
from lamina.inference.memory import (
    InferenceCache,
    RememberedImages,
    RememberedLabels,
    RememberedTextImages,
    RememberedTexts,
)
from lamina.inference.packages import PackageFile
from lamina.inference.queries import RememberedQueries
from lamina.inference.settings import ModelSettings

__all__ = ["ModelSettings", "Models"]

ASKED_SECONDS: Final = 10.0
"""How long an endpoint's answer stands for whether its model can be used."""


@cache
def built_in() -> tuple[Sequence[Entry], dict[Capability, str]]:
    """Every entry of the catalogue, and the default of each capability that has one."""
    entries: list[Entry] = []
    defaults: dict[Capability, str] = {}
    for module in sorted(pkgutil.iter_modules(catalogue.__path__), key=lambda one: one.name):
        found = import_module(f"{catalogue.__name__}.{module.name}")
        entries += found.MODELS
        defaults |= found.DEFAULTS
    return entries, defaults


class Models:
    """The registry of one process. Cheap to make; safe to use from several threads.

    A worker process makes its own from the same `ModelSettings`. Every accessor takes the name of a
    model, or none for the capability's default; it raises `ValidationError` for an unknown name,
    `MissingExtraError` and `UnavailableError` when the model cannot be loaded.

        models = Models(ModelSettings(models_dir=Path("models")))
        models.text_embedder().embed_queries(["boundary layer"])   # shape (1, 384)
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._loaded: dict[str, object] = {}
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._cache = InferenceCache(settings.cache_bytes)
        self._asked: dict[str, tuple[float, tuple[bool, str]]] = {}

    @property
    def default_text_model(self) -> str:
        """Name of the text model that is used where none is named."""
        return self.default("embed_text")

    def default(self, capability: Capability) -> str:
        """Name of the model that serves a capability: the one that was chosen, or the catalogue's.

        Raises `ValidationError` for a capability that needs a choice and has none.
        """
        name = self.settings.choice(capability) or built_in()[1].get(capability)
        if name is None:
            lacking = " ".join(self.available(card.name)[1] for card in self.cards(capability))
            raise ValidationError(
                f"There is no model for {capability.replace('_', ' ')}. "
                f"{lacking or 'None comes with this version; LAMINA_MODELS names another.'}",
                code="no_model",
            )
        return name

    def cards(self, capability: Capability | None = None) -> list[ModelCard]:
        """Every model, of one capability or of all: those that can be used and those that lack something."""
        return [
            getattr(self._loaded.get(entry.card.name), "card", entry.card)
            for entry in self._entries.values()
            if capability in {None, entry.card.capability}
        ]

    def entry(self, name: str, capability: Capability | None = None) -> Entry:
        """The model's entry; `ValidationError` names those there are."""
        found = self._entries.get(name)
        if found is None or capability not in {None, found.card.capability}:
            raise self._unknown(name, capability)
        return found

    def card(self, name: str, capability: Capability | None = None) -> ModelCard:
        """The model of that name, and of that capability; `ValidationError` names those there are.

        The entry `remote` asks its endpoint for the vectors' length.
        """
        entry = self.entry(name, capability)
        if entry.card.capability == "embed_text" and not entry.card.dimension:
            return self.text_embedder(name).card
        return cast("ModelCard", getattr(self._loaded.get(name), "card", entry.card))

    def files(self, name: str) -> list[PackageFile]:
        """The files of packages that a model needs, with those of the models that it is made of."""
        entry = self.entry(name)
        parts = entry.parts if isinstance(entry, PackagedModel) else ()
        return list(dict.fromkeys([*entry.files, *(file for part in parts for file in self.files(part))]))

    def knows(self, name: str) -> bool:
        """Whether there is a model of that name."""
        return name in self._entries

    def available(self, name: str) -> tuple[bool, str]:
        """Whether a model can be used, and in words what it lacks or where it is.

        Endpoints are asked again after `ASKED_SECONDS` only.
        """
        if (known := self._asked.get(name)) and known[0] > monotonic():
            return known[1]
        try:
            state = (True, self.entry(name).check(self))
        except LaminaError as error:
            state = (False, error.message)
        if name in self._entries and self._entries[name].card.source == "remote":
            self._asked[name] = (monotonic() + ASKED_SECONDS, state)
        return state

    def text_embedder(self, name: str | None = None) -> base.TextEmbedder:
        """Texts to vectors; the vectors of the latest queries are remembered."""
        return cast("base.TextEmbedder", self._get("embed_text", name))

    def token_embedder(self, name: str | None = None) -> base.TokenEmbedder:
        """Texts to a vector for each token."""
        return cast("base.TokenEmbedder", self._get("embed_tokens", name))

    def image_token_embedder(self, name: str | None = None) -> base.ImageTokenEmbedder:
        """Pictures to vectors of what is in them, compared with each token of a text."""
        return cast("base.ImageTokenEmbedder", self._get("embed_image_tokens", name))

    def image_embedder(self, name: str | None = None) -> base.ImageEmbedder:
        """Pictures to vectors that only pictures are compared with."""
        return cast("base.ImageEmbedder", self._get("embed_image", name))

    def text_image_embedder(self, name: str | None = None) -> base.TextImageEmbedder:
        """Pictures to vectors that texts find too."""
        return cast("base.TextImageEmbedder", self._get("embed_text_for_image", name))

    def audio_embedder(self, name: str | None = None) -> base.AudioEmbedder:
        """Sound to vectors."""
        return cast("base.AudioEmbedder", self._get("embed_audio", name))

    def speaker_embedder(self, name: str | None = None) -> base.SpeakerEmbedder:
        """Speech to vectors of who speaks."""
        return cast("base.SpeakerEmbedder", self._get("embed_speaker", name))

    def face_embedder(self, name: str | None = None) -> base.FaceEmbedder:
        """Faces to vectors of whose they are."""
        return cast("base.FaceEmbedder", self._get("embed_face", name))

    def transcriber(self, name: str | None = None) -> base.Transcriber:
        """Speech to words."""
        return cast("base.Transcriber", self._get("transcribe", name))

    def speech_detector(self, name: str | None = None) -> base.SpeechDetector:
        """Where somebody speaks."""
        return cast("base.SpeechDetector", self._get("detect_speech", name))

    def text_reader(self, name: str | None = None) -> base.TextReader:
        """Pictures to the words in them."""
        return cast("base.TextReader", self._get("read_text", name))

    def face_finder(self, name: str | None = None) -> base.FaceFinder:
        """Where faces are."""
        return cast("base.FaceFinder", self._get("find_faces", name))

    def image_labeler(self, name: str | None = None) -> base.ImageLabeler:
        """What pictures show."""
        return cast("base.ImageLabeler", self._get("label_image", name))

    def reranker(self, name: str | None = None) -> base.Reranker:
        """How well texts answer a query."""
        return cast("base.Reranker", self._get("rerank", name))

    def chat(self, name: str | None = None) -> base.Chat:
        """A language model."""
        return cast("base.Chat", self._get("chat", name))

    def _get(self, capability: Capability, name: str | None) -> object:
        name = name or self.default(capability)
        if name not in self._loaded or capability != self.entry(name).card.capability:
            entry = self.entry(name, capability)
            with self._locks[name]:
                if name not in self._loaded:
                    self._loaded[name] = self._remembering(entry, entry.load(self))
        return self._loaded[name]

    def _remembering(self, entry: Entry, loaded: object) -> object:
        """The model with a memory for what it makes, where its making takes longer than remembering."""
        capability = entry.card.capability
        if capability == "embed_text":
            texts = RememberedQueries(cast("base.TextEmbedder", loaded))
            return RememberedTexts(texts, self._cache) if self._cache.size else texts
        if not self._cache.size or (isinstance(entry, PackagedModel) and entry.parts):
            return loaded  # what it is made of remembers
        if capability == "embed_image":
            return RememberedImages(cast("base.ImageEmbedder", loaded), self._cache)
        if capability == "embed_text_for_image":
            return RememberedTextImages(cast("base.TextImageEmbedder", loaded), self._cache)
        if capability == "label_image":
            return RememberedLabels(cast("base.ImageLabeler", loaded), self._cache)
        return loaded

    def _unknown(self, name: str, capability: Capability | None) -> ValidationError:
        known = ", ".join(card.name for card in self.cards(capability))
        kind = "Text model" if capability == "embed_text" else "Model"
        return ValidationError(
            f"{kind} '{name}' is not one of this installation; there are {known}.",
            field="embedding_model",
            code="unknown_model",
        )

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        """Entries by name. A model of the models folder comes before one of the same name."""
        own = {model.card.name: model for model in folder_models(self.settings.models_dir)}
        rest = {entry.card.name: entry for entry in built_in()[0] if entry.card.name not in own}
        return {**own, **rest}
