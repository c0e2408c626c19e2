"""An installation with 100,000 documents, loaded through the API once and kept for later runs."""

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.corpus import Corpus, corpus
from bench.harness import CACHE, ROOT, Record, Server, rounded, wait_until
from bench.wire import Wire, request
from lamina.stores.vectors.edge_manifest import MANIFEST, Manifest

DOCUMENTS = 100_000
SMALL = 10_000
"""Documents of the second collection, which are the first ones of the large one again."""
AGAIN = "again_"
"""What their ids begin with: an id is one document in a namespace."""
QUERIES = 1_000
BATCH = 500


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the installation lies, and what is in it."""

    data_dir: Path
    large: str
    small: str
    feature_uri: str
    vector: str
    documents_per_s: float
    corpus: Corpus

    def shard(self) -> tuple[Path, Manifest]:
        """The folder of the large collection's shard, and what it is."""
        (manifest,) = (self.data_dir / "vectors").glob(f"*/{self.large}/{MANIFEST}")
        return manifest.parent, Manifest.read(manifest.parent)

    def wait_for_graph(self, points: int = 1) -> None:
        """Wait for the large collection's graph, which a running server builds once it is quiet."""
        wait_until(lambda: self.shard()[1].graphed >= points, 900, "no graph was built", pause=0.5)


def prepared(documents: int = DOCUMENTS) -> Prepared:
    """The installation, made now if it is not there yet or if its form has changed since."""
    made_up = corpus(documents, QUERIES)
    folder = CACHE / f"documents-{documents}-{_stores()}"
    note = folder / "prepared.json"
    if not note.is_file():
        for old in CACHE.glob(f"documents-{documents}-*"):
            shutil.rmtree(old, ignore_errors=True)
        print(f"  loading {documents:,} documents (once)", flush=True)
        note.write_bytes(orjson.dumps(_load(folder, made_up)))
    known = orjson.loads(note.read_bytes())
    return Prepared(folder / "data", **known, corpus=made_up)


def text_collection(server: Server, name: str) -> tuple[Record, Record]:
    """A new bucket with a `text` property, and a new collection that embeds it."""
    bucket = server.post(
        "/v1/buckets",
        {
            "bucket_name": name,
            "bucket_schema": {"properties": {"text": {"type": "text"}, "number": {"type": "integer"}}},
        },
    )
    collection = server.post(
        "/v1/collections",
        {
            "collection_name": name,
            "source": {"type": "bucket", "bucket_ids": [bucket["bucket_id"]]},
            "feature_extractor": {
                "feature_extractor_name": "text_extractor",
                "version": "v1",
                "input_mappings": {"text": "text"},
                "field_passthrough": [{"source_path": "number"}],
            },
        },
    )
    return bucket, collection


def _load(folder: Path, made_up: Corpus) -> Record:
    with Server(folder / "data") as server:
        large = text_collection(server, "large")[1]
        small = text_collection(server, "small")[1]
        index = large["vector_indexes"][0]
        name = index["index"]["name"]
        wire = Wire(server.port)
        seconds = 0.0
        for collection, count, prefix in (
            (large, len(made_up.documents), ""),
            (small, min(SMALL, len(made_up.documents)), AGAIN),
        ):
            for start in range(0, count, BATCH):
                body = upsert(server, made_up, collection["collection_id"], name, start, prefix)
                began = time.perf_counter()
                wire.send(body)
                seconds += (time.perf_counter() - began) * (collection is large)
        wire.close()
    return {
        "large": large["collection_id"],
        "small": small["collection_id"],
        "feature_uri": index["feature_uri"],
        "vector": name,
        "documents_per_s": rounded(len(made_up.documents) / seconds),
    }


def upsert(
    server: Server, made_up: Corpus, collection_id: str, vector: str, start: int, prefix: str
) -> bytes:
    """The request that writes `BATCH` documents from a number on, with a prefix to their ids."""
    ids = made_up.ids()[start : start + BATCH]
    documents = [
        {
            "document_id": prefix + identifier,
            "vectors": {vector: made_up.vectors[start + place]},
            "payload": made_up.documents[start + place],
        }
        for place, identifier in enumerate(ids)
    ]
    body = {"collection_id": collection_id, "documents": documents}
    return request("POST", "/v1/namespaces/default/documents/upsert", body, server.headers)


def _stores() -> str:
    """Changes with the code that decides what the files look like."""
    stores = ROOT / "src" / "lamina" / "stores"
    deciding = [*(stores / "records" / "migrations").rglob("*.py"), stores / "records" / "tables.py"]
    deciding += [stores / "vectors" / f"edge_{name}.py" for name in ("engine", "fields", "indexes", "points")]
    digest = hashlib.sha256()
    for path in sorted(deciding):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
