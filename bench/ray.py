"""Ray: a batch of short texts by actors on a cluster of the server's own, against local workers.

    python -m bench.ray [--texts 10000] [--rounds 5]

Both sides have as many workers, and take turns: local, Ray, local, … local. In its turn a server
starts on an empty folder, brings its workers up with a small batch, and runs the one that is timed,
from the submit to COMPLETED. A round's ratio is its time on Ray to the mean of the local turns before
and after it; nothing of either side runs in the other's turn. `cpu_ms_of_a_document` is what server,
workers and Ray's own processes make the cores work: on busy ones it is what remains comparable.
"""

import statistics

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, cpu_seconds, fresh, rounded
from bench.ingestion import batch, processed, stored_objects

WORKERS = 2


def main() -> None:
    """Measure, in turns."""
    given = arguments(__doc__)
    given.add_argument("--texts", type=int, default=10_000)
    given.add_argument("--rounds", type=int, default=5)
    asked = given.parse_args()
    figure = Figure(
        "ray", "A batch of short texts on Ray", texts=asked.texts, rounds=asked.rounds, workers=WORKERS
    )
    texts = short_texts(asked.texts)
    local, actors = [turn(texts, "local")], []
    for _ in range(asked.rounds):
        actors.append(turn(texts, "ray"))
        local.append(turn(texts, "local"))
    ratios = [
        spent / statistics.mean(seconds for seconds, _ in local[number : number + 2])
        for number, (spent, _) in enumerate(actors)
    ]
    for name, turns in (("local_workers", local), ("actors", actors)):
        figure.note(f"seconds_of_{name}", [rounded(spent) for spent, _ in turns])
    worked = {
        name: statistics.median(cpu for _, cpu in turns) / len(texts) * 1e3
        for name, turns in (("local_workers", local), ("actors", actors))
    }
    figure.note("ratio_of_each_round", [rounded(ratio) for ratio in ratios])
    figure.note("cpu_ms_of_a_document", {name: rounded(spent) for name, spent in worked.items()})
    figure.wanted("time of a batch on Ray to local workers", statistics.median(ratios), most=1.15)
    figure.write()


def turn(texts: list[str], compute: str) -> tuple[float, float]:
    """Seconds that a batch takes after one that brings up the workers, and those that cores work for it."""
    settings = {"LAMINA_COMPUTE": compute, "LAMINA_WORKERS": str(WORKERS)}
    with Server(fresh("ray") / "data", settings=settings) as server:
        batch(server, "warm", short_texts(256, seed=1))
        bucket, collection, ids = stored_objects(server, "timed", texts)
        everyone = [server.seen, *server.seen.children(recursive=True)]
        before = {one: cpu_seconds([one]) for one in everyone}
        spent = len(texts) / processed(server, bucket, collection, ids)
        worked = sum(cpu_seconds([one]) - then for one, then in before.items() if one.is_running())
        return spent, worked


if __name__ == "__main__":
    main()
