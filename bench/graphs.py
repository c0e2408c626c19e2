"""Graphs: what searching feels while 40,000 more documents are written and the graph is built anew.

    python -m bench.graphs [--documents 40000]

One client searches 100,000 documents without pause: before, while documents are written, while the
graph is built in its process, in the second in which the server takes it in, and after that.
"""

import shutil
import threading
import time
from dataclasses import replace

import numpy as np

from bench.corpus import corpus
from bench.harness import Figure, Server, arguments, cpu_seconds, fresh, rounded, spread
from bench.prepared import prepared, upsert
from bench.wire import Wire, request


def main() -> None:
    """Measure."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=40_000)
    asked = given.parse_args()
    figure = Figure("graphs", "Searches while a graph is built", documents=asked.documents)
    installation = prepared()
    data = fresh("graphs") / "data"
    with Server(installation.data_dir) as server:
        _search(server, installation.large, installation.feature_uri, installation.corpus.queries[0])
        installation.wait_for_graph()
    shutil.copytree(installation.data_dir, data)
    installation = replace(installation, data_dir=data)
    more = corpus(asked.documents, 1, seed=12)
    times: list[tuple[float, float]] = []
    stopping = threading.Event()
    with Server(data) as server:

        def searches() -> None:
            wire, number = Wire(server.port), 0
            queries = installation.corpus.queries
            bodies = [_request(server, installation.large, installation.feature_uri, one) for one in queries]
            while not stopping.is_set():
                began = time.perf_counter()
                wire.send(bodies[number % len(bodies)])
                times.append((began, (time.perf_counter() - began) * 1e3))
                number += 1
                time.sleep(0.005)
            wire.close()

        _search(server, installation.large, installation.feature_uri, installation.corpus.queries[0])
        old = installation.shard()[1].graphed
        searching = threading.Thread(target=searches)
        searching.start()
        time.sleep(5)
        writing = time.perf_counter()
        wire = Wire(server.port)
        for start in range(0, asked.documents, 500):
            wire.send(upsert(server, more, installation.large, installation.vector, start, "more_"))
        wire.close()
        written = time.perf_counter()
        worked = cpu_seconds([server.seen])
        installation.wait_for_graph(old + 1)
        taken = time.perf_counter()
        figure.note("server_cpu_s_meanwhile", rounded(cpu_seconds([server.seen]) - worked))
        time.sleep(5)
        stopping.set()
        searching.join()
    figure.note("write_s", rounded(written - writing))
    figure.note("build_and_take_in_s", rounded(taken - written))
    spans = {
        "before": (0.0, writing),
        "while_documents_are_written": (writing, written),
        "while_the_graph_is_built": (written, taken - 3),
        "while_it_is_taken_in": (taken - 3, taken + 0.5),
        "after": (taken + 0.5, np.inf),
    }
    for name, (start, end) in spans.items():
        some = [took for began, took in times if start <= began < end]
        if some:
            figure.note(name, {**spread(some), "worst_ms": rounded(max(some))})
    figure.write()


def _request(server: Server, collection: str, feature_uri: str, vector: np.ndarray) -> bytes:
    body = {
        "collection_identifiers": [collection],
        "feature_uri": feature_uri,
        "query": {"input_mode": "vector", "vector": vector},
        "top_k": 10,
    }
    return request("POST", "/v1/features/search", body, server.headers)


def _search(server: Server, collection: str, feature_uri: str, vector: np.ndarray) -> None:
    wire = Wire(server.port)
    wire.send(_request(server, collection, feature_uri, vector))
    wire.close()


if __name__ == "__main__":
    main()
