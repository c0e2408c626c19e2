"""Graphs of the embedded engine: built elsewhere, taken in while everything goes on, found to be right."""

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from lamina.core.filters import ALL, Condition, Filter
from lamina.stores.vectors.base import CollectionRef, Lexical, Nearest, Point, VectorQuery, VectorSpec
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.stores.vectors.edge_engine import build_graphs
from lamina.stores.vectors.edge_manifest import Manifest
from lamina.stores.vectors.edge_scan import scan
from lamina.stores.vectors.edge_shard import Shard

AT = CollectionRef("ns_1", "col_1")
SIZE = 384
COUNT = 8_000
"""At this size of vectors the engine scans up to 6,666 points though there is a graph."""


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors of shape (count, 384) in 100 clusters, the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(100, SIZE))
    own = np.random.default_rng(seed)
    return (centres[own.integers(0, 100, count)] + own.normal(size=(count, SIZE)) * 0.7).astype(np.float32)


def points(vectors: NDArray[np.float32], start: int = 0) -> list[Point]:
    """One point for each vector."""
    return [
        Point(f"doc_{n}", {"n": n, "fifth": n % 5 == 0}, {"dense": vector, **tokens(n)}, lexical=f"word{n}")
        for n, vector in enumerate(vectors, start)
    ]


def tokens(n: int) -> dict[str, NDArray[np.float32]]:
    """A multivector for one point in ten."""
    return {"tokens": np.full((3, 8), n, np.float32)} if n % 10 == 0 else {}


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.05)


def graphed(path: Path) -> int:
    """How many points a collection's graphs were built over."""
    return Manifest.read(path / AT.namespace_id / AT.collection_id).graphed


def eager(path: Path, least: int = 1_000) -> EdgeVectorStore:
    """A store that builds graphs early."""
    return EdgeVectorStore(path, index_from=0, graph_from=least, look_for_graphs=0.05)


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EdgeVectorStore]:
    """A store with a collection whose graph has been built."""
    monkeypatch.setattr("lamina.stores.vectors.edge_shard._QUIET", 0.2)
    store = eager(tmp_path)
    await store.create(AT, [VectorSpec("dense", SIZE), VectorSpec("tokens", 8, kind="multi")])
    await store.upsert(AT, points(clustered(COUNT, 1)))
    await until(lambda: graphed(tmp_path) == COUNT)
    yield store
    await store.close()


async def nearest(
    store: EdgeVectorStore, vector: NDArray[np.float32], where: Filter = ALL, *, exact: bool = False
) -> list[str]:
    """The ten best."""
    query = VectorQuery(Nearest(vector, "dense"), limit=10, where=where, exact=exact)
    return [hit.point.document_id for hit in await store.search(AT, query)]


async def recall(
    store: EdgeVectorStore, queries: Sequence[NDArray[np.float32]], where: Filter = ALL
) -> float:
    """The mean share of the ten best that are found."""
    shares = []
    for query in queries:
        best = await nearest(store, query, where, exact=True)
        shares.append(len(set(best) & set(await nearest(store, query, where))) / len(best))
    return float(np.mean(shares))


async def test_graphs_find_what_is_nearest(store: EdgeVectorStore, tmp_path: Path) -> None:
    queries = list(clustered(50, 2))
    assert await recall(store, queries) >= 0.99
    assert await recall(store, queries, Condition("fifth", "eq", True)) >= 0.99
    assert await recall(store, queries, Condition("n", "gte", 700)) >= 0.99
    hits = await store.search(AT, VectorQuery(Lexical("word77"), limit=3))
    assert [hit.point.document_id for hit in hits] == ["doc_77"]
    (generation,) = (tmp_path / AT.namespace_id / AT.collection_id).glob("g*")
    assert list(generation.rglob("vector_index-dense/graph*")), "there is a graph"
    (multi,) = generation.rglob("vector_index-tokens/graph.bin")
    assert multi.stat().st_size < 8 * COUNT, "multivectors have one without edges"


async def test_writes_after_the_build_are_found_beside_it(store: EdgeVectorStore) -> None:
    (old, fresh) = clustered(2, 3)
    await store.upsert(AT, [Point("doc_5", {"n": 5}, {"dense": fresh}), Point("new", {}, {"dense": old})])
    await store.delete(AT, ["doc_7"])
    await store.replace_payloads(AT, {"doc_9": {"n": 9_000_000}})
    assert (await nearest(store, fresh))[0] == "doc_5"
    assert (await nearest(store, old))[0] == "new"
    assert await store.count(AT) == COUNT
    (hit,) = await store.search(
        AT, VectorQuery(Nearest(old, "dense"), limit=10, where=Condition("n", "gt", 1_000_000))
    )
    assert hit.point.document_id == "doc_9"


