"""HNSW graphs for large shards of Qdrant Edge, built outside of the serving process.

The engine holds Python's global lock for a whole build (minutes for a million points), so a child
process builds in a copy of the shard's files, at the lowest priority, while this process serves
and writes on. Then the shard takes the copy in, with what was written meanwhile. See ADR 0008.

    python -m lamina.stores.vectors.edge_graphs COPY VECTORS PARENT    what the child runs
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import orjson
import structlog

from lamina.core.children import die_with
from lamina.core.errors import NotFoundError
from lamina.stores.vectors.base import VectorSpec
from lamina.stores.vectors.edge_engine import build_graphs
from lamina.stores.vectors.edge_shard import Shard

log = structlog.get_logger()

_AGAIN: Final = 600.0
"""Seconds until a build is tried again that failed."""


class GraphBuilder:
    """Builds, one at a time, the graphs that shards have become due for, and puts them to use.

    `shards` gives the open ones; `least` is the number of points for which a graph is worth its
    build; `every` is the seconds between looks.
    """

    def __init__(self, shards: Callable[[], Iterable[Shard]], least: int, every: float) -> None:
        self._shards = shards
        self._least = least
        self._every = every
        self._stopping = threading.Event()
        self._not_before: WeakKeyDictionary[Shard, float] = WeakKeyDictionary()
        self._thread = threading.Thread(target=self._run, name="graphs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a build that is under way, and look no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            for shard in self._shards():
                if time.monotonic() >= self._not_before.get(shard, 0):
                    self._attempt(shard)

    def _attempt(self, shard: Shard) -> None:
        try:
            took = self._build(shard) if shard.graphs_due(self._least) else None
        except NotFoundError:  # dropped meanwhile
            return
        except Exception as error:
            self._not_before[shard] = time.monotonic() + _AGAIN
            log.warning("graphs_failed", collection_id=shard.at.collection_id, error=str(error)[:500])
        else:
            if took is not None:
                log.info("graphs_built", collection_id=shard.at.collection_id, seconds=round(took, 1))

    def _build(self, shard: Shard) -> float | None:
        """Build and swap; the seconds it took, or None where it came to nothing by our own will."""
        began = time.monotonic()
        copy = shard.copy_for_graphs()
        if copy is None:
            raise OSError("the disk has too little free space for a copy of the collection's points")
        try:
            done = self._built(shard, copy) and shard.take_graphs(copy, self._stopping.is_set)
            return time.monotonic() - began if done else None
        finally:
            shard.abandon(copy)

    def _built(self, shard: Shard, copy: Path) -> bool:
        """Let a child build; whether it has, for a stop ends it."""
        vectors = orjson.dumps([asdict(spec) for spec in shard.specs.values()]).decode()
        command = [sys.executable, "-m", __name__, str(copy), vectors, str(os.getpid())]
        # This thread waits for the child, for Linux ends a child that dies with its parent with the
        # thread that started it.
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
            while child.poll() is None:
                if self._stopping.wait(0.05):
                    child.kill()
                    return False
            assert child.stderr is not None
            complaint = child.stderr.read().decode(errors="replace").strip()
        if child.returncode != 0:
            raise OSError(f"the build ended with {child.returncode}: {complaint[-300:]}")
        return True


def main(copy: str, vectors: str, parent: str) -> None:
    """Build in the child process."""
    die_with(int(parent))
    os.nice(19)
    specs = [VectorSpec(**vector) for vector in orjson.loads(vectors)]
    build_graphs(Path(copy), {spec.name: spec for spec in specs}, max(1, (os.cpu_count() or 1) // 2))


if __name__ == "__main__":
    main(*sys.argv[1:])
