"""Kills during ingestion and search: how soon everything works again, and what clients notice.

    python -m bench.failures [--rounds 3]

What runs is what `tests/crash/test_servers.py` runs, which checks that nothing is lost, doubled or
left over: every process and server of an installation is killed once at a random moment, then two of
three Qdrant nodes, one after the other. A seed repeats a round's choices (LAMINA_TEST_SEED).
"""

from bench.harness import Figure, arguments, fresh
from tests.crash.servers import every_server_killed, nodes_killed


def main() -> None:
    """Each round from nothing."""
    given = arguments(__doc__)
    given.add_argument("--rounds", type=int, default=3)
    asked = given.parse_args()
    figure = Figure("failures", "Killed processes and servers", rounds=asked.rounds)
    done: list[float] = []
    for number in range(1, asked.rounds + 1):
        every = every_server_killed(fresh("failures"))
        figure.note(f"every_process_and_server, round {number}", every)
        nodes = nodes_killed(fresh("failures"))
        figure.note(f"two_of_three_qdrant_nodes, round {number}", nodes)
        done += [every["all_work_done_after_s"], nodes["all_work_done_after_s"]]
    figure.wanted("batches end after the last of the killed is back, s", max(done), most=60)
    figure.write()


if __name__ == "__main__":
    main()
