"""Start-up: from the start of the process to its first healthy answer.

    python -m bench.startup [--starts 5]

With 100,000 documents on disk, in turns with an installation that holds nothing; both have been
started before. After the first answer the collection is searched once, which opens its files.
"""

import statistics
import time

from bench.harness import Figure, Server, arguments, fresh, in_turns, rounded
from bench.prepared import prepared


def main() -> None:
    """Measure, with documents and without in turns."""
    given = arguments(__doc__)
    given.add_argument("--starts", type=int, default=5)
    asked = given.parse_args()
    installation = prepared()
    figure = Figure(
        "startup", "Start to healthy", starts=asked.starts, documents=len(installation.corpus.documents)
    )
    first: list[float] = []

    def with_documents(_: int) -> float:
        with Server(installation.data_dir) as server:
            began = time.perf_counter()
            server.post(
                "/v1/features/search",
                {
                    "collection_identifiers": [installation.large],
                    "feature_uri": installation.feature_uri,
                    "query": {"input_mode": "vector", "vector": installation.corpus.queries[0].tolist()},
                    "top_k": 10,
                },
            )
            first.append(time.perf_counter() - began)
            return server.seconds_to_healthy

    empty = fresh("empty") / "data"

    def without(_: int) -> float:
        with Server(empty) as server:
            return server.seconds_to_healthy

    with Server(empty) as server:
        figure.note("very_first_start_s", rounded(server.seconds_to_healthy))
    times = in_turns({"100,000 documents": with_documents, "empty": without}, asked.starts)
    for name, seconds in times.items():
        figure.note(f"{name}: median s", rounded(statistics.median(seconds)))
        figure.note(f"{name}: all s", [rounded(one) for one in seconds])
    figure.note("first_search_after_it_s", rounded(statistics.median(first)))
    figure.wanted(
        "start to healthy with 100,000 documents, s", statistics.median(times["100,000 documents"]), most=3
    )
    figure.write()


if __name__ == "__main__":
    main()
