"""The namespaces that the tests of stages run in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lamina.inference.registry import ModelSettings
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.vectors.edge import EdgeVectorStore
from tests.qdrant import qdrant_store
from tests.shared import Engines
from tests.stages.world import (
    COLORS,
    MORE,
    AxesModels,
    OpenVectors,
    World,
    collection,
    copied,
    point,
    vector_index,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All async tests of this folder share one loop, and with it the namespaces that none changes."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def open_vectors(engines: Engines) -> Iterator[OpenVectors]:
    """Opens an empty vector store for a folder."""
    with engines() as stores:
        url = stores.get("LAMINA_VECTORS_URL")
        yield (lambda folder: qdrant_store(folder, url)) if url else EdgeVectorStore


def opened(folder: Path, open_vectors: OpenVectors) -> World:
    """A namespace without collections."""
    models = AxesModels(ModelSettings(models_dir=folder / "models"))
    return World(open_vectors(folder / "vectors"), models, FolderBlobStore(folder / "blobs"))


async def made(folder: Path, open_vectors: OpenVectors) -> World:
    """Two collections with one text vector each."""
    world = opened(folder, open_vectors)
    await world.add(collection("colors", vector_index()), [copied(one) for one in COLORS])
    await world.add(collection("more", vector_index()), [copied(one) for one in MORE])
    return world


async def made_large(folder: Path, open_vectors: OpenVectors) -> World:
    """One collection of 300 documents, each a little less red than the one before."""
    world = opened(folder, open_vectors)
    points = [
        point(f"doc_{n:03}", [1.0, n / 100, 0.0], "red " * (n % 7 + 1) + f"word{n}", n=n, even=n % 2 == 0)
        for n in range(300)
    ]
    await world.add(collection("colors", vector_index()), points)
    return world


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def world(open_vectors: OpenVectors, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two small collections that no test changes."""
    world = await made(tmp_path_factory.mktemp("world"), open_vectors)
    yield world
    await world.vectors.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def many(open_vectors: OpenVectors, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A collection of 300 documents that no test changes."""
    world = await made_large(tmp_path_factory.mktemp("many"), open_vectors)
    yield world
    await world.vectors.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def empty(open_vectors: OpenVectors, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two collections without documents."""
    world = opened(tmp_path_factory.mktemp("empty"), open_vectors)
    for name in ("colors", "more"):
        await world.add(collection(name, vector_index()), [])
    yield world
    await world.vectors.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_world(open_vectors: OpenVectors, tmp_path: Path) -> AsyncIterator[World]:
    """Like `world`, for a test that changes it."""
    world = await made(tmp_path, open_vectors)
    yield world
    await world.vectors.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_many(open_vectors: OpenVectors, tmp_path: Path) -> AsyncIterator[World]:
    """Like `many`, for a test that changes it."""
    world = await made_large(tmp_path, open_vectors)
    yield world
    await world.vectors.close()
