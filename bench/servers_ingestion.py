"""Ingestion on servers: a batch of short texts end to end on PostgreSQL, Qdrant and two workers.

    python -m bench.servers_ingestion [--texts 4000] [--rounds 3]

One API process and two `lamina worker`, each with one extraction process, share a database, a Qdrant
server and a bucket; an embedded installation with two extraction processes takes turns with them on the
same texts and the same cores. Time runs from the submit to the task's COMPLETED. Both sides have all
cores of the machine, so documents a second compare as they do per core: the cores that PostgreSQL and
Qdrant work on are counted. `ratio_of_cpu` compares the CPU seconds of all processes of either side,
those of PostgreSQL and Qdrant among them, and is what remains comparable on a busy machine.
"""

import statistics
from contextlib import ExitStack

import psutil

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.ingestion import batch, processed, stored_objects
from bench.servers import Work, Worker, named, servers, tree

WORKERS = 2


def main() -> None:
    """Measure both, in turns."""
    given = arguments(__doc__)
    given.add_argument("--texts", type=int, default=4_000)
    given.add_argument("--rounds", type=int, default=3)
    asked = given.parse_args()
    figure = Figure(
        "servers_ingestion",
        "A batch of short texts, end to end on servers",
        texts=asked.texts,
        words="12–20",
        rounds=asked.rounds,
        workers=WORKERS,
    )
    texts = short_texts(asked.texts)
    folder = fresh("servers_ingestion")
    with ExitStack() as stack:
        shared = stack.enter_context(servers(folder / "servers"))
        own = {"LAMINA_WORKERS": str(WORKERS)}
        embedded = stack.enter_context(Server(folder / "embedded", settings=own))
        env = {**shared.env, "LAMINA_PROCESS_BATCHES": "false"}
        api = stack.enter_context(Server(folder / "api", settings=env))
        workers = [
            stack.enter_context(
                Worker(folder / f"worker-{number}", settings={**shared.env, "LAMINA_WORKERS": "1"})
            )
            for number in range(WORKERS)
        ]
        sides = {"embedded": embedded, "servers": api}
        groups = {
            "embedded": {"lamina": lambda: tree(embedded)},
            "servers": {
                "api": lambda: tree(api),
                "workers": lambda: tree(*workers),
                "postgresql": lambda: named("postgres"),
                "qdrant": lambda: [psutil.Process(shared.qdrant.pid)],
            },
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for server in sides.values():
            batch(server, "warm", short_texts(256, seed=1))
        for number in range(asked.rounds):
            for name, server in sides.items():
                bucket, collection, ids = stored_objects(server, f"round-{number}", texts)
                work = Work(groups[name])
                rates[name].append(processed(server, bucket, collection, ids))
                costs[name].append(work.spent())
    each = {
        name: {group: statistics.median(one[group] for one in some) / len(texts) * 1e3 for group in some[0]}
        for name, some in costs.items()
    }
    ratios = [there / here for here, there in zip(rates["embedded"], rates["servers"], strict=True)]
    for name, some in rates.items():
        figure.note(f"{name}_documents_per_s", rounded(statistics.median(some)))
    figure.note("ratio_of_each_round", [rounded(ratio) for ratio in ratios])
    for name, some in each.items():
        figure.note(f"{name}_cpu_ms_of_a_document", {group: rounded(spent) for group, spent in some.items()})
    figure.note("ratio_of_cpu", rounded(sum(each["embedded"].values()) / sum(each["servers"].values())))
    figure.wanted(
        "short texts on PostgreSQL, Qdrant and 2 workers to embedded", statistics.median(ratios), least=0.8
    )
    figure.write()


if __name__ == "__main__":
    main()
