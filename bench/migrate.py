"""Moving up: `lamina migrate` of 100,000 documents from embedded stores to PostgreSQL, Qdrant and S3.

    python -m bench.migrate [--documents 100000] [--blobs 200]

The installation has documents of 300 bytes with a vector of 384 numbers and their BM25 vectors, and
beside them objects in the records, and blobs of 20 KB. The first figures are those of the whole
command, from its start to its end: everything is copied, read back from both sides, and compared.
What each part takes is told by a second copy to other stores, in this process. The reach is of the
documents: how many of them are read, made ready and acknowledged by Qdrant in a second. Beside it is
told how many Qdrant's own client loads in a second in the same run, bare and from memory, so that a
slow machine can be told from a slow copy; and what reading back and comparing takes. S3 is moto's
server, which is made for tests and takes some milliseconds for each request.
"""

import asyncio
import os
import time
from base64 import b64encode
from collections import Counter
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from qdrant_client import QdrantClient, models

from bench.corpus import SIZE, Corpus, corpus, short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.ingestion import stored_objects
from bench.prepared import BATCH, text_collection, upsert
from bench.servers import migrate, servers, urls
from bench.wire import Wire
from lamina.core.settings import Settings
from lamina.engines import open_stores
from lamina.garbage import spare_collections
from lamina.transfer.copying import Stores, copy
from lamina.transfer.preconditions import namespaces_of
from lamina.transfer.progress import MIGRATION, Progress
from tests.s3 import variables
from tests.shared import Shared


def main() -> None:
    """Make the installation, and move it twice."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=100_000)
    given.add_argument("--objects", type=int, default=20_000)
    given.add_argument("--blobs", type=int, default=200)
    asked = given.parse_args()
    count = asked.documents
    figure = Figure(
        "migrate",
        f"An installation of {count:,} documents moves to PostgreSQL, Qdrant and S3",
        documents=count,
        objects=asked.objects,
        blobs=asked.blobs,
    )
    folder = fresh("migrate")
    data_dir = folder / "data"
    made_up = corpus(count, 1)
    _make(data_dir, made_up, asked.objects, asked.blobs)
    with servers(folder / "first") as shared:
        seconds, cpu = migrate(data_dir, shared)
    (data_dir / MIGRATION).unlink()
    figure.note("seconds_of_the_command", rounded(seconds))
    figure.note("cpu_seconds_of_the_command", rounded(cpu))
    figure.note("documents_per_s_of_the_command", rounded(count / seconds))
    with servers(folder / "second") as shared:
        parts = asyncio.run(_parts(data_dir, shared, folder / "progress.json", asked.objects))
        bare = _bare(shared.qdrant.url, made_up)
    copied = count / parts["points"]
    figure.note("seconds_of_each_part", {name: rounded(spent) for name, spent in parts.items()})
    figure.note("documents_verified_per_s", rounded(count / parts["points verified"]))
    figure.note("objects_per_s", rounded(asked.objects / parts["records"]))
    figure.note("objects_verified_per_s", rounded(asked.objects / parts["records verified"]))
    if asked.blobs:
        figure.note("blobs_per_s", rounded(asked.blobs / parts["blobs"]))
    figure.note("documents_per_s_of_qdrants_client", rounded(bare))
    figure.note("copied_to_those_of_qdrants_client", rounded(copied / bare))
    figure.wanted("documents/s that lamina migrate copies", copied, least=5_000)
    figure.write()


def _make(data_dir: Path, made_up: Corpus, objects: int, blobs: int) -> None:
    documents = len(made_up.documents)
    print(f"  making {documents:,} documents, {objects:,} objects and {blobs:,} blobs", flush=True)
    with Server(data_dir) as server:
        collection = text_collection(server, "documents")[1]
        vector = collection["vector_indexes"][0]["index"]["name"]
        wire = Wire(server.port)
        for start in range(0, documents, BATCH):
            wire.send(upsert(server, made_up, collection["collection_id"], vector, start, ""))
        wire.close()
        stored_objects(server, "objects", short_texts(objects))
        _store_blobs(server, blobs)


def _store_blobs(server: Server, blobs: int) -> None:
    schema = {"properties": {"file": {"type": "image"}}}
    bucket = server.post("/v1/buckets", {"bucket_name": "files", "bucket_schema": schema})["bucket_id"]
    random = np.random.default_rng(3)
    for _ in range(blobs):
        picture = BytesIO()
        Image.fromarray(random.integers(0, 256, (80, 80, 3), np.uint8)).save(picture, "PNG")
        data = f"data:image/png;base64,{b64encode(picture.getvalue()).decode()}"
        blob = {"property": "file", "type": "image", "data": data}
        server.post(f"/v1/buckets/{bucket}/objects", {"blobs": [blob]})


def _bare(url: str, made_up: Corpus) -> float:
    """Documents that Qdrant's client loads in a second into a collection without any indexes."""
    with closing(QdrantClient(url=url, timeout=60, check_compatibility=False)) as client:
        client.create_collection(
            "bare",
            vectors_config=models.VectorParams(size=SIZE, distance=models.Distance.COSINE),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
        )
        began = time.perf_counter()
        client.upload_collection("bare", made_up.vectors, made_up.documents, batch_size=500, wait=True)
        return len(made_up.documents) / (time.perf_counter() - began)


async def _parts(data_dir: Path, shared: Shared, file: Path, least: int) -> dict[str, float]:
    """Seconds of each part of a copy: what was written, then what was read from both sides and compared."""
    os.environ.update(variables(shared.s3.url))
    source = Settings(data_dir=data_dir)
    target = Settings(data_dir=data_dir, **{f"{name}_url": url for name, url in urls(shared).items()})
    spent: Counter[str] = Counter()
    last, part = time.perf_counter(), "blobs"
    spare_collections()  # as the command does

    def said(now: str, more: int) -> None:
        nonlocal last, part
        part = f"{part.partition(' ')[0]} verified" if now == "verified" else now
        spent[part] += time.perf_counter() - last
        last = time.perf_counter()

    async with open_stores(source, target) as (ours, theirs):
        spaces = await namespaces_of(ours[0])
        last = time.perf_counter()
        counts, _ = await copy(Stores(*ours), Stores(*theirs), spaces, Progress.at(file, "there"), said)
    if counts["records"] < least:
        raise SystemExit(f"not all was copied: {counts}")
    return dict(spent)


if __name__ == "__main__":
    main()
