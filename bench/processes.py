"""Two API processes against one, on the same PostgreSQL and Qdrant, asked by 32 clients at once.

    python -m bench.processes [--documents 20000] [--seconds 5] [--rounds 4]

Every client executes a retriever and sends its next request when it has its answer. One process and
two take turns. PostgreSQL, Qdrant and the clients work on the same cores: `cores_busy` tells how much of
them each had. Where one API process leaves less than a core to a second one, the second has nothing
to work with; `answers_per_api_core_s` is what a process gives for a core of its own either way.
"""

import statistics
from contextlib import ExitStack

import psutil

from bench.corpus import Corpus, corpus
from bench.harness import Figure, Record, Server, arguments, fresh, rounded
from bench.prepared import BATCH, QUERIES, text_collection, upsert
from bench.servers import Work, named, servers, tree, wait_for_graphs
from bench.wire import Crowd, Wire, request

CLIENTS = 32


def main() -> None:
    """Ask one, and two, in turns."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=20_000)
    given.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    given.add_argument("--rounds", type=int, default=4)
    asked = given.parse_args()
    figure = Figure(
        "processes",
        "Two API processes against one, 32 clients",
        documents=asked.documents,
        seconds=asked.seconds,
        rounds=asked.rounds,
        clients=CLIENTS,
    )
    made_up = corpus(asked.documents, QUERIES)
    folder = fresh("processes")
    runs: dict[str, list[Record]] = {"one": [], "two": []}
    busy: dict[str, list[dict[str, float]]] = {"one": [], "two": []}
    with ExitStack() as stack:
        shared = stack.enter_context(servers(folder / "servers"))
        env = {**shared.env, "LAMINA_PROCESS_BATCHES": "false"}
        first = stack.enter_context(Server(folder / "first", settings=env))
        second = stack.enter_context(Server(folder / "second", settings=env))
        path = f"/v1/retrievers/{_filled(first, made_up)}/execute"
        wait_for_graphs(shared)
        requests = [
            request("POST", path, {"inputs": {"vector": one}}, first.headers) for one in made_up.queries
        ]
        crowds = {"one": Crowd([first.port], requests), "two": Crowd([first.port, second.port], requests)}
        for crowd in crowds.values():
            crowd.run(CLIENTS, 1.0)
        groups = {
            "api": lambda: tree(first, second),
            "postgresql": lambda: named("postgres"),
            "qdrant": lambda: [psutil.Process(shared.qdrant.pid)],
            "clients": lambda: [one for crowd in crowds.values() for one in crowd.seen],
        }
        for _ in range(asked.rounds):
            for name, crowd in crowds.items():
                work = Work(groups)
                runs[name].append(crowd.run(CLIENTS, asked.seconds))
                busy[name].append({group: spent / asked.seconds for group, spent in work.spent().items()})
        for crowd in crowds.values():
            crowd.close()
    _tell(figure, runs, busy)
    figure.write()


def _tell(figure: Figure, runs: dict[str, list[Record]], busy: dict[str, list[dict[str, float]]]) -> None:
    for name, some in runs.items():
        middle = sorted(some, key=lambda run: run["answers_per_s"])[len(some) // 2]
        cores = {group: statistics.median(one[group] for one in busy[name]) for group in busy[name][0]}
        figure.note(
            name,
            {
                **middle,
                "errors": sum(run["errors"] for run in some),
                "cores_busy": {group: rounded(one) for group, one in cores.items()},
                "answers_per_api_core_s": rounded(middle["answers_per_s"] / cores["api"]),
            },
        )
    ratio = statistics.median(
        two["answers_per_s"] / one["answers_per_s"] for one, two in zip(runs["one"], runs["two"], strict=True)
    )
    errors = sum(run["errors"] for some in runs.values() for run in some)
    figure.wanted("two API processes to one, answers/s (where cores allow)", ratio, least=1.5)
    figure.wanted("errors with two API processes", errors, most=0)


def _filled(server: Server, made_up: Corpus) -> str:
    """A retriever over a new collection that holds the corpus."""
    collection = text_collection(server, "documents")[1]
    index = collection["vector_indexes"][0]
    wire = Wire(server.port)
    for start in range(0, len(made_up.documents), BATCH):
        wire.send(upsert(server, made_up, collection["collection_id"], index["index"]["name"], start, ""))
    wire.close()
    query = {"input_mode": "vector", "value": "{{INPUT.vector}}"}
    search = {"feature_uri": index["feature_uri"], "query": query, "top_k": 10}
    stage = {
        "stage_name": "search",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {"searches": [search], "final_top_k": 10}},
    }
    body = {
        "retriever_name": "nearest",
        "collection_identifiers": [collection["collection_id"]],
        "input_schema": {"vector": {"type": "array", "required": True}},
        "stages": [stage],
    }
    made: str = server.post("/v1/retrievers", body)["retriever_id"]
    return made


if __name__ == "__main__":
    main()
