"""Text and token models that a hub or the models folder holds, as `tokenizer.json` and an ONNX encoder.

A folder `<models_dir>/<name>/` is looked at first, so that a machine without a network can be
given the files of a hub model by hand. A folder with a `model.json` is a registry entry of its own:

    {"dimension": 384, "max_tokens": 512, "pooling": "mean", "query_prefix": "query: ",
     "licence": "MIT", "origin": "https://…", "description": "…"}

With `"capability": "embed_tokens"` it makes a vector for each token, as ColBERT does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field
from pydantic import ValidationError as PydanticError

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.core.models import Model
from lamina.inference.base import ModelCard
from lamina.inference.onnx_text import EncoderFiles, OnnxEncoder, OnnxTextEmbedder, Pooling
from lamina.inference.onnx_tokens import PLAIN, Interaction, OnnxTokenEmbedder
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from lamina.inference.registry import Models

log = logging.getLogger(__name__)

MODEL_FILES: Final = ("onnx/model.onnx", "model.onnx")
TOKENIZER_FILE: Final = "tokenizer.json"
DESCRIPTION_FILE: Final = "model.json"


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A model whose files lie in one folder, or are downloaded from a hub's `repository`.

    Of `model_files`, paths within it, the first that is there is the encoder.
    """

    card: ModelCard
    repository: str | None = None
    pooling: Pooling = "mean"
    query_prefix: str = ""
    document_prefix: str = ""
    interaction: Interaction = PLAIN
    model_files: Sequence[str] = MODEL_FILES
    files: Sequence[PackageFile] = ()

    def folder(self, models_dir: Path) -> Path | None:
        """The model's own folder, where there is one."""
        folder = models_dir / self.card.name
        return folder if (folder / TOKENIZER_FILE).is_file() else None

    def load(self, models: Models) -> OnnxTextEmbedder | OnnxTokenEmbedder:
        """The embedder; downloads its files once where they are not there yet."""
        models_dir = models.settings.models_dir
        folder = self.folder(models_dir) or self._download(models_dir)
        model = next((folder / name for name in self.model_files if (folder / name).is_file()), None)
        if model is None:
            names = " or ".join(self.model_files)
            raise UnavailableError(f"Model '{self.card.name}': {folder} holds no {names}.")
        tokenizer, threads = folder / TOKENIZER_FILE, models.settings.threads
        if self.card.capability == "embed_tokens":
            encoder = OnnxEncoder(self.card, model, tokenizer, threads=threads)
            return OnnxTokenEmbedder(self.card, encoder, self.interaction)
        files = EncoderFiles(
            model=model,
            tokenizer=tokenizer,
            pooling=self.pooling,
            query_prefix=self.query_prefix,
            document_prefix=self.document_prefix,
        )
        return OnnxTextEmbedder(self.card, files, threads=threads)

    def check(self, models: Models) -> str:
        """Where the files are or will come from; `MissingExtraError` when they cannot come."""
        models_dir = models.settings.models_dir
        folder = self.folder(models_dir)
        if folder is not None:
            return f"in {folder}"
        if self.repository is None:
            raise UnavailableError(f"{models_dir / self.card.name} holds no {TOKENIZER_FILE}.")
        return to_be_downloaded(self.card, self.repository, models_dir)

    def _download(self, models_dir: Path) -> Path:
        if self.repository is None:
            raise UnavailableError(f"Model '{self.card.name}': {models_dir / self.card.name} is gone.")
        wanted = [TOKENIZER_FILE, *self.model_files, "onnx/model.onnx_data"]
        return downloaded(self.card, self.repository, wanted, models_dir)


def to_be_downloaded(card: ModelCard, repository: str, models_dir: Path) -> str:
    """Where a hub model's files are or will come from; `MissingExtraError` when they cannot come."""
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError(f"Downloading the model '{card.name}'", "hub")
    kept = _kept(card, models_dir)
    return f"downloaded to {kept}" if kept.is_dir() else f"will be downloaded from {repository}"


