"""Text embedding with an ONNX encoder and its tokenizer, on the CPU."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lamina.core.errors import UnavailableError
from lamina.inference.base import ModelCard
from lamina.inference.sessions import open_session

if TYPE_CHECKING:
    from lamina.inference.registry import Models

Pooling = Literal["mean", "cls"]

MAX_BATCH_TOKENS = 384
"""Tokens of one forward pass, padding counted. Larger ones are slower, because their activations
leave the cache, and take more memory: see `bench/embedding.py --batches`."""


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """Where an encoder lies, and how its token vectors become one vector of a text."""

    model: Path
    tokenizer: Path
    pooling: Pooling = "mean"
    query_prefix: str = ""
    document_prefix: str = ""


def load(card: ModelCard, paths: Mapping[str, Path], models: "Models") -> "OnnxTextEmbedder":
    """A packaged encoder that takes the mean of its tokens' vectors."""
    files = EncoderFiles(model=paths["model"], tokenizer=paths["tokenizer"], pooling="mean")
    return OnnxTextEmbedder(card, files, threads=models.settings.threads)


class OnnxEncoder:
    """A BERT-like encoder: inputs `input_ids`, `attention_mask` and, if it has them, `token_type_ids`.

    Its first output is a vector for each token, shape (n, t, dimension). Texts are cut at the card's
    `max_tokens`. Raises `UnavailableError` when the files cannot be loaded.
    """

    def __init__(self, card: ModelCard, model: Path, tokenizer: Path, *, threads: int = 1) -> None:
        try:
            self.tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library has no common error of its own
            raise UnavailableError(f"Model '{card.name}' cannot be loaded: {error}") from error
        self._session = open_session(model, threads, name=card.name)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(card.max_tokens)
        self._inputs = {each.name for each in self._session.get_inputs()}
        output = self._session.get_outputs()[0]
        self._output = output.name
        if output.shape[-1] != card.dimension:
            raise UnavailableError(
                f"Model '{card.name}' has {card.dimension} dimensions, {model} {output.shape[-1]}."
            )

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's tokens, the special ones among them."""
        # encode() for one text: encode_batch() would wake a pool of threads for it
        encoded = [self.tokenizer.encode(texts[0])] if len(texts) == 1 else self.tokenizer.encode_batch(texts)
        return [each.ids for each in encoded]

    def forward(
        self, tokens: Sequence[Sequence[int]], attended: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of texts' tokens, shape (n, longest, dimension); those past a text's end mean nothing.

        `attended` is how many of each text's tokens the others see; left out, all.
        """
        lengths = np.array([len(ids) for ids in tokens])
        columns = np.arange(lengths.max())[None, :]
        ids = np.zeros((len(tokens), lengths.max()), np.int64)
        ids[columns < lengths[:, None]] = np.concatenate(tokens)
        seen = lengths if attended is None else np.asarray(attended)
        given = {
            "input_ids": ids,
            "attention_mask": (columns < seen[:, None]).astype(np.int64),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden: NDArray[np.float32] = self._session.run(
            [self._output], {name: value for name, value in given.items() if name in self._inputs}
        )[0]
        return hidden


class OnnxTextEmbedder:
    """An encoder whose token vectors become one vector of a text.

    A text's vector does not depend on the texts embedded beside it, up to rounding. Raises
    `UnavailableError` when the files cannot be loaded.
    """

    def __init__(self, card: ModelCard, files: EncoderFiles, *, threads: int = 1) -> None:
        self.card = card
        self._files = files
        self._encoder = OnnxEncoder(card, files.model, files.tokenizer, threads=threads)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of documents, shape (n, dimension), L2-normalised where the distance is cosine."""
        return self._embed([self._files.document_prefix + text for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, with the model's instruction before them."""
        return self._embed([self._files.query_prefix + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.card.dimension), np.float32)
        tokens = self._encoder.tokens(texts)
        for batch in batches_by_length([len(ids) for ids in tokens]):
            vectors[batch] = self._pooled([tokens[position] for position in batch])
        if self.card.distance == "cosine":
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _pooled(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        hidden = self._encoder.forward(tokens)
        if self._files.pooling == "cls":
            return hidden[:, 0]
        lengths = np.array([len(ids) for ids in tokens])
        mask = np.arange(lengths.max())[None, :] < lengths[:, None]
        weights = (mask / lengths[:, None]).astype(np.float32)
        pooled: NDArray[np.float32] = np.matmul(weights[:, None, :], hidden)[:, 0]
        return pooled


def batches_by_length(lengths: Sequence[int], budget: int = MAX_BATCH_TOKENS) -> Iterator[list[int]]:
    """Positions in batches of texts of like length, each within a budget of padded tokens."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[position] > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
