"""The text model: documents a second bare and through the pool of worker processes, and its costs.

    python -m bench.embedding [--texts 1024] [--rounds 3] [--batches]

The bare model uses two cores in two ways: one process with two threads, and two processes with one
thread each. The pool takes turns with both; its ratio is to the better of the two. Also: latency of
one query, memory of a process with the model. `--batches` compares sizes of a forward pass.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import psutil

from bench.corpus import short_texts
from bench.harness import Figure, Record, arguments, fresh, in_turns, milliseconds, rounded, spread
from lamina.extractors.base import Source
from lamina.inference import onnx_text
from lamina.inference.registry import Models, ModelSettings
from lamina.processing.workers import WorkerPool

CHUNK = 512
"""Texts that the bare model sorts by length together."""

GROUP = 256
"""Sources in one call of the pool, three calls under way, as the runner has it for short texts."""

_NICE = 5
"""Workers leave the cores to whoever serves. So does the bare model here, to lose no more and no less."""


def main() -> None:
    """Measure all of it."""
    given = arguments(__doc__)
    given.add_argument("--texts", type=int, default=1024)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--batches", action="store_true", help="also compare sizes of a forward pass")
    asked = given.parse_args()
    figure = Figure("embedding", "The text model, bare and in worker processes", texts=asked.texts)
    texts = short_texts(asked.texts)
    settings = ModelSettings(models_dir=fresh("no-models"))
    with Bare(settings, 1, threads=2) as one, Bare(settings, 2, threads=1) as two, _loop() as run:
        pool = WorkerPool(2, settings, idle_seconds=600.0, timeout=600.0)
        run(_through(pool, texts[:64]))
        rates = in_turns(
            {
                "bare_1_process_2_threads": lambda _: one.rate(texts),
                "bare_2_processes_1_thread": lambda _: two.rate(texts),
                "pool_2_workers": lambda _: run(_through(pool, texts)),
            },
            asked.rounds,
        )
        figure.note("worker_mb", rounded(psutil.Process(pool.pids()[0]).memory_info().rss / 1e6))
        run(pool.close())
    for name, measured in rates.items():
        figure.note(f"{name}_documents_per_s", rounded(statistics.median(measured)))
    best = [max(pair) for pair in zip(*(rates[name] for name in list(rates)[:2]), strict=True)]
    ratios = [ours / bare for ours, bare in zip(rates["pool_2_workers"], best, strict=True)]
    figure.note("pool_to_bare_ratio", rounded(statistics.median(ratios)))
    figure.note("query_of_10_words", _queries(settings))
    figure.note("process_with_the_model_mb", rounded(_memory(settings)))
    if asked.batches:
        figure.note("documents_per_s_by_tokens_of_a_pass", _budgets(settings, texts))
    figure.write()


class Bare:
    """The model alone in some processes, each embedding its share of the texts when told to."""

    def __init__(self, settings: ModelSettings, processes: int, threads: int) -> None:
        own = ModelSettings(models_dir=settings.models_dir, threads=threads)
        context = get_context("spawn")
        self._ends: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_embed_on_demand, args=(theirs, own), daemon=True)
            process.start()
            self._ends.append(ours)
            self._processes.append(process)
        self.rate(short_texts(64))

    @property
    def seen(self) -> list[psutil.Process]:
        """The processes as the system sees them."""
        return [psutil.Process(process.pid) for process in self._processes]

    def rate(self, texts: Sequence[str]) -> float:
        """Texts a second over all processes."""
        share = -(-len(texts) // len(self._ends))
        began = time.perf_counter()
        for number, end in enumerate(self._ends):
            end.send(texts[number * share : (number + 1) * share])
        for end in self._ends:
            end.recv()
        return len(texts) / (time.perf_counter() - began)

    def __enter__(self) -> "Bare":
        return self

    def __exit__(self, *_: object) -> None:
        for end, process in zip(self._ends, self._processes, strict=True):
            end.send(None)
            process.join()


def _embed_on_demand(connection: Connection, settings: ModelSettings) -> None:
    os.nice(_NICE)
    embedder = Models(settings).text_embedder()
    while (texts := connection.recv()) is not None:
        for start in range(0, len(texts), CHUNK):
            embedder.embed_documents(texts[start : start + CHUNK])
        connection.send(None)


async def _through(pool: WorkerPool, texts: Sequence[str]) -> float:
    """Documents a second of `text_extractor` in the pool's workers."""
    sources = [Source(str(number), {"text": text}) for number, text in enumerate(texts)]
    under_way = asyncio.Semaphore(3)

    async def group(start: int) -> None:
        async with under_way:
            outcomes = await pool.run("text_extractor", "v1", {}, sources[start : start + GROUP])
        assert all(isinstance(outcome, list) for outcome in outcomes)

    began = time.perf_counter()
    await asyncio.gather(*(group(start) for start in range(0, len(sources), GROUP)))
    return len(texts) / (time.perf_counter() - began)


@contextmanager
def _loop() -> Iterator[Callable[..., float]]:
    """Runs coroutines one after the other on one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run


def _queries(settings: ModelSettings) -> Record:
    """Milliseconds to embed a query, new and asked before."""
    embedder = Models(settings).text_embedder()
    asked = [" ".join(text.split()[:10]) for text in short_texts(200)]

    def times() -> list[float]:
        return [milliseconds(partial(embedder.embed_queries, [query])) for query in asked]

    return {"new": spread(times()), "asked_before": spread(times())}


def _memory(settings: ModelSettings) -> float:
    """Megabytes of a process with the model loaded."""
    code = (
        "from pathlib import Path; import psutil; "
        "from lamina.inference.registry import Models, ModelSettings; "
        f"e = Models(ModelSettings(Path({str(settings.models_dir)!r}))).text_embedder(); "
        "e.embed_queries(['boundary layer']); print(psutil.Process().memory_info().rss / 1e6)"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


def _budgets(settings: ModelSettings, texts: Sequence[str]) -> Record:
    """Documents a second of one thread by the tokens of a forward pass; short texts and long ones."""
    embedder = Models(settings).text_embedder()
    long_texts = [" ".join(texts[start : start + 8]) for start in range(0, min(len(texts), 512), 8)]
    rates: Record = {}
    plain = onnx_text.batches_by_length
    for budget in (64, 128, 256, 384, 512, 1024, 4096):
        onnx_text.batches_by_length = lambda lengths, budget=budget: plain(lengths, budget)
        for kind, those in (("short", texts[:256]), ("long", long_texts)):
            seconds = milliseconds(partial(embedder.embed_documents, those)) / 1e3
            rates[f"{budget}_{kind}"] = rounded(len(those) / seconds)
    onnx_text.batches_by_length = plain
    return rates


if __name__ == "__main__":
    main()