async def test_graphs_are_built_anew_when_much_was_written_or_deleted(
    store: EdgeVectorStore, tmp_path: Path
) -> None:
    more = clustered(COUNT // 2, 4)
    await store.upsert(AT, points(more, COUNT))
    await until(lambda: graphed(tmp_path) == COUNT + len(more))
    assert await recall(store, list(clustered(30, 5))) >= 0.99
    shard = store._shards[AT]
    assert shard.engine.info().segments_count == 2  # the graph's, and one for what is written next
    await store.delete(AT, [f"doc_{n}" for n in range(0, COUNT + len(more), 2)])
    await until(lambda: graphed(tmp_path) == (COUNT + len(more)) // 2)
    assert await store.count(AT) == (COUNT + len(more)) // 2
    assert await recall(store, list(clustered(30, 6))) >= 0.99


def test_what_is_written_during_a_build_is_carried_over(tmp_path: Path) -> None:
    """Upserts, payloads, deletions and an index, from a thread that never stops writing."""
    folder = tmp_path / "col_1"
    vectors = clustered(3_000, 1)
    shard = Shard.create(folder, AT, 0, [VectorSpec("dense", SIZE), VectorSpec("tokens", 8, kind="multi")])
    shard.upsert(points(vectors))
    copy = shard.copy_for_graphs()
    assert copy is not None
    expected = {f"doc_{n}": n for n in range(3_000)}
    done, choose = threading.Event(), random.Random(1)

    def write() -> None:
        while not done.is_set():
            n = choose.randrange(3_500)
            kind = choose.randrange(3)
            if kind == 0 or f"doc_{n}" not in expected:
                shard.upsert([Point(f"doc_{n}", {"n": -n}, {"dense": vectors[n % 3_000]})])
                expected[f"doc_{n}"] = -n
            elif kind == 1:
                shard.replace_payloads({f"doc_{n}": {"n": n + 10_000}})
                expected[f"doc_{n}"] = n + 10_000
            else:
                shard.delete_documents([f"doc_{n}"])
                del expected[f"doc_{n}"]

    writer = threading.Thread(target=write)
    writer.start()
    try:
        shard.prepare(["n"])
        build_graphs(copy, shard.specs, 1)
        assert shard.take_graphs(copy)
        time.sleep(0.2)
    finally:
        done.set()
        writer.join()
    shard.abandon(copy)  # changes nothing after it was taken
    for _ in range(2):
        stored = {
            str(record.payload["document_id"]): record.payload["n"]
            for records in scan(shard.engine, everything=True)
            for record in records
            if record.payload
        }
        assert stored == expected
        assert shard.fields.indexes["n"] == "integer"
        assert shard.engine.info().points_count == len(expected)
        shard.close()
        shard = Shard(folder, AT, 0)
    shard.close()


def test_a_copy_of_what_was_made_anew_meanwhile_is_not_taken(tmp_path: Path) -> None:
    shard = Shard.create(tmp_path / "col_1", AT, 0, [VectorSpec("dense", 4)])
    shard.upsert([Point("doc_1", {}, {"dense": [1, 2, 3, 4]})])
    copy = shard.copy_for_graphs()
    assert copy is not None
    shard.add_vectors([VectorSpec("more", 4)])
    assert not shard.take_graphs(copy)
    assert not copy.exists()
    copy = shard.copy_for_graphs()
    assert copy is not None
    shard.retire()
    assert not shard.take_graphs(copy)


def test_a_shard_that_was_dropped_leaves_the_files_of_the_next_one_alone(tmp_path: Path) -> None:
    first = Shard.create(tmp_path / "col_1", AT, 0, [VectorSpec("dense", 4)])
    copy = first.copy_for_graphs()
    assert copy is not None
    first.retire()
    shutil.rmtree(tmp_path / "col_1")
    second = Shard.create(tmp_path / "col_1", AT, 0, [VectorSpec("dense", 4)])
    second.upsert([Point("doc_1", {}, {"dense": [1, 2, 3, 4]})])
    second.add_vectors([VectorSpec("more", 4)])
    assert second.generation == copy, "else this proves nothing"
    first.abandon(copy)
    second.close()
    again = Shard(tmp_path / "col_1", AT, 0)
    assert again.engine.info().points_count == 1
    again.close()


def test_a_copy_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard.create(tmp_path / "col_1", AT, 0, [VectorSpec("dense", 4)])

    def torn(_: Path, copy: Path) -> None:
        copy.mkdir()
        (copy / "segment").write_text("half")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lamina.stores.vectors.edge_shard.shutil.copytree", torn)
    with pytest.raises(OSError, match="Input/output error"):
        shard.copy_for_graphs()
    assert [one.name for one in (tmp_path / "col_1").glob("g*")] == ["g1"]
    shard.close()


def test_a_full_disk_is_not_filled_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard.create(tmp_path / "col_1", AT, 0, [VectorSpec("dense", 4)])
    monkeypatch.setattr("lamina.stores.vectors.edge_shard._SPACE", 10**9)
    assert shard.copy_for_graphs() is None
    assert len(list((tmp_path / "col_1").glob("g*"))) == 1
    shard.close()


async def test_a_build_that_fails_is_given_up_for_a_while_and_serving_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.stores.vectors.edge_shard._QUIET", 0.0)
    monkeypatch.setattr("lamina.stores.vectors.edge_graphs.sys.executable", "/bin/false")
    store = eager(tmp_path, least=10)
    await store.create(AT, [VectorSpec("dense", 4)])
    await store.upsert(AT, [Point(f"doc_{n}", {}, {"dense": [n, 1, 1, 1]}) for n in range(50)])
    assert store._graphs is not None
    await until(lambda: len(store._graphs._not_before) == 1)  # type: ignore[union-attr]
    assert await store.count(AT) == 50
    assert len(list((tmp_path / "ns_1" / "col_1").glob("g*"))) == 1
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from lamina.stores.vectors import edge_shard
from lamina.stores.vectors.base import CollectionRef, Point, VectorSpec
from lamina.stores.vectors.edge import EdgeVectorStore

edge_shard._QUIET = 0.0

async def main() -> None:
    store = EdgeVectorStore(Path(sys.argv[1]), index_from=0, graph_from=200, look_for_graphs=0.01)
    at = CollectionRef("ns_1", "col_1")
    await store.create(at, [VectorSpec("dense", 32)])
    number = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        batch = range(number, number + 50)
        await store.upsert(at, [Point(f"doc_{n}", {"n": n}, {"dense": [1.0] * 31 + [n]}) for n in batch])
        await store.delete(at, [f"doc_{n}" for n in batch if n % 10 == 9])
        number += 50
        print("wrote", number, flush=True)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


def written_until_killed(folder: Path, written: int, seconds: float) -> tuple[int, list[psutil.Process]]:
    """Write in another process and kill it: how far it had come, and the builds that it had begun."""
    command = [sys.executable, "-c", WRITER, str(folder), str(written)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        building = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        wrote = [line.split()[1] for line in process.stdout.read().splitlines() if line.startswith("wrote")]
        written = int(wrote[-1]) if wrote else written
    return written, building


async def test_nothing_is_lost_when_the_server_is_killed_while_graphs_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a build outlive its server, and what a kill left keeps the next build from nothing."""
    choose, written, builds = random.Random(3), 0, 0
    for _ in range(6):
        written, building = written_until_killed(tmp_path, written, choose.uniform(0.5, 4))
        builds += len(building)
        assert not psutil.wait_procs(building, timeout=5)[1]
        await all_there(EdgeVectorStore(tmp_path, graph_from=None), written)
        assert len(list((tmp_path / "ns_1" / "col_1").glob("g*"))) == 1
    assert builds > 0
    monkeypatch.setattr("lamina.stores.vectors.edge_shard._QUIET", 0.0)
    store = eager(tmp_path, least=1)
    await store.upsert(AT, [Point(f"doc_{written}", {"n": written}, {"dense": [1.0] * 32})])
    await until(lambda: graphed(tmp_path) > 0)
    await all_there(store, written)


async def all_there(store: EdgeVectorStore, written: int) -> None:
    """Every point that was written, and of those that were deleted none; closes the store."""
    found = await store.get(AT, [f"doc_{n}" for n in range(written)])
    assert [point.payload["n"] for point in found] == [n for n in range(written) if n % 10 != 9]
    assert await store.count(AT, Condition("n", "lt", written)) == len(found)
    await store.close()
