"""How a shard's engine is made: its vectors, and how they are searched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import qdrant_edge as q

from lamina.stores.vectors.base import Distance, VectorSpec
from lamina.stores.vectors.edge_points import LEXICAL, engine_name

_NEVER: Final = q.EdgeOptimizersConfig(indexing_threshold=10**9)
"""KiB of vectors below which the engine builds no graph, which is to say always."""

_ALWAYS: Final = q.EdgeOptimizersConfig(
    indexing_threshold=1, default_segment_number=1, max_segment_size=10**9, deleted_threshold=0.01
)
"""Everything into one segment, with graphs and without what was deleted."""

_EDGES: Final = 16
_CANDIDATES: Final = 128
_SCANNED: Final = 10_000
"""KiB of vectors up to which the points that a filter leaves are scanned, not looked for in the graph."""


def new_engine(folder: Path, specs: Mapping[str, VectorSpec]) -> q.EdgeShard:
    """An empty shard in a new folder."""
    folder.mkdir(parents=True)
    return q.EdgeShard.create(str(folder), _config(specs, _NEVER))


def build_graphs(folder: Path, specs: Mapping[str, VectorSpec], threads: int) -> None:
    """Give every dense vector of a closed shard an HNSW graph over all points, and drop what was deleted.

    Nothing else of the process runs meanwhile: some 40 s for 100,000 vectors of 384 on one thread.
    """
    graphs = q.HnswIndexConfig(_EDGES, _CANDIDATES, _SCANNED, threads)
    engine = q.EdgeShard.load(str(folder), _config(specs, _ALWAYS, graphs))
    engine.optimize()
    engine.flush()
    engine.close()
    q.EdgeShard.load(str(folder), _config(specs, _NEVER)).close()


def _config(
    specs: Mapping[str, VectorSpec],
    optimizers: q.EdgeOptimizersConfig,
    graphs: q.HnswIndexConfig | None = None,
) -> q.EdgeConfig:
    dense = {engine_name(spec.name): _dense_config(spec) for spec in specs.values() if spec.kind != "sparse"}
    sparse = {
        engine_name(spec.name): q.EdgeSparseVectorParams() for spec in specs.values() if spec.kind == "sparse"
    }
    return q.EdgeConfig(
        vectors=dense,
        sparse_vectors={**sparse, LEXICAL: q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)},
        optimizers=optimizers,
        hnsw_config=graphs,
        max_search_threads=1,
    )


def _dense_config(spec: VectorSpec) -> q.EdgeVectorParams:
    """Dense vectors are searched by their 4-bit codes and scored anew by themselves.

    Multivectors get no graph: one comparison of two takes as long as thousands of single vectors.
    """
    size, distance = cast(int, spec.size), _DISTANCES[spec.distance]
    if spec.kind == "multi":
        comparator = q.MultiVectorConfig(q.MultiVectorComparator.MaxSim)
        none = q.HnswIndexConfig(0, _CANDIDATES, _SCANNED)
        return q.EdgeVectorParams(size, distance, multivector_config=comparator, hnsw_config=none)
    codes = q.TurboQuantQuantizationConfig(always_ram=True, bits=q.TurboQuantBitSize.Bits4)
    return q.EdgeVectorParams(size, distance, quantization_config=codes)


_DISTANCES: Final[Mapping[Distance, q.Distance]] = {
    "cosine": q.Distance.Cosine,
    "dot": q.Distance.Dot,
    "euclidean": q.Distance.Euclid,
}
