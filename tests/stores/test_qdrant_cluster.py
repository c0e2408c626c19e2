"""A cluster of three Qdrant nodes, each point on two of them, of which one is killed."""

import asyncio
import random
from pathlib import Path

from lamina.core.errors import UnavailableError
from lamina.stores.vectors.base import CollectionRef, Nearest, VectorQuery
from lamina.stores.vectors.server import QdrantVectorStore
from lamina.stores.vectors.server_client import ServerOptions
from tests.qdrant import QdrantCluster
from tests.stores.vector_points import document, filled

AT = CollectionRef("ns_1", "col_1")


class Traffic:
    """Writes and searches without a pause, and what came of them."""

    def __init__(self, store: QdrantVectorStore) -> None:
        self.store = store
        self.acknowledged: list[str] = []
        self.searched = 0
        self.refused = 0
        self._going_on = True
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._write(10_000 * n)) for n in range(1, 4)]
        self._tasks += [asyncio.create_task(self._search()) for _ in range(3)]

    async def stop(self) -> None:
        self._going_on = False
        await asyncio.gather(*self._tasks)

    async def until(self, acknowledged: int, searched: int) -> None:
        """Until so many points were acknowledged and so many searches answered, in all."""
        async with asyncio.timeout(60):
            while len(self.acknowledged) < acknowledged or self.searched < searched:
                self._moved.clear()
                await self._moved.wait()

    async def _write(self, number: int) -> None:
        while self._going_on:
            number += 5
            numbers = range(number, number + 5)
            try:
                await self.store.upsert(AT, [document(n) for n in numbers])
            except UnavailableError:
                self.refused += 1
                await asyncio.sleep(0.05)
            else:
                self.acknowledged += [f"doc_{n:03d}" for n in numbers]
                self._moved.set()

    async def _search(self) -> None:
        query = VectorQuery(Nearest([1.0, 0.0, 0.0, 0.0], "dense"), limit=10)
        while self._going_on:
            try:
                assert len(await self.store.search(AT, query)) == 10
            except UnavailableError:
                self.refused += 1
                await asyncio.sleep(0.05)
            else:
                self.searched += 1
                self._moved.set()


async def test_no_acknowledged_point_is_lost_with_a_node(tmp_path: Path) -> None:
    choose = random.Random()
    with QdrantCluster(tmp_path) as cluster:
        store = QdrantVectorStore(
            ServerOptions(cluster.nodes[0].url, replication_factor=2, shard_number=3, timeout=10)
        )
        await store.verify()
        await filled(store, range(200))
        traffic = Traffic(store)
        traffic.start()
        for victim in (1, 2):
            await asyncio.to_thread(cluster.wait_until_whole, "lamina.ns_1")
            await asyncio.sleep(choose.uniform(0.5, 1.5))
            cluster.nodes[victim].kill()
            written, searched = len(traffic.acknowledged), traffic.searched
            await traffic.until(written + 100, searched + 50)
            acknowledged = list(traffic.acknowledged)
            assert len(await store.get(AT, acknowledged)) == len(acknowledged)
            await asyncio.to_thread(cluster.nodes[victim].start)
        await traffic.stop()
        await asyncio.to_thread(cluster.wait_until_whole, "lamina.ns_1")
        assert len(await store.get(AT, traffic.acknowledged)) == len(traffic.acknowledged)
        assert await store.count(AT) >= 200 + len(traffic.acknowledged)
        await store.close()
