"""Memory of an idle server with the text model loaded, empty and with 100,000 documents.

    python -m bench.memory [--settle 5]

Measured after a text query. `resident` counts shared libraries whole (RSS), `proportional` its
share of them (PSS); `private` is what would be free without the server. Files that the engine maps
count in all of them as long as the system keeps them in memory; `anonymous` leaves them out.
"""

import time
from pathlib import Path

from bench.harness import Figure, Record, Server, arguments, fresh, rounded
from bench.prepared import prepared, text_collection

REACH_MB = 350


def main() -> None:
    """Measure the empty server, then the full one."""
    given = arguments(__doc__)
    given.add_argument("--settle", type=float, default=5.0, help="seconds to wait before each look")
    asked = given.parse_args()
    installation = prepared()
    figure = Figure("memory", "Memory of an idle server, MB", documents=len(installation.corpus.documents))
    with Server(fresh("memory") / "data") as server:
        figure.note("empty_before_the_model", _after(server, asked.settle))
        collection = text_collection(server, "memory")[1]
        figure.note("empty", _queried(server, collection["collection_id"], asked.settle))
    with Server(installation.data_dir) as server:
        figure.note("100,000_documents", _queried(server, installation.large, asked.settle))
    empty: Record = figure.figures["empty"]
    figure.wanted("idle server with the text model, resident MB", empty["resident_mb"], most=REACH_MB)
    figure.write()


def _queried(server: Server, collection: str, settle: float) -> Record:
    """Memory after one text query, which loads the model and opens the collection."""
    server.post(
        "/v1/features/search",
        {
            "collection_identifiers": [collection],
            "query": {"input_mode": "text", "text": "a thin boundary layer"},
            "top_k": 10,
        },
    )
    return _after(server, settle)


def _after(server: Server, settle: float) -> Record:
    time.sleep(settle)
    process = server.seen
    memory = process.memory_full_info()
    megabytes = {"resident_mb": memory.rss}
    if hasattr(memory, "pss"):
        megabytes |= {"proportional_mb": memory.pss, "private_mb": memory.uss}
    unmapped = anonymous(process.pid)
    if unmapped is not None:
        megabytes["anonymous_mb"] = unmapped
    shown: Record = {name: rounded(value / 1e6) for name, value in megabytes.items()}
    shown["child_processes"] = len(process.children(recursive=True))
    return shown


def anonymous(pid: int) -> int | None:
    """Memory of a process that is no mapped file; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(kilobytes["RssAnon"]) * 1024 if "RssAnon" in kilobytes else None


if __name__ == "__main__":
    main()
