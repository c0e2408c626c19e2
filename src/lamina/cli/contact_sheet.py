"""A contact sheet: what searches found, as one HTML file with its pictures inside."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Card:
    """One document. `place` says where in its source it lies, `picture` is a JPEG."""

    title: str
    score: float | None = None
    place: str = ""
    text: str = ""
    picture: bytes | None = None

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.picture or b'').decode()}"


@dataclass(frozen=True, slots=True)
class Section:
    """One search and what it found, the best first."""

    title: str
    note: str
    cards: Sequence[Card]


_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lamina: contact sheet</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
  h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
  h2 + p { margin: 0 0 .8rem; opacity: .7; }
  section { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
  figure { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .5rem;
           margin: 0; overflow: hidden; }
  img { aspect-ratio: 4 / 3; background: color-mix(in srgb, currentColor 8%, transparent); display: block;
        object-fit: contain; width: 100%; }
  figcaption { padding: .6rem .8rem; }
  figcaption p { margin: .3rem 0 0; max-height: 6em; overflow: hidden; }
  small { opacity: .7; }
</style>
<h1>Contact sheet</h1>
{% for section in sections %}
<h2>{{ section.title }}</h2>
<p>{{ section.note }}</p>
<section>
{% for card in section.cards %}
<figure>
  {% if card.picture %}<img src="{{ card.source }}" alt="{{ card.title }}">{% endif %}
  <figcaption><b>{{ card.title }}</b>
    <small>{% if card.place %}<br>{{ card.place }}{% endif %}
    {%- if card.score is not none %}<br>score {{ "%.3f" | format(card.score) }}{% endif %}</small>
    {% if card.text %}<p>{{ card.text }}</p>{% endif %}
  </figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
"""


def write_contact_sheet(path: Path, sections: Sequence[Section]) -> None:
    """Write the sheet. It needs no server and no network to be looked at."""
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    path.write_text(page.render(sections=sections), "utf-8")
