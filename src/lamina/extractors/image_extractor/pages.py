"""The pages of a PDF as pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lamina.core.errors import ExtractionError
from lamina.inference.base import Image
from lamina.media.pdf import Page, open_pdf

MAX_PAGES: Final = 500
"""Pages of one file that become documents; a file that has more fails after these."""

MAX_WORDS: Final = 20_000
"""Characters of a page's text that it is found by."""


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page as it is printed. `number` begins at 1; `width` and `height` are in points, 1/72 inch."""

    pixels: Image
    number: int
    width: float
    height: float
    words: str


def render_pages(content: bytes | Path, *, side: int, name: str) -> Iterator[RenderedPage | ExtractionError]:
    """Each page, its longer side `side` pixels, rendered when it is asked for; its error if it is a bad one.

    Raises `ExtractionError` for what `lamina.media.pdf` refuses, and after `MAX_PAGES` where there are more.
    """

    def rendered(page: Page) -> RenderedPage:
        return RenderedPage(
            page.render(72 * side / max(page.width, page.height)),
            page.number,
            round(page.width, 2),
            round(page.height, 2),
            page.text()[:MAX_WORDS].strip(),
        )

    with open_pdf(content, name) as pdf:
        yield from pdf.each_page(rendered, MAX_PAGES)
        if pdf.page_count > MAX_PAGES:
            raise ExtractionError(
                f"Input '{name}' has {pdf.page_count} pages; the first {MAX_PAGES} were taken.",
                code="too_many_pages",
                input=name,
            )
