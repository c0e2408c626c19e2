"""Search on servers: 100,000 documents of 384 dimensions on a Qdrant server, through `execute`, top 10.

    python -m bench.servers_search [--documents 100000] [--rounds 12] [--block 40]

Four are asked, in turns of a block of queries each:

- `lamina`: the documents on a Qdrant server, the records in the data folder;
- `lamina_on_postgresql`: the same Qdrant server, the records on PostgreSQL, where each request reads
  its key, namespace, retriever and collection anew, because other processes may have changed them;
- `same_points`: that Qdrant server over REST, with the search that Lamina sends it;
- `qdrant`: a Qdrant server over REST that holds the documents in its own way, with its own defaults.

The reach compares `lamina` with `qdrant`, as `bench.search` does for the embedded engine; the ratios to
`same_points` say what Lamina puts on top. Recall is against comparing with every vector.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import orjson

from bench import qdrant
from bench.corpus import Corpus
from bench.harness import Figure, Record, Server, arguments, fresh, in_turns, rounded, spread
from bench.prepared import DOCUMENTS, Prepared, prepared
from bench.search import KINDS, LIMIT, execution, rest_query, retriever_of
from bench.servers import migrate, servers, urls, wait_for_graphs
from bench.wire import Request, Wire, request
from lamina.stores.vectors.base import VectorSpec
from lamina.stores.vectors.server_points import READ, server_name

_UNFILTERED = KINDS[0]


@dataclass(frozen=True, slots=True)
class Side:
    """One who is asked: where, with what, and the ids of an answer."""

    wire: Wire
    requests: Sequence[Request]
    ids: Callable[[bytes], list[str]]


def main() -> None:
    """Move the installation to servers, and ask."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=DOCUMENTS)
    given.add_argument("--rounds", type=int, default=12)
    given.add_argument("--block", type=int, default=40, help="queries of one side's turn")
    asked = given.parse_args()
    figure = Figure(
        "servers_search",
        f"Search in {asked.documents:,} documents on a Qdrant server, top 10",
        documents=asked.documents,
        rounds=asked.rounds,
        block=asked.block,
        limit=LIMIT,
    )
    installation = prepared(asked.documents)
    program = qdrant.binary()
    if program is None:
        raise SystemExit("there is no Qdrant server to compare with")
    folder = fresh("servers_search")
    shutil.copytree(installation.data_dir, folder / "data")
    with ExitStack() as stack:
        shared = stack.enter_context(servers(folder / "servers"))
        migrate(folder / "data", shared)
        wait_for_graphs(shared)
        ours = Server(folder / "data", settings={"LAMINA_VECTORS_URL": urls(shared)["vectors"]})
        theirs = Server(folder / "postgresql", settings={**shared.env, "LAMINA_WORKERS": "1"})
        sides = {
            "lamina": _lamina(stack.enter_context(ours), installation),
            "lamina_on_postgresql": _lamina(stack.enter_context(theirs), installation),
            "same_points": _same_points(shared.qdrant.port, installation),
        }
        rival = stack.enter_context(qdrant.QdrantServer(program, installation.corpus))
        figure.parameters["qdrant_server"] = rival.version
        sides["qdrant"] = _qdrant(rival.port, installation.corpus)
        _measured(figure, sides, installation.corpus, asked.rounds, asked.block)
    figure.write()


def _measured(figure: Figure, sides: dict[str, Side], corpus: Corpus, rounds: int, block: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in sides}
    recalls: dict[str, list[float]] = {name: [] for name in sides}

    def turn(name: str) -> Callable[[int], float]:
        def measure(number: int) -> float:
            side, taken, answers = sides[name], [], []
            queries = [query % len(side.requests) for query in range(number * block, (number + 1) * block)]
            for query in queries:
                began = time.perf_counter()
                answers.append(side.wire.send(side.requests[query]))
                taken.append((time.perf_counter() - began) * 1e3)
            times[name] += taken
            for query, answer in zip(queries, answers, strict=True):
                recalls[name].append(len(corpus.nearest(query, LIMIT) & set(side.ids(answer))) / LIMIT)
            return statistics.median(taken)

        return measure

    for side in sides.values():
        for wanted in side.requests[: 2 * block]:
            side.wire.send(wanted)
    medians = in_turns({name: turn(name) for name in sides}, rounds)
    for name in sides:
        recall = rounded(statistics.mean(recalls[name]))
        figure.note(name, {**spread(times[name]), "recall_at_10": recall})

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(medians[one], medians[other], strict=True))

    for one in ("lamina", "lamina_on_postgresql"):
        for other in ("same_points", "qdrant"):
            figure.note(f"{one}_to_{other}", rounded(ratio(one, other)))
    figure.wanted("execute on a Qdrant server to Qdrant's own search", ratio("lamina", "qdrant"), most=1.3)
    figure.wanted("recall@10 on a Qdrant server", statistics.mean(recalls["lamina"]), least=0.99)


def _lamina(server: Server, installation: Prepared) -> Side:
    retriever = retriever_of(server, installation, _UNFILTERED)
    corpus = installation.corpus
    return Side(
        Wire(server.port),
        [execution(server, retriever, corpus, number) for number in range(len(corpus.queries))],
        lambda answer: [one["document_id"] for one in orjson.loads(answer)["documents"]],
    )


def _same_points(port: int, installation: Prepared) -> Side:
    body: Record = {
        "using": server_name(VectorSpec(installation.vector, installation.corpus.vectors.shape[1])),
        "filter": {"must": [{"key": "collection_id", "match": {"value": installation.large}}]},
        "limit": LIMIT + 1,
        "with_payload": READ.model_dump(exclude_none=True),
        "params": {"hnsw_ef": 128, "quantization": {"rescore": True, "oversampling": 2.0}},
    }
    namespace = _namespace(port)
    return Side(
        Wire(port),
        [
            request("POST", f"/collections/{namespace}/points/query", {**body, "query": vector})
            for vector in installation.corpus.queries
        ],
        lambda answer: _points(answer)[:LIMIT],
    )


def _namespace(port: int) -> str:
    """The one Qdrant collection of points, beside that of the records."""
    wire = Wire(port)
    told = orjson.loads(wire.send(request("GET", "/aliases")))["result"]["aliases"]
    wire.close()
    (alias,) = told
    name: str = alias["alias_name"]
    return name


def _qdrant(port: int, corpus: Corpus) -> Side:
    requests = [rest_query(corpus, _UNFILTERED, number) for number in range(len(corpus.queries))]
    return Side(Wire(port), requests, _points)


def _points(answer: bytes) -> list[str]:
    return [one["payload"]["document_id"] for one in orjson.loads(answer)["result"]["points"]]


if __name__ == "__main__":
    main()
