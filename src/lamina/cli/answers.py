"""The parts of the API's answers that the commands read."""

from pydantic import Field, RootModel

from lamina.cli.connection import Answer
from lamina.core.fields import FieldType

Document = dict[str, object]
"""A document as a search returns it: the user's fields, ids, `score`, `_internal`."""


class SchemaField(Answer):
    """One property of a bucket's schema."""

    type: str


class BucketSchema(Answer):
    """What the objects of a bucket hold."""

    properties: dict[str, SchemaField] = {}


class Bucket(Answer):
    """A bucket, its schema and how much is in it."""

    bucket_id: str
    bucket_name: str
    bucket_schema: BucketSchema | None = None
    unique_key: dict[str, object] | None = None
    object_count: int = 0

    @property
    def properties(self) -> dict[str, SchemaField]:
        """The properties of its schema."""
        return self.bucket_schema.properties if self.bucket_schema else {}


class VectorIndexDetails(Answer):
    """What a vector index is made of."""

    inference_name: str | None = None
    supported_inputs: list[str] = []


class VectorIndex(Answer):
    """A vector index, named by its feature URI, and the model that made it."""

    feature_uri: str
    index: VectorIndexDetails = VectorIndexDetails()

    @property
    def model(self) -> str:
        """The model behind it, or its URI where the vectors come from elsewhere."""
        return self.index.inference_name or self.feature_uri


class Collection(Answer):
    """A collection and what it can be searched by."""

    collection_id: str
    collection_name: str
    vector_indexes: list[VectorIndex] = []
    document_count: int | None = None


class Collections(Answer):
    """A page of collections."""

    results: list[Collection]


class ExtractorInput(Answer):
    """One input of an extractor: the schema types that it accepts."""

    accepts: list[str] = []


class ExtractorInputs(Answer):
    """The inputs of an extractor, by key."""

    properties: dict[str, ExtractorInput] = {}


class Extractor(Answer):
    """An entry of the catalogue: an extractor, what it takes and the vectors that it makes."""

    feature_extractor_name: str
    version: str = "v1"
    input_schema: ExtractorInputs = ExtractorInputs()
    required_vector_indexes: list[VectorIndex] = []
    available: bool = True
    unavailable_reason: str | None = None

    def input_for(self, kind: FieldType) -> str | None:
        """The key of the input that takes this kind: the one of the same name before others; None without."""
        fitting = [key for key, one in self.input_schema.properties.items() if kind.value in one.accepts]
        return kind.value if kind.value in fitting else next(iter(fitting), None)


class Catalogue(RootModel[list[Extractor]]):
    """Every extractor that the server has."""


class Namespace(Answer):
    """A namespace, with counts where the server knows them."""

    namespace_id: str
    namespace_name: str
    bucket_count: int | None = None
    collection_count: int | None = None
    object_count: int | None = None
    document_count: int | None = None


class Namespaces(Answer):
    """A page of namespaces."""

    results: list[Namespace]


class Upload(Answer):
    """An upload that waits for its bytes, or that found the same bytes stored already."""

    upload_id: str
    presigned_url: str | None = None
    is_duplicate: bool = False
    duplicate_of_upload_id: str | None = None


class ObjectWritten(Answer):
    """An object that was created, or found again by its idempotency key."""

    object_id: str
    object_index: int
    replayed: bool = False


class ObjectRefused(Answer):
    """An object that was refused, by its place in the request."""

    object_index: int
    error: str = "refused"


class ObjectsWritten(Answer):
    """What became of the objects of one request."""

    succeeded: list[ObjectWritten] = []
    failed: list[ObjectRefused] = []


class Progress(Answer):
    """How far a batch has come, in objects."""

    processed: int = 0
    total: int | None = None
    errors: int = 0
    objects_extracted: int = 0
    objects_skipped: int = 0
    objects_failed: int = 0
    documents_written: int | None = None

    @property
    def done(self) -> int:
        """Objects that are through, the failed and the skipped among them."""
        return max(self.processed, self.objects_extracted + self.objects_skipped + self.objects_failed)


class FailedObject(Answer):
    """An object that could not be taken apart, and why."""

    object_id: str
    error: str = ""


class Batch(Answer):
    """A batch, how it goes, and what failed in it."""

    batch_id: str
    bucket_id: str
    status: str
    task_id: str | None = None
    progress: Progress | None = None
    documents_written: int | None = None
    failed_objects: list[FailedObject] | None = None
    failed_object_count: int = 0
    status_message: str | None = None
    error: str | None = None


class Submitted(Answer):
    """The task that a submitted batch runs as."""

    task_id: str


class Task(Answer):
    """A task and where it stands."""

    task_id: str
    task_type: str
    status: str
    additional_data: dict[str, object] | None = None


class Tasks(Answer):
    """A page of tasks."""

    results: list[Task]


class Found(Answer):
    """The documents that a search found, best first."""

    documents: list[Document] = []


class Me(Answer):
    """Whose key is in use."""

    organization_id: str
    user_email: str | None = None


class Key(Answer):
    """An API key without its secret."""

    name: str
    key_prefix: str | None = None
    permissions: list[str] = []
    status: str = "active"
    created_at: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None


class NewKey(Key):
    """An API key with its secret, which is shown once."""

    key: str


class Keys(Answer):
    """The keys of a user."""

    results: list[Key] = Field(default_factory=list)


class Health(Answer):
    """How the server says it is."""

    status: str = "OK"
