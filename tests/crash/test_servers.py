"""Every process and server of an installation is killed while clients work, and every promise is kept."""

from pathlib import Path

import pytest

from tests.crash.servers import every_server_killed, nodes_killed


def test_every_process_and_server_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    print(every_server_killed(tmp_path))


@pytest.mark.timeout(300)
def test_a_node_of_three_may_be_killed_and_clients_are_served_meanwhile(tmp_path: Path) -> None:
    print(nodes_killed(tmp_path))
