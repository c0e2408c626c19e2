"""What only the embedded engine can get wrong: files, processes, crashes, and what it knows of fields."""

import asyncio
import ctypes
import errno
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from lamina.core.errors import UnavailableError
from lamina.core.filters import ALL, Condition
from lamina.stores.vectors import edge_disk
from lamina.stores.vectors import edge_fields as seen
from lamina.stores.vectors.base import (
    CollectionRef,
    Lexical,
    Nearest,
    OrderBy,
    Point,
    VectorQuery,
    VectorSpec,
)
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.stores.vectors.edge_disk import ROOM
from lamina.stores.vectors.edge_fields import Fields, Vocabulary
from lamina.stores.vectors.edge_filters import plan
from tests.steps import eventually

AT = CollectionRef("ns_1", "col_1")

WRITER = """
import asyncio, sys
from pathlib import Path
from lamina.stores.vectors.base import CollectionRef, Point, VectorSpec
from lamina.stores.vectors.edge import EdgeVectorStore

async def main() -> None:
    store = EdgeVectorStore(Path(sys.argv[1]))
    at = CollectionRef("ns_1", "col_1")
    await store.create(at, [VectorSpec("dense", 32)])
    number, grown = int(sys.argv[2]), int(sys.argv[3])
    print("ready", flush=True)
    while True:
        batch = range(number, number + 50)
        await store.upsert(at, [
            Point(f"doc_{n}", {"old": n}, {"dense": [1.0] * 31 + [n]}, lexical=f"word{n}") for n in batch
        ])
        await store.replace_payloads(at, {f"doc_{n}": {"n": n, "kind": f"Kind {n % 7}"} for n in batch})
        await store.delete(at, [f"doc_{n}" for n in batch if n % 10 == 9])
        number += 50
        print("wrote", number, flush=True)
        if number % 400 == 0:
            grown += 1
            await store.create(at, [VectorSpec(f"grown_{grown}", 8)])
            print("grew", grown, flush=True)

asyncio.run(main())
"""


def run_until_killed(folder: Path, written: int, grown: int, seconds: float) -> tuple[int, int]:
    """Write in another process and kill it; how far its acknowledged writes had come."""
    command = [sys.executable, "-c", WRITER, str(folder), str(written), str(grown)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines():
            word, _, count = line.partition(" ")
            if word == "wrote":
                written = int(count)
            elif word == "grew":
                grown = int(count)
    return written, grown


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    """Writes, new payloads, deletions and new vectors, at random moments, over and over."""
    choose = random.Random(4)
    written = grown = 0
    for _ in range(6):
        written, grown = run_until_killed(tmp_path, written, grown, choose.uniform(0.02, 0.5))
        store = EdgeVectorStore(tmp_path)
        kept = [n for n in range(written) if n % 10 != 9]
        points = await store.get(AT, [f"doc_{n}" for n in range(written)])
        assert [point.payload for point in points] == [
            {"n": n, "kind": f"Kind {n % 7}", "document_id": f"doc_{n}", "collection_id": "col_1"}
            for n in kept
        ]
        assert all(list(point.vector_names) == ["dense"] for point in points)
        info = await store.info(AT)
        assert {f"grown_{n}" for n in range(1, grown + 1)} <= {spec.name for spec in info.vectors}
        assert info.indexes["_internal.lineage.root_object_id"] == "keyword"
        acknowledged = Condition("n", "lt", written)
        assert await store.count(AT, acknowledged) == len(kept)
        assert await store.count(AT, Condition("kind", "eq", "kind 3")) >= sum(1 for n in kept if n % 7 == 3)
        if kept:
            hits = await store.search(AT, VectorQuery(Lexical(f"word{kept[-1]}"), limit=5))
            assert [hit.point.document_id for hit in hits] == [f"doc_{kept[-1]}"]
            page = await store.scroll(AT, limit=1, where=acknowledged, order=OrderBy("n", descending=True))
            assert page.points[0].document_id == f"doc_{kept[-1]}"
        await store.close()
        assert [folder.name[0] for folder in (tmp_path / "ns_1" / "col_1").glob("g*")] == ["g"]
    assert written > 0


async def test_a_shard_that_was_not_made_to_the_end_does_not_exist(tmp_path: Path) -> None:
    unfinished = tmp_path / "ns_1" / "col_1" / "g1"
    unfinished.mkdir(parents=True)
    (unfinished / "rubbish").write_text("half")
    store = EdgeVectorStore(tmp_path)
    assert await store.collections("ns_1") == []
    await store.create(AT, [])
    await store.upsert(AT, [Point("doc_1", {})])
    assert await store.count(AT) == 1
    await store.close()


async def test_what_is_opened_is_read_into_memory_at_once(tmp_path: Path) -> None:
    """Without it, the first searches would wait for each page that they touch."""
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [VectorSpec("dense", 384)])
    await store.upsert(AT, [Point(f"doc_{n}", {}, {"dense": [1.0] * 383 + [n]}) for n in range(1_000)])
    await store.close()
    vectors = max((tmp_path / "ns_1").rglob("chunk_*.mmap"), key=lambda file: file.stat().st_blocks)
    forget(vectors)
    assert not in_memory(vectors), "this disk is memory"
    store = EdgeVectorStore(tmp_path)
    assert await store.count(AT) == 1_000
    eventually(lambda: in_memory(vectors), "all vectors in memory", seconds=10)
    await store.close()


