"""Pictures of blocks and of their pages."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image as Pillow

from lamina.extractors.base import PartBlob
from lamina.extractors.document_graph_extractor.parameters import DocumentGraphExtractorParameters
from lamina.inference.base import Image
from lamina.media.images import thumbnail
from lamina.media.pdf_words import Box

_MARGIN: Final = 2.0
"""Points around a block."""


def thumbnails(
    page: Image, boxes: Sequence[Box], size: tuple[float, float], given: DocumentGraphExtractorParameters
) -> list[list[PartBlob]]:
    """For each block its picture and its page's, as `thumbnail_mode` says. Boxes and size share a unit."""
    scale = page.shape[1] / size[0]
    whole = [_blob("page_thumbnail", thumbnail(page))] if given.thumbnail_mode != "segment" else []
    return [
        [
            *(
                [_blob("thumbnail", thumbnail(cut(page, box, scale)))]
                if given.thumbnail_mode != "full_page"
                else []
            ),
            *whole,
        ]
        for box in boxes
    ]


def cut(page: Image, box: Box, scale: float) -> Image:
    """A box of the page, with a little around it. `scale` brings its unit to pixels."""
    height, width = page.shape[:2]
    left, top = (max(int((edge - _MARGIN) * scale), 0) for edge in box[:2])
    right, bottom = (int(np.ceil((edge + _MARGIN) * scale)) for edge in box[2:])
    left, top = min(left, width - 1), min(top, height - 1)
    return page[top : max(min(bottom, height), top + 1), left : max(min(right, width), left + 1)]


def fitted(page: Image, longest: int) -> Image:
    """The page in at most that many pixels along its longer side."""
    if max(page.shape[:2]) <= longest:
        return page
    small = Pillow.fromarray(page)
    small.thumbnail((longest, longest), Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(small, np.uint8)


def _blob(field: str, data: bytes) -> PartBlob:
    return PartBlob(field, data, "image/jpeg", f"{field}.jpg", role="thumbnail")
