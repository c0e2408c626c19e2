"""Nothing outlives what it belongs to: asked of the reconciler, once a server has stopped."""

import asyncio
from pathlib import Path
from typing import Any

from lamina.app import open_reconciler
from lamina.core.settings import Settings
from lamina.documents.reconcile import Orphans


async def orphans_in(data_dir: Path, *, repair: bool = False, **settings: Any) -> dict[str, Orphans]:
    """What belongs to nothing, by namespace id; nothing at all where all is well."""
    chosen = Settings(data_dir=data_dir, **settings)
    async with open_reconciler(chosen, alone=repair) as (reconciler, scopes):
        found = {
            scope.namespace: await (reconciler.repair(scope) if repair else reconciler.orphans(scope))
            for scope in scopes
        }
    return {namespace: orphans for namespace, orphans in found.items() if orphans}


def assert_no_orphans(data_dir: Path) -> None:
    """6: nothing is left over in any namespace, and nothing at all of namespaces that are gone."""
    assert asyncio.run(orphans_in(data_dir)) == {}
