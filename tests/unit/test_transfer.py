"""Copying an installation's stores: cut off, gone on with, and proven to be the same."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from lamina.cli.failures import Failure
from lamina.cli.moving import KEYS, backup, migrate
from lamina.core.errors import UnavailableError
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.settings import Settings
from lamina.core.statuses import Status
from lamina.engines import open_engines, open_records, open_stores
from lamina.platform.tasks import TASKS, Task, TaskType
from lamina.processing.batches import BATCHES, Batch
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.records.marks import Mark
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import CollectionRef, Lexical, Point, VectorQuery, VectorSpec
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.transfer.copying import DifferenceError, Stores, copy
from lamina.transfer.moving import move
from lamina.transfer.preconditions import check_empty, check_unmarked, refuse_half_copies
from lamina.transfer.progress import Progress, TransferError

T = TypeVar("T")

AT = CollectionRef("ns_1", "col_1")
SCOPE = Scope("org_1", "ns_1")
COUNT = 1_234
KIND = TaskType.NAMESPACE_DELETE


class CutOff(EdgeVectorStore):
    """A store that fails after some writes."""

    writes_left = 1_000

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write, or fail."""
        self.writes_left -= 1
        if self.writes_left < 0:
            raise UnavailableError("The line is cut.")
        await super().upsert(at, points)


async def opened(folder: Path) -> Stores:
    """Empty embedded stores."""
    records = await SqlRecordStore.open(f"sqlite+aiosqlite:///{folder / 'records.sqlite'}")
    return Stores(records, CutOff(folder / "vectors"), FolderBlobStore(folder / "blobs"))


async def closed(stores: Stores) -> None:
    """Let go of them."""
    for store in (stores.records, stores.vectors, stores.blobs):
        assert store is not None
        await store.close()


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Stores]:
    """Stores with records, points and blobs."""
    (tmp_path / "source").mkdir()
    stores = await opened(tmp_path / "source")
    assert stores.records
    assert stores.vectors
    assert stores.blobs
    tasks = [
        Task(
            task_id=f"task_{n}",
            task_type=KIND,
            status=Status.COMPLETED,
            error=f"√ {n}",
        )
        for n in range(2_100)
    ]
    await stores.records.repository(TASKS).add(SCOPE, *tasks)
    await stores.vectors.create(AT, [VectorSpec("dense", 8)])
    await stores.vectors.index(AT, "n", "integer")
    random = np.random.default_rng(1)
    points = [
        Point(f"doc_{n}", {"n": n}, {"dense": random.normal(size=8).astype(np.float32)}, lexical=f"word{n}")
        for n in range(COUNT)
    ]
    await stores.vectors.upsert(AT, points)
    for n in range(5):
        await stores.blobs.put(f"ns_1/a/{n}.bin", bytes([n]) * 1_000)
    yield stores
    await closed(stores)


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Stores]:
    """Empty stores."""
    (tmp_path / "target").mkdir()
    stores = await opened(tmp_path / "target")
    yield stores
    await closed(stores)


def silent(part: str, more: int) -> None:
    """Nobody is told."""


async def test_everything_arrives(source: Stores, target: Stores, tmp_path: Path) -> None:
    said: dict[str, int] = {}
    progress = Progress.at(tmp_path / "p.json", "there")
    counts, proof = await copy(
        source, target, ["ns_1"], progress, lambda part, more: said.update({part: said.get(part, 0) + more})
    )
    assert proof["table tasks"]
    assert counts == {"records": 2_100, "points": COUNT, "blobs": 5}
    assert said == {**counts, "verified": 2_100 + COUNT + 5}
    assert target.records
    assert target.vectors
    repository = target.records.repository(TASKS)
    assert (await repository.get(SCOPE, "task_7")).error == "√ 7"
    fresh = Task(task_id="task_x", task_type=KIND, status=Status.PENDING)
    await repository.add(SCOPE, fresh)  # numbers go on behind those that were copied
    assert await repository.count(EVERYWHERE) == 2_101
    hits = await target.vectors.search(AT, VectorQuery(Lexical("word77"), limit=3))
    assert [hit.point.document_id for hit in hits] == ["doc_77"]
    assert (await target.vectors.info(AT)).indexes["n"] == "integer"


async def test_a_copy_that_was_cut_off_is_not_complete_and_goes_on(
    source: Stores, target: Stores, tmp_path: Path
) -> None:
    assert isinstance(target.vectors, CutOff)
    assert target.records
    target.vectors.writes_left = 1
    progress = Progress.at(tmp_path / "p.json", "there")
    with pytest.raises(UnavailableError):
        await copy(source, target, ["ns_1"], progress, silent)
    assert await target.vectors.count(AT) == 500
    with pytest.raises(TransferError, match="of a copy to there"):
        Progress.at(tmp_path / "p.json", "elsewhere")
    assert await target.records.repository(TASKS).count(EVERYWHERE) == 0, "records come last"
    target.vectors.writes_left = 2
    counts, _ = await copy(source, target, ["ns_1"], Progress.at(tmp_path / "p.json", "there"), silent)
    assert counts["points"] == COUNT


