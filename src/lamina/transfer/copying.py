"""Copying records, points and blobs, going on where a copy was cut off, and proving that all has arrived.

What was done is written beside the copy (`Progress`) as it is done. A copy is complete when every
table, collection and blob of the source was read from both sides and found to be the same, and
not before.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import numpy as np
import orjson

from lamina import __version__
from lamina.core.errors import LaminaError, NotFoundError
from lamina.stores.blobs.base import BlobInfo, BlobStore
from lamina.stores.records.copying import tables
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import CollectionRef, Point, PointPage, SparseVector, Vector, VectorStore

POINTS: Final = 500
"""Points that are read and written at once."""

_WRITES: Final = 4
"""Writes of points under way: some are made ready while the other engine works on the last ones."""

_BLOBS: Final = 8
"""Blobs that are under way at once: most of their time is waiting."""

_KEEP_EVERY: Final = 0.5
"""Seconds of a copy that a crash may have done again."""

_CLOSE: Final = 1e-5
"""How far a component of a vector may be off: engines normalise what is compared by cosine."""

T = TypeVar("T")

Said = Callable[[str, int], None]
"""Told the part under way (`records`, `points`, `blobs`, `verified`) and how many more are done."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where an installation keeps its state. A part that is None is not copied."""

    records: SqlRecordStore | None
    vectors: VectorStore | None
    blobs: BlobStore | None


class TransferError(LaminaError):
    """A copy cannot be begun, or is not what it is a copy of."""

    status = 409


class DifferenceError(TransferError):
    """Source and copy are not the same."""


@dataclass(slots=True)
class Progress:
    """What of a copy is done, kept in a file. `target` says where it goes, for people and for a later try."""

    file: Path
    target: str
    cursors: dict[str, str | None] = field(default_factory=dict)
    """For each collection that was begun, behind which point it goes on; None when all are there."""
    counts: dict[str, int] = field(default_factory=dict)
    proof: dict[str, str] = field(default_factory=dict)
    """What a complete copy holds: digests of tables and of blobs, and numbers of points."""
    complete: bool = False
    _written: float = field(default=0.0, init=False)

    @classmethod
    def at(cls, file: Path, target: str) -> Self:
        """What is known of a copy; `TransferError` when the file is of another, or of one that is done."""
        if not file.is_file():
            return cls(file, target)
        stored = orjson.loads(file.read_bytes())
        if stored["target"] != target:
            raise TransferError(
                f"{file} is of a copy to {stored['target']}; finish that one, or remove the file."
            )
        if stored["complete"]:
            raise TransferError(f"The copy to {target} was completed already, as {file} says.")
        return cls(file, **stored)

    def arrived(self, at: CollectionRef) -> bool:
        """Whether all points of a collection were copied."""
        key = _key(at)
        return key in self.cursors and self.cursors[key] is None

    def begin_anew(self, at: CollectionRef) -> None:
        """Forget that a collection was copied."""
        self.cursors.pop(_key(at), None)
        self.write()

    def reached(self, at: CollectionRef, after: str | None) -> None:
        """Remember behind which point a collection's copy goes on, and keep it now and then."""
        self.cursors[_key(at)] = after
        if time.monotonic() - self._written > _KEEP_EVERY:
            self.write()

    def write(self) -> None:
        """Keep it."""
        self._written = time.monotonic()
        content = {
            "target": self.target,
            "cursors": self.cursors,
            "counts": self.counts,
            "proof": self.proof,
            "complete": self.complete,
        }
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        fresh.replace(self.file)


