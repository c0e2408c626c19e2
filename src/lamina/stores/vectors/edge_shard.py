"""One collection's shard of Qdrant Edge: its files, its writes, and the plans of its filters.

    <collection>/manifest.json    which generation counts, the vectors, the declared indexes
    <collection>/fields.json      what was seen in payloads (`edge_fields`)
    <collection>/g1/              the engine's own files
    <collection>/g2/              what will take their place: with more vectors, or with graphs

A shard's vectors are fixed when it is made (quantization covers no vector that comes later). A
collection that gains one is copied into a new generation, and so is one whose vectors get graphs;
replacing the manifest is the moment at which the new one counts, so a crash leaves one whole
generation and at most rubbish beside it.

Writes go in chunks with a pause between them, as scans do, and for the same reason (`edge_scan`).
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import qdrant_edge as q

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.filters import ALL, Filter
from lamina.core.ids import point_id
from lamina.core.types import Json, JsonObject
from lamina.stores.vectors import edge_filters, edge_scan
from lamina.stores.vectors.base import CollectionRef, IndexType, Point, VectorSpec
from lamina.stores.vectors.edge_disk import ROOM, check_room, read_into_memory, room, size_of
from lamina.stores.vectors.edge_engine import new_engine
from lamina.stores.vectors.edge_fields import Fields, path_of
from lamina.stores.vectors.edge_filters import Plan
from lamina.stores.vectors.edge_indexes import SYSTEM_INDEXES, indexes_of, key_of, make_index, serving_indexes
from lamina.stores.vectors.edge_manifest import MANIFEST, Manifest, write_whole
from lamina.stores.vectors.edge_points import check_specs, described, overwriting, stored_payload, to_engine

_QUIET: Final = 5.0
"""Seconds without a write after which a build of graphs gets in nobody's way."""

_SPACE: Final = 4
"""Free disk that a build of graphs needs, in sizes of the shard: the copy, its new form, and room."""

_FLUSH_AFTER: Final = 10_000
"""Points after which segments are flushed. What is younger is replayed from the log on opening,
at about 40 µs a point."""


