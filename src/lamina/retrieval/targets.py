"""Which collections a search goes to, and which of their vectors a feature URI means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.features import FeatureUri
from lamina.core.scope import Scope
from lamina.processing.collections import Collection, CollectionVectorIndex
from lamina.stores.vectors.base import CollectionRef

DEFAULT_FEATURE: Final = "mixpeek://text_extractor@v1/embedding"
"""What clients send that do not name a model: the collections' only text vector."""

_OPEN_URI: Final = re.compile(r"^mixpeek://([A-Za-z0-9_.-]+)@([A-Za-z0-9_.-]+?)(?:/(\S*))?$")
_TEXT_INPUTS: Final = frozenset({"text", "string"})


class CollectionReader(Protocol):
    """Where retrieval reads collections from."""

    async def get(self, scope: Scope, identifier: str) -> Collection:
        """The collection with that id or name; `NotFoundError`."""

    async def all(self, scope: Scope) -> list[Collection]:
        """Every collection of the namespace."""


@dataclass(frozen=True, slots=True)
class Target:
    """One collection of a search with the vector to search in; `index` is None for BM25."""

    collection: Collection
    ref: CollectionRef
    index: CollectionVectorIndex | None


class Targets:
    """The collections of one execution, each read once.

    `identifiers` are the retriever's own; with none, a search goes to every collection of the
    namespace. A collection that is gone is left out and named in `missing`, unless none is left
    or `strict` is set.
    """

    def __init__(
        self, reader: CollectionReader, scope: Scope, identifiers: Sequence[str], *, strict: bool = False
    ) -> None:
        self._reader = reader
        self._scope = scope
        self._identifiers = identifiers
        self._strict = strict
        self._read: dict[str, Collection] = {}
        self._all: list[Collection] | None = None
        self.missing: list[str] = []

    async def collections(self, identifiers: Sequence[str] | None = None) -> list[Collection]:
        """The collections with those ids or names, or the retriever's; each once."""
        wanted = identifiers or self._identifiers
        if not wanted:
            if self._all is None:
                self._all = await self._reader.all(self._scope)
            return self._all
        found: dict[str, Collection] = {}
        failure: NotFoundError | None = None
        for identifier in wanted:
            try:
                collection = await self._one(identifier)
            except NotFoundError as error:
                if self._strict:
                    raise
                failure = error
                if identifier not in self.missing:
                    self.missing.append(identifier)
                continue
            found[collection.collection_id] = collection
        if failure is not None and not found:
            raise failure
        return list(found.values())

    def ref(self, collection: Collection) -> CollectionRef:
        """Where the collection's points lie."""
        return CollectionRef(self._scope.namespace, collection.collection_id)

    async def of_feature(
        self, uri: str, identifiers: Sequence[str] | None, *, lexical: bool, field: str
    ) -> list[Target]:
        """The collections that have the feature, with the vector behind it.

        Raises `ValidationError` at `field` when none has it, and lists the features there are.
        """
        collections = await self.collections(identifiers)
        if lexical and _leaves_output_open(uri):
            return [Target(collection, self.ref(collection), None) for collection in collections]
        chosen = choose_indexes(uri, collections, field=field)
        return [
            Target(collection, self.ref(collection), None if lexical else index)
            for collection, index in chosen
        ]

    async def _one(self, identifier: str) -> Collection:
        found = self._read.get(identifier)
        if found is None:
            found = self._read[identifier] = await self._reader.get(self._scope, identifier)
        return found


def choose_indexes(
    uri: str, collections: Sequence[Collection], *, field: str
) -> list[tuple[Collection, CollectionVectorIndex]]:
    """The vector index of each collection that a feature URI means.

    A full URI means the index that has it, and in the other collections those whose vectors the
    same model made. A URI without an output, or with the output `embedding`, means the only text
    vector. A text that is no URI means the index, vector or model of that name.
    """
    if _leaves_output_open(uri):
        return _only_text_index(uri, collections, field=field)
    exact = [
        (collection, index)
        for collection in collections
        for index in collection.vector_indexes
        if uri in (index.feature_uri, index.name, index.index.name)
    ]
    if not exact:
        raise _unknown(uri, collections, field)
    chosen: dict[str, tuple[Collection, CollectionVectorIndex]] = {}
    for collection, index in exact:
        chosen.setdefault(collection.collection_id, (collection, index))
    model = exact[0][1].index.inference_name
    for collection in collections:
        for index in collection.vector_indexes:
            if model is not None and index.index.inference_name == model:
                chosen.setdefault(collection.collection_id, (collection, index))
    return [
        chosen[collection.collection_id] for collection in collections if collection.collection_id in chosen
    ]


def address(uri: str) -> FeatureUri | None:
    """The parts of a full feature URI, or None."""
    found = _OPEN_URI.match(uri)
    return FeatureUri(*found.groups()) if found is not None and found[3] else None


def _leaves_output_open(uri: str) -> bool:
    found = _OPEN_URI.match(uri)
    return found is not None and found[3] in (None, "", "embedding")


def _only_text_index(
    uri: str, collections: Sequence[Collection], *, field: str
) -> list[tuple[Collection, CollectionVectorIndex]]:
    prefix = uri.partition("//")[2].partition("/")[0]
    every = [(collection, index) for collection in collections for index in collection.vector_indexes]
    dense = [(collection, index) for collection, index in every if index.index.type != "sparse"]
    candidates = [pair for pair in dense if _TEXT_INPUTS & set(pair[1].index.supported_inputs)] or dense
    own = [pair for pair in candidates if pair[1].feature_uri.startswith(f"mixpeek://{prefix}/")]
    candidates = own or candidates
    if not candidates:
        raise _unknown(uri, collections, field)
    meanings = {index.index.inference_name or index.feature_uri for _, index in candidates}
    if len(meanings) > 1:
        raise ValidationError(
            f"'{uri}' could mean several features; name one of {', '.join(_features(collections))}.",
            field=field,
            code="feature_uri_ambiguous",
        )
    chosen: dict[str, tuple[Collection, CollectionVectorIndex]] = {}
    for collection, index in candidates:
        chosen.setdefault(collection.collection_id, (collection, index))
    return list(chosen.values())


def _features(collections: Sequence[Collection]) -> list[str]:
    return sorted({index.feature_uri for collection in collections for index in collection.vector_indexes})


def _unknown(uri: str, collections: Sequence[Collection], field: str) -> ValidationError:
    available = _features(collections)
    listed = ", ".join(available) if available else "no feature at all"
    return ValidationError(
        f"Feature '{uri}' does not exist in the collections; they have {listed}.",
        field=field,
        code="feature_uri_not_found",
    )
