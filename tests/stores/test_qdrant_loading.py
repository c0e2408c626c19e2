"""Loads into a Qdrant server: its optimizers wait, and go on at the end, whatever the end is."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import UnavailableError
from lamina.stores.vectors.base import CollectionRef, Point, VectorSpec
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.stores.vectors.server import QdrantVectorStore
from lamina.stores.vectors.server_client import ServerOptions
from lamina.stores.vectors.server_loading import put_off, segments_for
from lamina.stores.vectors.server_registry import Optimizing
from lamina.transfer.copying import DifferenceError, Stores, copy
from lamina.transfer.progress import Progress
from tests.qdrant import QdrantServer
from tests.stores.test_qdrant_store import several
from tests.stores.vector_points import AT, ELSEWHERE, SIZE, document, filled

COUNT = 1_300
PUT_OFF = put_off(segments_for(COUNT + 1))
USUAL = Optimizing(indexing_threshold=10_000, default_segment_number=0)
"""What a Qdrant server keeps to by itself."""


class Watched(QdrantVectorStore):
    """A store that notes what the optimizers keep to at each write, and may die of one."""

    def __init__(self, server: QdrantServer, prefix: str, **how: Any) -> None:
        super().__init__(ServerOptions(server.url), prefix=prefix, **how)
        self.noted: list[Optimizing] = []
        self.writes_left = 1_000
        self.reads_less = False

    async def upsert(self, at: CollectionRef, points: Sequence[Point]) -> None:
        """Write, or die as by `kill -9`."""
        self.writes_left -= 1
        if self.writes_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.noted.append(await optimizing(self))
        await super().upsert(at, points)

    async def get(
        self, at: CollectionRef, document_ids: Sequence[str], *, with_vectors: bool | Sequence[str] = False
    ) -> list[Point]:
        """Read, and leave one out where asked to."""
        found = await super().get(at, document_ids, with_vectors=with_vectors)
        return found[1:] if self.reads_less else found


async def optimizing(store: QdrantVectorStore) -> Optimizing:
    """What the optimizers of the namespace keep to."""
    return Optimizing.told(await store._server.client.get_collection(store._spaces.alias(AT.namespace_id)))


async def move(store: Watched, folder: Path) -> None:
    """Copy what is in a folder to a server, going on where it was cut off."""
    source = EdgeVectorStore(folder / "source")
    try:
        stores = Stores(None, source, None), Stores(None, store, None)
        await copy(*stores, ["ns_1"], Progress.at(folder / "p.json", "there"), lambda part, more: None)
    finally:
        await source.close()


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """One with something to copy: two collections with different vectors."""
    source = await filled(EdgeVectorStore(tmp_path / "source"), range(COUNT))
    await source.create(ELSEWHERE, [VectorSpec("other", 2)])
    await source.upsert(ELSEWHERE, [Point("doc_x", {}, {"other": [1, 0]})])
    await source.close()
    return tmp_path


def killed(folder: Path, server: QdrantServer, prefix: str) -> None:
    """Copy in a process that is killed at its second write."""
    code = (
        "import asyncio, sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from tests.stores.test_qdrant_loading import Watched, move\n"
        "store = Watched(SimpleNamespace(url=sys.argv[1]), sys.argv[2]); store.writes_left = 1\n"
        "asyncio.run(move(store, Path(sys.argv[3])))"
    )
    done = subprocess.run([sys.executable, "-c", code, server.url, prefix, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL


async def test_optimizers_wait_until_all_points_are_there(qdrant: QdrantServer, folder: Path) -> None:
    async with several(qdrant, "loaded", 1) as (other,):
        store = Watched(qdrant, "loaded")
        await move(store, folder)
        assert set(store.noted) == {PUT_OFF}
        assert await optimizing(store) == USUAL
        assert await other.count(AT) == COUNT
        assert (await other._registry.spaces())[0].loading is None
        await store.close()


async def test_they_go_on_after_a_copy_that_differs(qdrant: QdrantServer, folder: Path) -> None:
    async with several(qdrant, "differs", 1):
        store = Watched(qdrant, "differs")
        store.reads_less = True
        with pytest.raises(DifferenceError):
            await move(store, folder)
        assert set(store.noted) == {PUT_OFF}
        assert await optimizing(store) == USUAL
        store.reads_less = False
        await move(store, folder)
        assert await optimizing(store) == USUAL
        await store.close()


async def test_a_load_that_was_killed_goes_on_and_ends(qdrant: QdrantServer, folder: Path) -> None:
    async with several(qdrant, "goes-on", 1):
        killed(folder, qdrant, "goes-on")
        store = Watched(qdrant, "goes-on", takeover=0.2)
        assert await optimizing(store) == PUT_OFF
        await store.verify()  # which would end the load
        await move(store, folder)
        assert set(store.noted) == {PUT_OFF}
        assert await optimizing(store) == USUAL
        assert await store.count(AT) == COUNT
        await store.close()


async def test_a_load_that_was_killed_is_ended_by_who_serves_it(qdrant: QdrantServer, folder: Path) -> None:
    async with several(qdrant, "serves", 1, takeover=0.1) as (serving,):
        killed(folder, qdrant, "serves")
        assert await optimizing(serving) == PUT_OFF
        await serving.verify()
        until = asyncio.get_running_loop().time() + 20
        while await optimizing(serving) != USUAL or (await serving._registry.spaces())[0].loading:
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)


async def test_a_load_that_lives_is_not_ended_by_who_watches_it(qdrant: QdrantServer) -> None:
    async with several(qdrant, "lives", 2, takeover=0.3) as (loading, watching):
        async with loading.loading(AT.namespace_id, COUNT + 1):
            await filled(loading, range(3))
            await watching.verify()
            await asyncio.sleep(1.5)  # a page that takes its time to be read
            assert await optimizing(watching) == PUT_OFF
        assert await optimizing(watching) == USUAL


async def test_a_namespace_that_was_half_made_for_a_load_is_as_any_other(
    qdrant: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise UnavailableError("It is dead.")

    async with several(qdrant, "half-made", 2) as (dying, other):
        monkeypatch.setattr(dying._spaces, "_point_alias", die)
        with pytest.raises(UnavailableError):
            async with dying.loading(AT.namespace_id, COUNT + 1):
                await dying.create(AT, [VectorSpec("dense", SIZE)])
        await filled(other, range(3))
        assert await optimizing(other) == USUAL


async def test_a_vector_that_is_added_in_a_load_changes_nothing_of_it(qdrant: QdrantServer) -> None:
    async with several(qdrant, "added", 1) as (store,):
        async with store.loading(AT.namespace_id, COUNT + 1):
            await filled(store, range(3))
            await store.create(AT, [VectorSpec("later", 2)])
            assert await optimizing(store) == PUT_OFF
            await store.upsert(AT, [document(5)])
        assert await optimizing(store) == USUAL
        assert await store.count(AT) == 4


async def test_a_namespace_in_use_keeps_its_optimizers(qdrant: QdrantServer) -> None:
    async with several(qdrant, "in-use", 1) as (store,):
        await filled(store, range(3))
        async with store.loading(AT.namespace_id, COUNT + 1):
            assert await optimizing(store) == USUAL
            await store.upsert(AT, [document(5)])
        assert await optimizing(store) == USUAL


def test_a_load_has_more_segments_the_more_points_it_has() -> None:
    assert [segments_for(points) for points in (0, 1, 1_000, 30_000, 100_000, 10**9)] == [1, 1, 3, 21, 39, 64]
