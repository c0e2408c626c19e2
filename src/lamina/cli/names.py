"""Names of the buckets and collections that `lamina ingest` makes."""

import re
from pathlib import Path
from typing import Final

INGESTED_AS: Final = "ingested_as"
"""Key in the metadata of a collection that a load made: the name that the load's collection was given."""

_SHORTEST, _LONGEST = 3, 60


def name_for(path: Path) -> str:
    """A bucket's name after a path: its lower-case letters and digits, with `-` for the rest.

    The suffix of a file is left out. A name in which nothing is left is `files`.
    """
    place = path.resolve()
    named = place.name if place.is_dir() else place.stem
    name = re.sub(r"[^a-z0-9]+", "-", named.lower())[:_LONGEST].strip("-")
    return full_name(name or "files")


def full_name(name: str) -> str:
    """The name itself, or with `-data` after it where a server would find it too short."""
    return name if len(name) >= _SHORTEST else f"{name}-data"
