"""Models of a hub with a tower for pictures and one for texts, apart from what it takes to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lamina.inference.base import ModelCard
from lamina.inference.hub import TOKENIZER_FILE, downloaded, to_be_downloaded
from lamina.inference.packages import PackageFile

if TYPE_CHECKING:
    from lamina.inference.registry import Models

VISION_FILE: Final = "onnx/vision_model.onnx"
TEXT_FILE: Final = "onnx/text_model.onnx"
_FILES: Final = (VISION_FILE, TEXT_FILE, TOKENIZER_FILE)


@dataclass(frozen=True, slots=True)
class TwoTowerModel:
    """A model in the layout of `Xenova/siglip-base-patch16-224`: two ONNX files and a `tokenizer.json`.

    They lie in `<models_dir>/<name>/`, or are downloaded from a hub's `repository`. Pictures are
    squeezed into `size` × `size`, with values from -1 to 1; texts are padded to the card's
    `max_tokens` with the token `padding`.
    """

    card: ModelCard
    repository: str
    size: int
    padding: int = 1
    files: Sequence[PackageFile] = ()

    def folder(self, models_dir: Path) -> Path | None:
        """The model's own folder, where there is one."""
        folder = models_dir / self.card.name
        return folder if all((folder / name).is_file() for name in _FILES) else None

    def check(self, models: Models) -> str:
        """Where the files are or will come from; `MissingExtraError` when they cannot come."""
        models_dir = models.settings.models_dir
        folder = self.folder(models_dir)
        if folder is not None:
            return f"in {folder}"
        return to_be_downloaded(self.card, self.repository, models_dir)

    def load(self, models: Models) -> object:
        """The embedder; downloads its files once where they are not there yet."""
        from lamina.inference.two_towers import TwoTowerEmbedder

        models_dir = models.settings.models_dir
        folder = self.folder(models_dir) or downloaded(
            self.card, self.repository, [*_FILES, f"{VISION_FILE}_data", f"{TEXT_FILE}_data"], models_dir
        )
        return TwoTowerEmbedder(self, folder, threads=models.settings.threads)
