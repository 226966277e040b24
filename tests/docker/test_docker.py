"""Checks of docker/ without a container engine: schema, pins, ports, memory, shared settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from tests import servers
from tests.compose import FILE, FOLDER, Compose
from vecdb_rerank import __version__

PROFILES = {
    "single": {"qdrant", "opensearch"},
    "tei": {"qdrant", "opensearch", "tei"},
    "serve": {"qdrant", "serve"},
    "cluster": {"qdrant-1", "qdrant-2", "opensearch-1", "opensearch-2", "opensearch-3"},
}
COMPOSE = Compose.load({})
services = pytest.mark.parametrize("service", COMPOSE.services.values(), ids=COMPOSE.services)


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def beside_python(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).with_name(name))


def has_compose() -> bool:
    """Check whether the client is installed; it validates files without an engine."""
    return shutil.which("docker") is not None and not run("docker", "compose", "version").returncode


def test_the_file_keeps_to_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = run(beside_python("check-jsonschema"), *schema, str(FILE))
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not has_compose(), reason="there is no `docker compose` here")
@pytest.mark.parametrize("profile", PROFILES)
def test_compose_itself_accepts_each_profile(profile: str) -> None:
    done = run(
        "docker", "compose", "-f", str(FILE), "--profile", profile, "config", "--format=json"
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == PROFILES[profile]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_its_services(profile: str) -> None:
    found = {name for name, service in COMPOSE.services.items() if profile in service["profiles"]}
    assert found == PROFILES[profile]


def test_without_a_profile_there_is_one_of_each_database() -> None:
    assert dotenv_values(FOLDER / ".env")["COMPOSE_PROFILES"] == "single"


@services
def test_every_port_is_on_loopback(service: dict[str, Any]) -> None:
    assert service["ports"]
    for port in service["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_two_services_of_a_profile_want_the_same_port(profile: str) -> None:
    ports = [p.rpartition(":")[0] for s in PROFILES[profile] for p in COMPOSE.services[s]["ports"]]
    assert len(set(ports)) == len(ports)


@services
def test_every_service_is_limited_checked_and_pinned(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\dg", service["mem_limit"])
    assert service["healthcheck"]["test"][0] == "CMD"
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag)


def test_every_service_has_a_named_volume_of_its_own() -> None:
    named = [
        volume.partition(":")[0]
        for service in COMPOSE.services.values()
        for volume in service["volumes"]
        if not volume.startswith(".")
    ]
    assert sorted(named) == sorted(COMPOSE.volumes)


@pytest.mark.parametrize("name", [n for n in COMPOSE.services if n.startswith("opensearch")])
def test_every_opensearch_has_the_settings_of_the_node_without_containers(name: str) -> None:
    [(file, there)] = Compose.mounted_files(COMPOSE.services[name])
    assert Path(file) == FOLDER / "opensearch_node" / "opensearch.yml"
    assert there == "/usr/share/opensearch/config/opensearch.yml"
    here = set(yaml.safe_load(Path(file).read_text()))
    assert here & set(COMPOSE.services[name]["environment"]) == set()


def test_the_node_and_the_containers_have_one_version() -> None:
    version = dotenv_values(FOLDER / ".env")["OPENSEARCH_VERSION"]
    assert (FOLDER / "opensearch_node" / f"pom-{version}.xml").is_file()
    script = (FOLDER / "opensearch_node" / "start.sh").read_text()
    assert not re.search(r"\d+\.\d+\.\d+\D", script.replace("127.0.0.1", ""))


def test_the_service_is_of_this_version_and_its_settings_are_right() -> None:
    service = COMPOSE.services["serve"]
    assert service["image"].endswith(f":{__version__}")
    found = subprocess.run(
        (sys.executable, "-c", "from vecdb_rerank.config.loading import load; load()"),
        env={**os.environ, **service["environment"]},
        check=False,
    )
    assert found.returncode == 0


def test_the_clusters_are_of_as_many_nodes_as_they_say() -> None:
    nodes = sorted(n for n in PROFILES["cluster"] if n.startswith("opensearch"))
    for name in nodes:
        environment = COMPOSE.services[name]["environment"]
        assert environment["node.name"] == name
        assert environment["discovery.seed_hosts"].split(",") == nodes
        assert environment["cluster.initial_cluster_manager_nodes"].split(",") == nodes


def test_the_dockerfile_is_clean() -> None:
    done = run(beside_python("hadolint"), str(FOLDER / "Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_the_image_runs_the_command_without_being_root() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    stage = lines[lines.index(next(line for line in lines if line.endswith("AS runtime"))) :]
    assert 'ENTRYPOINT ["vecdb-rerank"]' in stage
    assert re.fullmatch(r"USER [1-9]\d*", next(line for line in stage if line.startswith("USER")))


def test_the_image_is_built_from_what_the_package_needs() -> None:
    """Everything else is ignored: tests, data, the builder's environment."""
    root = FOLDER.parent
    ignore, *kept = [
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text().splitlines()
        if line and not line.startswith(("#", "**"))
    ]
    assert ignore == "*"
    for name in kept:
        assert (root / name).exists()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "vecdb_rerank"):
        assert name in kept


def test_a_choice_that_cannot_be_had_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "QDRANT_URL", "http://127.0.0.1:6333")
    monkeypatch.setattr(servers, "OPENSEARCH_URL", None)
    with pytest.raises(servers.ServerError, match="set VECDB_RERANK_TEST_OPENSEARCH_URL"):
        servers.choose("env")
    with pytest.raises(servers.ServerError, match="podman"):
        servers.choose("podman")


def test_embedded_wants_no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_chosen", "auto")
    servers.choose("embedded")
    assert (servers.qdrant_source(), servers.opensearch_source()) == ("", "node")
