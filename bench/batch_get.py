"""Batch-get: 1,000 documents of 1.5 KB by id, in one request.

    python -m bench.batch_get [--requests 60]

In turns with the bare engine in this process, which retrieves the same points and writes them as JSON.
"""

import random
import shutil
import statistics
from pathlib import Path
from uuid import UUID

import orjson
import qdrant_edge as q

from bench.corpus import short_texts
from bench.harness import Figure, Record, Server, arguments, fresh, in_turns, milliseconds, rounded, spread
from bench.prepared import text_collection
from bench.wire import Wire, request
from lamina.core.ids import point_id

DOCUMENTS = 5_000
ASKED = 1_000
BYTES = 1_500
_WRITTEN = 500


def main() -> None:
    """Measure, in turns with the engine."""
    given = arguments(__doc__)
    given.add_argument("--requests", type=int, default=60)
    asked = given.parse_args()
    figure = Figure(
        "batch_get", f"Batch-get of {ASKED:,} documents of {BYTES / 1000} KB", documents=DOCUMENTS
    )
    folder = fresh("batch-get")
    ids = [f"doc_{number:05d}" for number in range(DOCUMENTS)]
    with Server(folder / "data") as server:
        collection = text_collection(server, "batch-get")[1]["collection_id"]
        payloads = _payloads()
        for start in range(0, DOCUMENTS, _WRITTEN):
            server.post(
                "/v1/namespaces/default/documents/upsert",
                {
                    "collection_id": collection,
                    "documents": [
                        {"document_id": one, "payload": payload}
                        for one, payload in zip(
                            ids[start : start + _WRITTEN], payloads[start : start + _WRITTEN], strict=True
                        )
                    ],
                },
            )
        server.stop()
        engine = _engine(folder, collection)
        server.start()
        wire = Wire(server.port)
        choice = random.Random(5)
        wanted = [choice.sample(ids, ASKED) for _ in range(20)]
        requests = [
            request("POST", "/v1/documents/batch-get", {"document_ids": one}, server.headers)
            for one in wanted
        ]
        answer = orjson.loads(wire.send(requests[0]))
        assert len(answer["documents"]) == ASKED
        assert not answer["not_found"]
        sizes = [len(orjson.dumps(document)) for document in answer["documents"]]
        figure.parameters["document_bytes"] = rounded(statistics.mean(sizes))
        points: list[list[int | UUID | str]] = [
            [point_id(identifier) for identifier in one] for one in wanted
        ]

        def bare(number: int) -> object:
            records = engine.retrieve(points[number % len(points)], True, False)
            return orjson.dumps([record.payload for record in records])

        times = in_turns(
            {
                "lamina": lambda number: milliseconds(lambda: wire.send(requests[number % len(requests)])),
                "engine": lambda number: milliseconds(lambda: bare(number)),
            },
            asked.requests,
        )
    for side, taken in times.items():
        figure.note(side, spread(taken))
    ratio = statistics.median(a / b for a, b in zip(times["lamina"], times["engine"], strict=True))
    figure.note("lamina_to_engine_ratio", rounded(ratio))
    figure.wanted("batch-get p50, ms", statistics.median(times["lamina"]), most=40)
    figure.write()


def _payloads() -> list[Record]:
    """Payloads with which a document is about 1.5 KB as JSON, with what the system adds."""
    texts = short_texts(DOCUMENTS * 8)
    payloads: list[Record] = []
    for number in range(DOCUMENTS):
        text = " ".join(texts[number * 8 : number * 8 + 8])
        payloads.append(
            {
                "title": texts[number],
                "text": text[:720],
                "category": f"c{number % 100:02d}",
                "year": 1950 + number % 75,
            }
        )
    return payloads


def _engine(folder: Path, collection: str) -> q.EdgeShard:
    """The engine on a copy of the collection's shard."""
    (manifest,) = (folder / "data" / "vectors").glob(f"*/{collection}/manifest.json")
    generation = orjson.loads(manifest.read_bytes())["generation"]
    shutil.copytree(manifest.parent / generation, folder / "engine")
    return q.EdgeShard.load(str(folder / "engine"))


if __name__ == "__main__":
    main()
