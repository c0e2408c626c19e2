"""Ingestion on servers: a batch of short texts end to end on PostgreSQL, Qdrant and two workers.

    python -m bench.servers_ingestion [--texts 4000] [--rounds 3]

One API process and two `lamina worker`, each with one extraction process, share a database, a Qdrant
server and a bucket; an embedded installation with two extraction processes takes turns with them on the
same texts and the same cores. Time runs from the submit to the task's COMPLETED. `ratio_of_cpu` compares
the CPU seconds of all processes of either side, those of PostgreSQL and Qdrant among them, and is what
remains comparable on a busy machine. Every round has texts of its own, because workers remember the
vectors of those that they have seen.

One batch at a time is measured, and as many at once as there are workers.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.ingestion import FIRST_SEED, processed, stored_objects
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
        together: dict[str, list[float]] = {name: [] for name in sides}
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for server in sides.values():
            at_once(server, "warm", short_texts(512, seed=1))
        for number in range(asked.rounds):
            texts, others = (
                short_texts(asked.texts, seed=FIRST_SEED + 2 * number + which) for which in range(2)
            )
            for name, server in sides.items():
                bucket, collection, ids = stored_objects(server, f"round-{number}", texts)
                work = Work(groups[name])
                rates[name].append(processed(server, bucket, collection, ids))
                costs[name].append(work.spent())
            for name, server in sides.items():
                together[name].append(at_once(server, f"together-{number}", others))
    each = {
        name: {group: statistics.median(one[group] for one in some) / asked.texts * 1e3 for group in some[0]}
        for name, some in costs.items()
    }
    ratios = compared(rates)
    ratios_together = compared(together)
    for name, some in rates.items():
        figure.note(f"{name}_documents_per_s", rounded(statistics.median(some)))
        figure.note(f"{name}_documents_per_s_of_batches_at_once", rounded(statistics.median(together[name])))
    figure.note("ratio_of_each_round", [rounded(ratio) for ratio in ratios])
    figure.note("ratio_of_each_round_of_batches_at_once", [rounded(ratio) for ratio in ratios_together])
    figure.note("ratio_of_batches_at_once", rounded(statistics.median(ratios_together)))
    for name, some in each.items():
        figure.note(f"{name}_cpu_ms_of_a_document", {group: rounded(spent) for group, spent in some.items()})
    figure.note("ratio_of_cpu", rounded(sum(each["embedded"].values()) / sum(each["servers"].values())))
    figure.wanted(
        "short texts on PostgreSQL, Qdrant and 2 workers to embedded", statistics.median(ratios), least=0.8
    )
    figure.write()


def at_once(server: Server, name: str, texts: list[str]) -> float:
    """Documents a second of as many batches at once as there are workers; each has its share of the texts."""
    stored = [stored_objects(server, f"{name}-{number}", texts[number::WORKERS]) for number in range(WORKERS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(lambda one: processed(server, *one), stored))
    return len(texts) / (time.perf_counter() - began)


def compared(rates: dict[str, list[float]]) -> list[float]:
    """What the servers reach of the embedded rate, round by round."""
    return [there / here for here, there in zip(rates["embedded"], rates["servers"], strict=True)]


if __name__ == "__main__":
    main()
