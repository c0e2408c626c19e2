"""From a search's query to what the vector store is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamina.core.errors import NotFoundError, ValidationError
from lamina.retrieval.stages.base import StageContext
from lamina.retrieval.stages.filter.feature_search.parameters import Query, Search
from lamina.retrieval.targets import Target
from lamina.stores.vectors.base import DenseVector, Lexical, Nearest


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one collection. `without` is the document that the query itself is."""

    target: Target
    query: Nearest | Lexical
    without: str | None = None


async def questions(
    search: Search, targets: Sequence[Target], given: StageContext, field: str
) -> list[Asked] | None:
    """The questions of one search; None when its query is empty and it may be left out.

    Raises `ValidationError` at the query when it is empty, of a wrong kind or of a wrong length,
    `NotFoundError` for a document or a blob that does not exist, `NotEnabledError` for content that
    is not served.
    """
    query, at = search.query, f"{field}.query"
    if query.input_mode == "document":
        return await _by_document(search, targets, given, at)
    if query.input_mode == "vector":
        vector = query.value if query.value is not None else query.vector
        return _empty(search, targets, at) if _is_empty(vector) else _by_vector(vector, targets, at)
    content: str | bytes = _text(query, at)
    if query.input_mode == "content" and (value := content_value(query, at).strip()):
        content = await given.contents.read(given.scope, value, f"{at}.value")
    if not content.strip():
        return _empty(search, targets, at)
    if isinstance(content, bytes):
        return await _by_picture(content, search, targets, given, at)
    if search.lexical:
        return [Asked(target, Lexical(content)) for target in targets]
    return await _by_text(content, query, targets, given, at)


def content_value(query: Query, field: str) -> str:
    """What a content query holds, whichever way it is spelled; nothing where it holds nothing."""
    value = query.value
    if value is None and query.content is not None:
        value = query.content.url or query.content.base64
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValidationError(
            "Content is a text, a URL, a data URI or base64.", field=f"{field}.value", code="string_type"
        )
    return value


def _text(query: Query, field: str) -> str:
    value = query.value if query.value is not None else query.text
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValidationError(
        f"A text query takes a text, not {_kind(value)}.", field=f"{field}.value", code="string_type"
    )


async def _by_text(
    text: str, query: Query, targets: Sequence[Target], given: StageContext, field: str
) -> list[Asked]:
    asked = []
    vectors: dict[str, DenseVector] = {}
    task = query.embedding_task or "retrieval_query"
    for target in targets:
        assert target.index is not None
        model = target.index.index.inference_name
        if model is None:
            raise _no_model(target.index.feature_uri, field)
        if model not in vectors:
            vectors[model] = await given.embedder.embed(model, text, task)
        asked.append(Asked(target, Nearest(vectors[model], target.index.index.name)))
    return asked


async def _by_picture(
    content: bytes, search: Search, targets: Sequence[Target], given: StageContext, field: str
) -> list[Asked]:
    """Each model of the targets looks at the picture once."""
    if search.lexical:
        raise ValidationError(
            "A lexical search takes a text, not a picture.", field=field, code="lexical_query"
        )
    asked = []
    vectors: dict[str, DenseVector] = {}
    for target in targets:
        assert target.index is not None
        model = target.index.index.inference_name
        if model is None:
            raise _no_model(target.index.feature_uri, field)
        if model not in vectors:
            try:
                vectors[model] = await given.embedder.embed_picture(model, content)
            except ValidationError as error:
                raise ValidationError(error.message, field=f"{field}.value", code=error.code) from error
        asked.append(Asked(target, Nearest(vectors[model], target.index.index.name)))
    return asked


def _no_model(feature_uri: str, field: str) -> ValidationError:
    return ValidationError(
        f"No model of this installation belongs to '{feature_uri}'; search it by input_mode vector.",
        field=field,
    )


def _by_vector(value: object, targets: Sequence[Target], field: str) -> list[Asked]:
    vector = _array(value, f"{field}.value")
    asked = []
    for target in targets:
        index = target.index
        assert index is not None
        if vector.ndim == 2 and index.index.type != "multi_dense":
            raise ValidationError(
                f"'{index.feature_uri}' takes one vector, not a list of vectors.", field=f"{field}.value"
            )
        size = index.index.dimensions
        if size is not None and vector.shape[-1] != size:
            raise ValidationError(
                f"The vector has {vector.shape[-1]} values; '{index.feature_uri}' takes {size}.",
                field=f"{field}.value",
                code="vector_size",
            )
        asked.append(Asked(target, Nearest(vector, index.index.name)))
    return asked


async def _by_document(
    search: Search, targets: Sequence[Target], given: StageContext, field: str
) -> list[Asked] | None:
    reference = search.query.document_ref
    document_id = reference.document_id if reference is not None else search.query.document_id
    if not document_id:
        return _empty(search, targets, field)
    named = reference.collection_id if reference is not None else None
    sources = (
        await given.targets.of_feature(
            search.feature_uri, [named], lexical=False, field=f"{field}.document_ref"
        )
        if named
        else targets
    )
    for source in sources:
        assert source.index is not None
        vector_name = source.index.index.name
        points = await given.vectors.get(source.ref, [document_id], with_vectors=[vector_name])
        if not points:
            continue
        vector = points[0].vectors.get(vector_name)
        if vector is None:
            raise ValidationError(
                f"Document '{document_id}' has no vector for '{search.feature_uri}'.", field=field
            )
        return _like(vector, document_id, source, targets)
    raise NotFoundError("document", document_id)


def _like(vector: object, document_id: str, source: Target, targets: Sequence[Target]) -> list[Asked]:
    asked = []
    for target in targets:
        assert target.index is not None
        own = document_id if target.collection.collection_id == source.collection.collection_id else None
        asked.append(Asked(target, Nearest(_array(vector, "query"), target.index.index.name), own))
    return asked


def _empty(search: Search, targets: Sequence[Target], field: str) -> list[Asked] | None:
    if search.on_empty == "skip":
        return None
    if search.on_empty == "random" and not search.lexical:
        return _at_random(targets, field)
    raise ValidationError(
        "The query is empty. Send one, or set on_empty to skip or random.", field=field, code="query_empty"
    )


def _at_random(targets: Sequence[Target], field: str) -> list[Asked]:
    generator = np.random.default_rng()
    by_size: dict[int, DenseVector] = {}
    asked = []
    for target in targets:
        index = target.index
        if index is None or index.index.dimensions is None:
            raise ValidationError("This feature has no vectors to search at random.", field=field)
        size = index.index.dimensions
        if size not in by_size:
            drawn = generator.standard_normal(size, dtype=np.float32)
            by_size[size] = drawn / np.linalg.norm(drawn)
        asked.append(Asked(target, Nearest(by_size[size], index.index.name)))
    return asked


def _array(value: object, field: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if isinstance(value, np.ndarray):
        return value.astype(np.float32, copy=False)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValidationError("The rows of the vector have different lengths.", field=field) from error
    if array.dtype.kind in "fiu" and array.ndim in (1, 2):
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValidationError(
            "A vector query takes a list of finite numbers, or a list of such lists.",
            field=field,
            code="vector_type",
        )
    return array


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | tuple) and len(value) == 0)


def _kind(value: object) -> str:
    return {bool: "a boolean", list: "an array", dict: "an object"}.get(type(value), type(value).__name__)
