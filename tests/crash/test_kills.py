"""A server is killed again and again while it works, and keeps every promise."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.orphans import assert_no_orphans
from tests.crash.promises import (
    check_accounts,
    check_documents,
    check_reads,
    check_search,
    check_uploads,
    finish,
)
from tests.crash.world import DEEDS, Visitor, World, settle
from tests.server import RunningServer

KILLS = 22
VISITORS = 3
MOMENTS = (0.05, 0.2, 0.5, 1.0, 1.5, 2.5)
"""Longest times in seconds that clients work before a kill; one is drawn for each."""


def test_a_server_killed_at_random_moments_keeps_its_promises(tmp_path: Path) -> None:
    """Promises 1, 2, 3, 4, 6 and 7, after many kills. LAMINA_TEST_SEED repeats a run's choices."""
    seed = int(os.environ.get("LAMINA_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"LAMINA_TEST_SEED={seed}")
    rng = random.Random(seed)
    with RunningServer(tmp_path / "data") as server:
        with server.client() as api:
            world = settle(api)
        for number in range(KILLS):
            with visitors(server, world, f"{seed}-{number}"):
                time.sleep(rng.choice(MOMENTS) * rng.uniform(0.2, 1.0))
                server.kill(workers=rng.random() < 0.5)
            server.start()
            with server.client() as api:
                check_reads(api, world)
        killed = time.monotonic()
        with server.client() as api:
            batches = finish(api, world)
            print(f"all work was done {time.monotonic() - killed:.1f} s after the last start")
            check_reads(api, world)
            check_accounts(api, world, batches)
            check_documents(api, world, batches)
            check_uploads(api, world)
            check_search(api, world)
        print(
            f"{KILLS} kills, {len(batches)} batches, {len(world.texts)} objects, "
            f"{len(world.deleted)} deleted, "
            f"{len(world.doomed)} buckets deleted, {len(world.confirmed)} uploads"
        )
        assert len(batches) > KILLS, "there was too little work for the kills to mean something"
        assert server.stop() == 0
        assert_no_orphans(server.data_dir)


@contextmanager
def visitors(server: RunningServer, world: World, seed: str) -> Iterator[None]:
    """Clients that work, each until the server is gone."""
    clients = [server.client() for _ in range(VISITORS)]
    busy = [Visitor(world, client, f"{seed}-{number}", DEEDS) for number, client in enumerate(clients)]
    for visitor in busy:
        visitor.start()
    try:
        yield
    finally:
        for visitor in busy:
            visitor.join(30.0)
        for client in clients:
            client.close()
    failures = [visitor.failure for visitor in busy if visitor.failure is not None]
    if failures:
        raise failures[0]
