"""Workers on a Ray cluster of this machine: what they make, and what they survive."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from lamina.core.errors import ExtractionError, UnavailableError, ValidationError
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.registry import extractor
from lamina.inference.registry import Models, ModelSettings
from lamina.processing import ray_workers
from lamina.processing.ray_workers import RayCluster, _knock, _sent
from lamina.processing.workers import WorkerPool
from tests.unit.test_workers import DEADLY, ENDLESS, OnArrival, eventually, run, source

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A cluster with room for two workers."""
    made = RayCluster(None, 2, 0.0)
    yield made
    made.close()


@pytest.fixture
async def pool(cluster: RayCluster, tmp_path: Path) -> AsyncIterator[WorkerPool]:
    """A pool whose workers are actors."""
    made = WorkerPool(2, ModelSettings(models_dir=tmp_path), timeout=30.0, make=cluster.worker)
    yield made
    await made.close()


async def test_actors_make_what_is_made_here(pool: WorkerPool, tmp_path: Path) -> None:
    sources = [source(number, "" if number % 7 == 0 else None) for number in range(40)]
    outcomes = await run(pool, *sources)
    assert len(set(pool.pids())) == 2
    kind = extractor("text_extractor", "v1")
    here = kind(kind.Parameters.model_validate({}), Models(ModelSettings(models_dir=tmp_path)))
    for there, expected in zip(outcomes, here.extract(sources), strict=True):
        if isinstance(expected, ExtractionError):
            assert (there.message, there.code) == (expected.message, expected.code)
        else:
            (one,), (other,) = there, expected
            assert (one.position, one.fields, one.lexical) == (other.position, other.fields, other.lexical)
            name = "all_minilm_l6_v2_v1"
            assert np.allclose(one.vectors[name], other.vectors[name], atol=1e-5)


async def test_a_source_that_kills_its_actor_fails_alone(pool: WorkerPool) -> None:
    sources = [source(number, DEADLY if number == 3 else None) for number in range(16)]
    outcomes = await pool.run("passthrough_extractor", "v1", {}, sources)
    assert [at for at, one in enumerate(outcomes) if isinstance(one, ExtractionError)] == [3]
    assert "died" in outcomes[3].message  # type: ignore[union-attr]
    assert await eventually(lambda: len(pool.pids()) <= 2)


async def test_what_ray_raises_over_a_source_is_a_death(pool: WorkerPool) -> None:
    broken = OnArrival(os.close, -1)  # on its way to the extractor
    outcomes = await pool.run("passthrough_extractor", "v1", {}, [source(1), source(2, broken), source(3)])
    assert [isinstance(one, ExtractionError) for one in outcomes] == [False, True, False]
    assert "died" in str(outcomes[1])


async def test_a_source_that_never_ends_fails_alone(cluster: RayCluster, tmp_path: Path) -> None:
    pool = WorkerPool(1, ModelSettings(models_dir=tmp_path), timeout=5.0, make=cluster.worker)
    outcomes = await pool.run("passthrough_extractor", "v1", {}, [source(1), source(2, ENDLESS), source(3)])
    assert [isinstance(one, ExtractionError) for one in outcomes] == [False, True, False]
    assert "longer than 5 s" in str(outcomes[1])
    await pool.close()
    with pytest.raises(UnavailableError):
        await run(pool, source(1))


async def test_a_source_that_takes_too_much_memory_fails_alone(cluster: RayCluster, tmp_path: Path) -> None:
    settings = ModelSettings(models_dir=tmp_path)
    pool = WorkerPool(1, settings, timeout=60.0, memory=400 << 20, make=cluster.worker)
    rows = b"\n".join(b'{"v": [1, 2]}' for _ in range(2_000_000))
    heavy = Source("b", {"rows": BlobValue(rows, "text/plain", "rows.jsonl")})
    light = {"rows": BlobValue(b'{"v": [1, 2]}', "text/plain", "rows.jsonl")}
    given = {"vector_fields": [{"field": "v", "name": "own", "dimensions": 2}]}
    sources = [Source("a", light), heavy, Source("c", light)]
    outcomes = await pool.run("passthrough_extractor", "v1", given, sources)  # type: ignore[arg-type]
    assert [isinstance(one, ExtractionError) for one in outcomes] == [False, True, False]
    assert "it used more than 400 MiB of memory and was stopped" in str(outcomes[1])
    await pool.close()


async def test_errors_are_those_of_a_local_worker(pool: WorkerPool) -> None:
    with pytest.raises(ValidationError, match="no_such"):
        await pool.run("no_such", "v1", {}, [source(1)])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("there", ("there", 6379)),
        ("there:7000", ("there", 7000)),
        ("ray://there", ("there", 10001)),
        ("ray://there:7001", ("there", 7001)),
    ],
)
def test_it_is_knocked_where_a_cluster_listens(
    monkeypatch: pytest.MonkeyPatch, address: str, expected: tuple[str, int]
) -> None:
    knocked = Mock()
    monkeypatch.setattr("socket.create_connection", knocked)
    _knock(address)
    assert knocked.call_args.args == (expected,)


@pytest.mark.parametrize("address", ["there:port", ":6379", "ray://", "there:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UnavailableError, match="LAMINA_RAY_ADDRESS"):
        RayCluster(address, 1, 0.0)


@pytest.mark.parametrize(("address", "tries"), [("ray://127.0.0.1:10001", 2), ("127.0.0.1:6379", 1)])
def test_a_head_whose_process_for_a_client_died_is_asked_once_more(
    address: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Mock(side_effect=OSError("Initialization failure from server"))
    monkeypatch.setattr(ray_workers, "_knock", Mock())
    monkeypatch.setattr(ray_workers, "_Driver", Mock(return_value=Mock(wait_until_connected=failing)))
    with pytest.raises(UnavailableError, match="Initialization failure"):
        RayCluster(address, 1, 0.0)
    assert failing.call_count == tries
    failing.side_effect = [OSError("Initialization failure from server"), None]
    if tries == 2:
        RayCluster(address, 1, 0.0)


def test_files_go_as_bytes_to_where_they_are_not(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    blob = BlobValue(file, "text/plain", "a.txt")
    large = BlobValue(tmp_path / "b.txt", "text/plain", "b.txt")
    there = {tmp_path / "b.txt": Path("/there/0")}
    sent = _sent(Source("a", {"one": blob, "several": [blob, "x", large], "n": 3}), there)
    assert sent.inputs == {
        "one": BlobValue(b"abc", "text/plain", "a.txt"),
        "several": [
            BlobValue(b"abc", "text/plain", "a.txt"),
            "x",
            BlobValue(Path("/there/0"), "text/plain", "b.txt"),
        ],
        "n": 3,
    }
