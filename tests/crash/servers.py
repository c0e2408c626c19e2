"""Installations of many processes and servers that are killed while clients work, and what came of it.

Every promise is checked on the way; the figures of a run are what the tests print and `bench.failures`
writes down.
"""

import asyncio
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.orphans import orphans_in
from tests.crash.promises import (
    check_accounts,
    check_documents,
    check_reads,
    check_search,
    check_uploads,
    end_deletions,
    finish,
    retry,
)
from tests.crash.world import Visitor, World, as_object, settle
from tests.databases import PostgresServer
from tests.qdrant import QdrantCluster
from tests.s3 import variables
from tests.server import RunningServer
from tests.shared import RunningWorker, shared_stores
from tests.steps import PIXEL, Corpus, eventually, ingest, ok, refused, search_stage

MOMENTS = (0.1, 0.5, 1.5)
"""Longest times in seconds that clients work before a kill; one is drawn for each."""

STORES = ("record store", "Qdrant server", "blob store")
"""What a 503 may say is unavailable."""

DEEDS = (
    *("objects", "pictures", "batch", "batch", "batch"), "object_at_once", "trigger", "deletion",
    "doomed_bucket", "upload", "document", "document",
)  # fmt: skip


Figures = dict[str, Any]
"""What came of a run."""


class AwayError(Exception):
    """A store cannot be reached, as an answer said."""


def told(response: httpx.Response) -> None:
    """Takes a 503 for what it is, once it is checked to say what is unavailable and when to come again."""
    if response.status_code == 503:
        response.read()
        error = refused(response, 503)
        assert any(one in error["message"] for one in STORES), error
        assert error["details"]["retryable"] is True
        assert int(response.headers["Retry-After"]) > 0
        raise AwayError(error["message"])


