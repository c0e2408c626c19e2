"""Writes the table of `docs/guides/models.md` anew from the registry of models."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from lamina.inference.base import Capability, ModelCard
from lamina.inference.registry import built_in

PAGE: Final = Path(__file__).parents[1] / "docs/guides/models.md"

_TABLE: Final = re.compile(r"(?<=<!-- models -->\n).*?(?=<!-- /models -->)", re.DOTALL)


def table() -> str:
    """The models by capability, the default of each first and in bold."""
    entries, defaults = built_in()
    by_capability: dict[str, list[ModelCard]] = defaultdict(list)
    for entry in entries:
        by_capability[entry.card.capability].append(entry.card)
    return "\n".join(_lines(by_capability, dict(defaults))) + "\n"


def _lines(by_capability: dict[str, list[ModelCard]], defaults: dict[Capability, str]) -> Iterator[str]:
    yield "| capability | model | dimension | licence of the weights | size | from |"
    yield "|---|---|---|---|---|---|"
    for capability in get_args(Capability):
        cards = by_capability[capability]
        for card in sorted(cards, key=lambda one: (one.name != defaults.get(capability), one.name)):
            default = card.name == defaults.get(capability)
            yield " | ".join(
                [
                    f"| {capability}",
                    f"**`{card.name}`**" if default else f"`{card.name}`",
                    str(card.dimension or "–"),
                    card.licence,
                    f"{card.size_bytes / 1e6:,.0f} MB" if card.size_bytes else "–",
                    f"{card.source}: {card.origin} |",
                ]
            )
        if not cards:
            yield f"| {capability} | none yet | – | – | – | – |"


def written(page: str) -> str:
    """A page with the table that the registry gives."""
    return _TABLE.sub(lambda _: table(), page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE} is written\n")
