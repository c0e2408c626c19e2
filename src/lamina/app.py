"""The one place that wires the parts over their engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

import structlog
from pydantic import SecretStr

from lamina.api.limits import RateLimits
from lamina.api.services import Services
from lamina.bootstrap import bootstrap
from lamina.core.models import now
from lamina.core.private_files import write_private
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.settings import Settings, key_of
from lamina.documents.documents import DerivedDocuments, DocumentService
from lamina.documents.listing import DocumentReader
from lamina.documents.reconcile import Reconciler
from lamina.engines import Engines, held, open_engines, open_stores, see_records
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
from lamina.platform.api_keys import API_KEYS, ApiKeyService
from lamina.platform.namespaces import NAMESPACES, Counts, NamespaceService
from lamina.platform.organizations import ORGANIZATIONS, USERS, OrganizationService
from lamina.platform.secrets import SECRETS, SecretService
from lamina.platform.tasks import TASKS, TaskService
from lamina.processing.batches import BATCHES, MANIFESTS, OUTCOMES, BatchService
from lamina.processing.collection_service import CollectionService
from lamina.processing.collections import COLLECTIONS
from lamina.processing.deletion import DeletionWorkflow, Emptying
from lamina.processing.durable import Durable, Queueing
from lamina.processing.exclusion import Exclusion
from lamina.processing.ledger import Ledger
from lamina.processing.membership import Membership, nobody_else
from lamina.processing.notices import Notices
from lamina.processing.ray_workers import RayCluster
from lamina.processing.recovery import Recovery
from lamina.processing.removal import Removal
from lamina.processing.run import BatchRun
from lamina.processing.runner import Runner
from lamina.processing.upkeep import Upkeep
from lamina.processing.workers import WorkerPool
from lamina.processing.workflows import BatchWorkflow
from lamina.processing.writer import Writer
from lamina.retrieval.contents import ContentReader
from lamina.retrieval.pipeline import RetrievalPipeline
from lamina.retrieval.retrievers import RETRIEVERS
from lamina.retrieval.service import RetrieverService
from lamina.stores.records.locks import Locks
from lamina.stores.records.sql import SqlRecordStore
from lamina.stores.vectors.base import CollectionRef
from lamina.transfer.preconditions import refuse_half_copies

log = structlog.get_logger()

_DRAIN_SECONDS = 10.0
"""How long a stop waits for the groups under way. What is not done by then is done after the restart."""


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the engines, wire the services, and go on with what was left unfinished."""
    seen = await see_records(settings)  # before anything is made or changed
    refuse_half_copies(settings, seen.mark if seen else None)
    with held(settings.data_dir) as mark:
        crash = _Crash(unswept=mark.tell() > 0)
        mark.write("A server runs, or was killed.\n")
        mark.flush()
        async with open_engines(settings) as engines, _wired(settings, engines, crash) as services:
            yield services
        if not crash.unswept:
            mark.truncate(0)


@asynccontextmanager
async def open_reconciler(
    settings: Settings, *, alone: bool = True
) -> AsyncIterator[tuple[Reconciler, list[Scope]]]:
    """The reconciler without a server, and every namespace that it can look through.

    Raises `UnavailableError` while a server runs on the folder, and if it is to be `alone`, as it must be to
    repair, while any process uses the same records: what that one is at work on looks like what a crash left.
    """
    async with open_stores(settings) as ((records, vectors, blobs),):
        refuse_half_copies(settings, await records.marked())
        locks = Locks(records.database)
        async with nobody_else(locks) if alone else nullcontext():
            scopes = [
                Scope(one.organization_id, namespace.namespace_id)
                async for organizations in records.repository(ORGANIZATIONS).iterate(EVERYWHERE)
                for one in organizations
                async for some in records.repository(NAMESPACES).iterate(Scope(one.organization_id))
                for namespace in some
            ]
            yield _reconciler(records, Removal(vectors, blobs), Exclusion(locks)), scopes


def _durable(settings: Settings) -> Durable:
    """Durable work remembers where the records are, so that one backup holds both."""
    if settings.records_url is None:
        return Durable(f"sqlite:///{settings.data_dir / 'workflows.sqlite'}")
    # Data folders that share a database each go on with their own workflows.
    own = _secret(settings.data_dir / "executor.id").hex()
    queueing = Queueing(
        works=settings.process_batches,
        # More than one namespace may take: a workflow of the queue waits for its shares, most of the time.
        per_process=settings.batches_per_process or 2 * settings.batches_per_namespace,
        per_partition=settings.batches_per_namespace,
        shares=settings.at_once,
    )
    return Durable(settings.records_url.get_secret_value(), own, queueing)


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
        records=records,
        ledger=Ledger(outcomes, objects_repository, vectors),
        writer=Writer(vectors, blobs),
        pool=pool,
        secrets=secrets,
        durable=durable,
        exclusion=exclusion,
        concurrency=settings.at_once,
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
        share_objects=settings.share_objects,
    )
    Notices(durable, blobs.fetcher)
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
    upkeep = Upkeep(
        locks=locks,
        durable=durable,
        organizations=organizations,
        namespaces=records.repository(NAMESPACES),
        deletion=deletion,
    )
    limited = settings.rate_limits == "on" or (settings.rate_limits == "auto" and not settings.loopback)
    services = Services(
        settings=settings,
        records=records,
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
    background: list[asyncio.Task[None]] = []

    async def drain() -> None:
        for task in background:
            task.cancel()
        if not await durable.stop(_DRAIN_SECONDS):
            log.info("stopped_with_work_left", note="It goes on at the next start.")

    async with AsyncExitStack() as stack:
        if cluster is not None:
            stack.push_async_callback(asyncio.to_thread, cluster.close)
        stack.push_async_callback(pool.close)
        async with membership.alone() as alone, AsyncExitStack() as starting:
            refuse_half_copies(settings, await records.marked())  # no other copy begins from here on
            starting.push_async_callback(drain)  # workflows run from the launch on
            async with records.transaction(EVERYWHERE):  # another process may make its first start as well
                await bootstrap(services, folder)
            await durable.launch()
            await recovery.begin()
            if alone:  # what others are at work on looks like what a crash left
                await recovery.end_deletions()
                if crash.unswept:
                    reconciler = _reconciler(records, removal, exclusion)
                    background.append(asyncio.create_task(_sweep(recovery, reconciler, crash)))
            starting.pop_all()
        background += [asyncio.create_task(one.watch()) for one in (recovery, upkeep)]
        await stack.enter_async_context(membership.present())
        stack.push_async_callback(drain)  # before it leaves: others take over the work of who is not present
        yield services


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
    try:
        async for scope in recovery.scopes():
            found = await reconciler.repair(scope, before=began)
            if found:
                log.info("crash_swept", namespace_id=scope.namespace_id, **found.counts)
    except Exception:
        log.exception("crash_not_swept", note="It is tried again at the next start.")
    else:
        crash.unswept = False


def _key(chosen: SecretStr | None, path: Path) -> bytes:
    """32 bytes made of the setting that several processes share, or else those of the folder."""
    if chosen is None:
        return _secret(path)
    key = key_of(chosen)
    if path.exists() and path.read_bytes() != key:
        note = "What that key sealed or signed is of no use here. `base64:` and the file's content keep it."
        log.warning("key_file_set_aside", file=str(path), note=note)
    return key


def _secret(path: Path) -> bytes:
    """32 random bytes to sign or to seal with, or to be known by: made once, readable by their owner only."""
    if not path.exists():
        write_private(path, token_bytes(32))
    return path.read_bytes()
