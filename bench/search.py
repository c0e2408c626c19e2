"""Search: 100,000 documents of 384 dimensions, vector input, top 10, through `retrievers/{id}/execute`.

    python -m bench.search [--rounds 12] [--block 40] [--seconds 5]

Each kind of search is asked of Lamina over HTTP, of the bare engine (Qdrant Edge in this process,
on a copy of the same shard, with the same parameters) and of a Qdrant server over REST where one
is installed, in turns of a block of queries each. Recall is against comparing with every vector.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import qdrant_edge as q
from numpy.typing import NDArray

from bench import qdrant
from bench.corpus import RARE, Corpus
from bench.harness import Figure, Record, Server, arguments, cpu_seconds, fresh, in_turns, rounded, spread
from bench.prepared import AGAIN, SMALL, Prepared, prepared
from bench.wire import Crowd, Request, Wire, request
from lamina.stores.vectors.edge_reading import FILTERED, UNFILTERED

LIMIT = 10
CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of search, in everybody's words. `slow` ones get fewer queries."""

    name: str
    collections: str = "large"
    filters: Any = None
    within: Callable[[Corpus], NDArray[np.bool_]] | None = None
    edge: q.Filter | None = None
    server: Record | None = None
    compared: bool = True
    slow: bool = False


def _field(corpus: Corpus, name: str) -> NDArray[Any]:
    return np.array([document[name] for document in corpus.documents])


KINDS = (
    Kind("unfiltered"),
    Kind(
        "one_small_collection_of_the_namespace",
        collections="small",
        within=lambda corpus: np.arange(len(corpus.documents)) < SMALL,
        compared=False,
    ),
    Kind(
        "filter_1_percent",
        filters={"field": "category", "operator": "eq", "value": "c17"},
        within=lambda corpus: _field(corpus, "category") == "c17",
        edge=q.Filter(must=[q.FieldCondition("category", match=q.MatchValue("c17"))]),
        server={"must": [{"key": "category", "match": {"value": "c17"}}]},
    ),
    Kind(
        "filter_20_percent",
        filters={
            "AND": [
                {"field": "year", "operator": "gte", "value": 1995},
                {"field": "published", "operator": "eq", "value": True},
            ]
        },
        within=lambda corpus: (_field(corpus, "year") >= 1995) & _field(corpus, "published"),
        edge=q.Filter(
            must=[
                q.FieldCondition("year", range=q.RangeFloat(gte=1995.0)),
                q.FieldCondition("published", match=q.MatchValue(np.bool_(True))),  # type: ignore[arg-type]
            ]
        ),
        server={
            "must": [{"key": "year", "range": {"gte": 1995}}, {"key": "published", "match": {"value": True}}]
        },
    ),
    Kind(
        "filter_on_text_without_index",
        filters={"field": "text", "operator": "contains", "value": RARE},
        within=lambda corpus: np.array([RARE in document["text"] for document in corpus.documents]),
        edge=q.Filter(must=[q.FieldCondition("text", match=q.MatchText(RARE))]),
        server={"must": [{"key": "text", "match": {"text": RARE}}]},
        slow=True,
    ),
)


def main() -> None:
    """Measure all kinds of search, then many clients at once."""
    given = arguments(__doc__)
    given.add_argument("--rounds", type=int, default=12)
    given.add_argument("--block", type=int, default=40, help="queries of one side's turn")
    given.add_argument("--seconds", type=float, default=5.0, help="of many clients at once, each turn")
    asked = given.parse_args()
    figure = Figure("search", "Search in 100,000 documents, top 10", rounds=asked.rounds, block=asked.block)
    installation = prepared()
    corpus = installation.corpus
    figure.parameters |= {"documents": len(corpus.documents), "size": corpus.vectors.shape[1], "limit": LIMIT}
    figure.note("loading_through_the_api_documents_per_s", installation.documents_per_s)
    with ExitStack() as stack:
        server = stack.enter_context(Server(installation.data_dir))
        retrievers = {kind.name: retriever_of(server, installation, kind) for kind in KINDS}
        for kind in KINDS:  # makes the indexes that filters ask for, which the copy must have too
            _execute(server, retrievers[kind.name], corpus, 0)
        installation.wait_for_graph()
        server.stop()
        engine = _engine(installation)
        server.start()
        program = qdrant.binary()
        rival = stack.enter_context(qdrant.QdrantServer(program, corpus)) if program else None
        figure.parameters["qdrant_server"] = rival.version if rival else None
        for kind in KINDS:
            print(f" {kind.name}", flush=True)
            sides = _sides(server, retrievers[kind.name], kind, installation, engine, rival)
            figure.note(kind.name, _compared(figure, kind, sides, corpus, asked.rounds, asked.block))
        _crowds(figure, server, retrievers["unfiltered"], corpus, rival, asked.seconds)
    figure.write()


