"""Deletions that take their time: a bucket or a namespace with all it holds, as durable tasks."""

from typing import Final

from lamina.core.errors import AlreadyExistsError
from lamina.core.filters import equals
from lamina.core.scope import Scope
from lamina.core.statuses import Status
from lamina.ingest.buckets import BucketService
from lamina.ingest.objects import StoredObject
from lamina.ingest.uploads import Upload
from lamina.platform.namespaces import Namespace
from lamina.platform.tasks import Task, TaskService, TaskType
from lamina.processing.exclusion import Exclusion
from lamina.processing.removal import Removal
from lamina.processing.workflows import BatchWorkflow
from lamina.stores.records.base import RecordStore, Repository

DELETE_BUCKET: Final = "delete_bucket"
DELETE_NAMESPACE: Final = "delete_namespace"


class Emptying:
    """Removes what buckets hold."""

    def __init__(self, objects: Repository[StoredObject], removal: Removal, exclusion: Exclusion) -> None:
        self.objects = objects
        self.removal = removal
        self.exclusion = exclusion

    async def bucket(self, scope: Scope, bucket_id: str) -> None:
        """Objects go with their documents, some at a time: no batch writes documents of those meanwhile."""
        within = scope.within(bucket_id)
        async for some in self.objects.iterate(within):
            ids = [one.object_id for one in some]
            async with self.exclusion.of(ids):
                await self.removal.of_objects(scope.namespace, ids)
                await self.objects.delete(within, *ids)
        # What an object that was lost may have left behind.
        await self.removal.everywhere(scope.namespace, equals("_internal.lineage.root_bucket_id", bucket_id))
        await self.removal.blobs.delete_prefix(f"{scope.namespace}/{bucket_id}")


class DeletionWorkflow:
    """Deletes buckets and namespaces: batches stop, then what they hold goes, their records last."""

    def __init__(
        self,
        *,
        processing: BatchWorkflow,
        records: RecordStore,
        emptying: Emptying,
        tasks: TaskService,
        buckets: BucketService,
        uploads: Repository[Upload],
        namespaces: Repository[Namespace],
    ) -> None:
        self.processing = processing
        self.durable = processing.durable
        self.batches = processing.batches
        self.records = records
        self.emptying = emptying
        self.removal = emptying.removal
        self.tasks = tasks
        self.buckets = buckets
        self.uploads = uploads
        self.namespaces = namespaces
        self.durable.register(DELETE_BUCKET, self._delete_bucket)
        self.durable.register(DELETE_NAMESPACE, self._delete_namespace)

    async def bucket(self, scope: Scope, identifier: str) -> Task:
        """Begin deleting a bucket; it takes no more objects and batches from now on."""
        async with self.records.transaction(scope):
            bucket = await self.buckets.lock(scope, identifier)
            task = await self.tasks.start(
                scope, TaskType.BUCKET_DELETE, bucket_id=bucket.bucket_id, namespace_id=scope.namespace
            )
        await self.durable.start(
            DELETE_BUCKET,
            task.task_id,
            scope.organization_id,
            scope.namespace,
            bucket.bucket_id,
            task.task_id,
            partition=None,
        )
        return task

    async def namespace(self, organization_id: str, namespace: Namespace, *, force: bool) -> Task:
        """Begin deleting a namespace. `AlreadyExistsError` (409) while batches run, unless forced."""
        scope = Scope(organization_id, namespace.namespace_id)
        if not force and await self.batches.active(scope):
            raise AlreadyExistsError(
                "Batches are still running in this namespace; cancel them, or pass ?force=true.",
                namespace_id=namespace.namespace_id,
            )
        async with self.records.transaction(scope):
            # The task belongs to the organization's own space: it outlives the namespace it is about.
            task = await self.tasks.start(
                Scope(organization_id, ""), TaskType.NAMESPACE_DELETE, namespace_id=namespace.namespace_id
            )
            await self.namespaces.delete(Scope(organization_id), namespace.namespace_id)
        await self.durable.start(
            DELETE_NAMESPACE,
            task.task_id,
            organization_id,
            namespace.namespace_id,
            task.task_id,
            partition=None,
        )
        return task

    def _delete_bucket(self, organization_id: str, namespace_id: str, bucket_id: str, task_id: str) -> None:
        scope = Scope(organization_id, namespace_id)
        step = self.durable.step
        step("batches", lambda: self.processing.stop(scope.within(bucket_id)), patient=True)
        step("objects", lambda: self.emptying.bucket(scope, bucket_id), patient=True)
        step("records", lambda: self._remove_bucket(scope, bucket_id, task_id), patient=True)

    async def _remove_bucket(self, scope: Scope, bucket_id: str, task_id: str) -> None:
        within = scope.within(bucket_id)
        async with self.records.transaction(scope):
            async for some in self.batches.batches.iterate(within):
                for batch in some:
                    await self.batches.forget(scope, batch)
            await self.uploads.delete_all(within)
            await self.emptying.objects.delete_all(within)
            await self.buckets.buckets.delete(scope, bucket_id)
            await self.tasks.move(scope, task_id, Status.COMPLETED)

    def _delete_namespace(self, organization_id: str, namespace_id: str, task_id: str) -> None:
        scope = Scope(organization_id, namespace_id)
        self.durable.step("batches", lambda: self.processing.stop(scope), patient=True)
        self.durable.step("all", lambda: self._remove_namespace(scope, task_id), patient=True)

    async def _remove_namespace(self, scope: Scope, task_id: str) -> None:
        await self.removal.vectors.drop_namespace(scope.namespace)
        await self.removal.blobs.delete_prefix(scope.namespace)
        async with self.records.transaction(scope):
            await self.records.delete_namespace(scope)
            await self.tasks.move(Scope(scope.organization_id, ""), task_id, Status.COMPLETED)
