"""Real databases for the tests: found, or started and stopped again.

``pytest --servers=`` sets where from; Qdrant's local mode is always tested beside them:

- ``env``: ``VECDB_RERANK_TEST_QDRANT_URL`` and ``VECDB_RERANK_TEST_OPENSEARCH_URL``.
- ``compose``: ``docker/compose.yaml``, in a separate project and on other ports.
- ``testcontainers``: the same images and settings through any container engine, without compose.
- ``embedded``: no container: no Qdrant server, and an OpenSearch assembled from Maven artifacts.
- ``auto`` (default), by database: its variable; else compose where an engine answers; else as
  embedded.

Tests that freeze a Qdrant server or need a cluster start an executable of their own,
``VECDB_RERANK_TEST_QDRANT_BINARY``; without it they are skipped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from tests.compose import Compose

OPENSEARCH_URL = os.environ.get("VECDB_RERANK_TEST_OPENSEARCH_URL")
QDRANT_URL = os.environ.get("VECDB_RERANK_TEST_QDRANT_URL")
QDRANT_GRPC_PORT = int(os.environ.get("VECDB_RERANK_TEST_QDRANT_GRPC_PORT", "6334"))
QDRANT_BINARY = os.environ.get("VECDB_RERANK_TEST_QDRANT_BINARY", "")
CHOICES = ("auto", "env", "compose", "testcontainers", "embedded")
_DOCKER = Path(__file__).parents[1] / "docker"
_START = _DOCKER / "opensearch_node" / "start.sh"
_HOME = next(_START.parent.glob("pom-*.xml")).stem.replace("pom", "opensearch")
# The user `opensearch`, whom the node runs as under root, must reach it: no home, no checkout.
_SHARED = Path(tempfile.gettempdir()) / f"vecdb-rerank-opensearch-{os.getuid()}"
NEURAL_SEARCH = "opensearch-neural-search"


class ServerError(Exception):
    """A server that the tests need did not start; the message names what is missing."""


_chosen = "auto"


@cache
def compose_answers() -> bool:
    """Whether `docker compose` is here and its engine answers."""
    if shutil.which("docker") is None:
        return False
    for command in (["docker", "compose", "version"], ["docker", "info"]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=15, check=False)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0:
            return False
    return True


@cache
def engine_answers() -> bool:
    """Whether a container engine answers where its clients look for one."""
    docker: Any = import_module("docker")  # by name: our folder docker/ hides it from mypy
    try:
        client = docker.from_env(timeout=15)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


def choose(choice: str) -> None:
    """Take the servers from there; `ServerError` names what is missing."""
    global _chosen
    if choice not in CHOICES:
        raise ServerError(f"--servers: {choice!r} must be one of: {', '.join(CHOICES)}")
    urls = {
        "VECDB_RERANK_TEST_QDRANT_URL": QDRANT_URL,
        "VECDB_RERANK_TEST_OPENSEARCH_URL": OPENSEARCH_URL,
    }
    if choice == "env" and not all(urls.values()):
        missing = ", ".join(name for name, url in urls.items() if not url)
        raise ServerError(f"--servers=env: set {missing}")
    if choice == "compose" and not compose_answers():
        raise ServerError("--servers=compose: `docker compose` is not here, or no engine answers")
    if choice == "testcontainers" and not engine_answers():
        raise ServerError("--servers=testcontainers: no container engine answers")
    _chosen = choice


def qdrant_source() -> str:
    """Where a Qdrant server comes from: its URL, ``compose``, ``testcontainers``, or nothing."""
    if _chosen == "auto":
        return QDRANT_URL or ("compose" if compose_answers() else "")
    return {"env": QDRANT_URL or "", "embedded": ""}.get(_chosen, _chosen)


def opensearch_source() -> str:
    """Where OpenSearch comes from: its URL, ``compose``, ``testcontainers`` or ``node``."""
    if _chosen == "auto":
        return OPENSEARCH_URL or ("compose" if compose_answers() else "node")
    return {"env": OPENSEARCH_URL or "", "embedded": "node"}.get(_chosen, _chosen)


@contextmanager
def compose(service: str) -> Iterator[dict[str, int]]:
    """One service of ``docker/compose.yaml`` in a separate project and on other ports."""
    from testcontainers.compose import DockerCompose

    names = {"qdrant": ("QDRANT_PORT", "QDRANT_GRPC_PORT"), "opensearch": ("OPENSEARCH_PORT",)}
    ports = {name: free_port() for name in names[service]}
    environment = {name: str(port) for name, port in ports.items()}
    environment["COMPOSE_PROJECT_NAME"] = f"vecdb-rerank-test-{service}-{os.getpid()}"
    with (
        mock.patch.dict(os.environ, environment),
        DockerCompose(_DOCKER, "compose.yaml", services=[service], wait=True),
    ):
        yield ports


@contextmanager
def container(service: str, *ports: int) -> Iterator[tuple[str, list[int]]]:
    """The same service without compose: its host, and the ports there that lead to ``ports``."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    described = Compose.load().services[service]
    path = {"qdrant": "/readyz", "opensearch": "/_cluster/health?wait_for_status=yellow"}[service]
    started = DockerContainer(described["image"]).with_exposed_ports(*ports)
    for name, value in described["environment"].items():
        started = started.with_env(name, str(value))
    for mount in Compose.mounted_files(described):
        started = started.with_volume_mapping(*mount, "ro")
    with started.waiting_for(HttpWaitStrategy(ports[0], path).with_startup_timeout(180)):
        published = [int(started.get_exposed_port(port)) for port in ports]
        yield started.get_container_host_ip(), published


