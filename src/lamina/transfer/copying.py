"""Copying records, points and blobs, going on where a copy was cut off, and proving that all has arrived.

What was done is kept as it is done (`progress`). A copy is complete when every table, collection and
blob of the source was read from both sides and found to be the same, and not before.
"""

import asyncio
import hashlib
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
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from lamina import __version__
from lamina.core.errors import NotFoundError
from lamina.stores.blobs.base import BlobInfo, BlobStore
from lamina.stores.records.copying import tables
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import CollectionRef, Point, PointPage, SparseVector, Vector, VectorStore
from lamina.transfer.progress import Progress, TransferError

POINTS: Final = 500
"""Points that are read and written at once."""

_WRITES: Final = 4
"""Writes of points under way: some are made ready while the other engine works on the last ones."""

_BLOBS: Final = 8
"""Blobs that are under way at once: most of their time is waiting."""

_CLOSE: Final = 1e-5
"""How far a component of a vector may be off: engines normalise what is compared by cosine."""

_IN_USE: Final = "Is one of them in use? Stop what uses it, and give the command again."

T = TypeVar("T")

Said = Callable[[str, int], None]
"""Told the part under way (`records`, `points`, `blobs`, `verified`) and how many more are done."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where an installation keeps its state. A part that is None is not copied."""

    records: SqlRecordStore | None
    vectors: VectorStore | None
    blobs: BlobStore | None


class DifferenceError(TransferError):
    """Source and copy are not the same."""


async def copy(
    source: Stores,
    target: Stores,
    namespaces: Sequence[str],
    progress: Progress,
    said: Said,
    *,
    anew: bool = False,
) -> tuple[dict[str, int], dict[str, str]]:
    """Copy everything and verify it; how many rows, points and blobs there are, and their proof.

    Nothing may write to the source meanwhile. A later call goes on from what has arrived. `anew` says that
    all there is at the target came from an earlier try: then what has changed since is removed there and
    copied once more. Raises `DifferenceError` where the copy is not the same in the end.
    """
    proof = {"version": __version__}
    counts = {"records": 0, "points": 0, "blobs": 0}
    # Records come last: a server that is started on half a copy finds no installation in it.
    if source.blobs and target.blobs:
        if anew:
            await _drop_departed_blobs(source.blobs, target.blobs, namespaces)
        counts["blobs"], proof["blobs"] = await _blobs(source.blobs, target.blobs, said, anew)
    if source.vectors and target.vectors:
        for namespace in namespaces:
            if anew:
                await _drop_departed(source.vectors, target.vectors, namespace)
            places = [CollectionRef(namespace, one) for one in await source.vectors.collections(namespace)]
            there = sum([await source.vectors.count(at) for at in places])
            async with target.vectors.loading(namespace, there):
                for at in places:  # before any points: a further vector may have the engine copy them
                    await _made(source.vectors, target.vectors, at)
                for at in places:
                    count = await _collection(source.vectors, target.vectors, at, progress, said, anew)
                    counts["points"] += count
                    proof[f"points of {at.namespace_id}/{at.collection_id}"] = str(count)
    if source.records and target.records:
        async for table, rows, digest in _records(source.records, target.records, said, anew):
            counts["records"] += rows
            proof[f"table {table}"] = digest
    return counts, proof


