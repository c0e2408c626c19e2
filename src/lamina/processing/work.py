"""② What the sources that are processed belong to: a batch, and one of its collections."""

from dataclasses import dataclass

from lamina.core.scope import Scope
from lamina.extractors.base import Extractor
from lamina.extractors.registry import extractor
from lamina.processing.collections import Collection
from lamina.stores.vectors.base import CollectionRef


@dataclass(frozen=True, slots=True)
class Work:
    """One collection of a batch."""

    scope: Scope
    internal_id: str
    batch_id: str
    collection: Collection
    skip_unchanged: bool
    failed_before: bool
    """Whether sources may have failed in a collection of the batch that had its turn before this one."""

    @property
    def at(self) -> CollectionRef:
        """Where its documents lie."""
        return CollectionRef(self.scope.namespace, self.collection.collection_id)

    @property
    def outcomes(self) -> Scope:
        """Where the batch's outcomes are kept."""
        return self.scope.of_namespace().within(self.batch_id)

    @property
    def source_path(self) -> str:
        """Where its documents name the source that they were made from."""
        named = "source_object_id" if self.collection.source.type == "bucket" else "source_document_id"
        return f"_internal.lineage.{named}"

    @property
    def extractor(self) -> type[Extractor]:
        """The collection's extractor."""
        config = self.collection.feature_extractor
        return extractor(config.feature_extractor_name, config.version)

    def outcome_id(self, source_id: str) -> str:
        """The id of a source's outcome."""
        return f"{self.batch_id}/{self.collection.collection_id}/{source_id}"