@dataclass(frozen=True, slots=True)
class Side:
    """One who is asked. `send` is what is timed; `ids` reads the answer."""

    send: Callable[[int], Any]
    ids: Callable[[Any], list[str]]


def _sides(
    server: Server,
    retriever: str,
    kind: Kind,
    installation: Prepared,
    engine: q.EdgeShard,
    rival: "qdrant.QdrantServer | None",
) -> dict[str, Side]:
    corpus = installation.corpus
    count = len(corpus.queries)
    wire = Wire(server.port)
    ours = [execution(server, retriever, corpus, number) for number in range(count)]
    sides = {
        "lamina": Side(
            lambda number: wire.send(ours[number]),
            lambda answer: [
                one["document_id"].removeprefix(AGAIN) for one in orjson.loads(answer)["documents"]
            ],
        )
    }
    if kind.compared:
        asked = [_edge_query(installation, kind, number) for number in range(count)]
        sides["engine"] = Side(
            lambda number: engine.query(asked[number]),
            lambda hits: [hit.payload["document_id"] for hit in hits],
        )
    if kind.compared and rival is not None:
        other = Wire(rival.port)
        theirs = [rest_query(corpus, kind, number) for number in range(count)]
        sides["qdrant"] = Side(
            lambda number: other.send(theirs[number]),
            lambda answer: [
                one["payload"]["document_id"] for one in orjson.loads(answer)["result"]["points"]
            ],
        )
    return sides


def _compared(
    figure: Figure, kind: Kind, sides: dict[str, Side], corpus: Corpus, rounds: int, block: int
) -> Record:
    rounds, block = (3, 3) if kind.slow else (rounds, block)
    within = kind.within(corpus) if kind.within else None
    times: dict[str, list[float]] = {name: [] for name in sides}
    recalls: dict[str, list[float]] = {name: [] for name in sides}

    def turn(name: str) -> Callable[[int], float]:
        def measure(number: int) -> float:
            side, taken, answers = sides[name], [], []
            for query in range(number * block, (number + 1) * block):
                began = time.perf_counter()
                answer = side.send(query % len(corpus.queries))
                taken.append((time.perf_counter() - began) * 1e3)
                answers.append(answer)
            times[name].extend(taken)
            for query, answer in enumerate(answers, number * block):
                exact = corpus.nearest(query % len(corpus.queries), LIMIT, within)
                recalls[name].append(len(exact & set(side.ids(answer))) / LIMIT)
            return statistics.median(taken)

        return measure

    for side in sides.values():
        for query in range(3):
            side.send(query)
    medians = in_turns({name: turn(name) for name in sides}, rounds)
    result: Record = {
        name: {**spread(times[name]), "recall_at_10": rounded(statistics.mean(recalls[name]))}
        for name in sides
    }
    if "engine" in medians:
        over = [ours - bare for ours, bare in zip(medians["lamina"], medians["engine"], strict=True)]
        ratio = [ours / bare for ours, bare in zip(medians["lamina"], medians["engine"], strict=True)]
        result["lamina_over_engine_ms"] = rounded(statistics.median(over))
        result["lamina_over_engine_best_ms"] = rounded(min(over))
        result["lamina_to_engine_ratio"] = rounded(statistics.median(ratio))
    if "qdrant" in medians:
        ratio = [ours / other for ours, other in zip(medians["lamina"], medians["qdrant"], strict=True)]
        result["lamina_to_qdrant_rest_ratio"] = rounded(statistics.median(ratio))
    if kind.name == "unfiltered":
        figure.wanted("execute p50, ms", result["lamina"]["p50_ms"], most=4)
        figure.wanted("recall@10", result["lamina"]["recall_at_10"], least=0.99)
        figure.wanted("execute p50 over the bare engine, ms", result["lamina_over_engine_ms"], most=2)
    return result