class Forgetful(CutOff):
    """A store that loses what it is given of a document."""

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write all but one."""
        await super().upsert(at, [point for point in points if point.document_id != "doc_6"])


async def test_what_differs_is_not_called_done(source: Stores, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    target = replace(await opened(tmp_path / "target"), vectors=Forgetful(tmp_path / "target" / "vectors"))
    for anew in (False, True):
        progress = Progress.at(tmp_path / "p.json", "there")
        with pytest.raises(DifferenceError, match="1,234 points and its copy 1,233"):
            await copy(source, target, ["ns_1"], progress, silent, anew=anew)
    await closed(target)


async def test_what_changed_between_two_tries_is_copied_anew(
    source: Stores, target: Stores, tmp_path: Path
) -> None:
    assert source.vectors
    assert source.records
    assert source.blobs
    assert target.vectors
    assert target.records
    assert target.blobs

    async def copied(*, anew: bool = True) -> dict[str, int]:
        progress = Progress.at(tmp_path / "p.json", "there")
        return (await copy(source, target, ["ns_1"], progress, silent, anew=anew))[0]

    gone = CollectionRef("ns_1", "col_2")
    await source.vectors.create(gone, [VectorSpec("dense", 8)])
    await source.vectors.upsert(gone, [Point("doc_x", {}, {})])
    assert (await copied(anew=False))["points"] == COUNT + 1
    # The source was served meanwhile.
    await source.vectors.replace_payloads(AT, {"doc_5": {"n": -5}})
    await source.vectors.delete(AT, ["doc_6"])
    await source.vectors.drop(gone)
    await source.blobs.delete("ns_1/a/0.bin")
    await source.blobs.put("ns_1/a/3.bin", b"x" * 1_000)
    tasks = source.records.repository(TASKS)
    task = await tasks.get(SCOPE, "task_9")
    await tasks.update(SCOPE, task.model_copy(update={"error": "other"}))
    await tasks.delete(SCOPE, "task_10")
    with pytest.raises(DifferenceError):
        await copied(anew=False)
    assert len([info async for info in target.blobs.list("")]) == 5, "nothing is removed"
    assert await copied() == {"records": 2_099, "points": COUNT - 1, "blobs": 4}
    assert await target.vectors.collections("ns_1") == ["col_1"]
    kept = sorted([info.key async for info in target.blobs.list("")])
    assert kept == [f"ns_1/a/{n}.bin" for n in range(1, 5)]
    # The target was emptied meanwhile: everything arrives in one try.
    await target.vectors.drop(AT)
    await target.blobs.delete_prefix("")
    assert await copied() == {"records": 2_099, "points": COUNT - 1, "blobs": 4}


async def test_what_others_keep_at_the_target_is_never_removed(
    source: Stores, target: Stores, tmp_path: Path
) -> None:
    assert isinstance(target.vectors, CutOff)
    assert target.records
    assert target.blobs
    records, blobs = target.records, target.blobs

    async def moved() -> dict[str, int]:
        progress = Progress.at(tmp_path / "migration.json", "there")
        return await move(source, target, ["ns_1"], progress, silent, records=records)

    Progress.at(tmp_path / "migration.json", "there").write()  # a first try that was killed at once
    await blobs.put("ns_9/theirs.bin", b"x")
    for _ in range(2):
        with pytest.raises(TransferError, match="blobs already"):
            await moved()
        assert await records.marked() is None
    await blobs.delete("ns_9/theirs.bin")
    target.vectors.writes_left = 1
    with pytest.raises(UnavailableError):
        await moved()
    assert await records.marked() is not None
    await blobs.put("ns_9/theirs.bin", b"x")
    await blobs.put("ns_1/a/departed.bin", b"x")
    target.vectors.writes_left = 1_000
    assert await moved() == {"records": 2_100, "points": COUNT, "blobs": 5}
    assert len([info async for info in blobs.list("")]) == 6
    assert await blobs.get("ns_9/theirs.bin") == b"x"
    assert await records.marked() is None


def test_a_backup_that_is_complete_has_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "records.sqlite").touch()
    for name in KEYS:
        (source / name).write_text(f"the {name}")

    class KilledError(Exception):
        """Nothing more is done."""

    def killed_at_the_end(progress: Progress, write: Callable[[Progress], None] = Progress.write) -> None:
        if progress.complete:
            raise KilledError
        write(progress)

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Progress, "write", killed_at_the_end)
        backup(folder, data_dir=source, as_json=True)
    assert not Progress.read(folder / "backup.json").complete
    assert {name: (folder / name).read_text() for name in KEYS} == {name: f"the {name}" for name in KEYS}
    assert {(folder / name).stat().st_mode & 0o777 for name in KEYS} == {0o600}
    backup(folder, data_dir=source, as_json=True)
    assert Progress.read(folder / "backup.json").complete


def test_a_copy_that_was_killed_at_its_very_end_can_be_served(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "records.sqlite").touch()

    async def mark(copy_id: str) -> None:
        async with open_records(Settings(data_dir=folder)) as records:
            await records.mark(Mark(copy_id, "backup", str(folder)))

    async def marked() -> bool:
        async with open_records(Settings(data_dir=folder)) as records:
            return await records.marked() is not None

    backup(folder, data_dir=source, as_json=True)
    assert not asyncio.run(marked())
    asyncio.run(mark(Progress.read(folder / "backup.json").copy_id))
    with pytest.raises(Failure, match="completed already"):
        backup(folder, data_dir=source, as_json=True)
    assert not asyncio.run(marked())
    asyncio.run(mark("that of another copy"))
    with pytest.raises(Failure, match="completed already"):
        backup(folder, data_dir=source, as_json=True)
    assert asyncio.run(marked())


def test_half_a_copy_is_not_copied(tmp_path: Path) -> None:
    source = Settings(data_dir=tmp_path / "source")
    source.data_dir.mkdir()

    async def mark() -> None:
        async with open_records(source) as records:
            await records.mark(Mark("a", "restore", "elsewhere"))

    asyncio.run(mark())
    with pytest.raises(Failure, match="half a copy"):
        backup(tmp_path / "copy", data_dir=source.data_dir, as_json=True)
    with pytest.raises(TransferError, match="half of another copy"):
        check_unmarked(Mark("a", "restore", "elsewhere"))


def test_a_migration_can_be_given_up(tmp_path: Path) -> None:
    source = Settings(data_dir=tmp_path)
    progress = Progress.at(tmp_path / "migration.json", "points at http://127.0.0.1:1")
    progress.write()

    async def mark(records: SqlRecordStore) -> None:
        stays = {"vectors_url": None}
        await records.mark(Mark(progress.copy_id, "migrate", progress.target, stays))

    async def with_records(work: Callable[[SqlRecordStore], Awaitable[T]]) -> T:
        async with open_records(source) as records:
            return await work(records)

    asyncio.run(with_records(mark))
    migrate(vectors_url="http://127.0.0.1:1", give_up=True, data_dir=tmp_path)
    assert asyncio.run(with_records(SqlRecordStore.marked)) is None
    assert not (tmp_path / "migration.json").exists()
    with pytest.raises(Failure, match="no copy was begun"):
        migrate(give_up=True, data_dir=tmp_path)


def test_a_backup_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "copy"
    source.mkdir()

    async def begun() -> None:
        records = await SqlRecordStore.open(f"sqlite+aiosqlite:///{source / 'records.sqlite'}")
        await records.repository(BATCHES).add(SCOPE, Batch(bucket_id="bkt_1", status=Status.PROCESSING))
        await records.close()

    asyncio.run(begun())
    with pytest.raises(Failure, match="1 batch is not finished"):
        backup(folder, data_dir=source, as_json=True)
    assert not list(folder.iterdir())


def test_half_a_migration_is_not_served(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, vectors_url="http://127.0.0.1:1", blobs_url="s3://b/p")
    elsewhere = settings.model_copy(update={"vectors_url": "http://127.0.0.1:2", "blobs_url": None})
    Progress.at(tmp_path / "migration.json", "points at http://127.0.0.1:1, blobs at s3://b/p").write()
    refuse_half_copies(elsewhere, None)
    with pytest.raises(UnavailableError, match="migrate"):
        refuse_half_copies(settings, None)
    (tmp_path / "migration.json").write_text('{"target": "points')
    with pytest.raises(TransferError, match=r"migration\.json is damaged"):
        refuse_half_copies(elsewhere, None)


async def test_records_tell_of_half_a_migration(source: Stores, tmp_path: Path) -> None:
    assert source.records
    settings = Settings(data_dir=tmp_path, vectors_url="http://127.0.0.1:1", blobs_url="s3://b/p")
    before = settings.model_copy(update={"vectors_url": "http://127.0.0.1:2"})
    await source.records.mark(Mark("a", "migrate", "records elsewhere"))
    await source.records.mark(Mark("b", "migrate", "points elsewhere", {"vectors_url": before.vectors_url}))
    mark = await source.records.marked()
    refuse_half_copies(before, mark)  # the source may be used as it was
    with pytest.raises(UnavailableError, match="points elsewhere"):
        refuse_half_copies(settings, mark)
    with pytest.raises(UnavailableError, match="records elsewhere"):
        refuse_half_copies(before, Mark("a", "migrate", "records elsewhere"))
    await source.records.unmark()
    assert await source.records.marked() is None


async def test_a_store_that_holds_something_is_not_copied_to(source: Stores, target: Stores) -> None:
    await check_empty(target, ["ns_1"])
    for held in (Stores(None, source.vectors, None), Stores(None, None, source.blobs)):
        with pytest.raises(TransferError, match="already"):
            await check_empty(held, ["ns_1"])


async def test_a_copy_builds_no_graphs(tmp_path: Path) -> None:
    """They would take the cores from it, for a store that it leaves behind."""
    settings = Settings(data_dir=tmp_path)

    def builders() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "graphs"}

    before = builders()  # of other stores
    async with open_stores(settings):
        assert builders() <= before
    async with open_engines(settings):
        assert len(builders() - before) == 1
