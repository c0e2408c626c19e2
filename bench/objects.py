"""Objects: `objects/batch` of 100 small objects, by one client and by four at once.

python -m bench.objects [--seconds 4] [--turns 5]
"""

import itertools
import statistics

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.prepared import text_collection
from bench.wire import Crowd, request

BATCH = 100
REQUESTS = 200


def main() -> None:
    """Measure, one client and four in turns."""
    given = arguments(__doc__)
    given.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    given.add_argument("--turns", type=int, default=5)
    asked = given.parse_args()
    figure = Figure("objects", f"objects/batch of {BATCH} small objects", objects_in_a_request=BATCH)
    texts = itertools.cycle(short_texts(REQUESTS * BATCH))
    with Server(fresh("objects") / "data") as server:
        bucket = text_collection(server, "objects")[0]["bucket_id"]
        requests = [
            request(
                "POST",
                f"/v1/buckets/{bucket}/objects/batch",
                {
                    "objects": [
                        {
                            "blobs": [{"property": "text", "type": "text", "data": next(texts)}],
                            "number": number,
                        }
                        for number in range(BATCH)
                    ]
                },
                server.headers,
            )
            for _ in range(REQUESTS)
        ]
        crowd = Crowd(server.port, requests)
        crowd.run(1, 1.0)
        rates: dict[int, list[float]] = {1: [], 4: []}
        errors = 0
        for _ in range(asked.turns):
            for clients, measured in rates.items():
                done = crowd.run(clients, asked.seconds)
                measured.append(done["answers_per_s"] * BATCH)
                errors += done["errors"]
        crowd.close()
    for clients, measured in rates.items():
        plural = "client" if clients == 1 else "clients"
        figure.note(f"objects_per_s_{clients}_{plural}", rounded(statistics.median(measured)))
        figure.note(f"objects_per_s_{clients}_{plural}_best_turn", rounded(max(measured)))
    figure.note("errors", errors)
    figure.wanted("objects/s", statistics.median(rates[1]), least=2_000)
    figure.write()


if __name__ == "__main__":
    main()