def downloaded(card: ModelCard, repository: str, wanted: Sequence[str], models_dir: Path) -> Path:
    """The folder that holds the wanted files of a repository, once they are downloaded.

    Raises `UnavailableError` when they cannot be had, `MissingExtraError` without the hub's package.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtraError(f"Downloading the model '{card.name}'", "hub") from None
    try:
        # Into a folder and not the hub's cache, whose links lead to files beside which ONNX Runtime does not
        # look for a model's data.
        folder = snapshot_download(repository, local_dir=_kept(card, models_dir), allow_patterns=list(wanted))
    except (OSError, ValueError) as error:  # the hub's own errors and those of connections are OSErrors
        raise UnavailableError(
            f"Model '{card.name}' could not be downloaded from {repository}: {error}. "
            f"Its files can also be put into {models_dir / card.name}."
        ) from error
    return Path(folder)


def _kept(card: ModelCard, models_dir: Path) -> Path:
    return models_dir / "hub" / card.name


HUB_MODELS: Final = (
    FolderModel(
        card=ModelCard(
            name="multilingual_e5_large_instruct_v1",
            capability="embed_text",
            dimension=1024,
            source="hub",
            licence="MIT",
            origin="intfloat/multilingual-e5-large-instruct",
            description="Large encoder for some 100 languages; the contract's usual text model.",
            max_tokens=512,
            size_bytes=2_240_000_000,
        ),
        repository="intfloat/multilingual-e5-large-instruct",
        pooling="mean",
        query_prefix=(
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
        ),
    ),
    FolderModel(
        card=ModelCard(
            name="baai_bge_small_en_v1",
            capability="embed_text",
            dimension=384,
            source="hub",
            licence="MIT",
            origin="BAAI/bge-small-en-v1.5",
            description="Small English encoder made for retrieval.",
            max_tokens=512,
            size_bytes=133_000_000,
        ),
        repository="BAAI/bge-small-en-v1.5",
        pooling="cls",
        query_prefix="Represent this sentence for searching relevant passages: ",
    ),
    FolderModel(
        card=ModelCard(
            name="baai_bge_m3_v1",
            capability="embed_text",
            dimension=1024,
            source="hub",
            licence="MIT",
            origin="BAAI/bge-m3",
            description="Large encoder for some 100 languages and long texts.",
            max_tokens=8192,
            size_bytes=2_270_000_000,
        ),
        repository="BAAI/bge-m3",
        pooling="cls",
    ),
)


class FolderDescription(Model):
    """What `model.json` says of a model in the models folder."""

    capability: Literal["embed_text", "embed_tokens"] = "embed_text"
    dimension: int = Field(ge=1)
    max_tokens: int = Field(default=512, ge=1)
    pooling: Pooling = "mean"
    distance: Literal["cosine", "dot", "euclidean"] = "cosine"
    query_prefix: str = ""
    document_prefix: str = ""
    query_marker: int | None = Field(default=None, ge=0)
    document_marker: int | None = Field(default=None, ge=0)
    query_length: int | None = Field(default=None, ge=3, le=512)
    licence: str = "unknown"
    origin: str = "the models folder"
    description: str = "A model of this installation."


def folder_models(models_dir: Path) -> list[FolderModel]:
    """The models that describe themselves in the models folder; a bad description is logged."""
    found = []
    for path in sorted(models_dir.glob(f"*/{DESCRIPTION_FILE}")):
        try:
            found.append(_describe(path))
        except PydanticError as error:  # must not take the other models away
            log.error("%s does not describe a model: %s", path, error)
    return found


def _describe(path: Path) -> FolderModel:
    said = FolderDescription.model_validate_json(path.read_bytes())
    card = ModelCard(
        name=path.parent.name,
        capability=said.capability,
        dimension=said.dimension,
        source="folder",
        licence=said.licence,
        origin=said.origin,
        description=said.description,
        distance=said.distance,
        max_tokens=said.max_tokens,
    )
    return FolderModel(
        card=card,
        pooling=said.pooling,
        query_prefix=said.query_prefix,
        document_prefix=said.document_prefix,
        interaction=Interaction(said.query_marker, said.document_marker, said.query_length),
    )
