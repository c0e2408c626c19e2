"""Page models of a hub, apart from what it takes to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lamina.core.errors import MissingExtraError
from lamina.inference.base import ModelCard
from lamina.inference.hub import TOKENIZER_FILE, downloaded, to_be_downloaded
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from lamina.inference.registry import Models

_FORM_FILES: Final = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "preprocessor_config.json",
)


@dataclass(frozen=True, slots=True)
class PageModel:
    """A page model that `fastembed` knows by its `repository`: an ONNX file and what goes with it.

    Its files lie in `<models_dir>/<name>/`, or are downloaded. `further` are those besides the ONNX file, the
    tokenizer and the forms of pictures.
    """

    card: ModelCard
    repository: str
    model_file: str
    further: Sequence[str] = ()
    files: Sequence[PackageFile] = ()

    def folder(self, models_dir: Path) -> Path | None:
        """The model's own folder, where there is one."""
        folder = models_dir / self.card.name
        return folder if (folder / self.model_file).is_file() else None

    def check(self, models: Models) -> str:
        """Where the files are or will come from; `MissingExtraError` when they cannot come or be used."""
        if find_spec("fastembed") is None:
            raise MissingExtraError(f"The model '{self.card.name}'", "hub")
        models_dir = models.settings.models_dir
        folder = self.folder(models_dir)
        if folder is not None:
            return f"in {folder}"
        return to_be_downloaded(self.card, self.repository, models_dir)

    def load(self, models: Models) -> object:
        """The embedder; downloads its files once where they are not there yet."""
        from lamina.inference.page_models import PageEmbedder

        models_dir = models.settings.models_dir
        folder = self.folder(models_dir) or downloaded(
            self.card, self.repository, [*_FORM_FILES, self.model_file, *self.further], models_dir
        )
        return PageEmbedder(self, folder, threads=models.settings.threads)
