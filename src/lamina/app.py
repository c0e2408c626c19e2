"""The one place that picks engines and wires the parts, and the server's life from start to stop."""

import asyncio
import fcntl
import gc
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_bytes
from typing import IO

import structlog
import uvicorn
from pydantic import SecretStr

from lamina.api.http import create_app
from lamina.api.limits import RateLimits
from lamina.api.services import Services
from lamina.bootstrap import bootstrap
from lamina.core.errors import LaminaError, MissingExtraError, UnavailableError
from lamina.core.models import now
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.settings import Settings
from lamina.documents.documents import DerivedDocuments, DocumentService
from lamina.documents.listing import DocumentReader
from lamina.documents.reconcile import Reconciler
from lamina.extractors.registry import extractor, refused, use_folder
from lamina.inference.registry import Models, ModelSettings
from lamina.ingest.blobs import BlobKeeper
from lamina.ingest.buckets import BUCKETS, BucketService
from lamina.ingest.connections import CONNECTIONS, ConnectionService
from lamina.ingest.fetch import Fetcher
from lamina.ingest.fetch_settings import FetchSettings
from lamina.ingest.object_service import ObjectService
from lamina.ingest.objects import OBJECTS
from lamina.ingest.presign import Presigner
from lamina.ingest.uploads import UPLOADS, UploadService
from lamina.logs import configure_logs
from lamina.platform.api_keys import API_KEYS, ApiKeyService
from lamina.platform.namespaces import NAMESPACES, Counts, NamespaceService
from lamina.platform.organizations import ORGANIZATIONS, USERS, OrganizationService
from lamina.platform.secrets import SECRETS, SecretService
from lamina.platform.tasks import TASKS, TaskService
from lamina.processing.batches import BATCHES, MANIFESTS, OUTCOMES, BatchService
from lamina.processing.collections import COLLECTIONS, CollectionService
from lamina.processing.deletion import DeletionWorkflow, Emptying
from lamina.processing.durable import Durable, Queueing
from lamina.processing.exclusion import Exclusion
from lamina.processing.ledger import Ledger
from lamina.processing.membership import Membership
from lamina.processing.ray_workers import RayCluster
from lamina.processing.recovery import Recovery
from lamina.processing.removal import Removal
from lamina.processing.run import BatchRun
from lamina.processing.runner import Runner
from lamina.processing.workers import WorkerPool
from lamina.processing.workflows import BatchWorkflow
from lamina.processing.writer import Writer
from lamina.retrieval.contents import ContentReader
from lamina.retrieval.pipeline import RetrievalPipeline
from lamina.retrieval.retrievers import RETRIEVERS
from lamina.retrieval.service import RetrieverService
from lamina.stores.blobs.base import BlobStore
from lamina.stores.blobs.cloud import CloudBlobStore
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.records.locks import Locks
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import CollectionRef, VectorStore
from lamina.stores.vectors.edge import EdgeVectorStore
from lamina.transfer.preconditions import refuse_half_copies

log = structlog.get_logger()

_DRAIN_SECONDS = 10.0
"""How long a stop waits for the groups under way. What is not done by then is done after the restart."""


