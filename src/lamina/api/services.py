"""The services that routes call. `lamina.app` makes them; nothing here knows an engine."""

from dataclasses import dataclass

from lamina.api.limits import RateLimits
from lamina.core.errors import NotFoundError
from lamina.core.scope import Scope
from lamina.core.settings import Settings
from lamina.documents.documents import DocumentService
from lamina.documents.listing import DocumentReader
from lamina.inference.registry import Models
from lamina.ingest.blobs import BlobKeeper
from lamina.ingest.buckets import BucketService
from lamina.ingest.connections import ConnectionService
from lamina.ingest.object_service import ObjectService
from lamina.ingest.presign import Presigner
from lamina.ingest.uploads import UploadService
from lamina.platform.access import ResourceType
from lamina.platform.api_keys import ApiKeyService
from lamina.platform.namespaces import NamespaceService
from lamina.platform.organizations import OrganizationService
from lamina.platform.secrets import SecretService
from lamina.platform.tasks import TaskService
from lamina.processing.batches import BatchService
from lamina.processing.collection_service import CollectionService
from lamina.processing.deletion import DeletionWorkflow
from lamina.processing.workers import WorkerPool
from lamina.processing.workflows import BatchWorkflow
from lamina.retrieval.pipeline import RetrievalPipeline
from lamina.retrieval.service import RetrieverService
from lamina.stores.records.base import RecordStore


@dataclass(slots=True)
class Services:
    """Everything that a request may need."""

    settings: Settings
    records: RecordStore
    limits: RateLimits
    organizations: OrganizationService
    keys: ApiKeyService
    namespaces: NamespaceService
    tasks: TaskService
    buckets: BucketService
    objects: ObjectService
    uploads: UploadService
    blobs: BlobKeeper
    presigner: Presigner
    collections: CollectionService
    batches: BatchService
    processing: BatchWorkflow
    deletion: DeletionWorkflow
    documents: DocumentService
    reader: DocumentReader
    retrievers: RetrieverService
    pipeline: RetrievalPipeline
    models: Models
    secrets: SecretService
    connections: ConnectionService
    pool: WorkerPool

    async def resource_id(self, type: ResourceType, scope: Scope, identifier: str) -> str:
        """A resource's id, given its id or name; just what was given when it does not exist."""
        try:
            if type is ResourceType.BUCKET:
                return (await self.buckets.get(scope, identifier)).bucket_id
            if type is ResourceType.COLLECTION:
                return (await self.collections.get(scope, identifier)).collection_id
            return (await self.retrievers.get(scope, identifier)).retriever_id
        except NotFoundError:
            return identifier