def check_proof(proof: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raise `DifferenceError` when a backup is not what it was `expected` to be when it was made.

    What is not told of it is not compared, nor are tables of another version.
    """
    same_version = expected.get("version") == proof["version"]
    for part, told in expected.items():
        comparable = part != "version" and (same_version or not part.startswith("table "))
        if comparable and proof.get(part) != told:
            raise DifferenceError(
                f"The backup is not what it was when it was made, in its {part}: files were lost or damaged, "
                "or it was served since. Take another one."
            )


# Records


async def _records(
    source: SqlRecordStore, target: SqlRecordStore, said: Said, anew: bool
) -> AsyncIterator[tuple[str, int, str]]:
    """The name of each table, and when it is copied how many rows it has and their digest."""
    for table in await tables(source.database, target.database):
        last = not anew
        while True:
            async for rows in table.copy():
                said("records", rows)
            (count, digest), copied = await table.digests()
            if (count, digest) == copied:
                break
            if last:
                raise DifferenceError(
                    f"The table {table.ours.name} has {count:,} rows and its copy {copied[0]:,}, or rows "
                    f"that differ. {_IN_USE}"
                )
            last = True
            await table.clear()  # rows that were copied by an earlier try have changed since
        said("verified", count)
        yield table.ours.name, count, digest


# Points


async def _made(source: VectorStore, target: VectorStore, at: CollectionRef) -> None:
    """Make the copy of a collection, or what it lacks."""
    info = await source.info(at)
    await target.create(at, info.vectors)
    there = (await target.info(at)).indexes
    for name, type in info.indexes.items():
        if there.get(name) != type:
            await target.index(at, name, type)


async def _drop_departed(source: VectorStore, target: VectorStore, namespace_id: str) -> None:
    """Drop what an earlier try made of collections that are gone since."""
    there = await source.collections(namespace_id)
    for collection_id in await target.collections(namespace_id):
        if collection_id not in there:
            await target.drop(CollectionRef(namespace_id, collection_id))


async def _collection(
    source: VectorStore,
    target: VectorStore,
    at: CollectionRef,
    progress: Progress,
    said: Said,
    anew: bool,
) -> int:
    """Copy a collection and verify it; how many points it has."""
    last = not anew
    while True:
        await _points(source, target, at, progress, said)
        try:
            return await _verify_points(source, target, at, said)
        except DifferenceError:
            progress.begin_anew(at)
            if last:
                raise
        last = True
        await target.drop(at)  # points that were copied by an earlier try have changed since
        await _made(source, target, at)


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
        async with _one_ahead(_exported(source, at, progress.after(at))) as pages:
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


async def _verify_points(source: VectorStore, target: VectorStore, at: CollectionRef, said: Said) -> int:
    ours, theirs = await source.count(at), await target.count(at)
    if ours != theirs:
        raise DifferenceError(
            f"The collection {at.collection_id} has {ours:,} points and its copy {theirs:,}. {_IN_USE}"
        )
    made, copy = await source.info(at), await target.info(at)
    if set(made.vectors) != set(copy.vectors) or made.indexes.items() - copy.indexes.items():
        raise DifferenceError(
            f"The collection {at.collection_id} has other vectors or indexes than its copy. {_IN_USE}"
        )
    async with _one_ahead(_with_copies(source, target, at)) as pages:
        async for points, copies in pages:
            for point in points:
                if point.document_id not in copies or not _same(point, copies[point.document_id]):
                    raise DifferenceError(
                        f"The document {point.document_id} of {at.collection_id} is not the same in the "
                        f"copy. {_IN_USE}"
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


async def _drop_departed_blobs(source: BlobStore, target: BlobStore, namespaces: Sequence[str]) -> None:
    """Remove what an earlier try copied of blobs that are gone since. What is not ours stays."""

    async def drop(info: BlobInfo) -> None:
        if await _size(source, info.key) is None:
            await target.delete(info.key)

    for namespace in namespaces:
        await _each(target.list(f"{namespace}/"), drop)


async def _blobs(source: BlobStore, target: BlobStore, said: Said, anew: bool) -> tuple[int, str]:
    """How many there are, and a SHA-256 of all, in whatever order they come."""
    total = 0

    async def arrive(info: BlobInfo) -> None:
        if await _size(target, info.key) != info.size:
            await target.put(info.key, source.stream(info.key))
            said("blobs", 1)

    async def verify(info: BlobInfo) -> None:
        nonlocal total
        sha, copied = await _sha256(source, info.key), await _sha256(target, info.key)
        if sha != copied and anew:  # it was copied by an earlier try and has changed since
            await target.put(info.key, source.stream(info.key))
            copied = await _sha256(target, info.key)
        if sha != copied:
            raise DifferenceError(f"The blob {info.key} is not the same in the copy. {_IN_USE}")
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


async def _sha256(store: BlobStore, key: str) -> bytes:
    sha = hashlib.sha256()
    async for piece in store.stream(key):
        sha.update(piece)
    return sha.digest()
