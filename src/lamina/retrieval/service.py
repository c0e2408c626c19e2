"""The life of retrievers: made, read, listed, changed and deleted, and checked before they are kept."""

from collections.abc import Sequence

from lamina.core.errors import NotEnabledError, ValidationError
from lamina.core.filters import ALL, Filter
from lamina.core.models import Sort, now
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.types import JsonObject
from lamina.retrieval import plan
from lamina.retrieval.inputs import breaking_changes, check_schema
from lamina.retrieval.retrievers import (
    AdhocRequest,
    CreateRequest,
    FeatureAddress,
    PatchRequest,
    Retriever,
    StageConfig,
    Visibility,
)
from lamina.retrieval.stages import registry
from lamina.retrieval.targets import CollectionReader, Targets, address
from lamina.stores.records.base import Repository


class RetrieverService:
    """Keeps retrievers. Names are unique in a namespace."""

    def __init__(self, retrievers: Repository[Retriever], collections: CollectionReader) -> None:
        self._retrievers = retrievers
        self._collections = collections

    async def create(self, scope: Scope, request: CreateRequest, *, by: str | None = None) -> Retriever:
        """Check and keep a new retriever.

        Raises `ValidationError` at what is wrong (stages, parameters, features, input schema),
        `NotFoundError` for a collection that does not exist, `NotEnabledError` for what this
        version does not serve, `AlreadyExistsError` for a taken name.
        """
        _refuse_publishing(request.visibility, request.marketplace_listing_id, request.requires_subscription)
        retriever = Retriever(
            retriever_name=request.retriever_name,
            description=request.description,
            collection_ids=request.collection_identifiers,
            stages=request.stages,
            input_schema=request.input_schema,
            budget_limits=request.budget_limits,
            tags=request.tags,
            metadata=request.metadata,
            display_config=request.display_config,
            created_by=by,
            updated_by=by,
        )
        checked = await self._checked(scope, retriever)
        await self._retrievers.add(scope, checked)
        return checked

    async def adhoc(self, scope: Scope, request: AdhocRequest) -> Retriever:
        """A retriever that is not kept, checked like one that is. Its id is empty."""
        retriever = Retriever(
            retriever_id="",
            retriever_name="adhoc",
            collection_ids=request.collection_identifiers,
            stages=request.stages,
            input_schema=request.input_schema,
            budget_limits=request.budget_limits,
        )
        return await self._checked(scope, retriever)

    async def get(self, scope: Scope, identifier: str) -> Retriever:
        """The retriever with that id or name; `NotFoundError`."""
        return await self._retrievers.get(scope, identifier)

    async def list_page(
        self,
        scope: Scope,
        page: PageRequest,
        *,
        where: Filter = ALL,
        sort: Sort | None = None,
        search: str | None = None,
        case_sensitive: bool = False,
    ) -> Slice[Retriever]:
        """One page of the namespace's retrievers."""
        return await self._retrievers.list_page(
            scope, page, where=where, sort=sort, search=search, case_sensitive=case_sensitive
        )

    async def patch(
        self, scope: Scope, identifier: str, request: PatchRequest, *, by: str | None = None
    ) -> Retriever:
        """Change what the request gives, and check the whole again.

        Raises what `create` raises, and `ValidationError` naming every change of the input schema
        that would break those who call the retriever.
        """
        retriever = await self._retrievers.get(scope, identifier)
        _refuse_publishing(
            request.visibility or "private",
            request.marketplace_listing_id,
            bool(request.requires_subscription),
        )
        changed = retriever.model_copy(update=_changes(retriever, request))
        changed.version = retriever.version + 1
        changed.updated_at = now()
        changed.updated_by = by or retriever.updated_by
        checked = await self._checked(scope, changed)
        await self._retrievers.update(scope, checked)
        return checked

    async def delete(self, scope: Scope, identifier: str) -> Retriever:
        """Remove a retriever; the one that was removed."""
        retriever = await self._retrievers.get(scope, identifier)
        await self._retrievers.delete(scope, retriever.retriever_id)
        return retriever

    async def _checked(self, scope: Scope, retriever: Retriever) -> Retriever:
        """The retriever with its collections' ids, the features it needs and its stages' categories."""
        check_schema(retriever.input_schema)
        stages = [stage.model_dump(exclude_none=True) for stage in retriever.stages]
        compiled = plan.compiled(stages)
        targets = Targets(self._collections, scope, retriever.collection_ids, strict=True)
        features = await plan.check(compiled, targets)
        named = await targets.collections() if retriever.collection_ids else []
        return retriever.model_copy(
            update={
                "collection_ids": [collection.collection_id for collection in named],
                "stages": [_categorised(stage, index) for index, stage in enumerate(retriever.stages)],
                "feature_dependencies": _addresses(features),
            }
        )


def _categorised(stage: StageConfig, index: int) -> StageConfig:
    found = registry.stage(str(stage.config["stage_id"]), field=f"stages.{index}.config.stage_id")
    return stage.model_copy(update={"stage_type": found.category})


def _addresses(features: Sequence[str]) -> list[FeatureAddress] | None:
    parts = [uri for feature in features if (uri := address(feature)) is not None]
    found = [FeatureAddress(extractor=uri.extractor, version=uri.version, output=uri.output) for uri in parts]
    return found or None


def _changes(retriever: Retriever, request: PatchRequest) -> JsonObject:
    given = request.model_fields_set
    changes: JsonObject = {}
    for name in ("description", "metadata", "display_config"):
        if name in given:
            changes[name] = getattr(request, name)
    for name, target in (
        ("retriever_name", "retriever_name"),
        ("tags", "tags"),
        ("stages", "stages"),
        ("collection_identifiers", "collection_ids"),
    ):
        if getattr(request, name) is not None:
            changes[target] = getattr(request, name)
    if request.input_schema is not None:
        breaks = breaking_changes(retriever.input_schema, request.input_schema)
        if breaks:
            raise ValidationError(
                f"The input schema may only grow; this would break callers: {'; '.join(breaks)}.",
                validation_errors=[
                    {"type": "breaking_change", "location": ["body", "input_schema"], "message": text}
                    for text in breaks
                ],
            )
        changes["input_schema"] = request.input_schema  # type: ignore[assignment]
    return changes


def _refuse_publishing(visibility: Visibility, listing: str | None, subscription: bool) -> None:
    if visibility != "private" or listing or subscription:
        raise NotEnabledError(
            "Publishing retrievers is not available in this version; leave visibility private.",
            field="visibility",
        )
