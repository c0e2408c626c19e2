"""What an installation takes: bytes of a document and of an object, on disk and in memory, by engine.

    python -m bench.sizes [--documents 100000] [--objects 4000]

Documents are those of 300 bytes with a vector of 384 numbers that `bench.search` asks for, with their
graph. They are then moved to a Qdrant server, whose log of writes is counted by itself: it has a fixed
size for each shard. Memory is what each process has that is no mapped file, after searches, less what it
has without documents. Objects are short texts that a batch has taken apart: their records, one
document's outcome each, and the durable work of their batch, in SQLite's files and in PostgreSQL.
"""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from bench.corpus import short_texts
from bench.harness import Figure, Server, arguments, fresh, rounded, size_of
from bench.ingestion import batch
from bench.memory import anonymous
from bench.prepared import DOCUMENTS, SMALL, Prepared, prepared
from bench.search import KINDS, execution, retriever_of
from bench.servers import migrate, servers, urls, wait_for_graphs
from bench.wire import Wire

_SEARCHES = 200
_SETTLE = 5.0


def main() -> None:
    """Measure points, then records."""
    given = arguments(__doc__)
    given.add_argument("--documents", type=int, default=DOCUMENTS)
    given.add_argument("--objects", type=int, default=4_000)
    asked = given.parse_args()
    figure = Figure(
        "sizes",
        "What a document and an object take, bytes",
        documents=asked.documents,
        objects=asked.objects,
    )
    folder = fresh("sizes")
    _points(figure, prepared(asked.documents), folder)
    _records(figure, short_texts(asked.objects), folder)
    figure.write()


def _points(figure: Figure, installation: Prepared, folder: Path) -> None:
    large = len(installation.corpus.documents)
    both = large + min(SMALL, large)
    copied = replace(installation, data_dir=folder / "points")
    shutil.copytree(installation.data_dir, copied.data_dir)
    with Server(folder / "empty") as server:
        empty = _memory(server.process.pid)
    with Server(copied.data_dir) as server:
        _search(server, copied)
        copied.wait_for_graph(large)
        _search(server, copied)
        memory = _memory(server.process.pid) - empty
    # The small collection has no graph of its own, so its bytes are not those of documents at large.
    shard = copied.shard()[0]
    figure.note("document_embedded", _each(large, disk=size_of(shard.rglob("*")), memory=memory))
    with servers(folder / "servers") as shared:
        empty = _memory(shared.qdrant.pid)
        migrate(copied.data_dir, shared)
        wait_for_graphs(shared)
        with Server(copied.data_dir, settings={"LAMINA_VECTORS_URL": urls(shared)["vectors"]}) as server:
            _search(server, copied)
            memory = _memory(shared.qdrant.pid) - empty
        storage = shared.qdrant.folder / "storage" / "collections"
        disk = size_of(storage.glob("*/*/segments/**/*"))
        figure.note("document_on_qdrant", _each(both, disk=disk, memory=memory))
        figure.note("log_of_writes_on_qdrant_mb", rounded(size_of(storage.glob("*/*/wal/**/*")) / 1e6))


def _records(figure: Figure, texts: list[str], folder: Path) -> None:
    def files(name: str) -> int:
        return size_of((folder / "records").glob(f"{name}.sqlite*"))

    with Server(folder / "records") as server:
        batch(server, "warm", texts[:10])
        server.stop()
        before = {name: files(name) for name in ("records", "workflows")}
        server.start()
        batch(server, "sizes", texts)
        server.stop()
        grown = {name: files(name) - size for name, size in before.items()}
    figure.note("object_in_sqlite", _each(len(texts), **grown))
    with servers(folder / "shared") as shared, Server(folder / "more", settings=shared.env) as server:
        batch(server, "warm", texts[:10])
        database = _tables(shared.database)
        batch(server, "sizes", texts)
        grown = {name: size - database[name] for name, size in _tables(shared.database).items()}
    figure.note("object_in_postgresql", _each(len(texts), **grown))


def _search(server: Server, installation: Prepared) -> None:
    """Use the large collection, so that what searches need is in memory."""
    retriever, wire = retriever_of(server, installation, KINDS[0]), Wire(server.port)
    for number in range(_SEARCHES):
        wire.send(execution(server, retriever, installation.corpus, number))
    wire.close()


def _memory(pid: int) -> int:
    time.sleep(_SETTLE)
    return anonymous(pid) or 0


def _tables(url: str) -> dict[str, int]:
    """Bytes of the tables of records and of durable work with their indexes, once vacuumed."""
    engine = sa.create_engine(url)
    asked = sa.text(
        "SELECT schemaname = 'dbos', sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables GROUP BY 1"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM"))
        found = {
            "workflows" if durable else "records": int(size) for durable, size in connection.execute(asked)
        }
    engine.dispose()
    return found


def _each(count: int, **sizes: int) -> dict[str, int]:
    return {name: round(size / count) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
