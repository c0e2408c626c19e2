"""Namespaces: the isolated spaces of an organization."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AliasChoices, Field, StringConstraints, field_validator, model_validator

from lamina.core.errors import AlreadyExistsError, NotFoundError, ValidationError
from lamina.core.filters import ALL, Filter, equals
from lamina.core.ids import new_id
from lamina.core.models import Model, Request, ResourceName, Timestamp, now
from lamina.core.paging import PageRequest, ResourceList, Slice
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.types import JsonObject
from lamina.platform.tasks import TaskService
from lamina.stores.records.base import Kind, RecordStore, Repository

Metric = Literal["cosine", "dot", "euclidean"]


class NamespaceExtractor(Model):
    """An extractor that the namespace's collections may use."""

    feature_extractor_name: str
    version: str = "v1"
    params: JsonObject | None = None
    feature_extractor_id: str = ""

    def model_post_init(self, context: object) -> None:
        """The id is the name with the version."""
        self.feature_extractor_id = f"{self.feature_extractor_name}_{self.version}"


class VectorConfig(Model):
    """A vector that documents of a standalone namespace may carry."""

    name: str = Field(min_length=1, max_length=255)
    dimension: int = Field(ge=1, le=65536)
    metric: Metric = "cosine"

    @field_validator("metric", mode="before")
    @classmethod
    def _spelling(cls, metric: object) -> object:
        return "dot" if metric == "dot_product" else metric


class PayloadIndex(Model):
    """A field that filters should find quickly."""

    field_name: str = Field(min_length=1, max_length=255)
    type: Literal["keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid"]
    field_schema: JsonObject | None = None
    is_protected: bool = False


PROTECTED_INDEXES = [
    PayloadIndex(field_name=name, type="keyword", is_protected=True)
    for name in ("internal_id", "namespace_id", "collection_id", "document_id", "bucket_id")
]


class Namespace(Model):
    """`NamespaceModel` of the contract."""

    object: Literal["namespace"] = "namespace"
    namespace_id: str = Field(default_factory=lambda: new_id("ns"))
    namespace_name: str
    namespace_type: Literal["standard", "marketplace"] = "standard"
    mode: Literal["managed", "standalone"] = "managed"
    description: str | None = None
    feature_extractors: list[NamespaceExtractor] = Field(default_factory=list)
    payload_indexes: list[PayloadIndex] = Field(default_factory=lambda: list(PROTECTED_INDEXES))
    vector_configs: list[VectorConfig] | None = None
    auto_create_indexes: bool = False
    adaptive_indexing: bool = False
    payload_index_count: int | None = None
    document_count: int | None = None
    document_count_complete: bool = True
    bucket_count: int | None = None
    collection_count: int | None = None
    object_count: int | None = None
    namespace_ready: bool = True
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)
    expires_at: Timestamp | None = None

    @property
    def expired(self) -> bool:
        """Whether its time to live is over."""
        return self.expires_at is not None and self.expires_at <= now()


NamespaceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
"""An id that a caller chooses: unique among all organizations, and the name of a folder."""


class NamespaceCreate(Request):
    """Body of the creation of a namespace."""

    namespace_name: ResourceName = Field(
        min_length=3, max_length=64, validation_alias=AliasChoices("namespace_name", "name")
    )
    namespace_id: NamespaceId | None = None
    mode: Literal["managed", "standalone"] = "managed"
    namespace_type: Literal["standard", "marketplace"] | None = None
    description: str | None = None
    features: list[NamespaceExtractor] | None = None
    feature_extractors: list[NamespaceExtractor] = Field(default_factory=list)
    vector_configs: list[VectorConfig] | None = None
    payload_indexes: list[PayloadIndex] | None = None
    auto_create_indexes: bool | None = None
    adaptive_indexing: bool | None = None
    ttl_seconds: int | None = Field(default=None, ge=60, le=315_360_000)


class StandaloneCreate(Request):
    """Body of the creation of a namespace for vectors that the caller makes."""

    namespace_id: NamespaceId
    vector_configs: list[VectorConfig] | None = None
    auto_create_indexes: bool | None = None


class Standalone(Model):
    """Answer to the creation of a standalone namespace."""

    namespace_id: str
    mode: Literal["standalone"] = "standalone"
    status: str = "active"
    vector_configs: list[VectorConfig] | None = None
    tiering: str = "auto"
    document_count: int = 0


