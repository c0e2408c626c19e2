"""Moving up: `lamina migrate` of 100,000 documents from embedded stores to PostgreSQL, Qdrant and S3.

    python -m bench.migrate [--documents 100000] [--blobs 200]

The installation has documents of 300 bytes with a vector of 384 numbers and their BM25 vectors, an
object in the records for every one of them, and some blobs of 20 KB. The first figures are those of
the command, from its start to its end: all is copied, read back from both sides, and compared.
What each part takes is told by a second copy to other stores, in this process: the reach is of
points and records copied, without the reading back. S3 is moto's server, which is made for tests and
takes some milliseconds for each request; so blobs are few here, and told by themselves.
"""

import asyncio
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bench.corpus import corpus
from bench.harness import Figure, Server, arguments, fresh, rounded
from bench.ingestion import stored_objects
from bench.prepared import BATCH, text_collection, upsert
from bench.wire import Wire
from lamina.app import open_stores
from lamina.core.settings import Settings
from lamina.transfer.copying import Progress, Stores, copy
from lamina.transfer.preconditions import MIGRATION, namespaces_of
from tests.s3 import variables
from tests.shared import Shared, shared_stores


def main() -> None:
    """Make the installation, and move it twice."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=100_000)
    given.add_argument("--blobs", type=int, default=200)
    asked = given.parse_args()
    count = asked.documents
    figure = Figure(
        "migrate",
        f"An installation of {count:,} documents moves to PostgreSQL, Qdrant and S3",
        documents=count,
        objects=count,
        blobs=asked.blobs,
    )
    folder = fresh("migrate")
    data_dir = folder / "data"
    _make(data_dir, count, asked.blobs)
    with _servers(folder / "first") as shared:
        seconds, cpu = _command(data_dir, shared)
    figure.note("seconds_of_the_command", rounded(seconds))
    figure.note("cpu_seconds_of_the_command", rounded(cpu))
    figure.note("documents_per_s_verified", rounded(count / seconds))
    with _servers(folder / "second") as shared:
        parts = asyncio.run(_parts(data_dir, shared, folder / "progress.json", count))
    figure.note("seconds_of_each_part", {name: rounded(spent) for name, spent in parts.items()})
    figure.note("points_per_s", rounded(count / parts["points"]))
    figure.note("objects_per_s", rounded(count / parts["records"]))
    figure.note("points_verified_per_s", rounded(count / parts["points verified"]))
    copied = count / (parts["points"] + parts["records"])
    figure.wanted("documents/s that lamina migrate copies", copied, least=5_000)
    figure.write()


def _make(data_dir: Path, documents: int, blobs: int) -> None:
    print(f"  making {documents:,} documents and objects", flush=True)
    made_up = corpus(documents, 1)
    with Server(data_dir) as server:
        collection = text_collection(server, "documents")[1]
        vector = collection["vector_indexes"][0]["index"]["name"]
        wire = Wire(server.port)
        for start in range(0, documents, BATCH):
            wire.send(upsert(server, made_up, collection["collection_id"], vector, start, ""))
        wire.close()
        stored_objects(server, "objects", [str(document["text"]) for document in made_up.documents])
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


@contextmanager
def _servers(folder: Path) -> Iterator[Shared]:
    folder.mkdir(parents=True)
    with shared_stores(folder) as shared:
        yield shared


def _command(data_dir: Path, shared: Shared) -> tuple[float, float]:
    """Seconds of `lamina migrate`, by the clock and of its own work."""
    arguments = [f"--{name}-url={url}" for name, url in _urls(shared).items()]
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lamina", "migrate", f"--data-dir={data_dir}", *arguments, "--json"],
        env={**os.environ, **variables(shared.s3.url)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds, after = time.perf_counter() - began, os.times()
    (data_dir / MIGRATION).unlink()
    return seconds, sum(after[2:4]) - sum(before[2:4])


async def _parts(data_dir: Path, shared: Shared, file: Path, documents: int) -> dict[str, float]:
    """Seconds of each part of a copy: what was written, then what was read from both sides and compared."""
    os.environ.update(variables(shared.s3.url))
    source = Settings(data_dir=data_dir)
    target = Settings(data_dir=data_dir, **{f"{name}_url": url for name, url in _urls(shared).items()})
    spent: Counter[str] = Counter()
    last, part = time.perf_counter(), "blobs"

    def said(now: str, more: int) -> None:
        nonlocal last, part
        part = f"{part.partition(' ')[0]} verified" if now == "verified" else now
        spent[part] += time.perf_counter() - last
        last = time.perf_counter()

    async with open_stores(source, target) as (ours, theirs):
        spaces = await namespaces_of(ours[0])
        last = time.perf_counter()
        counts = await copy(Stores(*ours), Stores(*theirs), spaces, Progress(file, "there"), said)
    if counts["points"] != documents or counts["records"] < documents:
        raise SystemExit(f"not all was copied: {counts}")
    return dict(spent)


def _urls(shared: Shared) -> dict[str, str]:
    return {name: shared.env[f"LAMINA_{name.upper()}_URL"] for name in ("records", "vectors", "blobs")}


if __name__ == "__main__":
    main()
