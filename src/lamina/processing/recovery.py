"""② What a start does about what a crash cut short: tasks without a workflow, deleted collections."""

from collections.abc import AsyncIterator
from typing import Final

import structlog

from lamina.core.filters import And, Condition
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.statuses import Status
from lamina.core.types import Json
from lamina.platform.namespaces import Namespace
from lamina.platform.organizations import OrganizationService
from lamina.platform.tasks import Task, TaskService, TaskType
from lamina.processing.collections import Collection
from lamina.processing.deletion import DELETE_BUCKET, DELETE_NAMESPACE, DELETIONS
from lamina.processing.durable import Durable
from lamina.processing.removal import Removal
from lamina.processing.run import WORKFLOW
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import CollectionRef

log = structlog.get_logger()

_WORKFLOWS: Final = {
    TaskType.BATCH_PROCESS: (WORKFLOW, "batch_id"),
    TaskType.BUCKET_DELETE: (DELETE_BUCKET, "bucket_id"),
    TaskType.NAMESPACE_DELETE: (DELETE_NAMESPACE, None),
}
"""The workflow behind a type of task, and what its task says it is about besides the namespace."""


class Recovery:
    """Runs once, after the durable workflows were launched and before requests are answered."""

    def __init__(
        self,
        *,
        durable: Durable,
        organizations: OrganizationService,
        namespaces: Repository[Namespace],
        collections: Repository[Collection],
        tasks: TaskService,
        removal: Removal,
    ) -> None:
        self.durable = durable
        self.organizations = organizations
        self.namespaces = namespaces
        self.collections = collections
        self.tasks = tasks
        self.removal = removal

    async def run(self) -> None:
        """Begin what was promised and not begun; end the deletion of collections."""
        async for organization_id in self._organizations():
            async for task in self._unfinished(organization_id):
                await self._begin(organization_id, task)
        async for scope in self.scopes():
            await self._end_deletions(scope)

    async def scopes(self) -> AsyncIterator[Scope]:
        """Every namespace of every organization."""
        async for organization_id in self._organizations():
            async for some in self.namespaces.iterate(Scope(organization_id)):
                for namespace in some:
                    yield Scope(organization_id, namespace.namespace_id)

    async def _organizations(self) -> AsyncIterator[str]:
        async for some in self.organizations.organizations.iterate(EVERYWHERE):
            for one in some:
                yield one.organization_id

    async def _unfinished(self, organization_id: str) -> AsyncIterator[Task]:
        open_: list[Json] = [Status.PENDING.value, Status.PROCESSING.value]
        types: list[Json] = [one.value for one in _WORKFLOWS]
        where = And(
            (
                Condition("status", "in", open_, case_sensitive=True),
                Condition("task_type", "in", types, case_sensitive=True),
            )
        )
        async for some in self.tasks.tasks.iterate(Scope(organization_id), where=where):
            for task in some:
                yield task

    async def _begin(self, organization_id: str, task: Task) -> None:
        """Begin a task's workflow, unless it was begun: workflows go by their task's id."""
        workflow, subject = _WORKFLOWS[task.task_type]
        about = task.additional_data or {}
        arguments = [organization_id, about.get("namespace_id"), *([about.get(subject)] if subject else [])]
        partition = str(about["namespace_id"]) if workflow == WORKFLOW else DELETIONS
        await self.durable.start(workflow, task.task_id, *arguments, task.task_id, partition=partition)

    async def _end_deletions(self, scope: Scope) -> None:
        """What lies in the store without a record: that goes first, and comes last."""
        held = await self.removal.vectors.collections(scope.namespace)
        known = await self.collections.get_many(scope, held) if held else {}
        for collection_id in held:
            if collection_id not in known:
                log.info("collection_swept", namespace_id=scope.namespace, collection_id=collection_id)
                await self.removal.collection(CollectionRef(scope.namespace, collection_id))
