"""Extraction on a Ray cluster of two machines, one of which dies in the middle of a batch."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.test_workers import all_there, state, submitted
from tests.server import RunningServer, ServerDied, free_port
from tests.steps import documents, eventually

HOST, OTHER = "127.0.0.2", "127.0.0.3"
"""Two machines on loopback. Ray takes its usual name for the address of the network."""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
"""What every process of a cluster must know."""

pytestmark = pytest.mark.xdist_group("ray")


@contextmanager
def node(folder: Path, host: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A machine of a cluster, with one core: `ray start` in a session of its own."""
    program = Path(sys.executable).parent / "ray"
    command = [str(program), "start", "--block", "--num-cpus=1", f"--node-ip-address={host}", *arguments]
    env = {**os.environ, **TOKEN}
    with (folder / f"node-{len(list(folder.iterdir()))}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


@contextmanager
def node_when_it_listens(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A further machine, once the head is there; it has joined when it says so."""
    eventually(lambda: listens(port), "the head listens")
    with node(folder, OTHER, f"--address={HOST}:{port}") as process:
        logs = sorted(folder.glob("*.log"))
        eventually(lambda: "Ray runtime started" in logs[-1].read_text(), "it has joined")
        yield process


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL the machine's processes, all at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.timeout(280)
def test_a_batch_outlives_a_machine_of_its_cluster(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "ray").mkdir()
    head = ("--head", f"--port={port}", "--include-dashboard=false")
    with (
        node(tmp_path / "ray", HOST, *head),
        node_when_it_listens(tmp_path / "ray", port) as second,
    ):
        env = {
            **TOKEN,
            "LAMINA_COMPUTE": "ray",
            "LAMINA_RAY_ADDRESS": f"{HOST}:{port}",
            "LAMINA_WORKERS": "2",
            "LAMINA_CHUNK_OBJECTS": "64",
        }
        with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
            bucket, collection, batch = submitted(api, 1_000)
            eventually(lambda: documents(api, collection, limit=1) != [], "it has begun")
            assert second.poll() is None
            kill(second)
            assert state(api, bucket, batch)["status"] not in {"COMPLETED", "FAILED"}
            eventually(
                lambda: state(api, bucket, batch)["status"] == "COMPLETED", "it has ended", seconds=150
            )
            all_there(api, collection, 1_000)
            assert server.stop() == 0


def test_a_cluster_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    env = {"LAMINA_COMPUTE": "ray", "LAMINA_RAY_ADDRESS": f"{HOST}:{free_port()}"}
    with pytest.raises(ServerDied, match="LAMINA_RAY_ADDRESS"):
        RunningServer(tmp_path / "data", env=env).start()
