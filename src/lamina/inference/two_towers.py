"""A tower for pictures and one for texts, trained to meet in one space (SigLIP, CLIP)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lamina.core.errors import UnavailableError
from lamina.inference.base import Image, ModelCard, Vectors
from lamina.inference.hub import TOKENIZER_FILE
from lamina.inference.onnx_images import BATCH, Form, normalised
from lamina.inference.sessions import open_session
from lamina.inference.two_tower_entries import TEXT_FILE, VISION_FILE, TwoTowerModel

_HALF: Final = (0.5, 0.5, 0.5)
_VECTORS: Final = ("pooler_output", "image_embeds", "text_embeds")
"""Names of the output that is a picture's or a text's vector, in the exports that are usual."""


class TwoTowerEmbedder:
    """A `TextImageEmbedder` of two ONNX files. Each tower is loaded when it is first needed.

    The picture tower takes `pixel_values`, shape (n, 3, size, size), the text tower `input_ids` and,
    if it has it, `attention_mask`, shape (n, max_tokens).
    """

    def __init__(self, model: TwoTowerModel, folder: Path, *, threads: int = 1) -> None:
        self.card = model.card
        self._folder = folder
        self._threads = threads
        self._form = Form(model.size, mean=_HALF, deviation=_HALF)
        self._loading = Lock()
        self._towers: dict[str, _Tower] = {}
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:  # the library has no common error of its own
            raise UnavailableError(f"Model '{self.card.name}' cannot be loaded: {error}") from error
        self._tokenizer.enable_truncation(self.card.max_tokens)
        self._tokenizer.enable_padding(length=self.card.max_tokens, pad_id=model.padding)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Vectors of pictures, shape (n, dimension), L2-normalised."""
        vectors = np.zeros((len(images), self.card.dimension), np.float32)
        for start in range(0, len(images), BATCH):
            batch = self._form.take(images[start : start + BATCH])
            vectors[start : start + BATCH] = self._tower(VISION_FILE).run({"pixel_values": batch})
        return normalised(vectors)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts as vectors of the pictures' space, shape (n, dimension)."""
        if not texts:
            return np.zeros((0, self.card.dimension), np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        given = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
        }
        return normalised(self._tower(TEXT_FILE).run(given))

    def _tower(self, file: str) -> "_Tower":
        with self._loading:
            if file not in self._towers:
                session = open_session(self._folder / file, self._threads, name=self.card.name)
                self._towers[file] = _Tower(self.card, session)
            return self._towers[file]


class _Tower:
    """One of the ONNX files."""

    def __init__(self, card: ModelCard, session: ort.InferenceSession) -> None:
        self._card = card
        self._session = session
        self._inputs = {each.name for each in session.get_inputs()}
        outputs = [each.name for each in session.get_outputs()]
        self._output = next((name for name in _VECTORS if name in outputs), outputs[0])

    def run(self, given: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        """The vectors of a batch, shape (n, dimension)."""
        taken = {name: value for name, value in given.items() if name in self._inputs}
        made: NDArray[np.float32] = self._session.run([self._output], taken)[0]
        if made.ndim != 2 or made.shape[1] != self._card.dimension:
            raise UnavailableError(
                f"Model '{self._card.name}' has {self._card.dimension} dimensions; "
                f"its file answers vectors of shape {made.shape}."
            )
        return made
