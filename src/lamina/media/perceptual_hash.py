"""Hashes that stay near when a picture is scaled, recompressed or brightened."""

from typing import Final

import numpy as np
from PIL import Image

from lamina.inference.base import Image as Pixels

_SIDE: Final = 32
_LOW: Final = 8

_FREQUENCIES: Final = np.cos(
    np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_SIDE) + 1)[None, :] / (2 * _SIDE)
)
"""The lowest rows of the DCT-II, not normalised; shape (8, 32)."""


def perceptual_hash(pixels: Pixels) -> str:
    """64 bits as 16 hexadecimal digits.

    The DCT hash of Zauner ("Implementation and Benchmarking of Perceptual Image Hash Functions",
    2010, 3.2.1) in the form of the library ImageHash: 32 × 32 greys, the 8 × 8 lowest
    frequencies with the mean among them, and a bit for each that is above their median, row by row.
    """
    grey = Image.fromarray(pixels).convert("L")
    grey = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    low = _FREQUENCIES @ np.asarray(grey, np.float64) @ _FREQUENCIES.T
    low = low.round(6)  # so that rounding makes no bits where a frequency is missing
    bits = (low > np.median(low)).flatten()
    return f"{int.from_bytes(np.packbits(bits).tobytes()):016x}"


def differing_bits(one: str, other: str) -> int:
    """In how many of their 64 bits two hashes differ; up to about 10 two pictures are likely the same."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
