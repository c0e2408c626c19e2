"""The colours that a picture is mostly made of."""

from dataclasses import dataclass
from typing import Final, cast

from PIL import Image

from lamina.inference.base import Image as Pixels

_SIDE: Final = 32
"""About the longest side of the copy whose pixels are counted."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour as `#rrggbb` in sRGB, and the share of the picture that it stands for (0 to 1)."""

    hex: str
    share: float


def dominant_colours(pixels: Pixels, *, count: int = 5) -> list[Colour]:
    """At most `count` colours, the largest share first; the shares sum to 1.

    Median cut (Heckbert, "Color image quantization for frame buffer display", 1982).
    """
    small = Image.fromarray(pixels).reduce(max(1, max(pixels.shape) // _SIDE))
    cut = small.quantize(count, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette = cut.getpalette() or []
    total = small.width * small.height
    shares: dict[str, int] = {}
    for number, index in cast("list[tuple[int, int]]", cut.getcolors() or []):
        written = "#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3])
        shares[written] = shares.get(written, 0) + number
    ordered = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    return [Colour(written, round(number / total, 4)) for written, number in ordered]
