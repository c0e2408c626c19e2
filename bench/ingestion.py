"""Ingestion: a batch of short texts end to end, against the bare text model on the same texts.

    python -m bench.ingestion [--texts 4000] [--rounds 3]

Lamina's time runs from the submit to the task's COMPLETED: read objects, embed in worker processes,
write vectors, BM25 and payloads, record what became of every object. The bare model embeds the
same texts in two processes of one thread each, all sent at once and sorted by length, which is the
best that these cores do. Both take turns in one run. `ratio_of_cpu` compares what both make the cores
work: on cores that nobody else uses the rates cannot be further apart than that, and on busy ones it
is what remains comparable. Every round has texts of its own, because workers remember the vectors of
those that they have seen; the bare model forgets them.
"""

import statistics
import time

from bench.corpus import short_texts
from bench.embedding import Bare
from bench.harness import Figure, Record, Server, arguments, cpu_seconds, fresh, rounded
from bench.prepared import text_collection
from lamina.inference.registry import ModelSettings

PROCESSES = 2
FIRST_SEED = 100
"""That of the first round's texts; no other round and no warming up has the same."""

_OBJECTS = 100
_ENDED = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"}


def main() -> None:
    """Measure, in turns with the bare model."""
    given = arguments(__doc__)
    given.add_argument("--texts", type=int, default=4_000)
    given.add_argument("--rounds", type=int, default=3)
    asked = given.parse_args()
    figure = Figure(
        "ingestion",
        "A batch of short texts, end to end",
        texts=asked.texts,
        words="12–20",
        rounds=asked.rounds,
    )
    settings = ModelSettings(models_dir=fresh("no-models"))
    rates: dict[str, list[float]] = {"lamina": [], "bare": []}
    costs: dict[str, list[float]] = {"server": [], "workers": [], "bare": []}
    stored: list[float] = []
    with Server(fresh("ingestion") / "data") as server, Bare(settings, PROCESSES, threads=1) as bare:
        batch(server, "warm", short_texts(256, seed=1))
        for number in range(asked.rounds):
            texts = short_texts(asked.texts, seed=FIRST_SEED + number)
            worked = cpu_seconds(bare.seen)
            rates["bare"].append(bare.rate(texts))
            costs["bare"].append(cpu_seconds(bare.seen) - worked)
            began = time.perf_counter()
            bucket, collection, ids = stored_objects(server, f"round-{number}", texts)
            stored.append(len(texts) / (time.perf_counter() - began))
            workers = server.seen.children(recursive=True)
            before = cpu_seconds([server.seen]), cpu_seconds(workers)
            rates["lamina"].append(processed(server, bucket, collection, ids))
            costs["server"].append(cpu_seconds([server.seen]) - before[0])
            costs["workers"].append(cpu_seconds(workers) - before[1])
        rates["bare"].append(bare.rate(texts))
    ratios = [
        rate / statistics.mean(rates["bare"][number : number + 2])
        for number, rate in enumerate(rates["lamina"])
    ]
    figure.note("documents_per_s", rounded(statistics.median(rates["lamina"])))
    figure.note("bare_model_documents_per_s", rounded(statistics.median(rates["bare"])))
    figure.note("ratio_of_each_round", [rounded(ratio) for ratio in ratios])
    each = {name: statistics.median(spent) / asked.texts * 1e3 for name, spent in costs.items()}
    figure.note("cpu_ms_of_a_document", {name: rounded(spent) for name, spent in each.items()})
    figure.note("ratio_of_cpu", rounded(each["bare"] / (each["server"] + each["workers"])))
    figure.note("objects_stored_per_s", rounded(statistics.median(stored)))
    figure.wanted("batch end to end to bare model", statistics.median(ratios), least=0.85)
    figure.write()


def batch(server: Server, name: str, texts: list[str]) -> float:
    """Store texts as objects and process them; documents a second of the processing."""
    return processed(server, *stored_objects(server, name, texts))


def stored_objects(server: Server, name: str, texts: list[str]) -> tuple[str, str, list[str]]:
    """A new bucket with an object for each text, and the collection that will read it."""
    bucket, collection = text_collection(server, name)
    ids: list[str] = []
    with server.client() as client:
        for start in range(0, len(texts), _OBJECTS):
            objects = [
                {"blobs": [{"property": "text", "type": "text", "data": text}], "number": start + place}
                for place, text in enumerate(texts[start : start + _OBJECTS])
            ]
            answer = client.post(
                f"/v1/buckets/{bucket['bucket_id']}/objects/batch", json={"objects": objects}
            ).raise_for_status()
            ids += [one["object_id"] for one in answer.json()]
    return bucket["bucket_id"], collection["collection_id"], ids


def processed(server: Server, bucket: str, collection: str, ids: list[str]) -> float:
    """Documents a second from the submit of a batch to its end. Ends the benchmark if any is missing."""
    made = server.post(f"/v1/buckets/{bucket}/batches", {"object_ids": ids})["batch_id"]
    with server.client() as client:
        began = time.perf_counter()
        task: Record = client.post(f"/v1/buckets/{bucket}/batches/{made}/submit", json={}).json()
        while task["status"] not in _ENDED:
            time.sleep(0.25)
            task = client.get(f"/v1/tasks/{task['task_id']}").json()
        seconds = time.perf_counter() - began
        count = client.get(f"/v1/collections/{collection}/documents/count").json()["count"]
    if task["status"] != "COMPLETED" or count != len(ids):
        raise SystemExit(f"{task['status']} with {count} of {len(ids)} documents: {task}")
    return len(ids) / seconds


if __name__ == "__main__":
    main()
