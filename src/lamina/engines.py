"""The engines that the settings name, and the lock of their data folder."""

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from lamina.core.errors import MissingExtraError, UnavailableError
from lamina.core.settings import Settings
from lamina.stores.blobs.base import BlobStore
from lamina.stores.blobs.cloud import CloudBlobStore
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.records.database import Database, Seen
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import VectorStore
from lamina.stores.vectors.edge import EdgeVectorStore

Engines = tuple[SqlRecordStore, VectorStore, BlobStore]


@asynccontextmanager
async def open_engines(settings: Settings, *, serving: bool = True) -> AsyncIterator[Engines]:
    """The stores that the settings name: in the data folder, or servers.

    Unless they are to be served from, points in the data folder get no graphs for searches.
    """
    async with AsyncExitStack() as stack:
        records = await _records(settings)
        stack.push_async_callback(records.close)
        blobs = await _blob_store(settings)
        stack.push_async_callback(blobs.close)
        vectors = await _vector_store(settings, serving=serving)
        stack.push_async_callback(vectors.close)
        yield records, vectors, blobs


@asynccontextmanager
async def open_stores(settings: Settings, *others: Settings) -> AsyncIterator[list[Engines]]:
    """The stores of one or several settings, without a server.

    Raises `UnavailableError` while a server runs on one of their folders.
    """
    async with AsyncExitStack() as stack:
        for folder in dict.fromkeys(one.data_dir.absolute() for one in (settings, *others)):
            stack.enter_context(held(folder))
        yield [
            await stack.enter_async_context(open_engines(one, serving=False)) for one in (settings, *others)
        ]


async def _records(settings: Settings) -> SqlRecordStore:
    if settings.records_url is None:
        return await SqlRecordStore.open(_sqlite_url(settings))
    return await SqlRecordStore.open(settings.records_url.get_secret_value(), settings.records_connections)


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[SqlRecordStore]:
    """The records alone."""
    records = await _records(settings)
    try:
        yield records
    finally:
        await records.close()


async def see_records(settings: Settings) -> Seen | None:
    """What is to be seen of the records without a change to them; None where the first start makes a file.

    Raises a `LaminaError` that says how to mend it when they cannot be used.
    """
    if settings.records_url is not None:
        return await Database.look(settings.records_url.get_secret_value())
    return await Database.look(_sqlite_url(settings)) if settings.sqlite_file.is_file() else None


def _sqlite_url(settings: Settings) -> str:
    return f"sqlite+aiosqlite:///{settings.sqlite_file}"


async def _blob_store(settings: Settings) -> BlobStore:
    """Blobs in the data folder, or in a bucket. Raises when it cannot be used."""
    folder = settings.data_dir
    if settings.blobs_url is None:
        return FolderBlobStore(folder / "blobs")
    store = CloudBlobStore(
        settings.blobs_url,
        copies=folder / "blob-copies",
        copies_bytes=settings.blobs_copies_bytes,
        public_endpoint=settings.blobs_public_endpoint,
    )
    await store.check()
    return store


async def _vector_store(settings: Settings, *, serving: bool = True) -> VectorStore:
    """Points in the data folder, or on a Qdrant server. Raises when it cannot be used."""
    if settings.vectors_url is None:
        folder = settings.data_dir / "vectors"
        return EdgeVectorStore(folder) if serving else EdgeVectorStore(folder, graph_from=None)
    if find_spec("qdrant_client") is None:
        raise MissingExtraError("LAMINA_VECTORS_URL", "qdrant")
    from lamina.stores.vectors.server import QdrantVectorStore
    from lamina.stores.vectors.server_client import ServerOptions

    store = QdrantVectorStore(ServerOptions.of(settings))
    try:
        await store.verify()
    except BaseException:
        await store.close()
        raise
    return store


async def check_blobs(settings: Settings) -> None:
    """Raise a `LaminaError` that says how to mend it when the bucket that is named cannot be used."""
    await (await _blob_store(settings)).close()


async def check_vectors(settings: Settings) -> None:
    """The same of a Qdrant server."""
    await (await _vector_store(settings)).close()


@contextmanager
def held(folder: Path) -> Iterator[IO[str]]:
    """Keep other processes out of a data folder. Gives the file that says whether a server was killed in it.

    Raises `UnavailableError` when another process is in it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / "running").open("a+")
    except OSError as error:
        raise UnavailableError(
            f"The data folder {folder.absolute()} cannot be written to: {error.strerror}. "
            "To mend it, make it writable, or name another one with --data-dir."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a process that is killed lets go of it
        except BlockingIOError:
            raise UnavailableError(
                f"Another Lamina process uses the folder {folder.absolute()}. Stop it first."
            ) from None
        yield file