def test_what_would_fill_the_memory_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(1 << 20))
    forget(file)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    edge_disk.read_into_memory(tmp_path)
    assert not in_memory(file)
    monkeypatch.undo()
    edge_disk.read_into_memory(tmp_path)
    assert in_memory(file)
    edge_disk.read_into_memory(tmp_path / "gone")
    forget(file)
    edge_disk.read_into_memory(tmp_path, stopping=lambda: True)
    assert not in_memory(file)


def test_a_file_that_goes_meanwhile_keeps_no_other_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
        forget(tmp_path / name)
    files = sorted(tmp_path.iterdir())
    files[1].unlink()
    monkeypatch.setattr(Path, "rglob", lambda *_: iter(files))
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    edge_disk.read_into_memory(tmp_path)
    assert in_memory(files[0])
    assert in_memory(files[2])


def forget(file: Path) -> None:
    """Have the kernel keep nothing of a file in memory."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_memory(file: Path) -> bool:
    """Whether all of a file can be read without waiting for the disk."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        data = np.frombuffer(mapped, np.uint8)
        resident = np.empty(-(-data.size // mmap.PAGESIZE), np.uint8)
        mincore = ctypes.CDLL(None, use_errno=True).mincore
        failed = mincore(*map(ctypes.c_void_p, (data.ctypes.data, data.size, resident.ctypes.data)))
        del data
    assert not failed, os.strerror(ctypes.get_errno())
    return bool((resident & 1).all())


async def test_a_half_copied_generation_does_not_count(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [])
    await store.upsert(AT, [Point("doc_1", {})])
    await store.close()
    (tmp_path / "ns_1" / "col_1" / "g2").mkdir()
    (tmp_path / "ns_1" / ".dropped-1").mkdir()
    store = EdgeVectorStore(tmp_path)
    assert await store.count(AT) == 1
    assert [path.name for path in (tmp_path / "ns_1").iterdir()] == ["col_1"]
    kept = {path.name for path in (tmp_path / "ns_1" / "col_1").iterdir()}
    assert kept == {"fields.json", "g1", "manifest.json"}
    await store.create(AT, [VectorSpec("v", 2)])
    assert await store.count(AT) == 1
    await store.close()


async def test_what_is_known_of_fields_is_read_anew_when_it_is_lost(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [])
    await store.upsert(AT, [Point("doc_1", {"a": [{"b": "X"}]}), Point("doc_2", {"a": {"b": 1}})])
    await store.close()
    (tmp_path / "ns_1" / "col_1" / "fields.json").unlink()
    store = EdgeVectorStore(tmp_path)
    assert await store.count(AT, Condition("a.b", "eq", "x")) == 1
    assert await store.count(AT, Condition("a.b", "exists", True)) == 2
    await store.close()


async def test_a_second_process_is_told_that_the_store_is_in_use(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [])
    other = EdgeVectorStore(tmp_path)
    with pytest.raises(UnavailableError):
        await other.count(AT)
    await store.close()
    assert await other.count(AT) == 0
    await other.close()


async def test_a_full_disk_refuses_writes_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EdgeVectorStore(tmp_path, index_from=0)
    await store.create(AT, [VectorSpec("dense", 4)])
    here = Point("doc_1", {"kind": "A"}, {"dense": [1.0, 0.0, 0.0, 0.0]})
    await store.upsert(AT, [here])
    with monkeypatch.context() as full:
        full.setattr("lamina.stores.vectors.edge_disk.room", lambda folder: ROOM - 1)
        full.setattr("lamina.stores.vectors.edge_shard.room", lambda folder: ROOM - 1)
        for write in (
            store.upsert(AT, [Point("doc_2", {"other": "B"}, {"dense": [0.0, 1.0, 0.0, 0.0]})]),
            store.replace_payloads(AT, {"doc_1": {"kind": "B"}}),
            store.delete(AT, ["doc_1"]),
            store.create(AT, [VectorSpec("more", 4)]),
            store.create(CollectionRef("ns_1", "col_2"), []),
        ):
            with pytest.raises(UnavailableError, match="its disk is full"):
                await write
        assert await store.count(AT, Condition("kind", "eq", "a")) == 1
        query = VectorQuery(Nearest([1.0, 0.0, 0.0, 0.0], "dense"), limit=5)
        assert [hit.point.document_id for hit in await store.search(AT, query)] == ["doc_1"]
    await store.upsert(AT, [Point("doc_2", {"other": "B"}, {"dense": [0.0, 1.0, 0.0, 0.0]})])
    await store.create(CollectionRef("ns_1", "col_2"), [])
    assert await store.count(AT, Condition("other", "eq", "b")) == 1
    await store.close()


async def test_what_a_full_disk_kept_from_being_told_is_told_with_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [])
    point = Point("doc_1", {"a": [{"b": "X"}]})
    with monkeypatch.context() as patched:
        patched.setattr("lamina.stores.vectors.edge_shard.write_whole", full)
        with pytest.raises(UnavailableError, match="No space left on device"):
            await store.upsert(AT, [point])
    await store.upsert(AT, [point])
    await store.close()
    store = EdgeVectorStore(tmp_path)
    assert await store.count(AT, Condition("a.b", "eq", "x")) == 1
    await store.close()


async def test_reading_goes_on_while_a_collection_gains_a_vector(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [VectorSpec("dense", 16)])
    points = [
        Point(f"doc_{n}", {"n": n, "text": "x" * 300}, {"dense": [1.0] * 15 + [n]}) for n in range(3000)
    ]
    await store.upsert(AT, points)
    growing = asyncio.create_task(store.create(AT, [VectorSpec("more", 4)]))
    reads = 0
    while not growing.done():
        assert len(await store.search(AT, VectorQuery(Nearest([1.0] * 16, "dense"), limit=5))) == 5
        assert len((await store.scroll(AT, limit=50)).points) == 50
        reads += 1
        await asyncio.sleep(0)
    await growing
    assert reads > 3
    assert await store.count(AT) == 3000
    await store.close()


async def test_the_event_loop_keeps_running_through_long_writes_and_scans(tmp_path: Path) -> None:
    """Every engine call holds the global lock, so only short ones may be made."""
    store = EdgeVectorStore(tmp_path)
    await store.create(AT, [VectorSpec("dense", 128)])
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    points = [
        Point(f"doc_{n}", {"text": f"prose {n} " * 60}, {"dense": [float(n)] * 128}) for n in range(5000)
    ]
    watching = asyncio.create_task(watch())
    await store.upsert(AT, points)
    assert await store.count(AT, Condition("text", "contains", "PROSE 77 ")) == 1
    watching.cancel()
    assert turns > 10, "the engine was asked for much at once"
    await store.close()


# What the store knows of fields, and what filters become with that


def observed(*payloads: dict[str, object]) -> Fields:
    """Fields that have seen some payloads."""
    fields = Fields()
    for payload in payloads:
        fields.observe(payload)  # type: ignore[arg-type]
    return fields


def test_fields_know_under_which_keys_values_lie() -> None:
    fields = observed({"a": {"b": 1}, "c d": {"é-1": 2}}, {"x": [{"y": [{"z": 1}]}]}, {"l": [[1]]}, {'q"': 1})
    assert fields.keys("a.b") == ["a.b"]
    assert fields.keys("c d.é-1") == ['"c d"."é-1"']
    assert fields.keys("x.y.z") == ["x[].y[].z"]
    assert fields.keys("nowhere") == []
    assert fields.keys("l") is None
    assert fields.keys('q"') is None
    fields.observe({"a": [{"b": 1}]})
    assert fields.keys("a.b") == ["a.b", "a[].b"]
    assert Fields.from_json(fields.to_json()).keys("a.b") == ["a.b", "a[].b"]


def test_fields_tell_news_only_once() -> None:
    fields = Fields()
    assert fields.observe({"a": [1, "x"], "b": {"c": None}})
    assert not fields.observe({"a": ["y"], "b": {}})
    assert fields.observe({"a": 1})
    assert not fields.observe({"a": 1})


def test_with_too_many_fields_unknown_ones_may_be_anything() -> None:
    fields = observed({"known": 1}, {f"f{n}": n for n in range(seen.MAX_PATHS + 10)})
    assert fields.keys("known") == ["known"]
    assert fields.keys("nowhere") is None
    assert plan(Condition("nowhere", "eq", 1), fields).residual != ALL


def test_the_index_fits_what_was_seen() -> None:
    fields = observed(
        {
            "s": "a",
            "i": 1,
            "f": 1.5,
            "b": True,
            "t": "2026-01-01",
            "m": "a",
            "long": "x" * 500,
            "st": "2026-01-01",
        },
        {"f": 1, "m": 1, "st": "a"},
    )
    assert fields.index_to_make("s") is None
    fields.indexing = True
    paths = ("s", "i", "f", "b", "t", "st", "m", "long", "nowhere")
    assert [fields.index_to_make(path) for path in paths] == [
        "keyword", "integer", "float", "bool", "datetime", "keyword", None, None, None,
    ]  # fmt: skip
    fields.indexes["i"] = "integer"
    assert fields.index_to_make("i") is None
    fields.observe({"i": 2.5})
    assert fields.index_to_make("i") == "float"


def test_common_filters_are_answered_by_the_engine_alone() -> None:
    fields = observed(
        {"s": "News", "n": 1, "t": "2026-01-01T00:00:00Z", "tags": ["a"], "_internal": {"x": {"y": "z"}}}
    )
    fields.vocabularies["s"] = Vocabulary(["News", "NEWS", "Sport"])
    for condition in (
        Condition("s", "eq", "news"),
        Condition("s", "in", ["news", None]),
        Condition("s", "regex", "^n"),
        Condition("n", "gte", 3),
        Condition("t", "lt", "2026-02-01"),
        Condition("tags", "eq", "a", True),
        Condition("_internal.x.y", "ne", "q", True),
        Condition("tags", "exists", True),
        Condition("unknown", "starts_with", "x"),
    ):
        assert plan(condition, fields).residual == ALL, condition
    assert plan(Condition("place", "exists", True), fields).wanted == set()


def test_a_vocabulary_knows_spellings() -> None:
    words = Vocabulary(["News", "NEWS", "Sport", "News"])
    assert words.strings == ["News", "NEWS", "Sport"]
    assert words.spellings(["news", "none"]) == ["News", "NEWS"]
    words.add("news")
    assert words.passing(lambda text: text == "news") == ["news"]
