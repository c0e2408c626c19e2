"""A small namespace for the stages: collections, their points, and a pipeline over them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.errors import LaminaError, NotFoundError
from lamina.core.scope import Scope
from lamina.inference.base import Capability, ModelCard
from lamina.inference.registry import Models
from lamina.ingest.fetch import Fetcher
from lamina.ingest.fetch_settings import FetchSettings
from lamina.processing.collections import (
    Collection,
    CollectionVectorIndex,
    FeatureExtractorConfig,
    SourceConfig,
    VectorIndexDetails,
)
from lamina.retrieval.contents import ContentReader
from lamina.retrieval.pipeline import RetrievalPipeline
from lamina.retrieval.plan import compiled
from lamina.retrieval.retrievers import AdhocRequest, ExecuteRequest, Retriever
from lamina.retrieval.service import RetrieverService
from lamina.retrieval.stages.base import Findings
from lamina.stores.blobs.base import BlobStore
from lamina.stores.vectors.base import CollectionRef, Point, VectorStore

SCOPE = Scope("org_1", "ns_1")
MODEL = "three_axes_v1"
URI = f"mixpeek://text_extractor@v1/{MODEL}"

Query = Mapping[str, Any] | str | list[float]

OpenVectors = Callable[[Path], VectorStore]
"""Opens an empty vector store for a folder."""


class Axes:
    """A model of three words: each is an axis."""

    words = ("red", "green", "blue")

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """How often each word occurs."""
        rows = [[text.lower().split().count(word) + 0.001 for word in self.words] for text in texts]
        return np.asarray(rows, dtype=np.float32)

    embed_documents = embed_queries


class AxesModels(Models):
    """The registry with the model of three words besides its own."""

    def card(self, name: str, capability: Capability | None = None) -> ModelCard:
        own = ModelCard(MODEL, "embed_text", 3, "folder", "CC0-1.0", "the tests", "Three words.")
        return own if name == MODEL else super().card(name, capability)

    def text_embedder(self, name: str | None = None) -> Any:
        return Axes() if name == MODEL else super().text_embedder(name)


class Collections:
    """Collections by id and name."""

    def __init__(self) -> None:
        self.known: list[Collection] = []

    async def get(self, scope: Scope, identifier: str) -> Collection:
        for collection in self.known:
            if identifier in (collection.collection_id, collection.collection_name):
                return collection
        raise NotFoundError("collection", identifier)

    async def all(self, scope: Scope) -> list[Collection]:
        return self.known


def vector_index(name: str = "text", model: str | None = MODEL, size: int = 3) -> CollectionVectorIndex:
    details = VectorIndexDetails(
        name=name, dimensions=size, inference_name=model, supported_inputs=["text"] if model else []
    )
    uri = f"mixpeek://text_extractor@v1/{model}" if model else name
    return CollectionVectorIndex(name=name, feature_uri=uri, index=details)


def collection(name: str, *indexes: CollectionVectorIndex) -> Collection:
    return Collection(
        collection_id=f"col_{name}",
        collection_name=name,
        feature_extractor=FeatureExtractorConfig(feature_extractor_name="text_extractor"),
        source=SourceConfig(type="bucket", bucket_ids=["bkt_1"]),
        vector_indexes=list(indexes),
    )


def point(document_id: str, vector: Sequence[float], text: str, **fields: Any) -> Point:
    internal = {"lineage": {"source_object_id": f"obj_{fields.get('parent', document_id)}"}}
    payload = {"document_id": document_id, "text": text, "_internal": internal, **fields}
    return Point(document_id, payload, {"text": vector}, lexical=text)


COLORS = [
    point("doc_1", [1.0, 0.0, 0.0], "red wine", color="red", year=2001, tags=["a", "b"], parent="x"),
    point("doc_2", [0.9, 0.1, 0.0], "red brick wall", color="red", year=2003, tags=["b"], parent="x"),
    point("doc_3", [0.1, 0.9, 0.0], "green leaf", color="green", year=2002, tags=[], parent="y"),
    point("doc_4", [0.0, 1.0, 0.0], "green glass of wine", color="green", year=2004, parent="y"),
    point("doc_5", [0.0, 0.0, 1.0], "blue sky", color="blue", year=2005, tags=["c"], parent="z"),
]
MORE = [
    point("doc_6", [0.8, 0.0, 0.2], "red rose", color="red", year=2010),
    point("doc_7", [0.0, 0.2, 0.8], "blue rose wine", color="blue", year=2011),
]


class World:
    """Everything that a test of a pipeline needs."""

    def __init__(
        self, vectors: VectorStore, models: Models, blobs: BlobStore, fetcher: Fetcher | None = None
    ) -> None:
        self.vectors = vectors
        self.blobs = blobs
        self.collections = Collections()
        contents = ContentReader(fetcher or Fetcher(FetchSettings()), blobs)
        self.pipeline = RetrievalPipeline(vectors, models, self.collections, contents)
        self.service = RetrieverService(None, self.collections)  # type: ignore[arg-type]

    async def add(self, made: Collection, points: Sequence[Point]) -> None:
        at = CollectionRef(SCOPE.namespace, made.collection_id)
        await self.vectors.create(at, made.specs)
        if points:
            await self.vectors.upsert(at, points)
        self.collections.known.append(made)

    async def retriever(self, *stages: Mapping[str, Any], **more: Any) -> Retriever:
        body = {"collection_identifiers": ["colors"], **more, "stages": list(stages)}
        return await self.service.adhoc(SCOPE, AdhocRequest.model_validate(body))

    async def run(self, *stages: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The answer to an ad-hoc execution; keywords go into the request."""
        body = {"collection_identifiers": ["colors"], **more, "stages": list(stages)}
        request = AdhocRequest.model_validate(body)
        retriever = await self.service.adhoc(SCOPE, request)
        return dict((await self.pipeline.execute(SCOPE, retriever, request)).response)

    async def execute(self, retriever: Retriever, **body: Any) -> dict[str, Any]:
        request = ExecuteRequest.model_validate(body)
        return dict((await self.pipeline.execute(SCOPE, retriever, request)).response)


