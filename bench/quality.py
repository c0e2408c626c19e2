"""Retrieval quality on Cranfield: 1,398 abstracts, 225 queries, 1,837 judgements.

    LAMINA_BENCH_CRANFIELD=<folder> python -m bench.quality

The folder holds `documents.jsonl` (id, text), `queries.jsonl` (id, text) and `qrels.tsv` (query_id,
document_id, grade from 0 to 4). Abstracts go in through the API, queries through retrievers.
nDCG@10 is trec_eval's `ndcg_cut_10`: gain is the grade, or 1 for every grade above 0; discount is
log2(rank + 1). Recall@100 is over all documents of a grade above 0.
"""

import csv
import math
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench.harness import Figure, Record, Server, arguments, fresh, rounded
from bench.ingestion import processed
from bench.wire import Wire, request

DEEP = 100
LEXICAL_WEIGHT = 0.02
"""Of BM25 in `weighted`, which adds up raw scores: those of BM25 reach 20 or 30, a cosine 1."""
_OBJECTS = 100

Grades = Mapping[str, Mapping[str, int]]
"""Grade by document, by query."""


def main() -> None:
    """Ingest, ask every query in every way, and judge."""
    given = arguments(__doc__)
    given.add_argument("--cranfield", type=Path, default=os.environ.get("LAMINA_BENCH_CRANFIELD"))
    folder: Path | None = given.parse_args().cranfield
    if folder is None or not folder.is_dir():
        print("  skipped: LAMINA_BENCH_CRANFIELD names no folder")
        return
    documents = [one for one in _lines(folder / "documents.jsonl") if one["text"].strip()]
    queries = _lines(folder / "queries.jsonl")
    grades = _grades(folder / "qrels.tsv")
    figure = Figure(
        "quality",
        "Retrieval quality on Cranfield",
        documents=len(documents),
        queries=len(queries),
        model="all_minilm_l6_v2_v1",
        lexical_weight=LEXICAL_WEIGHT,
    )
    with Server(fresh("quality") / "data") as server:
        collection, uri, rate = _ingested(server, documents)
        figure.note("ingested_documents_per_s", rounded(rate))
        for name, parameters in _ways(uri).items():
            figure.note(name, _judged(_asked(server, collection, name, parameters, queries), grades))
    figure.write()


def _ways(uri: str) -> dict[str, Record]:
    """Parameters of `feature_search` for each way to ask."""
    query: Any = {"input_mode": "text", "value": "{{INPUT.query}}"}
    dense: Record = {"feature_uri": uri, "query": query, "top_k": DEEP}
    lexical: Record = {**dense, "lexical": True}
    both: Any = [dense, lexical]
    return {
        "dense": {"searches": [dense]},
        "bm25": {"searches": [lexical]},
        "hybrid_rrf": {"searches": both, "fusion": "rrf"},
        "hybrid_dbsf": {"searches": both, "fusion": "dbsf"},
        "hybrid_weighted": {"searches": [dense, {**lexical, "weight": LEXICAL_WEIGHT}], "fusion": "weighted"},
    }


def _ingested(server: Server, documents: Sequence[Record]) -> tuple[str, str, float]:
    """The collection that holds them, its vector's URI, and documents a second."""
    properties = {"text": {"type": "text"}, "number": {"type": "string"}}
    bucket = server.post(
        "/v1/buckets", {"bucket_name": "cranfield", "bucket_schema": {"properties": properties}}
    )["bucket_id"]
    collection = server.post(
        "/v1/collections",
        {
            "collection_name": "cranfield",
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {
                "feature_extractor_name": "text_extractor",
                "version": "v1",
                "input_mappings": {"text": "text"},
                "field_passthrough": [{"source_path": "number"}],
            },
        },
    )
    ids: list[str] = []
    with server.client() as client:
        for start in range(0, len(documents), _OBJECTS):
            objects = [
                {"blobs": [{"property": "text", "type": "text", "data": one["text"]}], "number": one["id"]}
                for one in documents[start : start + _OBJECTS]
            ]
            made = client.post(f"/v1/buckets/{bucket}/objects/batch", json={"objects": objects})
            ids += [one["object_id"] for one in made.raise_for_status().json()]
    rate = processed(server, bucket, collection["collection_id"], ids)
    return collection["collection_id"], collection["vector_indexes"][0]["feature_uri"], rate


def _asked(
    server: Server, collection: str, name: str, parameters: Record, queries: Sequence[Record]
) -> dict[str, list[str]]:
    """Ids of the documents found, best first, by query."""
    stage = {
        "stage_name": "search",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {**parameters, "final_top_k": DEEP}},
    }
    retriever = server.post(
        "/v1/retrievers",
        {
            "retriever_name": name,
            "collection_identifiers": [collection],
            "input_schema": {"query": {"type": "string", "required": True}},
            "stages": [stage],
        },
    )["retriever_id"]
    wire = Wire(server.port)
    found: dict[str, list[str]] = {}
    for query in queries:
        body: Any = {"inputs": {"query": query["text"]}, "limit": DEEP}
        answer = orjson.loads(
            wire.send(request("POST", f"/v1/retrievers/{retriever}/execute", body, server.headers))
        )
        found[str(query["id"])] = [one["number"] for one in answer["documents"]]
    wire.close()
    return found


# Judging


def _judged(found: Mapping[str, Sequence[str]], grades: Grades) -> Record:
    judged = {query: grades[query] for query in found if any(grades.get(query, {}).values())}
    binary = {
        query: {document: int(grade > 0) for document, grade in of.items()} for query, of in judged.items()
    }
    return {
        "ndcg_at_10": rounded(statistics.mean(ndcg(found[query], of, 10) for query, of in judged.items())),
        "ndcg_at_10_binary": rounded(
            statistics.mean(ndcg(found[query], of, 10) for query, of in binary.items())
        ),
        "recall_at_100": rounded(
            statistics.mean(recall(found[query], of, DEEP) for query, of in binary.items())
        ),
        "queries": len(judged),
    }


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Normalised discounted cumulative gain, from 0 to 1; gain is the grade."""
    best = sorted(grades.values(), reverse=True)[:depth]
    reached = [grades.get(document, 0) for document in ranking[:depth]]
    return _gain(reached) / _gain(best)


def recall(ranking: Sequence[str], relevant: Mapping[str, int], depth: int) -> float:
    """The share of the relevant documents that is among the first."""
    wanted = {document for document, grade in relevant.items() if grade}
    return len(wanted & set(ranking[:depth])) / len(wanted)


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades))


def _lines(path: Path) -> list[Record]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _grades(path: Path) -> Grades:
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            grades[row["query_id"]][row["document_id"]] = int(row["grade"])
    return grades


if __name__ == "__main__":
    main()
