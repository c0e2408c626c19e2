"""② What is done now and then by one process for all that share the records."""

import asyncio
import time
from datetime import timedelta
from typing import Final

import structlog

from lamina.core.errors import UnavailableError
from lamina.core.filters import Condition
from lamina.core.models import now
from lamina.core.scope import EVERYWHERE, Scope
from lamina.platform.namespaces import Namespace
from lamina.platform.organizations import OrganizationService
from lamina.processing.deletion import DeletionWorkflow
from lamina.processing.durable import Durable
from lamina.processing.watching import again_and_again
from lamina.stores.records.base import Repository
from lamina.stores.records.locks import Locks

log = structlog.get_logger()

_LOOK_SECONDS: Final = 10.0
_FORGET_SECONDS: Final = 3600.0
_REMEMBERED: Final = timedelta(days=7)
"""How long workflows that have ended stay to be looked at; nothing of ours asks for them again."""

_LOCK: Final = "upkeep"


class Upkeep:
    """Deletes namespaces whose time is over, and forgets workflows that ended long ago."""

    def __init__(
        self,
        *,
        locks: Locks,
        durable: Durable,
        organizations: OrganizationService,
        namespaces: Repository[Namespace],
        deletion: DeletionWorkflow,
    ) -> None:
        self._locks = locks
        self._durable = durable
        self._organizations = organizations
        self._namespaces = namespaces
        self._deletion = deletion
        self._forgot = -_FORGET_SECONDS

    async def watch(self) -> None:
        """Look again and again; while one process does, the others leave it to that one."""
        await asyncio.sleep(_LOOK_SECONDS)  # a start has enough to do
        await again_and_again(self._look, _LOOK_SECONDS)

    async def _look(self) -> None:
        lock = await self._locks.hold(_LOCK)
        if lock is None:
            return
        try:
            async for some in self._organizations.organizations.iterate(EVERYWHERE):
                for organization in some:
                    await self._expire(organization.organization_id)
            if time.monotonic() - self._forgot > _FORGET_SECONDS:
                await self._durable.forget(now() - _REMEMBERED)
                self._forgot = time.monotonic()
        finally:
            await lock.release()

    async def _expire(self, organization_id: str) -> None:
        over = Condition("expires_at", "lte", now().isoformat())
        found = [
            namespace
            async for some in self._namespaces.iterate(Scope(organization_id), where=over)
            for namespace in some
        ]
        for namespace in found:
            log.info("namespace_expired", namespace_id=namespace.namespace_id)
            try:
                await self._deletion.namespace(organization_id, namespace, force=True)
            except UnavailableError:
                raise
            except Exception:  # it shall not keep the others
                log.exception("namespace_not_deleted", namespace_id=namespace.namespace_id)
