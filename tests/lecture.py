"""A lecture made while the tests run: rendered slides, and sentences of a novel read aloud to them."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lamina.media.audio import read_sound
from tests.films import film, font
from tests.media import located
from tests.media.sound import AUSTEN

RATE, FPS = 16_000, 5

CODE = ["def binary_search(items, wanted):", "low, high = 0, len(items)", "while low < high:"]
SLIDES = [
    ["Photosynthesis", "Leaves turn light into sugar", "Chlorophyll absorbs red and blue"],
    ["Binary search in Python", *CODE],
    ["The French Revolution", "The Bastille falls in July 1789", "The king is tried three years later"],
]
SPOKEN = [list(AUSTEN)[at] for at in (0, 2, 3)]
"""What is said to each slide."""


def slide(lines: list[str]) -> NDArray[np.uint8]:
    """A slide of 960 × 540 pixels: a title and lines under it."""
    picture = Image.new("RGB", (960, 540), "white")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((60, 50 + 90 * number + 40 * (number > 0)), line, "black", font(56 if number == 0 else 38))
    return np.asarray(picture, np.uint8)


class Lecture:
    """Each slide for as long as somebody speaks to it; `starts` are when they are first shown."""

    def __init__(self) -> None:
        sounds = [read_sound(BytesIO(located(AUSTEN[words]).read_bytes()), RATE) for words in SPOKEN]
        padded = [np.concatenate([one, np.zeros(-len(one) % (RATE // FPS), np.float32)]) for one in sounds]
        counts = [len(one) * FPS // RATE for one in padded]
        self.starts = [sum(counts[:at]) / FPS for at in range(len(counts))]
        self.seconds = sum(counts) / FPS
        pictures = [slide(lines) for lines in SLIDES]
        frames = (picture for picture, count in zip(pictures, counts, strict=True) for _ in range(count))
        self.data = film(frames, fps=FPS, sound=(np.concatenate(padded), RATE))