class NamespacePatch(Request):
    """Body of a partial update. `feature_extractors` and `payload_indexes` are added to what there is."""

    namespace_name: ResourceName | None = Field(default=None, min_length=3, max_length=64)
    description: str | None = None
    feature_extractors: list[NamespaceExtractor] | None = None
    payload_indexes: list[PayloadIndex] | None = None
    auto_create_indexes: bool | None = None
    adaptive_indexing: bool | None = None
    ttl_seconds: int | None = Field(default=None, ge=60, le=315_360_000)
    expires_at: Timestamp | None = None

    @model_validator(mode="after")
    def _one_expiry(self) -> Self:
        if self.ttl_seconds is not None and self.expires_at is not None:
            raise ValueError("send expires_at or ttl_seconds, not both")
        return self


NAMESPACES = Kind(
    "namespaces", Namespace, "namespace_id", "namespace_name", search=("description",), cached=True
)

Counts = dict[str, int]
"""`bucket_count`, `collection_count`, `object_count`, `document_count`."""


class NamespaceService:
    """Creates, resolves and changes namespaces.

    `count` counts what a namespace holds; `known_extractor` raises for an extractor that does not
    exist. Both come from packages above this one.
    """

    def __init__(
        self,
        records: RecordStore,
        namespaces: Repository[Namespace],
        tasks: TaskService,
        count: Callable[[Scope], Awaitable[Counts]],
        known_extractor: Callable[[str, str], object],
    ) -> None:
        self.records = records
        self.namespaces = namespaces
        self._tasks = tasks
        self._count = count
        self._known_extractor = known_extractor

    async def create(self, scope: Scope, asked: NamespaceCreate) -> Namespace:
        """A new namespace; its name is unique in the organization."""
        extractors = [*(asked.features or []), *asked.feature_extractors]
        self._check(extractors)
        namespace = Namespace(
            namespace_name=asked.namespace_name,
            namespace_type=asked.namespace_type or "standard",
            mode=asked.mode,
            description=asked.description,
            feature_extractors=extractors,
            payload_indexes=[*PROTECTED_INDEXES, *(asked.payload_indexes or [])],
            vector_configs=asked.vector_configs,
            auto_create_indexes=bool(asked.auto_create_indexes),
            adaptive_indexing=bool(asked.adaptive_indexing),
        )
        if asked.namespace_id:
            namespace.namespace_id = asked.namespace_id
        if asked.ttl_seconds:
            namespace.expires_at = now() + timedelta(seconds=asked.ttl_seconds)
        await self._add(scope, namespace)
        return await self.described(scope, namespace)

    async def create_standalone(self, scope: Scope, asked: StandaloneCreate) -> Standalone:
        """A namespace without collections; its id is the caller's choice."""
        namespace = Namespace(
            namespace_id=asked.namespace_id,
            namespace_name=asked.namespace_id,
            mode="standalone",
            vector_configs=asked.vector_configs,
            auto_create_indexes=bool(asked.auto_create_indexes),
        )
        await self._add(scope, namespace)
        return Standalone(namespace_id=namespace.namespace_id, vector_configs=asked.vector_configs)

    async def _add(self, scope: Scope, namespace: Namespace) -> None:
        """Store a new one. Its id is taken if any organization has it: points and blobs lie under it.

        Nor is it another's name, or its name another's id: both are looked up alike.
        """
        async with self.records.transaction(EVERYWHERE):
            taken = await self.namespaces.first(EVERYWHERE, equals("namespace_id", namespace.namespace_id))
            taken = taken or await self.namespaces.find(scope.of_organization(), namespace.namespace_id)
            if taken is not None:
                raise AlreadyExistsError(
                    f"Namespace '{namespace.namespace_id}' already exists; choose another namespace_id.",
                    code="namespace_id_taken",
                    field="namespace_id",
                )
            if await self._tasks.deletes_namespace(namespace.namespace_id):
                raise AlreadyExistsError(
                    f"Namespace '{namespace.namespace_id}' is still being deleted; wait for its task to end.",
                    field="namespace_id",
                )
            await self._check_name(scope, namespace.namespace_name)
            await self.namespaces.add(scope.of_organization(), namespace)

    async def _check_name(self, scope: Scope, name: str) -> None:
        taken = await self.namespaces.find(scope.of_organization(), name)
        if taken is not None:
            raise AlreadyExistsError(
                f"Namespace '{name}' already exists; choose another namespace_name.",
                code="namespace_name_taken",
                field="namespace_name",
            )

    async def resolve(self, organization_id: str, identifier: str) -> Namespace:
        """The namespace with that id or name. An expired one reads as missing."""
        found = await self.namespaces.find(Scope(organization_id), identifier)
        if found is None or found.expired:
            raise NotFoundError("namespace", identifier)
        return found

    async def only(self, organization_id: str, default: str) -> Namespace | None:
        """The namespace meant by a request that names none: the default, or the only one there is."""
        found = await self.namespaces.find(Scope(organization_id), default)
        if found is not None and not found.expired:
            return found
        few = await self.namespaces.list_page(Scope(organization_id), PageRequest(limit=2))
        return few.items[0] if len(few.items) == 1 else None

    async def described(self, scope: Scope, namespace: Namespace) -> Namespace:
        """The namespace with the counts of what it holds."""
        counts = await self._count(Scope(scope.organization_id, namespace.namespace_id))
        return namespace.model_copy(update={**counts, "payload_index_count": len(namespace.payload_indexes)})

    async def list_page(
        self, scope: Scope, page: PageRequest, asked: ResourceList, where: Filter = ALL
    ) -> Slice[Namespace]:
        """Namespaces of the organization with their counts."""
        found = await self.namespaces.list_page(
            scope.of_organization(),
            page,
            where=where,
            sort=asked.order,
            search=asked.search,
            case_sensitive=asked.case_sensitive,
        )
        items = [await self.described(scope, namespace) for namespace in found.items]
        return Slice(items, found.next_cursor, found.total)

    async def patch(self, scope: Scope, identifier: str, asked: NamespacePatch) -> Namespace:
        """Change what was sent; extractors and indexes are added."""
        async with self.records.transaction(EVERYWHERE):
            namespace = await self._patched(scope, identifier, asked)
        return await self.described(scope, namespace)

    async def _patched(self, scope: Scope, identifier: str, asked: NamespacePatch) -> Namespace:
        namespace = await self.resolve(scope.organization_id, identifier)
        changed = asked.model_dump(
            include={"namespace_name", "description", "auto_create_indexes", "adaptive_indexing"},
            exclude_unset=True,
            exclude_none=True,
        )
        if changed.get("namespace_name") not in (None, namespace.namespace_name):
            await self._check_name(scope, changed["namespace_name"])
        if asked.feature_extractors:
            self._check(asked.feature_extractors)
            changed["feature_extractors"] = _merged(
                namespace.feature_extractors, asked.feature_extractors, "feature_extractor_id"
            )
        if asked.payload_indexes:
            changed["payload_indexes"] = _merged(
                namespace.payload_indexes, asked.payload_indexes, "field_name"
            )
        if asked.ttl_seconds is not None:
            changed["expires_at"] = now() + timedelta(seconds=asked.ttl_seconds)
        elif {"ttl_seconds", "expires_at"} & asked.model_fields_set:
            changed["expires_at"] = asked.expires_at  # null removes it
        namespace = namespace.model_copy(update={**changed, "updated_at": now()})
        await self.namespaces.update(scope.of_organization(), namespace)
        return namespace

    async def add_vectors(self, scope: Scope, configs: Sequence[VectorConfig]) -> None:
        """Remember vectors that a standalone namespace gained."""

        def grown(namespace: Namespace) -> Namespace:
            merged = _merged(namespace.vector_configs or [], configs, "name")
            return namespace.model_copy(update={"vector_configs": merged, "updated_at": now()})

        await self.namespaces.change(scope.of_organization(), scope.namespace, grown)

    def _check(self, extractors: Sequence[NamespaceExtractor]) -> None:
        for extractor in extractors:
            try:
                self._known_extractor(extractor.feature_extractor_name, extractor.version)
            except ValidationError as error:
                raise ValidationError(
                    error.message, field="feature_extractors", code="feature_extractor_not_found"
                ) from error


T = TypeVar("T", bound=Model)


def _merged(old: Sequence[T], new: Sequence[T], key: str) -> list[T]:
    by_key = {getattr(item, key): item for item in (*old, *new)}
    return list(by_key.values())