Engines = tuple[SqlRecordStore, VectorStore, BlobStore]


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the engines, wire the services, and go on with what was left unfinished."""
    refuse_half_copies(settings)
    with _held(settings.data_dir) as mark:
        crash = _Crash(unswept=mark.tell() > 0)
        mark.write("A server runs, or was killed.\n")
        mark.flush()
        async with _engines(settings) as engines, _wired(settings, engines, crash) as services:
            yield services
        if not crash.unswept:
            mark.truncate(0)


@asynccontextmanager
async def open_reconciler(settings: Settings) -> AsyncIterator[tuple[Reconciler, list[Scope]]]:
    """The reconciler without a server, and every namespace that it can look through.

    Raises `UnavailableError` while a server runs on the folder.
    """
    with _held(settings.data_dir):
        async with _engines(settings) as (records, vectors, blobs):
            scopes = [
                Scope(one.organization_id, namespace.namespace_id)
                async for organizations in records.repository(ORGANIZATIONS).iterate(EVERYWHERE)
                for one in organizations
                async for some in records.repository(NAMESPACES).iterate(Scope(one.organization_id))
                for namespace in some
            ]
            yield _reconciler(records, Removal(vectors, blobs), Exclusion(Locks(records.database))), scopes


@asynccontextmanager
async def open_stores(settings: Settings, *others: Settings) -> AsyncIterator[list[Engines]]:
    """The stores of one or several settings, without a server.

    Raises `UnavailableError` while a server runs on one of their folders.
    """
    async with AsyncExitStack() as stack:
        for folder in dict.fromkeys(one.data_dir.absolute() for one in (settings, *others)):
            stack.enter_context(_held(folder))
        yield [await stack.enter_async_context(_engines(one)) for one in (settings, *others)]


@asynccontextmanager
async def _engines(settings: Settings) -> AsyncIterator[Engines]:
    """The stores that the settings name: in the data folder, or servers."""
    async with AsyncExitStack() as stack:
        records = await _records(settings)
        stack.push_async_callback(records.close)
        blobs = await _blob_store(settings)
        stack.push_async_callback(blobs.close)
        vectors = await _vector_store(settings)
        stack.push_async_callback(vectors.close)
        yield records, vectors, blobs


async def _records(settings: Settings) -> SqlRecordStore:
    if settings.records_url is None:
        return await SqlRecordStore.open(f"sqlite+aiosqlite:///{settings.data_dir / 'records.sqlite'}")
    return await SqlRecordStore.open(settings.records_url.get_secret_value(), settings.records_connections)


def _durable(settings: Settings) -> Durable:
    """Durable work remembers where the records are, so that one backup holds both."""
    if settings.records_url is None:
        return Durable(f"sqlite:///{settings.data_dir / 'workflows.sqlite'}")
    # Data folders that share a database each go on with their own workflows.
    own = _secret(settings.data_dir / "executor.id").hex()
    queueing = Queueing(
        works=settings.process_batches,
        per_process=settings.batches_per_process,
        per_partition=settings.batches_per_namespace,
    )
    return Durable(settings.records_url.get_secret_value(), own, queueing)


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


async def _vector_store(settings: Settings) -> VectorStore:
    """Points in the data folder, or on a Qdrant server. Raises when it cannot be used."""
    if settings.vectors_url is None:
        return EdgeVectorStore(settings.data_dir / "vectors")
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


def _reconciler(records: SqlRecordStore, removal: Removal, exclusion: Exclusion) -> Reconciler:
    return Reconciler(
        emptying=Emptying(records.repository(OBJECTS), removal, exclusion),
        buckets=records.repository(BUCKETS),
        uploads=records.repository(UPLOADS),
        collections=records.repository(COLLECTIONS),
    )


@asynccontextmanager
async def _wired(settings: Settings, engines: Engines, crash: "_Crash") -> AsyncIterator[Services]:
    """The services over their engines, until they have stopped."""
    folder = settings.data_dir
    records, vectors, blob_store = engines
    model_settings = ModelSettings.of(settings)
    fetch_settings = FetchSettings.of(settings)
    models = Models(model_settings)
    extractors = settings.extractors.absolute() if settings.extractors else None
    use_folder(extractors)
    for one in refused():
        log.warning("extractor_refused", where=one.where, reason=one.reason)
    cluster = await _cluster(settings)
    pool = WorkerPool(
        settings.workers,
        model_settings,
        fetching=fetch_settings,
        extractors=extractors,
        idle_seconds=settings.worker_idle_seconds,
        timeout=settings.extraction_timeout,
        memory=settings.worker_memory,
        make=cluster.worker if cluster else None,
    )
    presigner = Presigner(_key(settings.presign_key, folder / "presign.key"), settings.public_url or "")
    blobs = BlobKeeper(
        blob_store,
        Fetcher(fetch_settings),
        presigner,
        inline_bytes=settings.inline_bytes,
        max_bytes=settings.max_blob_bytes,
    )
    removal = Removal(vectors, blob_store)
    locks = Locks(records.database)
    exclusion = Exclusion(locks)
    derived = DerivedDocuments(removal, exclusion)
    organizations = OrganizationService(records.repository(ORGANIZATIONS), records.repository(USERS))
    objects_repository = records.repository(OBJECTS)

    async def counted(scope: Scope) -> Counts:
        documents = [
            await vectors.count(CollectionRef(scope.namespace, one))
            for one in await vectors.collections(scope.namespace)
        ]
        return {
            "bucket_count": await records.repository(BUCKETS).count(scope),
            "collection_count": await records.repository(COLLECTIONS).count(scope),
            "object_count": await objects_repository.count(scope),
            "document_count": sum(documents),
        }

    tasks = TaskService(records.repository(TASKS))
    namespaces = NamespaceService(records, records.repository(NAMESPACES), tasks, counted, extractor)
    buckets = BucketService(records.repository(BUCKETS))
    objects = ObjectService(records, objects_repository, buckets, blobs, derived)
    buckets.objects = objects
    uploads = UploadService(records.repository(UPLOADS), blobs, objects)
    blobs.uploads = uploads
    secrets = SecretService(records.repository(SECRETS), _key(settings.secrets_key, folder / "secrets.key"))
    connections = ConnectionService(records.repository(CONNECTIONS), secrets, blobs.fetcher)
    blobs.connections = connections
    collections = CollectionService(
        records.repository(COLLECTIONS), buckets, removal, models, records, secrets
    )
    outcomes = records.repository(OUTCOMES)
    batches = BatchService(
        records.repository(BATCHES), records.repository(MANIFESTS), outcomes, objects_repository, records
    )
    durable = _durable(settings)
    runner = Runner(
        ledger=Ledger(outcomes, objects_repository, vectors),
        writer=Writer(vectors, blobs),
        pool=pool,
        secrets=secrets,
        durable=durable,
        exclusion=exclusion,
        concurrency=settings.workers + 1,
    )
    run = BatchRun(
        durable=durable,
        records=records,
        batches=batches,
        collections=collections,
        organizations=organizations,
        tasks=tasks,
        runner=runner,
        vectors=vectors,
        chunk_objects=settings.chunk_objects,
    )
    processing = BatchWorkflow(run=run, records=records, batches=batches)
    deletion = DeletionWorkflow(
        processing=processing,
        records=records,
        emptying=Emptying(objects_repository, removal, exclusion),
        tasks=tasks,
        buckets=buckets,
        uploads=records.repository(UPLOADS),
        namespaces=records.repository(NAMESPACES),
    )
    recovery = Recovery(
        durable=durable,
        organizations=organizations,
        namespaces=records.repository(NAMESPACES),
        collections=records.repository(COLLECTIONS),
        tasks=tasks,
        removal=removal,
    )
    limited = settings.rate_limits == "on" or (settings.rate_limits == "auto" and not settings.loopback)
    services = Services(
        settings=settings,
        limits=RateLimits(enabled=limited, per_minute=settings.rate_limit_per_minute),
        organizations=organizations,
        keys=ApiKeyService(records, records.repository(API_KEYS), organizations),
        namespaces=namespaces,
        tasks=tasks,
        buckets=buckets,
        objects=objects,
        uploads=uploads,
        blobs=blobs,
        presigner=presigner,
        collections=collections,
        batches=batches,
        processing=processing,
        deletion=deletion,
        documents=DocumentService(removal, exclusion, collections, organizations, namespaces),
        reader=DocumentReader(vectors),
        retrievers=RetrieverService(records.repository(RETRIEVERS), collections),
        pipeline=RetrievalPipeline(vectors, models, collections, ContentReader(blobs.fetcher, blob_store)),
        models=models,
        secrets=secrets,
        connections=connections,
        pool=pool,
    )
    membership = Membership(locks, durable, exclusive=not all(settings.servers))
    sweep = None
    async with membership.alone() as alone:
        async with records.transaction(EVERYWHERE):  # another process may make its first start as well
            await bootstrap(services, folder)
        await durable.launch()
        await recovery.begin()
        if alone:  # what others are at work on looks like what a crash left
            await recovery.end_deletions()
            reconciler = _reconciler(records, removal, exclusion)
            sweep = asyncio.create_task(_sweep(recovery, reconciler, crash)) if crash.unswept else None
    watch = asyncio.create_task(recovery.watch())
    try:
        async with membership.present():
            yield services
    finally:
        watch.cancel()
        if sweep is not None:
            sweep.cancel()
        if not await durable.stop(_DRAIN_SECONDS):
            log.info("stopped_with_work_left", note="It goes on at the next start.")
        await pool.close()
        if cluster is not None:
            await asyncio.to_thread(cluster.close)


async def _cluster(settings: Settings) -> RayCluster | None:
    """The Ray cluster that is asked for. Raises when it cannot be used."""
    if settings.compute == "local":
        return None
    return await asyncio.to_thread(RayCluster, settings.ray_address, settings.workers, settings.ray_gpus)


async def check_compute(settings: Settings) -> None:
    """Raise a `LaminaError` that says how to mend it when the Ray cluster that is named cannot be used."""
    cluster = await _cluster(settings)
    if cluster is not None:
        cluster.close()


@dataclass(slots=True)
class _Crash:
    """What killed servers left in a data folder. Another process may be why it is still there at the stop."""

    unswept: bool


async def _sweep(recovery: Recovery, reconciler: Reconciler, crash: _Crash) -> None:
    """After a crash, remove what it left half-made: blobs whose object was never stored, say."""
    began = now()
    async for scope in recovery.scopes():
        found = await reconciler.repair(scope, before=began)
        if found:
            log.info("crash_swept", namespace_id=scope.namespace_id, **found.counts)
    crash.unswept = False


@contextmanager
def _held(folder: Path) -> Iterator[IO[str]]:
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
            raise UnavailableError(f"Another Lamina process uses the folder {folder.absolute()}.") from None
        yield file


def _spare_collections() -> None:
    """Look for cycles seldom, and never among what starting has made: that stays until the end.

    Half a million objects of imports, routes and models would be walked over and over. Measured by
    `bench/search.py`: a tenth of a search's time, and pauses of 100 ms while many documents are read.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    configure_logs(settings)
    try:
        with _held(settings.data_dir):
            pass
    except UnavailableError as error:
        sys.exit(error.message)
    listener = _listen(settings)
    port = listener.getsockname()[1]
    app = create_app(settings, lambda: _opened_or_ended(settings))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False, loop="auto"
    )
    server = _Announced(config, f"http://{_shown(settings.host)}:{port}")
    # uvicorn hands a signal that stopped it on to its earlier handler, which has nothing left to do.
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: None)
    server.run(sockets=[listener])
    # Threads of unfinished workflows wait for a loop that is gone: what they did is stored, and
    # what they did not is done after the next start. So the process ends here, at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if server.started else 1)


