"""The project's Markdown pages and the code in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

_BLOCK: Final = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the word after it, and its text."""

    language: str
    note: str | None
    text: str


def documents() -> list[Path]:
    """README, changelog and everything under docs."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that name a language.

    In the README, `sh` and `python` blocks are run by a test; `sh serve` is its server, and a
    `console` block is what a person does to the machine (installing, for example).
    """
    for language, note, text in _BLOCK.findall(page.read_text("utf-8")):
        yield Block(language, note or None, text)
