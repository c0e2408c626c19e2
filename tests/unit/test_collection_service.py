"""Collections that several processes change at once."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lamina.core.scope import Scope
from lamina.processing.collection_service import CollectionService
from lamina.processing.collections import (
    COLLECTIONS,
    Collection,
    CollectionVectorIndex,
    FeatureExtractorConfig,
    SourceConfig,
    VectorIndexDetails,
)
from lamina.stores.records.sql import SqlRecordStore

SCOPE = Scope("org_1", "ns_1")


class SlowVectors:
    """A vector store that takes its time to make room."""

    async def create(self, *_: Any) -> None:
        await asyncio.sleep(0.1)


async def test_two_processes_that_add_indexes_at_once_add_both(tmp_path: Path) -> None:
    records = await SqlRecordStore.open(f"sqlite+aiosqlite:///{tmp_path / 'records.sqlite'}")
    collections = records.repository(COLLECTIONS)
    made = Collection(
        collection_name="texts",
        source=SourceConfig(type="bucket"),
        feature_extractor=FeatureExtractorConfig(feature_extractor_name="passthrough_extractor"),
    )
    await collections.add(SCOPE, made)

    def process() -> CollectionService:
        unused: Any = None
        removal: Any = SimpleNamespace(vectors=SlowVectors())
        return CollectionService(collections, unused, removal, unused, records, unused)

    def index(name: str) -> CollectionVectorIndex:
        details = VectorIndexDetails(name=name, dimensions=3)
        return CollectionVectorIndex(name=name, feature_uri=f"mixpeek://{name}", index=details)

    await asyncio.gather(
        process().add_indexes(SCOPE, made, [index("first"), index("first")]),
        process().add_indexes(SCOPE, made, [index("second")]),
    )
    stored = await collections.get(SCOPE, made.collection_id)
    assert sorted(one.name for one in stored.vector_indexes) == ["first", "second"]
    await records.close()
