"""What an installation takes: bytes of a document and of an object, on disk and in memory, by engine.

    python -m bench.sizes [--documents 100000] [--objects 4000]

Documents are those of 300 bytes with a vector of 384 numbers that `bench.search` asks for, with their
graph, embedded and then moved to a Qdrant server. From what they take is taken off what a collection of
a few takes, which is mostly logs and space that the engines keep ready, and told by itself. Memory is
what each process has that is no mapped file, after searches. Objects are short texts that a batch has
taken apart: their records with one document's outcome each, and the durable work of their batch, in
SQLite's files and in PostgreSQL.
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
from bench.prepared import BATCH, DOCUMENTS, SMALL, Prepared, prepared, text_collection, upsert
from bench.search import KINDS, execution, retriever_of
from bench.servers import migrate, servers, urls, wait_for_graphs
from bench.wire import Wire
from lamina.transfer.progress import MIGRATION

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
    both = large + min(SMALL, large)  # a namespace is one collection on Qdrant
    few, many = _few(installation, folder / "few"), replace(installation, data_dir=folder / "many")
    shutil.copytree(installation.data_dir, many.data_dir)
    _note(figure, "embedded", _embedded(few, graph=False), _embedded(many, graph=True), large)
    _note(figure, "on_qdrant", _on_qdrant(few, folder / "one"), _on_qdrant(many, folder / "two"), both)


def _note(figure: Figure, where: str, few: dict[str, int], many: dict[str, int], count: int) -> None:
    more = {name: size - few[name] for name, size in many.items()}
    figure.note(f"document_{where}", _each(count - BATCH, more))
    figure.note(f"collection_{where}_mb", {name: rounded(size / 1e6) for name, size in few.items()})


def _few(installation: Prepared, data_dir: Path) -> Prepared:
    """An installation with some of the documents."""
    with Server(data_dir) as server:
        made = text_collection(server, "few")[1]["collection_id"]
        wire = Wire(server.port)
        wire.send(upsert(server, installation.corpus, made, installation.vector, 0, ""))
        wire.close()
    return replace(installation, data_dir=data_dir, large=made)


def _embedded(installation: Prepared, *, graph: bool) -> dict[str, int]:
    with Server(installation.data_dir) as server:
        _search(server, installation)
        if graph:
            installation.wait_for_graph(len(installation.corpus.documents))
        _search(server, installation)
        return {
            "disk": size_of(installation.shard()[0].rglob("*")),
            "memory": _memory(server.process.pid),
        }


def _on_qdrant(installation: Prepared, folder: Path) -> dict[str, int]:
    with servers(folder) as shared:
        migrate(installation.data_dir, shared)
        (installation.data_dir / MIGRATION).unlink()
        wait_for_graphs(shared)
        settings = {"LAMINA_VECTORS_URL": urls(shared)["vectors"]}
        with Server(installation.data_dir, settings=settings) as server:
            _search(server, installation)
            (namespace,) = (shared.qdrant.folder / "storage" / "collections").glob("lamina.ns_*")
            return {"disk": size_of(namespace.rglob("*")), "memory": _memory(shared.qdrant.pid)}


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
    figure.note("object_in_sqlite", _each(len(texts), grown))
    with servers(folder / "shared") as shared, Server(folder / "more", settings=shared.env) as server:
        batch(server, "warm", texts[:10])
        database = _tables(shared.database)
        batch(server, "sizes", texts)
        grown = {name: size - database[name] for name, size in _tables(shared.database).items()}
    figure.note("object_in_postgresql", _each(len(texts), grown))


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


def _each(count: int, sizes: dict[str, int]) -> dict[str, int]:
    return {name: round(size / count) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
