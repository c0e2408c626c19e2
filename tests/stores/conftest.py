"""Engines for the suites of the stores. A further engine is one line more in `VECTOR_STORES`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import VectorStore
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.stores.vectors.server import QdrantVectorStore
from tests.qdrant import QdrantServer, qdrant_store

VECTOR_STORES: dict[str, Callable[..., VectorStore]] = {
    "edge": EdgeVectorStore,
    "edge, indexed from the first point": partial(EdgeVectorStore, index_from=0),
    "qdrant": qdrant_store,
    "qdrant, indexed from the first point": partial(qdrant_store, index_from=0),
}
"""How to open a store over a folder; those of a Qdrant server also take its URL."""


@pytest.fixture(scope="session")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    """A Qdrant server for the whole session."""
    with QdrantServer(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture(params=sorted(VECTOR_STORES))
def open_vectors(request: pytest.FixtureRequest) -> Callable[[Path], VectorStore]:
    """Opens a store of each engine, over a folder."""
    opened = VECTOR_STORES[request.param]
    if request.param.startswith("edge"):
        return opened
    return partial(opened, url=request.getfixturevalue("qdrant").url)


@pytest.fixture
async def vectors(open_vectors: Callable[[Path], VectorStore], tmp_path: Path) -> AsyncIterator[VectorStore]:
    """An empty vector store of each engine."""
    store = open_vectors(tmp_path / "vectors")
    yield store
    if isinstance(store, QdrantVectorStore):
        await emptied(store)
    await store.close()


async def emptied(store: QdrantVectorStore) -> None:
    """Remove what a test has left on the server, which would slow the others down."""
    for space in await store._registry.spaces():
        await store.drop_namespace(space.namespace_id)
    await store._spaces._remove(store._registry.name)


@pytest.fixture(params=["sqlite", "postgres"])
def records_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty record database of each engine."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'records.sqlite'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
async def records(records_url: str) -> AsyncIterator[SqlRecordStore]:
    """An empty record store of each engine."""
    store = await SqlRecordStore.open(records_url)
    yield store
    await store.close()


@pytest.fixture
async def pair(empty_postgres_url: str) -> AsyncIterator[tuple[SqlRecordStore, SqlRecordStore]]:
    """Two stores that open one new database at the same time, as two processes do."""
    stores = await asyncio.gather(*(SqlRecordStore.open(empty_postgres_url, 8) for _ in range(2)))
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


@pytest.fixture(scope="session")
def sqlite_engine() -> Iterator[sa.Engine]:
    """SQLite in memory."""
    engine = sa.create_engine("sqlite://")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_engine(postgres_url: str) -> Iterator[sa.Engine]:
    """A PostgreSQL database."""
    engine = sa.create_engine(postgres_url)
    yield engine
    engine.dispose()