async def copy(
    source: Stores,
    target: Stores,
    namespaces: Sequence[str],
    progress: Progress,
    said: Said,
    expected: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Copy everything and verify it; how many rows, points and blobs there are.

    Nothing may write to the source meanwhile. Raises `DifferenceError` where the copy is not
    the same in the end, or not what is `expected` of a source that is a copy itself (the proof of its
    progress); a later call goes on from what has arrived.
    """
    progress.complete = False
    proof = {"version": __version__}
    progress.write()
    counts = {"records": 0, "points": 0, "blobs": 0}
    # Records come last: a server that is started on half a copy finds no installation in it.
    if source.blobs and target.blobs:
        counts["blobs"], proof["blobs"] = await _blobs(source.blobs, target.blobs, said)
    if source.vectors and target.vectors:
        for namespace in namespaces:
            places = [CollectionRef(namespace, one) for one in await source.vectors.collections(namespace)]
            there = sum([await source.vectors.count(at) for at in places])
            async with target.vectors.loading(namespace, there):
                for at in places:  # before any points: a further vector may have the engine copy them
                    await _made(source.vectors, target.vectors, at, progress)
                for at in places:
                    await _points(source.vectors, target.vectors, at, progress, said)
                    try:
                        count = await _verify_points(source.vectors, target.vectors, at, said)
                    except DifferenceError:
                        progress.begin_anew(at)
                        raise
                    counts["points"] += count
                    proof[f"points of {_key(at)}"] = str(count)
    if source.records and target.records:
        counts["records"] = await _records(source.records, target.records, said, proof)
    _check_proof(proof, expected or {})
    progress.counts, progress.proof, progress.complete = counts, proof, True
    progress.write()
    return counts


def _check_proof(proof: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raise `DifferenceError` when a source is not what it was; another version has other tables."""
    same_version = expected.get("version") == proof["version"]
    for part, told in expected.items():
        comparable = part != "version" and (same_version or not part.startswith("table "))
        if comparable and proof.get(part) != told:
            raise DifferenceError(
                f"The backup is not what it was when it was made, in its {part}: files were lost or damaged, "
                "or it was served since. Take another one."
            )


# Records


async def _records(source: SqlRecordStore, target: SqlRecordStore, said: Said, proof: dict[str, str]) -> int:
    count = 0
    for table in await tables(source.database, target.database):
        async for rows in table.copy():
            said("records", rows)
        ours, theirs = await table.digests()
        if ours != theirs:
            raise DifferenceError(
                f"The table {table.ours.name} has {ours[0]:,} rows and its copy {theirs[0]:,}, "
                "or rows that differ. Was the target in use? Begin with an empty one."
            )
        said("verified", ours[0])
        proof[f"table {table.ours.name}"] = ours[1]
        count += ours[0]
    return count


# Points


async def _made(source: VectorStore, target: VectorStore, at: CollectionRef, progress: Progress) -> None:
    """Make the copy of a collection, unless all of its points are there already."""
    if progress.arrived(at):
        return
    info = await source.info(at)
    await target.create(at, info.vectors)
    there = (await target.info(at)).indexes
    for name, type in info.indexes.items():
        if there.get(name) != type:
            await target.index(at, name, type)


async def _points(
    source: VectorStore, target: VectorStore, at: CollectionRef, progress: Progress, said: Said
) -> None:
    if progress.arrived(at):
        return
    writing: deque[tuple[PointPage, asyncio.Task[None]]] = deque()

    async def written() -> None:
        page, write = writing.popleft()
        await write
        said("points", len(page.points))
        progress.reached(at, page.after)

    try:
        async with _one_ahead(_exported(source, at, progress.cursors.get(_key(at)))) as pages:
            async for page in pages:
                writing.append((page, asyncio.create_task(target.upsert(at, page.points))))
                if len(writing) == _WRITES:
                    await written()
        while writing:
            await written()
    finally:
        await asyncio.gather(*(write for _, write in writing), return_exceptions=True)
        progress.write()


async def _exported(
    store: VectorStore, at: CollectionRef, after: str | None
) -> AsyncGenerator[PointPage, None]:
    while True:
        page = await store.export(at, limit=POINTS, after=after)
        yield page
        if (after := page.after) is None:
            return


@asynccontextmanager
async def _one_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[AsyncIterator[T], None]:
    """The same items, each made while the one before it is worked on."""
    following: asyncio.Future[T | None] = asyncio.ensure_future(anext(items, None))

    async def each() -> AsyncIterator[T]:
        nonlocal following
        while (item := await following) is not None:
            following = asyncio.ensure_future(anext(items, None))
            yield item

    try:
        yield each()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await items.aclose()


def _key(at: CollectionRef) -> str:
    return f"{at.namespace_id}/{at.collection_id}"


async def _verify_points(source: VectorStore, target: VectorStore, at: CollectionRef, said: Said) -> int:
    ours, theirs = await source.count(at), await target.count(at)
    if ours != theirs:
        raise DifferenceError(
            f"The collection {at.collection_id} has {ours:,} points and its copy {theirs:,}. "
            "Was the source in use between two tries? Then begin with empty targets."
        )
    async with _one_ahead(_with_copies(source, target, at)) as pages:
        async for points, copies in pages:
            for point in points:
                if point.document_id not in copies or not _same(point, copies[point.document_id]):
                    raise DifferenceError(
                        f"The document {point.document_id} of {at.collection_id} is not the same in the copy."
                    )
            said("verified", len(points))
    return ours


async def _with_copies(
    source: VectorStore, target: VectorStore, at: CollectionRef
) -> AsyncGenerator[tuple[Sequence[Point], dict[str, Point]], None]:
    async with _one_ahead(_pages(source, at)) as pages:
        async for points in pages:
            ids = [point.document_id for point in points]
            copies = await target.get(at, ids, with_vectors=True)
            yield points, {point.document_id: point for point in copies}


async def _pages(store: VectorStore, at: CollectionRef) -> AsyncGenerator[Sequence[Point], None]:
    after = None
    while True:
        page = await store.scroll(at, limit=POINTS, after=after, with_vectors=True)
        yield page.points
        if (after := page.after) is None:
            return


def _same(one: Point, other: Point) -> bool:
    return (
        one.payload == other.payload
        and set(one.vectors) == set(other.vectors)
        and all(_close(vector, other.vectors[name]) for name, vector in one.vectors.items())
    )


def _close(one: Vector, other: Vector) -> bool:
    if isinstance(one, SparseVector) or isinstance(other, SparseVector):
        return (
            isinstance(one, SparseVector)
            and isinstance(other, SparseVector)
            and dict(zip(one.indices, one.values, strict=True))
            == dict(zip(other.indices, other.values, strict=True))
        )
    ours, theirs = np.asarray(one, np.float32), np.asarray(other, np.float32)
    if ours.shape != theirs.shape:
        return False
    # `np.allclose` takes ten times as long.
    return bool((np.abs(ours - theirs) <= _CLOSE * (1 + np.abs(theirs))).all())


# Blobs


async def _blobs(source: BlobStore, target: BlobStore, said: Said) -> tuple[int, str]:
    """How many there are, and a SHA-256 of all, in whatever order they come."""
    total = 0

    async def arrive(info: BlobInfo) -> None:
        if await _size(target, info.key) != info.size:
            await target.put(info.key, source.stream(info.key))
            said("blobs", 1)

    async def verify(info: BlobInfo) -> None:
        nonlocal total
        sha = await _sha256(source, info.key)
        if sha != await _sha256(target, info.key):
            raise DifferenceError(f"The blob {info.key} is not the same in the copy.")
        total += int.from_bytes(hashlib.sha256(info.key.encode() + sha).digest())
        said("verified", 1)

    await _each(source.list(""), arrive)
    count = await _each(source.list(""), verify)
    return count, f"{total % 2**256:064x}"


async def _each(blobs: AsyncIterator[BlobInfo], work: Callable[[BlobInfo], Awaitable[None]]) -> int:
    """Do something with every blob, several at a time; how many there were."""
    count = 0
    some: list[BlobInfo] = []
    async for info in blobs:
        some.append(info)
        if len(some) == _BLOBS:
            await _all(map(work, some))
            count += len(some)
            some = []
    await _all(map(work, some))
    return count + len(some)


async def _all(under_way: Iterable[Awaitable[None]]) -> None:
    """Wait for all, also when one fails."""
    for failure in await asyncio.gather(*under_way, return_exceptions=True):
        if failure is not None:
            raise failure


async def _size(store: BlobStore, key: str) -> int | None:
    try:
        return (await store.head(key)).size
    except NotFoundError:
        return None


async def _sha256(store: BlobStore, key: str) -> Any:
    sha = hashlib.sha256()
    async for piece in store.stream(key):
        sha.update(piece)
    return sha.digest()
