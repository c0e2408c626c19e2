"""What a few frames of a segment show: their vector, their labels, the text in them, and the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamina.inference.base import Image, Label, TextLine, Vectors
from lamina.inference.conse import ConseEmbedder
from lamina.inference.registry import Models

MOST_LABELS: Final = 5
LEAST_PROBABILITY: Final = 0.1
"""Of a label that a document gets."""

LEAST_CONFIDENCE: Final = 0.6
LEAST_LETTERS: Final = 2
"""Of a line of text that is kept; less is mostly a pattern that looks like a letter."""

_SAME_LINE: Final = 0.85
"""Share of letters in common from which two readings are of one line (Ratcliff & Obershelp, 1988)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a segment shows. `key` is the place of the frame that stands for all of them."""

    key: int
    vector: NDArray[np.float32] | None
    labels: Sequence[Label]
    text: str


def look(groups: Sequence[Sequence[Image]], models: Models, *, embed: bool, read: bool) -> list[Seen]:
    """Look at the frames of several segments at once; each has at least one."""
    texts = [_text(group, models) if read else "" for group in groups]
    if not embed:
        return [Seen(len(group) // 2, None, (), text) for group, text in zip(groups, texts, strict=True)]
    vectors, probabilities, names = _embedded([image for group in groups for image in group], models)
    found = []
    at = 0
    for group, text in zip(groups, texts, strict=True):
        own = slice(at, at + len(group))
        at += len(group)
        mean = vectors[own].mean(axis=0)
        labels = likely(probabilities[own].mean(axis=0), names) if probabilities is not None else []
        vector = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
        found.append(Seen(int(np.argmax(vectors[own] @ mean)), vector, labels, text))
    return found


def likely(probabilities: NDArray[np.float32], names: Sequence[str]) -> list[Label]:
    """The labels worth telling, the likeliest first."""
    first = np.argsort(-probabilities, kind="stable")[:MOST_LABELS]
    return [
        Label(names[label], round(float(probabilities[label]), 4))
        for label in first
        if probabilities[label] >= LEAST_PROBABILITY
    ]


def _embedded(
    images: Sequence[Image], models: Models
) -> tuple[Vectors, NDArray[np.float32] | None, Sequence[str]]:
    """Vectors that words find and, where those are made of labels, the labels' probabilities and names."""
    embedder = models.text_image_embedder()
    if not isinstance(embedder, ConseEmbedder):
        return embedder.embed_images(images), None, ()
    probabilities = embedder.labeler.probabilities(images)
    return embedder.embed_probabilities(probabilities), probabilities, embedder.labeler.names


def _text(images: Sequence[Image], models: Models) -> str:
    """The lines of text in the frames, each once, in the order in which they are seen."""
    reader = models.text_reader()
    lines: dict[str, TextLine] = {}
    for image in images:
        for line in reader.read(image):
            words = " ".join(line.text.split())
            letters = "".join(letter for letter in words.casefold() if letter.isalnum())
            if len(letters) < LEAST_LETTERS or line.confidence < LEAST_CONFIDENCE:
                continue
            # A line of one frame is read a little differently in the next.
            alike = next(iter(get_close_matches(letters, lines, n=1, cutoff=_SAME_LINE)), letters)
            known = lines.setdefault(alike, line)
            if line.confidence > known.confidence:
                lines[alike] = line
    return "\n".join(" ".join(line.text.split()) for line in lines.values())