def copied(one: Point) -> Point:
    return Point(one.document_id, dict(one.payload), one.vectors, lexical=one.lexical)


def search(query: Query = "red", **parameters: Any) -> dict[str, Any]:
    """A stage with one search; keywords of searches go there, the others to the stage."""
    of_search = {"top_k", "min_score", "weight", "lexical", "optional", "on_empty", "filters", "feature_uri"}
    one = {"feature_uri": URI, "query": query}
    one.update({key: parameters.pop(key) for key in list(parameters) if key in of_search})
    return stage("feature_search", searches=[one], **parameters)


def stage(stage_id: str, **parameters: Any) -> dict[str, Any]:
    return {"stage_name": stage_id, "config": {"stage_id": stage_id, "parameters": parameters}}


def ids(answer: Mapping[str, Any]) -> list[str]:
    """The documents of an answer by the number in their id."""
    return [document["document_id"].removeprefix("doc_") for document in answer["documents"]]


async def applied(stage_id: str, documents: list[dict[str, Any]], **parameters: Any) -> list[dict[str, Any]]:
    """What a stage makes of documents, without a pipeline around it."""
    (step,) = compiled([stage(stage_id, **parameters)]).steps
    names: dict[str, Any] = {"input": {"word": "hi"}, "context": {}, "stage": {}}
    given: Any = SimpleNamespace(
        names=names,
        inputs=names["input"],
        findings=Findings(),
        metadata={},
        name="it",
        field=step.field,
        first=False,
    )
    return await step.instance(names).run(documents, given)


def numbered(*fields: Any) -> list[dict[str, Any]]:
    """Documents with ids 1, 2, 3 …"""
    return [{"document_id": str(n), **each} for n, each in enumerate(fields, start=1)]


def places(refusal: pytest.ExceptionInfo[LaminaError]) -> list[str]:
    """Where an error says that something is wrong, within the request's body."""
    problems: Any = refusal.value.details["validation_errors"]
    assert all(problem["location"][0] == "body" for problem in problems)
    return [".".join(map(str, problem["location"][1:])) for problem in problems]
