"""What every figure shares: a server under test, times in turns, and a result that says where it is from.

The machine may be shared, so the sides of a comparison take turns in one run (A B A B …), ratios
are taken between neighbours, and a result names the load of the machine beside its figures.
"""

import argparse
import ctypes
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
import psutil

Record = dict[str, Any]
"""JSON as it was read: an answer, a result, a body."""

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("LAMINA_BENCH_CACHE") or ROOT / ".cache" / "bench")
"""What is made once and used again, and what a run leaves."""

RESULTS = Path(__file__).parent / "results"
KEY = "sk_benchmark_key_of_this_run"

_PR_SET_PDEATHSIG = 1

_PACKAGES = ("qdrant-edge-py", "onnxruntime", "numpy", "fastapi", "uvicorn", "pydantic", "sqlalchemy", "dbos")


class Server:
    """`lamina serve` as a process of its own on a free port.

    >>> with Server(data_dir) as server:
    ...     server.client().get("/v1/health")
    """

    def __init__(
        self, data_dir: Path, *, namespace: str = "default", settings: Mapping[str, str] | None = None
    ) -> None:
        """`settings` are `LAMINA_…` variables; those of this process are not handed on."""
        self.data_dir = data_dir
        self.namespace = namespace
        self.settings = dict(settings or {})
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.seconds_to_healthy = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait for its first healthy answer."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        others = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
        began = time.perf_counter()
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command(), "--data-dir", str(self.data_dir)],
                stdout=log,
                stderr=log,
                env={
                    **others,
                    "LAMINA_BOOTSTRAP_API_KEY": KEY,
                    "LAMINA_LOG_FORMAT": "json",
                    **self.settings,
                },
                start_new_session=True,
                preexec_fn=ends_with_us,
            )
        wait_until(self._up, 120, f"{self.data_dir / 'server.log'} says why it did not start")
        self.seconds_to_healthy = time.perf_counter() - began
        return self

    def command(self) -> list[str]:
        """The command line that starts it."""
        return [sys.executable, "-m", "lamina", "serve", "--port", str(self.port)]

    def stop(self) -> None:
        """End it as SIGTERM does."""
        process = self.process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self._process = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    @property
    def seen(self) -> psutil.Process:
        """The process as the system sees it."""
        return psutil.Process(self.process.pid)

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {KEY}", "X-Namespace": self.namespace}

    def client(self) -> httpx.Client:
        """A client for everything that is not measured."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=600)

    def post(self, path: str, body: Any) -> Record:
        """One request that is not measured; its answer."""
        with self.client() as client:
            return answered(client.post(path, content=orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)))

    def healthy(self) -> bool:
        """Whether it answers."""
        return httpx.get(f"{self.url}/v1/health").status_code == 200

    def _up(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"It ended; {self.data_dir / 'server.log'} says why.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        try:
            return self.healthy()
        except httpx.TransportError:  # it listens before it has started, or was too busy
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()


def ends_with_us() -> None:
    """Runs in a child before its program: ends it when this process ends, in whatever way."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def answered(response: httpx.Response) -> Record:
    """The JSON of a good answer; ends the benchmark with a bad one."""
    if response.status_code >= 400:
        raise SystemExit(f"{response.request.url} answered {response.status_code}: {response.text[:500]}")
    answer: Record = orjson.loads(response.content)
    return answer


def wait_until(ready: Callable[[], bool], seconds: float, otherwise: str, pause: float = 0.02) -> None:
    """Wait for something, for a time."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise SystemExit(otherwise)
        time.sleep(pause)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Times


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def in_turns(sides: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Call each side once a round, in turns; what each gave, by side."""
    given: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, measure in sides.items():
            given[name].append(measure(number))
    return given


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """What processes have worked so far: of use where a busy machine makes clocks useless."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def spread(times: Sequence[float]) -> Record:
    """Milliseconds of one kind of request: median, 95th percentile, best and number."""
    ordered = sorted(times)
    return {
        "p50_ms": rounded(statistics.median(ordered)),
        "p95_ms": rounded(ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]),
        "best_ms": rounded(ordered[0]),
        "requests": len(ordered),
    }


def rounded(value: float) -> float:
    """Three significant digits and what stands before the point."""
    return round(value, 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1)


# Results


class Figure:
    """One figure on its way: parameters, then what was measured, then the file.

    `reach` says what the figures should be; `ok` in the file tells whether they are.
    """

    def __init__(self, name: str, title: str, **parameters: Any) -> None:
        self.name = name
        self.title = title
        self.parameters: Record = dict(parameters)
        self.figures: Record = {}
        self.reach: list[Record] = []
        self.load_before = os.getloadavg()[0]
        self.began = time.perf_counter()

    def note(self, name: str, value: Any) -> None:
        """Keep and show one measurement."""
        self.figures[name] = value
        shown = orjson.dumps(value).decode() if isinstance(value, Mapping) else value
        print(f"  {name}: {shown}", flush=True)

    def wanted(
        self, what: str, measured: float, *, most: float | None = None, least: float | None = None
    ) -> None:
        """Compare a measurement with what it should be."""
        limit = most if most is not None else least
        assert limit is not None
        met = measured <= limit if most is not None else measured >= limit
        sign = "≤" if most is not None else "≥"
        self.reach.append(
            {"what": what, "reach": f"{sign} {limit:g}", "measured": rounded(measured), "met": met}
        )
        print(
            f"  {'reached' if met else 'MISSED '}  {what}: {rounded(measured)} (reach {sign} {limit:g})",
            flush=True,
        )

    def write(self) -> None:
        """Write `results/<name>.json`."""
        RESULTS.mkdir(exist_ok=True)
        content = {
            "figure": self.name,
            "title": self.title,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "load_average": {"before": rounded(self.load_before), "after": rounded(os.getloadavg()[0])},
            "seconds": rounded(time.perf_counter() - self.began),
            "parameters": self.parameters,
            "reach": self.reach,
            "figures": self.figures,
        }
        path = RESULTS / f"{self.name}.json"
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def machine() -> Record:
    """What it was measured on."""
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else os.cpu_count(),
        "memory_gb": rounded(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in _PACKAGES},
    }


def commit() -> str:
    """The commit of the checkout, with a `+` when files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    head = git("rev-parse", "--short=12", "HEAD")
    return f"{head}+" if head and git("status", "--porcelain", "src") else head or "none"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


# Folders


def fresh(name: str) -> Path:
    """An empty folder under the cache."""
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