class Shard:
    """An open shard. Reads may run from any thread; writes take their turn."""

    def __init__(
        self, folder: Path, at: CollectionRef, index_from: int, engine: q.EdgeShard | None = None
    ) -> None:
        self.at = at
        self._index_from = index_from
        self._folder = folder
        self._writing = threading.RLock()
        self._unflushed = 0
        self._retired = False
        self._manifest = Manifest.read(folder)
        self._manifest.sweep(folder)
        self._written_since_copy: set[str] | None = None
        """Ids of points written since the copy was made in which graphs are being built."""
        self.version = 0
        """Goes up with every write."""
        self._unwritten = False
        """Whether payloads held what the file of fields does not tell yet."""
        self.written_at = time.monotonic()
        self.engine = engine or q.EdgeShard.load(str(self.generation))
        self.ungraphed = abs(self.engine.info().points_count - self._manifest.graphed)
        """Points written or deleted since the graphs were built."""
        self.fields = self._load_fields()
        self.fields.indexes = {path_of(key): type for key, type in indexes_of(self.engine).items()}
        self.fields.constants = {"collection_id": at.collection_id}
        self._index_if_large()

    @classmethod
    def create(
        cls, folder: Path, at: CollectionRef, index_from: int, vectors: Sequence[VectorSpec]
    ) -> "Shard":
        """Make a shard in a folder that holds none."""
        check_specs(vectors)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        check_room(folder)
        specs = {spec.name: spec for spec in vectors}
        engine = new_engine(folder / "g1", specs)
        write_whole(folder / _FIELDS, Fields().to_json())
        Manifest("g1", specs).write(folder)
        return cls(folder, at, index_from, engine)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a folder holds a shard that was made to the end."""
        return (folder / MANIFEST).is_file()

    @property
    def specs(self) -> Mapping[str, VectorSpec]:
        """The vectors, by name."""
        return self._manifest.specs

    @property
    def generation(self) -> Path:
        """The folder of the engine's files."""
        return self._folder / self._manifest.generation

    # Reading

    def plan(self, where: Filter) -> Plan:
        """How a filter will be answered with what is prepared now."""
        return edge_filters.plan(where, self.fields)

    def prepared(self, where: Filter) -> Plan:
        """The same, once the indexes and vocabularies that it asks for are there."""
        planned = self.plan(where)
        if not planned.wanted:
            return planned
        self.prepare(planned.wanted)
        return self.plan(where)

    def prepare(self, paths: Iterable[str]) -> None:
        """Make the indexes and vocabularies that would serve filters on these paths."""
        with self._writing:
            for path in sorted(paths):
                type = self.fields.index_to_make(path)
                if type is not None and room(self._folder) >= ROOM:  # without it reads take longer
                    self._make_index(path, type)
                if self.fields.vocabulary_to_load(path):
                    edge_scan.load_vocabulary(self.engine, self.fields, path)

    def resolve(self, where: Filter) -> q.Filter | None:
        """An engine's filter that means exactly this; reads payloads where the engine cannot tell."""
        planned = self.prepared(where)
        if planned.residual == ALL:
            return planned.native
        ids = {record.id for record in edge_scan.matching(self.engine, planned)}
        return q.Filter(must=[q.HasIdCondition(ids)])

    def indexes(self) -> dict[str, IndexType]:
        """The payload indexes: those that every shard has, those declared, those that filters needed."""
        made = {path: cast(IndexType, type) for path, type in self.fields.indexes.items()}
        return {**SYSTEM_INDEXES, **made, **self._manifest.declared}

    # Writing

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, all of which are checked before the first is written."""
        latest = {point.document_id: point for point in points}.values()
        payloads = [self._stored(point.document_id, point.payload, point.vectors) for point in latest]
        with self._writing:
            self._alive()
            check_room(self._folder)
            prepared = [to_engine(*both, self.specs) for both in zip(latest, payloads, strict=True)]
            self._observe(payloads)
            for chunk in edge_scan.chunks(prepared, edge_scan.CHUNK):
                self._update(q.UpdateOperation.upsert_points(list(chunk)), [str(point.id) for point in chunk])
            self._index_if_large()

    def replace_payloads(self, payloads: Mapping[str, JsonObject]) -> None:
        """Put payloads in place of those of the points that exist."""
        ids = {point_id(document_id): document_id for document_id in payloads}
        with self._writing:
            self._alive()
            stored = {
                id: self._stored(ids[id], payloads[ids[id]], names)
                for id, names in edge_scan.names_of_vectors(self.engine, list(ids))
            }
            operations = {id: overwriting(id, payload) for id, payload in stored.items()}
            check_room(self._folder)
            self._observe(stored.values())
            for id, operation in operations.items():
                self._update(operation, [id])

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        """Remove points by document id."""
        self.delete([point_id(document_id) for document_id in document_ids])

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points by point id."""
        with self._writing:
            self._alive()
            for chunk in edge_scan.chunks(ids, edge_scan.SCAN_CHUNK):
                self._update(q.UpdateOperation.delete_points(list(chunk)), chunk)

    def delete_where(self, where: Filter) -> int:
        """Remove what matches; how many there were."""
        with self._writing:
            self._alive()
            planned = self.prepared(where)
            ids = [str(record.id) for record in edge_scan.matching(self.engine, planned)]
            self.delete(ids)
            return len(ids)

    def add_vectors(self, vectors: Sequence[VectorSpec]) -> None:
        """Give the collection the vectors that it lacks, by copying it into a new generation."""
        with self._writing:
            self._alive()
            for spec in vectors:
                if self.specs.get(spec.name, spec) != spec:
                    raise ValidationError(
                        f"The collection has another vector of the name '{spec.name}': "
                        f"{described({spec.name: self.specs[spec.name]})}, {self.specs[spec.name].distance}.",
                        field=f"vectors.{spec.name}",
                    )
            lacking = [spec for spec in vectors if spec.name not in self.specs]
            if lacking:
                check_specs(lacking)
                self._rebuild({**self.specs, **{spec.name: spec for spec in lacking}})

    def declare_index(self, path: str, type: IndexType) -> None:
        """Remember that an index was asked for, and make what serves it once the shard is large."""
        with self._writing:
            self._alive()
            check_room(self._folder)
            self._manifest = replace(self._manifest, declared={**self._manifest.declared, path: type})
            self._manifest.write(self._folder)
            if self.fields.indexing:
                self._make_declared({path: type})

    # Graphs

    def graphs_due(self, least: int) -> bool:
        """Whether so much was written since graphs were built that they should be built anew.

        That is `least` points and a quarter of all; while writing goes on, half of all and ten times as many.
        """
        if self._retired or not any(spec.kind == "dense" for spec in self.specs.values()):
            return False
        quiet = time.monotonic() - self.written_at >= _QUIET
        points = self.engine.info().points_count
        return self.ungraphed >= (max(least, points // 4) if quiet else max(10 * least, points // 2))

    def copy_for_graphs(self) -> Path | None:
        """A copy of the files to build graphs in; what is written from now on is remembered.

        None where the disk lacks the space for it. Writes wait meanwhile, reads do not.
        """
        with self._writing:
            self._alive()
            self.engine.flush()
            source, copy = self.generation, self._folder / Manifest.following(self._folder)
            if room(self._folder) < _SPACE * size_of(source):
                return None
            try:
                shutil.copytree(source, copy)
            except BaseException:
                shutil.rmtree(copy, ignore_errors=True)
                raise
            self._written_since_copy = set()
            return copy

    def take_graphs(self, copy: Path, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Serve from a copy in which graphs were built, after carrying over what was written since.

        False where the shard was dropped or made anew meanwhile; then the copy is worth nothing.
        Loading it holds Python's global lock, at 100,000 points of 384 for about 0.7 s.
        """
        if not copy.exists():
            return False
        read_into_memory(copy, stopping)
        engine = q.EdgeShard.load(str(copy))
        graphed = engine.info().points_count
        late = 0
        while True:
            with self._writing:
                if self._retired or self._written_since_copy is None:
                    return False
                written, self._written_since_copy = sorted(self._written_since_copy), set()
                late += len(written)
                if len(written) <= edge_scan.SCAN_CHUNK:
                    edge_scan.carry_over(self.engine, engine, written)
                    self._take(engine, replace(self._manifest, generation=copy.name, graphed=graphed))
                    self.ungraphed = late
                    return True
            edge_scan.carry_over(self.engine, engine, written)

    def abandon(self, copy: Path) -> None:
        """Remove a copy that was not taken, and remember no more what it lacks.

        That of a shard that was dropped went with it; another one may have been made at its place.
        """
        with self._writing:
            if not self._retired and copy.name != self._manifest.generation:
                self._written_since_copy = None
                shutil.rmtree(copy, ignore_errors=True)

    def close(self) -> None:
        """Flush and let go of the files."""
        with self._writing:
            if not self._retired:
                self._retired = True
                self.engine.flush()
                self.engine.close()

    def retire(self) -> None:
        """Take no more writes. Reads under way end on the files they hold."""
        with self._writing:
            self._retired = True

    # The how

    def _stored(
        self, document_id: str, payload: Mapping[str, Json], names: Iterable[str] = ()
    ) -> dict[str, Json]:
        return stored_payload(document_id, payload, self.at.collection_id, names)

    def _alive(self) -> None:
        if self._retired:
            raise NotFoundError("collection", self.at.collection_id)

    def _update(self, operation: q.UpdateOperation, ids: Sequence[str]) -> None:
        check_room(self._folder)
        if self._written_since_copy is not None:
            self._written_since_copy.update(ids)
        self.engine.update(operation)
        self.version += 1
        self.written_at = time.monotonic()
        self.ungraphed += len(ids)
        self._unflushed += len(ids)
        if self._unflushed >= _FLUSH_AFTER:
            self.engine.flush()
            self._unflushed = 0
        time.sleep(0)

    def _observe(self, payloads: Iterable[Mapping[str, Json]]) -> None:
        """Record what the payloads hold before they are written."""
        news = [self.fields.observe(payload) for payload in payloads]
        self._unwritten |= any(news)
        if self._unwritten:
            write_whole(self._folder / _FIELDS, self.fields.to_json())
            self._unwritten = False

    def _rebuild(self, specs: Mapping[str, VectorSpec]) -> None:
        check_room(self._folder, size_of(self.generation))
        generation = Manifest.following(self._folder)
        engine = new_engine(self._folder / generation, specs)
        edge_scan.copy_all(self.engine, engine)
        self._take(engine, replace(self._manifest, generation=generation, specs=specs, graphed=0))
        self.ungraphed = engine.info().points_count

    def _take(self, engine: q.EdgeShard, manifest: Manifest) -> None:
        """Serve from a new generation that holds every point, once it has the indexes too."""
        for path, type in self.fields.indexes.items():
            make_index(engine, key_of(path, self.fields), type)
        engine.flush()
        manifest.write(self._folder)
        # The old engine is not closed: reads under way still use it. It goes with its last one.
        self.engine, self._manifest, self._unflushed = engine, manifest, 0
        self._written_since_copy = None
        manifest.sweep(self._folder)

    def _index_if_large(self) -> None:
        """Begin to use indexes, with those that are due, once there are points enough."""
        if not self.fields.indexing and self.engine.info().points_count >= self._index_from:
            self.fields.indexing = True
            # The others come, like any, with the first filter that wants them.
            filled = {path: type for path, type in SYSTEM_INDEXES.items() if self.fields.kinds(path)}
            self._make_declared({**filled, **self._manifest.declared})

    def _make_declared(self, declared: Mapping[str, IndexType]) -> None:
        for path, type in declared.items():
            for part, engine_type in serving_indexes(path, type).items():
                if part not in self.fields.indexes:
                    self._make_index(part, engine_type)

    def _make_index(self, path: str, type: str) -> None:
        make_index(self.engine, key_of(path, self.fields), type)
        self.fields.indexes[path] = type

    def _load_fields(self) -> Fields:
        """What was seen in payloads; read from them anew where the file is gone."""
        file = self._folder / _FIELDS
        if file.is_file():
            return Fields.from_json(file.read_bytes())
        fields = edge_scan.seen_fields(self.engine)
        write_whole(file, fields.to_json())
        return fields


_FIELDS: Final = "fields.json"
