"""② What is done about what a crash cut short: tasks without a workflow, deleted collections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
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
from lamina.processing.deletion import DELETE_BUCKET, DELETE_NAMESPACE
from lamina.processing.durable import Durable
from lamina.processing.removal import Removal
from lamina.processing.run import WORKFLOW
from lamina.processing.watching import again_and_again
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import CollectionRef

log = structlog.get_logger()

_WORKFLOWS: Final = {
    TaskType.BATCH_PROCESS: (WORKFLOW, "batch_id"),
    TaskType.BUCKET_DELETE: (DELETE_BUCKET, "bucket_id"),
    TaskType.NAMESPACE_DELETE: (DELETE_NAMESPACE, None),
}
"""The workflow behind a type of task, and what its task says it is about besides the namespace."""


_LOOK_SECONDS: Final = 30.0


class Recovery:
    """Runs once the durable workflows were launched."""

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

    async def begin(self) -> None:
        """Begin what was promised and not begun, by whatever process."""
        async for organization_id in self._organizations():
            async for tasks in self._unfinished(organization_id):
                begun = await self.durable.begun([task.task_id for task in tasks])
                for task in tasks:
                    if task.task_id not in begun:
                        await self._begin(organization_id, task)

    async def watch(self) -> None:
        """Do so again and again: a process may die between the promise and the beginning."""
        await asyncio.sleep(_LOOK_SECONDS)  # the start has just done so
        await again_and_again(self.begin, _LOOK_SECONDS)

    async def end_deletions(self) -> None:
        """End the deletion of collections. Others that are at work may look as if they needed that."""
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

    async def _unfinished(self, organization_id: str) -> AsyncIterator[Sequence[Task]]:
        open_: list[Json] = [Status.PENDING.value, Status.PROCESSING.value]
        types: list[Json] = [one.value for one in _WORKFLOWS]
        where = And(
            (
                Condition("status", "in", open_, case_sensitive=True),
                Condition("task_type", "in", types, case_sensitive=True),
            )
        )
        async for some in self.tasks.tasks.iterate(Scope(organization_id), where=where):
            yield some

    async def _begin(self, organization_id: str, task: Task) -> None:
        """Begin a task's workflow, unless that was done meanwhile: workflows go by their task's id."""
        workflow, subject = _WORKFLOWS[task.task_type]
        about = task.additional_data or {}
        arguments = [organization_id, about.get("namespace_id"), *([about.get(subject)] if subject else [])]
        partition = str(about["namespace_id"]) if workflow == WORKFLOW else None
        await self.durable.start(workflow, task.task_id, *arguments, task.task_id, partition=partition)

    async def _end_deletions(self, scope: Scope) -> None:
        """What lies in the store without a record: that goes first, and comes last."""
        held = await self.removal.vectors.collections(scope.namespace)
        known = await self.collections.get_many(scope, held) if held else {}
        for collection_id in held:
            if collection_id not in known:
                log.info("collection_swept", namespace_id=scope.namespace, collection_id=collection_id)
                await self.removal.collection(CollectionRef(scope.namespace, collection_id))
