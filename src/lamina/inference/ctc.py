"""Text out of a recogniser's probabilities (connectionist temporal classification, Graves et al., 2006)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Alphabet:
    """The characters of a recogniser, in the order of its classes; class 0 is CTC's blank."""

    def __init__(self, characters: Sequence[str]) -> None:
        self._characters = ["", *characters]

    def decode(self, probabilities: NDArray[np.float32]) -> tuple[str, float]:
        """The best path's text, from shape (steps, classes), and the mean probability of its characters."""
        classes = probabilities.argmax(1)
        kept = classes != 0
        kept[1:] &= classes[1:] != classes[:-1]
        if not kept.any():
            return "", 0.0
        text = "".join(self._characters[at] for at in classes[kept] if at < len(self._characters))
        return text, float(probabilities.max(1)[kept].mean())