def _crowds(
    figure: Figure,
    server: Server,
    retriever: str,
    corpus: Corpus,
    rival: "qdrant.QdrantServer | None",
    seconds: float,
) -> None:
    """Many clients at once, which share the machine's cores with what they ask."""
    queries = range(len(corpus.queries))
    crowds = {
        "lamina": Crowd(server.port, [execution(server, retriever, corpus, number) for number in queries])
    }
    if rival is not None:
        crowds["qdrant"] = Crowd(rival.port, [rest_query(corpus, KINDS[0], number) for number in queries])
    runs: dict[str, list[Record]] = {name: [] for name in crowds}
    for crowd in crowds.values():
        crowd.run(4, 0.5)
    for _ in range(3):
        for name, crowd in crowds.items():
            worked = cpu_seconds([server.seen])
            run = crowd.run(CLIENTS, seconds)
            if name == "lamina":
                run["server_cpu_ms_of_an_answer"] = rounded(
                    (cpu_seconds([server.seen]) - worked) / max(run["requests"], 1) * 1e3
                )
            runs[name].append(run)
    for name, crowd in crowds.items():
        crowd.close()
        by_rate = sorted(runs[name], key=lambda run: run["answers_per_s"])
        errors = sum(run["errors"] for run in runs[name])
        figure.note(f"{name}_{CLIENTS}_clients", {**by_rate[len(by_rate) // 2], "errors": errors})
    middle = figure.figures[f"lamina_{CLIENTS}_clients"]
    figure.wanted(f"answers/s to {CLIENTS} clients", middle["answers_per_s"], least=400)
    figure.wanted(f"errors with {CLIENTS} clients", middle["errors"], most=0)


# Lamina


def retriever_of(server: Server, installation: Prepared, kind: Kind) -> str:
    """The id of a new retriever for a kind of search."""
    parameters: Record = {
        "searches": [
            {
                "feature_uri": installation.feature_uri,
                "query": {"input_mode": "vector", "value": "{{INPUT.vector}}"},
                "top_k": LIMIT,
            }
        ],
        "final_top_k": LIMIT,
    }
    if kind.filters is not None:
        parameters["pre_filters"] = kind.filters
    stage = {
        "stage_name": "search",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": parameters},
    }
    body = {
        "retriever_name": f"{kind.name}_{time.time_ns()}",
        "collection_identifiers": [getattr(installation, kind.collections)],
        "input_schema": {"vector": {"type": "array", "required": True}},
        "stages": [stage],
    }
    identifier: str = server.post("/v1/retrievers", body)["retriever_id"]
    return identifier


def execution(server: Server, retriever: str, corpus: Corpus, number: int) -> Request:
    """The request that executes a retriever with a query's vector."""
    body = {"inputs": {"vector": corpus.queries[number]}}
    return request("POST", f"/v1/retrievers/{retriever}/execute", body, server.headers)


def _execute(server: Server, retriever: str, corpus: Corpus, number: int) -> None:
    wire = Wire(server.port)
    wire.send(execution(server, retriever, corpus, number))
    wire.close()


# The bare engine


def _engine(installation: Prepared) -> q.EdgeShard:
    """The engine on a copy of the large collection's shard."""
    folder, manifest = installation.shard()
    copy: Path = fresh("engine") / manifest.generation
    shutil.copytree(folder / manifest.generation, copy)
    return q.EdgeShard.load(str(copy))


def _edge_query(installation: Prepared, kind: Kind, number: int) -> q.QueryRequest:
    return q.QueryRequest(
        limit=LIMIT,
        query=q.Query.Nearest(installation.corpus.queries[number].tolist(), using=installation.vector),
        filter=kind.edge,
        with_payload=True,
        with_vector=False,
        params=UNFILTERED if kind.edge is None else FILTERED,
    )


# The Qdrant server


def rest_query(corpus: Corpus, kind: Kind, number: int) -> Request:
    """The same search in Qdrant's own words."""
    body: Record = {
        "query": corpus.queries[number],
        "limit": LIMIT,
        "with_payload": True,
        "params": {"exact": False},
    }
    if kind.server is not None:
        body["filter"] = kind.server
    return request("POST", f"/collections/{qdrant.COLLECTION}/points/query", body)


if __name__ == "__main__":
    main()