@dataclass
class Part:
    """A process or server that is killed and started again."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], object]
    kills: int = 0
    away: bool = False
    seconds: float = 0.0
    """How long its last start took until it answered."""

    def dies(self) -> None:
        """Now, whatever it is at."""
        self.away, self.kills = True, self.kills + 1
        self.kill()
        began = time.monotonic()
        self.start()
        self.seconds = time.monotonic() - began
        self.away = False


class Client(Visitor):
    """A visitor that comes again when it was turned away, or found nobody."""

    def run(self) -> None:
        while not self.leave.is_set():
            try:
                getattr(self, self.rng.choice(self.deeds))()
                self.count += 1
            except (AwayError, httpx.NetworkError, httpx.RemoteProtocolError):
                pass  # not acknowledged
            except BaseException as failure:
                self.failure = failure
                return
            self.leave.wait(self.rng.uniform(0.3, 1.5))

    def pictures(self) -> None:
        """New objects with a file each, which the blob store holds."""
        texts = [self.text() for _ in range(3)]
        photo = {"base64": PIXEL, "mime_type": "image/png", "filename": "photo.png"}
        bodies = [as_object(text) for text in texts]
        for body in bodies:
            body["blobs"].append({"property": "photo", "type": "image", "data": photo})
        url = f"/v1/buckets/{self.world.tree.bucket_id}/objects/batch"
        made = ok(self.api.post(url, json={"objects": bodies}))
        with self.world.lock:
            self.world.texts.update({one["object_id"]: text for one, text in zip(made, texts, strict=True)})


class Searcher(threading.Thread):
    """Searches without a pause: what it is answered is right, or says what is away.

    Only when its API process dies may it get no answer.
    """

    def __init__(self, api: httpx.Client, process: Part, corpus: Corpus, seed: str) -> None:
        super().__init__(daemon=True)
        self.api = api
        self.process = process
        self.corpus = corpus
        self.rng = random.Random(seed)
        self.leave = threading.Event()
        self.failure: BaseException | None = None
        self.right = self.turned_away = self.unanswered = 0

    def run(self) -> None:
        try:
            while not self.leave.is_set():
                self.search()
        except BaseException as failure:
            self.failure = failure

    def search(self) -> None:
        title = self.rng.choice(list(self.corpus.documents))
        stage = search_stage(self.corpus.feature_uri, WORDS[title], final_top_k=3)
        body = {"collection_identifiers": [self.corpus.collection_id], "stages": [stage], "inputs": {}}
        was_away, kills = self.process.away, self.process.kills
        try:
            found = ok(self.api.post("/v1/retrievers/execute", json=body))["documents"]
        except AwayError:
            self.turned_away += 1
            self.leave.wait(0.1)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            assert was_away or self.process.kills > kills, "an API process that lives gave no answer"
            self.unanswered += 1
            self.leave.wait(0.1)
        else:
            assert [one["title"] for one in found][:1] == [title], (title, found)
            self.right += 1
            self.leave.wait(0.1)


WORDS = {
    "Lighthouse": "who counts the ships at night?",
    "Orchard": "ripe apples",
    "Railway": "a steam train before dawn",
    "Violin": "a sonata on the violin",
    "Glacier": "melting ice in the mountains",
    "Bakery": "fresh bread and croissants",
}


@contextmanager
def at_work(*threads: Client | Searcher) -> Iterator[None]:
    """Clients at work, which leave at the end; what went wrong with one is raised."""
    for one in threads:
        one.start()
    try:
        yield
    finally:
        for one in threads:
            one.leave.set()
        for one in threads:
            one.join(90.0)
    failures = [one.failure for one in threads if one.failure is not None]
    if failures:
        raise failures[0]


def drawn() -> tuple[int, random.Random]:
    """A seed, which is printed, and the choices that follow from it. LAMINA_TEST_SEED repeats a run's."""
    seed = int(os.environ.get("LAMINA_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"LAMINA_TEST_SEED={seed}")
    return seed, random.Random(seed)


def every_server_killed(folder: Path) -> Figures:
    """Two API processes and two workers on PostgreSQL, Qdrant and S3: one process of each two is killed, and
    every server, each at a random moment during ingestion and search, and started again."""
    seed, rng = drawn()
    key = f"sk_{secrets.token_hex(24)}"
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        shared = stack.enter_context(shared_stores(folder, postgres.url))
        door = shared.s3.door()
        env = {**shared.env, **variables(door.url), "LAMINA_CHUNK_OBJECTS": "16", "LAMINA_SHARE_OBJECTS": "8"}
        alone = {"LAMINA_PROCESS_BATCHES": "false"}
        servers = [RunningServer(folder / f"api{n}", api_key=key, env=env | alone) for n in (1, 2)]
        workers = [RunningWorker(folder / f"worker{n}", api_key=key, env=env) for n in (1, 2)]
        running = [*servers, *workers]
        with ThreadPoolExecutor(len(running)) as threads:
            for one in threads.map(lambda one: one.start(), running):
                stack.push(one)
        parts = [
            *(Part("api_process", one.kill, one.start) for one in servers),
            *(Part("worker", lambda one=one: one.kill(workers=True), one.start) for one in workers),  # type: ignore[misc]
            Part("postgresql", postgres.kill, postgres.start),
            Part("qdrant", shared.qdrant.kill, shared.qdrant.start),
            Part("s3", door.kill, door.start),
        ]
        apis = [stack.enter_context(one.client(api_key=key, timeout=90.0)) for one in servers]
        world, corpus = settle(apis[0]), ingest(apis[0])
        for api in apis:
            api.event_hooks = {"response": [told]}
        clients = [Client(world, api, f"{seed}-{n}", DEEDS) for n, api in enumerate(apis)]
        searchers = [
            Searcher(api, part, corpus, f"{seed}-{n}")
            for n, (api, part) in enumerate(zip(apis, parts, strict=False))
        ]
        with at_work(*clients, *searchers):
            # One process of each two, and every server.
            for part in rng.sample([rng.choice(parts[:2]), rng.choice(parts[2:4]), *parts[4:]], 5):
                time.sleep(rng.choice(MOMENTS) * rng.uniform(0.2, 1.0))
                part.dies()
            right = [one.right for one in searchers]
            eventually(
                lambda: all(one.failure or one.right > n for one, n in zip(searchers, right, strict=True)),
                "both API processes find again",
            )
        figures = settled(apis[1], world)
        assert figures["batches"] > 5, "there was too little work for the kills to mean something"
        for one in (*workers, servers[1]):
            assert one.stop() == 0
        servers[0].restart()  # the only one there, it removes what the crashes left
        with pytest.MonkeyPatch.context() as patched:
            for name, value in variables(door.url).items():
                patched.setenv(name, value)
            check_orphans(folder / "looking", shared.env)
    back = {f"{one.name}_back_after_s": round(one.seconds, 1) for one in parts if one.kills}
    return {"seed": seed, **back, **figures, **searches(searchers)}


def settled(api: httpx.Client, world: World) -> Figures:
    """1, 2, 3 and 4, once all servers are there again."""
    began = time.monotonic()
    end_deletions(api, world)
    batches = finish(api, world)
    seconds = time.monotonic() - began
    lacking = check_accounts(api, world, batches, excused=True)
    retry(api, batches, lacking)
    batches = finish(api, world)
    check_reads(api, world)
    check_accounts(api, world, batches)
    check_documents(api, world, batches)
    check_uploads(api, world)
    check_search(api, world, most=20)
    return {
        "all_work_done_after_s": round(seconds, 1),
        "batches": len(batches),
        "batches_retried": len(lacking),
        "objects": len(world.texts),
        "objects_deleted": len(world.deleted),
    }


def check_orphans(folder: Path, env: dict[str, str]) -> None:
    """6: in the end nothing is left over."""
    settings: dict[str, Any] = {
        name: env[f"LAMINA_{name.upper()}"]
        for name in ("records_url", "vectors_url", "blobs_url", "presign_key", "secrets_key")
    }
    left: list[object] = []

    def none_left() -> bool:
        left[:] = asyncio.run(orphans_in(folder, **settings)).items()
        return not left

    with suppress(AssertionError):
        eventually(none_left, "what the crashes left is removed", seconds=30.0)
    assert left == []


def searches(searchers: Sequence[Searcher]) -> Figures:
    """How they were answered."""
    return {
        "searches_right": sum(one.right for one in searchers),
        "searches_told_what_is_away": sum(one.turned_away for one in searchers),
        "searches_to_a_dead_process": sum(one.unanswered for one in searchers),
    }


def nodes_killed(folder: Path) -> Figures:
    """A process on three Qdrant nodes that hold each point twice, of which first one, then another is killed:
    while it is dead clients are served."""
    seed, rng = drawn()
    with QdrantCluster(folder / "nodes") as cluster:
        env = {
            "LAMINA_VECTORS_URL": cluster.nodes[0].url,
            "LAMINA_VECTORS_REPLICATION_FACTOR": "2",
            "LAMINA_VECTORS_SHARD_NUMBER": "3",
            "LAMINA_VECTORS_TIMEOUT": "10",
            "LAMINA_CHUNK_OBJECTS": "16",
            "LAMINA_WORKERS": "1",
        }
        with RunningServer(folder / "data", env=env) as server, server.client(timeout=90.0) as api:
            world, corpus = settle(api), ingest(api)
            api.event_hooks = {"response": [told]}
            process = Part("api_process", server.kill, server.start)
            client = Client(world, api, f"{seed}-0", ("objects", "batch", "object_at_once", "document"))
            searcher = Searcher(api, process, corpus, f"{seed}-1")
            with at_work(client, searcher):
                for node in rng.sample(cluster.nodes[1:], 2):
                    time.sleep(rng.uniform(0.3, 1.0))
                    node.kill()
                    eventually(served(client, searcher), "clients are served without the node")
                    node.start()
                    for name in namespaces(cluster):
                        cluster.wait_until_whole(name)
            figures = settled(api, world)
    return {"seed": seed, **figures, **searches([searcher])}


def served(client: Client, searcher: Searcher) -> Callable[[], bool]:
    """Whether both got further from now on, or have failed."""
    done, right = client.count + 10, searcher.right + 10
    return lambda: bool(
        client.failure or searcher.failure or (client.count > done and searcher.right > right)
    )


def namespaces(cluster: QdrantCluster) -> list[str]:
    """The Qdrant collections that the cluster holds."""
    answer = httpx.get(f"{cluster.nodes[0].url}/collections").json()
    return [one["name"] for one in answer["result"]["collections"]]
