"""Pages: how well OCR reads, and how fast pages become blocks.

    python -m bench.quality_pages

Seconds are those of one processor core, since the machine may be shared. Clean print: the project's licence
set in Helvetica, 50 lines of up to 95 characters a page, and a letter, as 150 dpi pictures. Scans: the same
askew by half a degree, blurred and compressed. The character error rate is edits by characters of the truth
(jiwer), words in order, white space as one space. Born-digital pages become blocks with thumbnails, before
embedding.
"""

import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from PIL import Image as Pillow

from bench.harness import ROOT, Figure, arguments, rounded
from lamina.extractors.base import BlobValue, Part, Source
from lamina.extractors.document_graph_extractor import EXTRACTOR
from lamina.inference.base import Image, TextReader
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.media.pdf import open_pdf
from tests.media import MODELS_DIR, located, pages
from tests.pdfs import Line, Sheet, scanned, written

_DPI = 150
_LINES, _COLUMNS = 50, 95

_BORN_DIGITAL: Mapping[str, PackageFile] = {
    "manual of 19 pages": pages.MANUAL,
    "statistical tables": pages.STATISTICS,
    "ruled tables": pages.TABLES,
    "list of donors": pages.DONORS,
    "form": pages.FORM,
    "letter": pages.LETTER,
}


@dataclass(frozen=True)
class Printed:
    """A page as a picture, and what stands on it."""

    picture: Image
    text: str


def main() -> None:
    """Read clean and bad print with each model, then take born-digital files apart."""
    arguments(__doc__).parse_args()
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    figure = Figure("quality_pages", "Pages: reading print, taking files apart", dpi=_DPI, threads=1)
    clean = [*_rendered(written(_licence())), *_rendered(located(pages.LETTER))]
    bad = [
        Printed(seen.picture, page.text)
        for page in clean
        for seen in _rendered(scanned([Pillow.fromarray(page.picture)], angle=0.5, dpi=_DPI))
    ]
    figure.note("characters_of_a_page", rounded(float(np.mean([len(page.text) for page in clean]))))
    for card in models.cards("read_text"):
        reader = models.text_reader(card.name)
        reader.read(clean[0].picture[:200])
        some = clean if card.name == models.default("read_text") else clean[:2]
        measured = {"clean": _read(reader, some), "scan": _read(reader, bad[: len(some)])}
        for name, (rate, speed) in measured.items():
            figure.note(
                f"{card.name}_{name}",
                {
                    "character_error_rate": round(rate, 4),
                    "pages_per_cpu_s": rounded(speed),
                    "pages": len(some),
                },
            )
        if card.name == models.default("read_text"):
            figure.wanted("character error rate on clean print", measured["clean"][0], most=0.02)
            figure.wanted("pages a second of two cores, a file to each", 2 * measured["clean"][1], least=1)
    figure.wanted("born-digital pages a second of one core", _taken_apart(models, figure), least=10)
    figure.write()


def _licence() -> list[Sheet]:
    lines = textwrap.wrap(" ".join((ROOT / "LICENSE").read_text().split()), _COLUMNS)
    return [
        Sheet([Line(text, 60, 70 + 14.2 * at, 10.5) for at, text in enumerate(lines[start : start + _LINES])])
        for start in range(0, len(lines), _LINES)
    ]


def _rendered(file: bytes | Path) -> list[Printed]:
    found = []
    with open_pdf(file) as pdf:
        for number in range(1, pdf.page_count + 1):
            with pdf.page(number) as page:
                found.append(Printed(page.render(_DPI), " ".join(page.text().split())))
    return found


def _read(reader: TextReader, printed: Sequence[Printed]) -> tuple[float, float]:
    """Character error rate, and pages by second of one core."""
    edits, characters, seconds = 0.0, 0, 0.0
    for page in printed:
        began = time.process_time()
        lines = reader.read(page.picture)
        seconds += time.process_time() - began
        edits += jiwer.cer(page.text, " ".join(line.text for line in lines)) * len(page.text)
        characters += len(page.text)
    return edits / characters, len(printed) / seconds


def _taken_apart(models: Models, figure: Figure) -> float:
    """Pages by second of one core, over all files; each is noted."""
    made = EXTRACTOR(EXTRACTOR.validate_parameters({"run_text_embedding": False}, models), models)
    count, seconds = 0, 0.0
    for name, file in _BORN_DIGITAL.items():
        source = Source(name, {"pdf": BlobValue(located(file), "application/pdf")})
        with open_pdf(located(file)) as pdf:
            of_file = pdf.page_count
        began = time.process_time()
        (outcome,) = made.extract([source])
        spent = time.process_time() - began
        parts: list[Part] = outcome if isinstance(outcome, list) else []
        figure.note(
            name.replace(" ", "_"),
            {"pages": of_file, "blocks": len(parts), "pages_per_cpu_s": rounded(of_file / spent)},
        )
        count, seconds = count + of_file, seconds + spent
    return count / seconds


if __name__ == "__main__":
    main()
