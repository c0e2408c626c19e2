"""Extraction on Ray clusters: the server's own, and some whose machines die in the middle of a batch."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from lamina.core.errors import UnavailableError
from lamina.core.types import JsonObject
from lamina.extractors.base import BlobValue, Source
from lamina.inference.settings import ModelSettings
from lamina.ingest.fetch_settings import FetchSettings
from lamina.processing.ray_workers import RayCluster
from lamina.processing.worker import Done, Job, Start
from lamina.processing.workers import SLICE_BYTES, Needs
from tests.crash.test_workers import all_there, state, submitted
from tests.media import MODELS_DIR
from tests.server import RunningServer, ServerDied, free_port
from tests.steps import PIXEL, documents, eventually, ingest, refused

LOOPBACK = "127.0.0.1"
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


@pytest.mark.timeout(280)
def test_a_server_outlives_its_cluster_and_goes_on_with_the_next(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "ray"
    folder.mkdir()
    head = ("--head", f"--port={port}", "--include-dashboard=false")
    env = {
        **TOKEN,
        "LAMINA_COMPUTE": "ray",
        "LAMINA_RAY_ADDRESS": f"{HOST}:{port}",
        "LAMINA_WORKERS": "1",
        "LAMINA_CHUNK_OBJECTS": "64",
    }
    picture = {"inference_name": "mobilenet_v3_large_v1", "inputs": {"image_base64": PIXEL}}
    with node(folder, HOST, *head) as first:
        eventually(lambda: "Ray runtime started" in (folder / "node-0.log").read_text(), "it has begun")
        with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
            bucket, collection, batch = submitted(api, 600)
            eventually(lambda: documents(api, collection, limit=1) != [], "the batch has begun")
            kill(first)
            eventually(lambda: "cannot be reached" in server.log, "the batch waits")
            refused(api.post("/v1/inference", json=picture), 503)
            assert state(api, bucket, batch)["status"] not in {"COMPLETED", "FAILED"}
            with node(folder, HOST, *head):
                eventually(
                    lambda: state(api, bucket, batch)["status"] == "COMPLETED", "it has ended", seconds=150
                )
                all_there(api, collection, 600)
                assert server.stop() == 0


@pytest.mark.timeout(280)
def test_a_client_sends_files_and_sees_its_cluster_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TOKEN.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    (tmp_path / "ray").mkdir()
    (tmp_path / "a.txt").write_bytes(b"On the machine of the server.")
    file = BlobValue(tmp_path / "a.txt", "text/plain", "a.txt")
    job = Job("text_extractor", "v1", {}, [Source("a", {"text": file})])
    head = (
        "--head",
        f"--port={free_port()}",
        f"--ray-client-server-port={port}",
        "--include-dashboard=false",
    )
    with node(tmp_path / "ray", HOST, *head) as first:
        eventually(lambda: listens(port), "it listens to clients")
        cluster = RayCluster(f"ray://{HOST}:{port}", 1, 0.0)
        worker = cluster.worker(Start(ModelSettings(models_dir=MODELS_DIR), FetchSettings()), Needs())
        try:
            eventually(worker.wait_until_ready, "an actor comes up")
            assert isinstance(worker.ask(job, 60.0, None), Done)
            (tmp_path / "rows").write_bytes(
                b'{"v": [1' + b" " * 2 * SLICE_BYTES + b'], "a": 1}\n{"v": [2], "a": 2}'
            )
            rows = BlobValue(tmp_path / "rows", "text/plain", "rows.jsonl")
            given: JsonObject = {"vector_fields": [{"field": "v", "name": "v", "dimensions": 1}]}
            done = worker.ask(
                Job("passthrough_extractor", "v1", given, [Source("b", {"rows": rows})]), 60.0, None
            )
            assert isinstance(done, Done)
            (parts,) = done.outcomes
            assert isinstance(parts, list)
            assert [part.fields["a"] for part in parts] == [1, 2]
            folders = Path(tempfile.gettempdir()).glob("lamina-actor-*")
            assert {file.name for folder in folders for file in folder.iterdir()} == {"lock"}
            kill(first)
            eventually(lambda: not listens(port), "nobody listens any more")
            with pytest.raises(UnavailableError):
                cluster.worker(worker._start, Needs()).wait_until_ready()
            with pytest.raises(UnavailableError):
                worker.ask(job, 100.0, None)
        finally:
            worker.discard()
            cluster.close()


@pytest.mark.timeout(280)
def test_a_cluster_of_its_own_is_closed_to_others_and_ends_with_the_server(tmp_path: Path) -> None:
    env = {"LAMINA_COMPUTE": "ray", "LAMINA_WORKERS": "1"}
    with RunningServer(tmp_path / "data", env=env) as server:
        with server.client() as api:
            assert len(ingest(api).documents) == 6
        processes = offspring(server)
        listening = [
            at.laddr for one in processes for at in connections(one) if at.status == psutil.CONN_LISTEN
        ]
        assert len(listening) > 3, "those of the cluster are among them"
        assert [at for at in listening if not ip_address(at.ip.removeprefix("::ffff:")).is_loopback] == []
        head = next(one for one in processes if one.name().startswith("gcs_server"))
        assert answered(head, head.environ()["RAY_AUTH_TOKEN"])
        for other in None, TOKEN["RAY_AUTH_TOKEN"]:
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                answered(head, other)
        assert server.stop() == 0
        eventually(lambda: not any(lives(one) for one in processes), "they end with the server")

        server.start()
        processes = offspring(server)
        assert len(processes) > 2
        server.kill()
        eventually(lambda: not any(lives(one) for one in processes), "and when it is killed")


def offspring(server: RunningServer) -> list[psutil.Process]:
    """The server's children, with theirs."""
    return psutil.Process(server.pid).children(recursive=True)


def connections(process: psutil.Process) -> Sequence[Any]:
    """A process's sockets of the network; none when it has just ended."""
    try:
        return process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; one that nobody has waited for has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answered(head: psutil.Process, token: str | None) -> bytes:
    """What the head of a cluster says about its machines to somebody who has a token, or has none."""
    port = next(at.laddr.port for at in connections(head) if at.status == psutil.CONN_LISTEN)
    shown = () if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
        said: bytes = ask(b"", metadata=shown, timeout=30)
    return said
