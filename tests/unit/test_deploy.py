"""What is deployed is what there is: settings, commands and probes that the files in `deploy/` name."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from lamina.cli.main import app
from lamina.core.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted([*DEPLOY.glob("*.yaml"), *DEPLOY.glob("kubernetes/*.yaml")])


def containers(document: Any) -> list[dict[str, Any]]:
    """The containers of a Kubernetes resource."""
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    found: list[dict[str, Any]] = spec.get("containers", [])
    return found


@pytest.mark.parametrize("file", [*FILES, DEPLOY / "Dockerfile"], ids=lambda file: file.name)
def test_every_setting_exists(file: Path) -> None:
    named = {name.lower() for name in re.findall(r"LAMINA_([A-Z_]+)", file.read_text())}
    assert named <= set(Settings.model_fields)


def test_compose_runs_commands_that_exist_over_settings_that_can_be_read() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    commands = {command.name for command in app.registered_commands}
    services = compose["services"]
    ours = [one for one in services.values() if one.get("image") == "lamina"]
    assert {one["command"].split()[0] for one in ours} == {"serve", "worker"} <= commands
    assert [one["deploy"]["replicas"] for one in ours] == [2, 2]
    for one in ours:
        given = {
            name.removeprefix("LAMINA_").lower(): re.sub(
                r"\$\{\w+:[-?](.*?)\}", r"sk_\1_long_enough", str(value)
            )
            for name, value in one["environment"].items()
            if name.startswith("LAMINA_") and name != "LAMINA_BOOTSTRAP_API_KEY"
        }
        assert Settings.model_validate(given).vectors_url == "http://qdrant:6333"
        assert set(one["depends_on"]) <= set(services)


def test_compose_lets_clients_reach_what_it_tells_them_to() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    published = {port.rpartition(":")[0] for one in services.values() for port in one.get("ports", [])}
    settings = services["api"]["environment"]
    told = {settings["LAMINA_PUBLIC_URL"], settings["LAMINA_BLOBS_PUBLIC_ENDPOINT"]}
    assert told == {f"http://{address}" for address in published}


def test_the_image_is_made_of_files_that_there_are() -> None:
    lines = [line.split() for line in (DEPLOY / "Dockerfile").read_text().splitlines()]
    copied = {name for line in lines if line[:1] == ["COPY"] for name in line[1:-1]}
    assert {"pyproject.toml", "requirements", "src"} <= copied
    assert [name for name in copied if not (DEPLOY.parent / name).exists()] == []


def test_kubernetes_tells_containers_nothing_that_settings_would_take_for_theirs() -> None:
    """The address of a service `lamina` comes as LAMINA_PORT unless a pod says that it wants none of that."""
    pods = [
        document["spec"]["template"]["spec"]
        for file in FILES
        for document in yaml.safe_load_all(file.read_text())
        if containers(document)
    ]
    assert [pod["enableServiceLinks"] for pod in pods] == [False, False]
    for pod in pods:
        mounts = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_kubernetes_asks_probes_that_answer() -> None:
    found = [
        (container, probe)
        for file in FILES
        for document in yaml.safe_load_all(file.read_text())
        for container in containers(document)
        for name, probe in container.items()
        if name.endswith("Probe")
    ]
    assert len(found) == 5
    for container, probe in found:
        assert probe["httpGet"]["path"] in {"/v1/health", "/v1/liveness"}
        assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}
