"""The file that says what a shard is, and the folder that holds its one generation that counts."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

import orjson

from lamina.stores.vectors.base import IndexType, VectorSpec

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a shard is. `graphed` is how many points its graphs were built over."""

    generation: str
    specs: Mapping[str, VectorSpec]
    declared: Mapping[str, IndexType] = field(default_factory=dict)
    graphed: int = 0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` wrote there last."""
        stored = orjson.loads((folder / MANIFEST).read_bytes())
        specs = {vector["name"]: VectorSpec(**vector) for vector in stored["vectors"]}
        return cls(stored["generation"], specs, stored["indexes"], stored.get("graphed", 0))

    def write(self, folder: Path) -> None:
        """Make it count, from this moment on."""
        content = {
            "format": 1,
            "generation": self.generation,
            "vectors": [asdict(spec) for spec in self.specs.values()],
            "indexes": self.declared,
            "graphed": self.graphed,
        }
        write_whole(folder / MANIFEST, orjson.dumps(content, option=orjson.OPT_INDENT_2))

    @staticmethod
    def following(folder: Path) -> str:
        """A generation that is not there yet."""
        return f"g{1 + max(int(other.name[1:]) for other in folder.glob('g[0-9]*'))}"

    def sweep(self, folder: Path) -> None:
        """Remove the generations that do not count."""
        for other in folder.glob("g*"):
            if other.name != self.generation:
                shutil.rmtree(other, ignore_errors=True)


def write_whole(file: Path, content: bytes) -> None:
    """Replace a file so that it is always either the old or the new one, on disk."""
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
