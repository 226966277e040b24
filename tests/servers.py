"""Real databases for the tests: found, or started and stopped again.

OpenSearch comes from ``VECDB_RERANK_TEST_OPENSEARCH_URL``; else, where a container engine
answers, from ``docker/compose.yaml``; else a node is assembled from Maven artifacts. Qdrant comes
from ``VECDB_RERANK_TEST_QDRANT_URL``, else from compose, else only its local mode is tested.
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
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from unittest import mock

OPENSEARCH_URL = os.environ.get("VECDB_RERANK_TEST_OPENSEARCH_URL")
QDRANT_URL = os.environ.get("VECDB_RERANK_TEST_QDRANT_URL")
QDRANT_GRPC_PORT = int(os.environ.get("VECDB_RERANK_TEST_QDRANT_GRPC_PORT", "6334"))
_DOCKER = Path(__file__).parents[1] / "docker"
_START = _DOCKER / "opensearch_node" / "start.sh"
_HOME = next(_START.parent.glob("pom-*.xml")).stem.replace("pom", "opensearch")
# The user `opensearch`, whom the node runs as under root, must reach it: no home, no checkout.
_SHARED = Path(tempfile.gettempdir()) / f"vecdb-rerank-opensearch-{os.getuid()}"
NEURAL_SEARCH = "opensearch-neural-search"


class ServerError(Exception):
    """A server that the tests need did not start; the message says what is missing."""


@cache
def container_engine() -> bool:
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


def qdrant_source() -> str:
    """Where a Qdrant server comes from: its URL, ``compose``, or nothing."""
    return QDRANT_URL or ("compose" if container_engine() else "")


def opensearch_source() -> str:
    """Where OpenSearch comes from: its URL, ``compose`` or ``node``."""
    return OPENSEARCH_URL or ("compose" if container_engine() else "node")


@contextmanager
def compose(service: str) -> Iterator[dict[str, int]]:
    """One service of ``docker/compose.yaml`` in a project and on ports of its own."""
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
def opensearch() -> Iterator[str]:
    """The URL of an OpenSearch with k-NN and neural-search."""
    with ExitStack() as stack:
        source = opensearch_source()
        if source == "compose":
            ports = stack.enter_context(compose("opensearch"))
            source = f"http://127.0.0.1:{ports['OPENSEARCH_PORT']}"
        elif source == "node":
            source = stack.enter_context(opensearch_node()).url
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


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _assemble() -> None:
    """Assemble once for all sessions; others that want it at the same time wait."""
    _SHARED.mkdir(mode=0o755, exist_ok=True)
    if _SHARED.stat().st_uid != os.getuid():
        raise ServerError(f"{_SHARED} belongs to somebody else: remove it, or set TMPDIR")
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
