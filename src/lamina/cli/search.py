"""`lamina search`: one feature search over the collections, through an ad hoc retriever."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Final

import typer

from lamina.cli import options
from lamina.cli.answers import Collection, Collections, Document, Found
from lamina.cli.connection import Api, find, segment
from lamina.cli.destinations import catalogue
from lamina.cli.failures import UsageFailure
from lamina.cli.names import INGESTED_AS, full_name
from lamina.cli.output import on_terminal, put, put_json, put_rows, say
from lamina.core.types import Json, JsonObject

_TEXT_FIELDS = ("text", "content", "body", "transcription", "ocr_text", "description", "title")
_LONGEST_EXCERPT = 240
_ANY_FEATURE: Final = "mixpeek://text_extractor@v1/embedding"
"""Names no model: all that a search for words, which compares no vectors, needs."""


class Mode(StrEnum):
    """How texts are compared: by meaning, by words, or by both."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Collection, by name or id; may be repeated.  [default: all]"
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-k", min=1, max=500, help="Most documents to show.")] = 10,
    lexical: Annotated[
        bool, typer.Option("--lexical", help="Compare words (BM25) instead of meaning.")
    ] = False,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Compare both, and fuse the rankings.")] = False,
    url: options.Url = None,
    api_key: options.ApiKey = None,
    namespace: options.Namespace = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Search documents by meaning, by words (--lexical), or by both (--hybrid)."""
    if lexical and hybrid:
        raise UsageFailure("--lexical and --hybrid exclude each other")
    mode = Mode.LEXICAL if lexical else Mode.HYBRID if hybrid else Mode.DENSE
    with Api(find(url, api_key, namespace, data_dir)) as api:
        documents = find_documents(api, text, searchable(api, collection or ()), mode, limit)
    if as_json:
        put_json({"query": text, "mode": mode.value, "documents": documents})
    elif on_terminal():
        show(documents)
    else:
        put_rows(
            ["score", "document_id", "collection_id", "text"],
            [
                [score(one), str(one["document_id"]), str(one["collection_id"]), excerpt(one)]
                for one in documents
            ],
        )


def searchable(api: Api, names: Sequence[str]) -> list[Collection]:
    """The collections of those names, or all, with those of their vectors that a text compares with.

    A name that `lamina ingest` loaded under means all collections that it made. Collections without
    such a vector are left out.
    """
    if names:
        named = [one for name in names for one in _of_name(api, full_name(name))]
        chosen = list({one.collection_id: one for one in named}.values())
    else:
        chosen = api.post("/collections/list", {}, Collections, limit=1000).results
    found = [one for one in _for_texts(api, chosen) if one.vector_indexes]
    if not found:
        raise UsageFailure("there is no collection to search by text; `lamina ingest PATH` makes one")
    return found


def _for_texts(api: Api, collections: Sequence[Collection]) -> list[Collection]:
    """The collections with those of their vectors that take a text, or come from the text model."""
    indexes = [index for one in collections for index in one.vector_indexes]
    text_models: set[str] = set()
    if not all("text" in index.index.supported_inputs for index in indexes):
        text = catalogue(api).get("text_extractor")
        text_models = {index.model for index in text.required_vector_indexes} if text else set()
    return [
        one.model_copy(
            update={
                "vector_indexes": [
                    index
                    for index in one.vector_indexes
                    if "text" in index.index.supported_inputs or index.model in text_models
                ]
            }
        )
        for one in collections
    ]


def _of_name(api: Api, name: str) -> list[Collection]:
    """The collection with that name or id, and those that a load under the name made beside it."""
    made_for: Json = {"AND": [{"field": f"metadata.{INGESTED_AS}", "operator": "eq", "value": name}]}
    made = api.post("/collections/list", {"filters": made_for}, Collections, limit=1000).results
    if any(one.collection_name == name for one in made):
        return made
    path = f"/collections/{segment(name)}"
    if not made:
        return [api.get(path, Collection)]
    own = api.find(path, Collection)
    return [own, *made] if own else made


def find_documents(
    api: Api, text: str, collections: Sequence[Collection], mode: Mode, limit: int
) -> list[Document]:
    """The documents nearest to a text, best first, over collections with any number of models."""
    stage: Json = {
        "stage_name": "search",
        "stage_type": "filter",
        "config": {
            "stage_id": "feature_search",
            "parameters": {
                "searches": _searches(collections, mode, limit),
                "final_top_k": limit,
                "fusion": "rrf",
            },
        },
    }
    body: JsonObject = {
        "collection_identifiers": [one.collection_id for one in collections],
        "input_schema": {"query": {"type": "text", "required": True}},
        "inputs": {"query": text},
        "stages": [stage],
        "limit": limit,
    }
    return api.post("/retrievers/execute", body, Found).documents


def _searches(collections: Sequence[Collection], mode: Mode, limit: int) -> list[Json]:
    """One search for each model, whose scores compare, and one for words."""
    every: list[Json] = [one.collection_id for one in collections]
    wanted: list[tuple[str, bool, list[Json]]] = []
    if mode is not Mode.LEXICAL:
        wanted += [(uri, False, some) for uri, some in _by_model(collections)]
    if mode is not Mode.DENSE:
        wanted.append((_ANY_FEATURE, True, every))
    # Fusion by rank gains from candidates beyond those that are shown.
    top_k = limit if len(wanted) == 1 else max(100, limit)
    return [
        {
            "feature_uri": uri,
            "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
            "top_k": top_k,
            "lexical": lexical,
            "collection_identifiers": identifiers,
        }
        for uri, lexical, identifiers in wanted
    ]


def _by_model(collections: Sequence[Collection]) -> Iterable[tuple[str, list[Json]]]:
    """The vectors to search, by the model that made them: a feature URI, and the collections that have it."""
    by_model: dict[str, tuple[str, list[Json]]] = {}
    for collection in collections:
        for index in collection.vector_indexes:
            _, identifiers = by_model.setdefault(index.model, (index.feature_uri, []))
            if collection.collection_id not in identifiers:
                identifiers.append(collection.collection_id)
    return by_model.values()


def show(documents: Sequence[Document], *, lineage: bool = False) -> None:
    """Documents for people: score, text, fields, and where each comes from."""
    if not documents:
        say("nothing was found")
    for rank, document in enumerate(documents, 1):
        put(f"{rank:>3}. {score(document):.4f}  {excerpt(document)}")
        if fields := _short_fields(document):
            put(f"     {fields}")
        put(f"     {_lineage(document) if lineage else document['document_id']}")


def score(document: Document) -> float:
    """A document's score; 0 where the stages gave none."""
    value = document.get("score")
    return float(value) if isinstance(value, int | float) else 0.0


def excerpt(document: Document) -> str:
    """The beginning of a document's text in one line; where it has none, the path of its file."""
    texts = (document.get(name) for name in (*_TEXT_FIELDS, "path"))
    text = next((one for one in texts if isinstance(one, str) and one.strip()), "")
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EXCERPT else f"{line[: _LONGEST_EXCERPT - 1]}…"


_OURS = {"score", "document_id", "collection_id", "document_blobs", *_TEXT_FIELDS}


def _short_fields(document: Document) -> str:
    """The user fields that fit in a line."""
    shown = {
        name: value
        for name, value in document.items()
        if name not in _OURS and not name.startswith("_") and isinstance(value, str | int | float | bool)
    }
    return "  ".join(f"{name}={value}" for name, value in shown.items() if len(str(value)) <= 60)


def _lineage(document: Document) -> str:
    """Document ← collection ← object ← bucket."""
    internal = document.get("_internal")
    lineage = internal.get("lineage") if isinstance(internal, dict) else None
    origin = lineage if isinstance(lineage, dict) else document
    steps = [document["document_id"], document["collection_id"]]
    steps += [origin.get(name) for name in ("root_object_id", "root_bucket_id")]
    return " ← ".join(str(step) for step in steps if step)
