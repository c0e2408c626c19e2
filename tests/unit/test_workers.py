"""The pool of worker processes: what it survives, and what it leaves behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from lamina.core.errors import ExtractionError, MissingExtraError, UnavailableError, ValidationError
from lamina.core.types import Json
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.registry import extractor
from lamina.inference.registry import Models, ModelSettings
from lamina.processing import workers
from lamina.processing.worker import Refused
from lamina.processing.workers import LocalWorker, WorkerPool


class OnArrival:
    """An input that calls a function in the worker that receives it."""

    def __init__(self, call: Callable[..., object], *given: object) -> None:
        self.called = call, given

    def __reduce__(self) -> Any:
        return self.called


DEADLY = OnArrival(signal.raise_signal, signal.SIGKILL)
ENDLESS = OnArrival(time.sleep, 60)
CONFUSING = BlobValue(b"x", None)  # type: ignore[arg-type]


def source(name: object, value: Any = None) -> Source:
    return Source(str(name), {"text": value if value is not None else f"the text of {name}"})


def run(pool: WorkerPool, *sources: Source, **parameters: Any) -> Any:
    return pool.run("text_extractor", "v1", parameters, sources)


async def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    for _ in range(int(seconds / 0.02)):
        if true():
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.fixture
def settings(tmp_path: Path) -> ModelSettings:
    return ModelSettings(models_dir=tmp_path)


@pytest.fixture
async def pool(settings: ModelSettings) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(2, settings, idle_seconds=60.0, timeout=20.0)
    yield made
    await made.close()
    assert made.pids() == []


async def test_outcomes_come_in_order_and_equal_those_made_here(
    pool: WorkerPool, settings: ModelSettings
) -> None:
    sources = [source(number, "" if number % 7 == 0 else None) for number in range(60)]
    outcomes = await run(pool, *sources, split_by="words", chunk_size=2)
    assert 1 <= len(pool.pids()) <= 2
    kind = extractor("text_extractor", "v1")
    here = kind(kind.Parameters.model_validate({"split_by": "words", "chunk_size": 2}), Models(settings))
    for there, expected in zip(outcomes, here.extract(sources), strict=True):
        if isinstance(expected, ExtractionError):
            assert isinstance(there, ExtractionError)
            assert (there.message, there.code, there.details) == (
                expected.message,
                expected.code,
                expected.details,
            )
            continue
        for one, other in zip(there, expected, strict=True):
            assert isinstance(one, Part)
            assert (one.position, one.fields, one.lexical) == (other.position, other.fields, other.lexical)
            assert np.allclose(
                one.vectors["all_minilm_l6_v2_v1"], other.vectors["all_minilm_l6_v2_v1"], atol=1e-5
            )


async def test_parts_of_a_source_that_failed_in_part_come_with_their_vectors(pool: WorkerPool) -> None:
    rows = BlobValue(b'{"v": [1, 2]}\n{"v": [1]}\n{"v": [3, 4]}', "text/plain", "rows.jsonl")
    specs: list[Json] = [{"field": "v", "name": "own", "dimensions": 2}]
    (outcome,) = await pool.run(
        "passthrough_extractor", "v1", {"vector_fields": specs}, [Source("a", {"rows": rows})]
    )
    assert isinstance(outcome, PartialExtractionError)
    assert [part.vectors["own"].tolist() for part in outcome.parts] == [[1, 2], [3, 4]]


async def test_no_sources_need_no_worker(pool: WorkerPool) -> None:
    assert await run(pool) == []
    assert pool.pids() == []


async def test_a_source_that_kills_its_worker_fails_alone(pool: WorkerPool) -> None:
    sources = [source(number, DEADLY if number in {3, 17} else None) for number in range(24)]
    outcomes = await run(pool, *sources)
    failed = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, ExtractionError)]
    assert failed == [3, 17]
    assert "the worker process died (by SIGKILL)" in outcomes[3].message


async def test_a_source_that_never_ends_fails_alone(settings: ModelSettings) -> None:
    pool = WorkerPool(1, settings, timeout=1.0)
    sources = [source(1), source(2, ENDLESS), source(3)]
    outcomes = await pool.run("passthrough_extractor", "v1", {}, sources)  # it loads no model in that time
    assert [isinstance(outcome, ExtractionError) for outcome in outcomes] == [False, True, False]
    assert "longer than 1 s" in str(outcomes[1])
    await pool.close()


async def test_a_source_that_takes_too_much_memory_fails_alone(settings: ModelSettings) -> None:
    pool = WorkerPool(1, settings, timeout=60.0, memory=300 << 20)
    rows = b"\n".join(b'{"v": [1, 2]}' for _ in range(2_000_000))
    heavy = Source("b", {"rows": BlobValue(rows, "text/plain", "rows.jsonl")})
    specs: list[Json] = [{"field": "v", "name": "own", "dimensions": 2}]
    light = {"rows": BlobValue(b'{"v": [1, 2]}', "text/plain", "rows.jsonl")}
    sources = [Source("a", light), heavy, Source("c", light)]
    outcomes = await pool.run("passthrough_extractor", "v1", {"vector_fields": specs}, sources)
    assert [isinstance(outcome, ExtractionError) for outcome in outcomes] == [False, True, False]
    assert "it used more than 300 MiB of memory" in str(outcomes[1])
    await pool.close()


async def test_a_source_that_breaks_the_extractor_fails_alone_and_the_worker_goes_on(
    pool: WorkerPool,
) -> None:
    await run(pool, source(0))
    before = pool.pids()
    outcomes = await run(pool, source(1), source(2, CONFUSING), source(3))
    assert [isinstance(outcome, ExtractionError) for outcome in outcomes] == [False, True, False]
    assert "AttributeError" in outcomes[1].message or "TypeError" in outcomes[1].message
    assert pool.pids() == before


async def test_a_worker_killed_from_outside_costs_no_source(pool: WorkerPool) -> None:
    await run(pool, source("warm"))
    call = asyncio.ensure_future(run(pool, *(source(number) for number in range(200))))
    await asyncio.sleep(0.1)
    for pid in pool.pids():
        os.kill(pid, signal.SIGKILL)
    assert all(isinstance(outcome, list) for outcome in await call)


async def test_a_worker_that_died_while_idle_is_replaced(pool: WorkerPool) -> None:
    await run(pool, source(0))
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    (outcome,) = await run(pool, source(1))
    assert isinstance(outcome, list)
    assert pid not in pool.pids()


async def test_what_concerns_the_whole_call_is_raised(pool: WorkerPool) -> None:
    with pytest.raises(UnavailableError, match="LAMINA_EMBEDDING_ENDPOINT"):
        await run(pool, source(1), source(2), embedding_model="text-embedding-3-small")
    with pytest.raises(ValidationError, match="does not exist"):
        await pool.run("no_extractor", "v1", {}, [source(1)])


def test_an_error_crosses_the_process_as_it_was_raised() -> None:
    raised = MissingExtraError("Reading Parquet rows", "parquet")
    error = Refused(type(raised), raised.message, raised.code, raised.details).error()
    assert isinstance(error, MissingExtraError)
    assert (error.message, error.details) == (raised.message, {"extra": "parquet"})


async def test_a_worker_that_cannot_start_is_no_fault_of_the_source(
    settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = WorkerPool(1, settings)
    with pytest.raises(UnavailableError, match="do not start"):
        await run(pool, source(1))
    await pool.close()


async def test_a_pool_that_found_no_room_once_looks_for_it_again_while_it_is_busy(
    settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ROOM_SECONDS", 0.3)
    made: list[Any] = []

    class Late(LocalWorker):
        """Of which the second does not come up."""

        def __init__(self, start: Any, needs: Any) -> None:
            super().__init__(start, needs)
            made.append(self)
            self.number = len(made)

        def wait_until_ready(self) -> bool:
            return self.number != 2 and super().wait_until_ready()

    pool = WorkerPool(2, settings, make=Late)
    until = time.monotonic() + 20

    async def work() -> None:
        while len(made) < 3 and time.monotonic() < until:
            await run(pool, source("ship"))

    await asyncio.gather(*(work() for _ in range(4)))
    assert len(made) >= 3, "there is room for two"
    await pool.close()


async def test_idle_workers_end_and_work_starts_new_ones(settings: ModelSettings) -> None:
    pool = WorkerPool(1, settings, idle_seconds=0.2)
    await run(pool, source(1))
    (first,) = pool.pids()
    assert await eventually(lambda: pool.pids() == [])
    assert not psutil.pid_exists(first)
    (outcome,) = await run(pool, source(2))
    assert isinstance(outcome, list)
    await pool.close()


async def test_workers_outlive_the_signals_that_ask_the_server_to_stop(pool: WorkerPool) -> None:
    await run(pool, source(0))
    before = pool.pids()
    assert all(os.getsid(pid) != os.getsid(0) for pid in before)
    for pid in before:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert isinstance((await run(pool, source(1)))[0], list)
    assert pool.pids() == before


async def test_closing_ends_what_is_under_way_and_refuses_what_comes(settings: ModelSettings) -> None:
    pool = WorkerPool(1, settings)
    call = asyncio.ensure_future(run(pool, source(1, ENDLESS)))
    assert await eventually(lambda: bool(pool.pids()))
    await asyncio.sleep(0.5)
    (pid,) = pool.pids()
    await pool.close()
    with pytest.raises(UnavailableError, match="stopped"):
        await call
    with pytest.raises(UnavailableError, match="stopped"):
        await run(pool, source(2))
    assert not psutil.pid_exists(pid)


def test_the_pool_serves_several_event_loops(settings: ModelSettings) -> None:
    pool = WorkerPool(1, settings)
    for _ in range(2):
        assert isinstance(asyncio.run(run(pool, source(1)))[0], list)
    asyncio.run(pool.close())


async def test_a_caller_that_gives_up_leaves_the_pool_whole(pool: WorkerPool) -> None:
    call = asyncio.ensure_future(run(pool, *(source(number) for number in range(300))))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert isinstance((await run(pool, source(1)))[0], list)


OWNER = """
import asyncio, sys, time
from pathlib import Path
from lamina.extractors.base import Source
from lamina.inference.registry import ModelSettings
from lamina.processing.workers import WorkerPool

async def main():
    pool = WorkerPool(2, ModelSettings(Path(sys.argv[1])))
    await pool.run("text_extractor", "v1", {}, [Source(str(n), {"text": "wing"}) for n in range(32)])
    busy = asyncio.ensure_future(
        pool.run("text_extractor", "v1", {}, [Source(str(n), {"text": "wing " * 200}) for n in range(4000)])
    )
    await asyncio.sleep(0.2)
    print(*pool.pids(), flush=True)
    await busy

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) == 2
        owner.kill()
    assert asyncio.run(eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids)))


def test_a_worker_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, lamina.processing.worker, lamina.inference.registry\n"
        "from lamina.extractors.registry import all_extractors; all_extractors()\n"
        "unwanted = {'fastapi', 'starlette', 'sqlalchemy', 'dbos', 'qdrant_edge', 'obstore', 'httpx'}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
