"""④ Documents that a document refers to, fetched along with it."""

from collections.abc import Sequence
from typing import Final, cast

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.filters import equals
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.documents.documents import DocumentService
from lamina.documents.listing import value_at
from lamina.ingest.objects import INTERNAL_FIELDS, StoredObject
from lamina.stores.records.base import Repository
from lamina.stores.vectors.base import CollectionRef, Point

MAX_REFERENCES: Final = 50
MAX_CHILDREN: Final = 100


async def expanded(
    documents: DocumentService,
    objects: Repository[StoredObject],
    scope: Scope,
    point: Point,
    fields: Sequence[str],
) -> JsonObject:
    """By field: `parent`, `root_object`, `ancestors`, `children`, or what a user field refers to."""
    found: JsonObject = {}
    for field in dict.fromkeys(one.strip() for one in fields if one.strip()):
        if field == "root_object":
            root = _lineage(point).get("root_object_id")
            stored = await objects.find(scope, str(root)) if root else None
            found[field] = (
                stored.model_dump(mode="json", exclude_none=True, exclude=INTERNAL_FIELDS) if stored else None
            )
        elif field in {"parent", "ancestors"}:
            above = await ancestors(documents, scope, point)
            parent = above[-1].payload if above else None
            found[field] = [one.payload for one in above] if field == "ancestors" else parent
        elif field == "children":
            found[field] = [one.payload for one in await children(documents, scope, point)]
        else:
            found[field] = await _referenced(documents, scope, value_at(point.payload, field), field)
    return found


async def ancestors(documents: DocumentService, scope: Scope, point: Point) -> list[Point]:
    """The documents between the root object and this one, the first made first."""
    chain: list[Point] = []
    current = point
    while True:
        above = _lineage(current).get("source_document_id")
        if not above or len(chain) >= MAX_REFERENCES:
            return chain[::-1]
        try:
            current, _ = await documents.find(scope, str(above))
        except NotFoundError:
            return chain[::-1]
        chain.append(current)


async def children(documents: DocumentService, scope: Scope, point: Point) -> list[Point]:
    """The documents made directly from this one."""
    where = equals("_internal.lineage.source_document_id", point.document_id)
    found: list[Point] = []
    for collection_id in await documents.vectors.collections(scope.namespace):
        at = CollectionRef(scope.namespace, collection_id)
        page = await documents.vectors.scroll(at, limit=MAX_CHILDREN - len(found), where=where)
        found.extend(page.points)
        if len(found) >= MAX_CHILDREN:
            break
    return found


async def _referenced(documents: DocumentService, scope: Scope, value: Json, field: str) -> Json:
    many = isinstance(value, list)
    ids = [one for one in (cast("list[Json]", value) if many else [value]) if isinstance(one, str)]
    ids = [one for one in ids if one.startswith("doc_")]
    if len(ids) > MAX_REFERENCES:
        raise ValidationError(f"'{field}' refers to more than {MAX_REFERENCES} documents.", field="expand")
    points, _ = await documents.get_many(scope, ids)
    payloads: list[Json] = [point.payload for point in points]
    return payloads if many else (payloads[0] if payloads else None)


def _lineage(point: Point) -> JsonObject:
    internal = cast("JsonObject", point.payload.get("_internal") or {})
    return cast("JsonObject", internal.get("lineage") or {})