def work(settings: Settings, health_port: int | None) -> None:
    """Run batches without an API until SIGTERM or Ctrl-C, for servers that share everything with this one.

    With `health_port` it answers `/v1/liveness` there, and nothing else.
    """
    if not all(settings.servers):
        sys.exit(
            "A worker shares records, points and blobs with the servers: set LAMINA_RECORDS_URL, "
            "LAMINA_VECTORS_URL and LAMINA_BLOBS_URL as theirs are set."
        )
    configure_logs(settings)
    asyncio.run(_work(settings, health_port))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _work(settings: Settings, health_port: int | None) -> None:
    stopping = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stopping.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_opened_or_ended(settings))
        if health_port is not None:
            alive = await asyncio.start_server(_say_alive, settings.host, health_port)
            stack.callback(alive.close)
        sys.stdout.write("Lamina works on batches.\n")
        sys.stdout.flush()
        await stopping.wait()


async def _say_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a probe: that the event loop runs is all there is to say."""
    await reader.readline()
    body = b'{"status":"alive"}'
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
    await writer.drain()
    writer.close()


@asynccontextmanager
async def _opened_or_ended(settings: Settings) -> AsyncIterator[Services]:
    """The services; the program ends with one plain line when they cannot be opened."""
    async with AsyncExitStack() as stack:
        try:
            services = await stack.enter_async_context(open_services(settings))
        except LaminaError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{error.message}\n")
            sys.stderr.flush()
            os._exit(1)
        yield services


class _Announced(uvicorn.Server):
    """Says where it listens once it answers."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self.url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            _spare_collections()
            sys.stdout.write(f"Lamina listens on {self.url} (API under /v1, docs under /docs)\n")
            sys.stdout.flush()


def _listen(settings: Settings) -> socket.socket:
    """A listening socket; ends the program with a plain message when the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        sys.exit(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port with --port, or stop what uses it."
        )
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _key(chosen: SecretStr | None, path: Path) -> bytes:
    """32 bytes made of the setting that several processes share, or else those of the folder."""
    if chosen is None:
        return _secret(path)
    return hashlib.sha256(chosen.get_secret_value().encode()).digest()


def _secret(path: Path) -> bytes:
    """32 random bytes to sign or to seal with, or to be known by: made once, readable by their owner only."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(token_bytes(32))
        fresh.rename(path)
    return path.read_bytes()
