"""Ray: a batch of short texts by actors on a cluster of the server's own, against local workers.

    python -m bench.ray [--texts 10000] [--rounds 5]

Both sides have as many workers, and take turns: local, Ray, local, … local. In its turn a server
starts on an empty folder, brings its workers up with a small batch, and runs the one that is timed,
from the submit to COMPLETED. A round's ratio is its time on Ray to the mean of the local turns before
and after it; nothing of either side runs in the other's turn.
"""

import statistics

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.ingestion import batch

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
    local, actors = [seconds(texts, "local")], []
    for _ in range(asked.rounds):
        actors.append(seconds(texts, "ray"))
        local.append(seconds(texts, "local"))
    ratios = [spent / statistics.mean(local[number : number + 2]) for number, spent in enumerate(actors)]
    figure.note("seconds_of_local_workers", [rounded(one) for one in local])
    figure.note("seconds_of_actors", [rounded(one) for one in actors])
    figure.note("ratio_of_each_round", [rounded(ratio) for ratio in ratios])
    figure.wanted("time of a batch on Ray to local workers", statistics.median(ratios), most=1.15)
    figure.write()


def seconds(texts: list[str], compute: str) -> float:
    """How long a batch takes, after one that brings up the workers."""
    settings = {"LAMINA_COMPUTE": compute, "LAMINA_WORKERS": str(WORKERS)}
    with Server(fresh("ray") / "data", settings=settings) as server:
        batch(server, "warm", short_texts(256, seed=1))
        return len(texts) / batch(server, "timed", texts)


if __name__ == "__main__":
    main()