@contextmanager
def qdrant() -> Iterator[tuple[str, int]]:
    """URL and gRPC port of a Qdrant server."""
    source = qdrant_source()
    if source == "compose":
        with compose("qdrant") as ports:
            yield f"http://127.0.0.1:{ports['QDRANT_PORT']}", ports["QDRANT_GRPC_PORT"]
    elif source == "testcontainers":
        with container("qdrant", 6333, 6334) as (host, (http, grpc)):
            yield f"http://{host}:{http}", grpc
    else:
        yield source, QDRANT_GRPC_PORT


@contextmanager
def opensearch() -> Iterator[str]:
    """The URL of an OpenSearch with k-NN and neural-search."""
    source = opensearch_source()
    if source == "compose":
        with compose("opensearch") as ports:
            yield f"http://127.0.0.1:{ports['OPENSEARCH_PORT']}"
    elif source == "testcontainers":
        with container("opensearch", 9200) as (host, (http,)):
            yield f"http://{host}:{http}"
    elif source == "node":
        with opensearch_node() as node:
            yield node.url
    else:
        yield source


@contextmanager
def opensearch_node(*, without: str = "", heap: str = "1g") -> Iterator[Node]:
    """A node of our own, with fresh data, deleted afterwards."""
    _assemble()
    folder = Path(tempfile.mkdtemp(prefix="vecdb-rerank-node-"))
    folder.chmod(0o755)
    node = Node(folder, free_port(), without, heap)
    try:
        shutil.copytree(_SHARED / _HOME, folder / _HOME)
        node.start()
        yield node
    finally:
        node.wipe()
        shutil.rmtree(folder, ignore_errors=True)


class Node:
    """An OpenSearch process on this machine."""

    def __init__(self, folder: Path, port: int, without: str, heap: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._environment = {
            "OS_DIR": str(folder),
            "OS_PORT": str(port),
            "OS_WITHOUT": without,
            "OS_HEAP": heap,
            "OS_JAVA_OPTS": "-XX:TieredStopAtLevel=1",  # it ends before C2's compiling pays
        }

    def start(self) -> None:
        """Start it, on the data it had, and wait until it answers."""
        _run_script("start", self._environment)

    def kill(self) -> None:
        """End it as a power cut would."""
        (pidfile,) = self._folder.glob("*/pid")
        pid = int(pidfile.read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.05)

    def wipe(self) -> None:
        """Stop it and delete its data."""
        with suppress(ServerError):
            _run_script("wipe", self._environment)


class QdrantProcess:
    """A Qdrant process on this machine, a cluster of one, which a test may freeze."""

    def __init__(self, process: subprocess.Popen[bytes], http: int, grpc: int) -> None:
        self.url = f"http://127.0.0.1:{http}"
        self.grpc_port = grpc
        self._process = process

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(300):
            if self._process.poll() is not None:
                raise ServerError(f"Qdrant ended with {self._process.returncode}")
            if answers(f"{self.url}/readyz"):
                return
            time.sleep(0.1)
        raise ServerError(f"no Qdrant answers at {self.url}")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer none."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def qdrant_process() -> Iterator[QdrantProcess]:
    """Start the executable `QDRANT_BINARY` with fresh data, deleted afterwards."""
    http, grpc, peer = (free_port() for _ in range(3))
    with tempfile.TemporaryDirectory(prefix="vecdb-rerank-qdrant-") as folder:
        environment = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(http),
            "QDRANT__SERVICE__GRPC_PORT": str(grpc),
            "QDRANT__STORAGE__STORAGE_PATH": f"{folder}/storage",
            "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{folder}/snapshots",
            "QDRANT__CLUSTER__ENABLED": "true",  # custom sharding needs it
            "QDRANT__CLUSTER__P2P__PORT": str(peer),
            "QDRANT__TELEMETRY_DISABLED": "true",
        }
        process = subprocess.Popen(
            [QDRANT_BINARY, "--uri", f"http://127.0.0.1:{peer}"],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            started = QdrantProcess(process, http, grpc)
            started.wait()
            yield started
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _assemble() -> None:
    """Assemble once for all sessions; others that want it at the same time wait."""
    _SHARED.mkdir(mode=0o755, exist_ok=True)
    if _SHARED.stat().st_uid != os.getuid():
        raise ServerError(f"{_SHARED} belongs to another user: remove it, or set TMPDIR")
    with (_SHARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run_script("assemble", {"OS_DIR": str(_SHARED)})


def _run_script(command: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [str(_START), command],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerError(
            f"OpenSearch: `{_START.name} {command}` failed. It needs mvn, a JDK 17 and, once, "
            "Maven Central; or start docker; or set VECDB_RERANK_TEST_OPENSEARCH_URL.\n"
            f"{done.stdout[-2000:]}"
        )


def answers(url: str) -> bool:
    """Whether a server answers at ``url``."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
