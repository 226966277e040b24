"""Servers for the tests, started once per run, and a word on which ones ran."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import servers
from tests.parallel import shared, turn

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported
_RAN = pytest.StashKey[Counter[str]]()

# How long an example takes says little beside other processes.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        choices=servers.CHOICES,
        default="auto",
        help="where the databases come from: see tests/servers.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RAN] = Counter()
    try:
        servers.choose(config.getoption("servers"))
    except servers.ServerError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    qdrant = servers.qdrant_source()
    where = f"local, REST and gRPC ({qdrant})" if qdrant else "local only"
    return f"databases: Qdrant {where}; OpenSearch {servers.opensearch_source()}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what ran to the process that prints the summary."""
    output: dict[str, Any] = getattr(session.config, "workeroutput", {})  # of pytest-xdist
    ran = session.config.stash[_RAN]
    output["ran"] = dict(ran)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what ran in a process of pytest-xdist; one that crashed tells nothing."""
    node.config.stash[_RAN].update(getattr(node, "workeroutput", {}).get("ran", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    ran = [
        f"{name} ({generated} generated requests)" if generated else name
        for name, generated in sorted(config.stash[_RAN].items())
    ]
    if ran:
        terminalreporter.write_line(f"backends that ran: {', '.join(ran)}")


@pytest.fixture(scope="session")
def ran(pytestconfig: pytest.Config) -> Counter[str]:
    """The backends that ran, each with its number of generated requests, for the summary."""
    return pytestconfig.stash[_RAN]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[None]:
    """Run a test marked ``timing`` while other processes run none."""
    with turn(run_folder, alone=request.node.get_closest_marker("timing") is not None):
        yield


@pytest.fixture(scope="session")
def opensearch_url(ran: Counter[str], run_folder: Path) -> Iterator[str]:
    """A real OpenSearch; a test that needs it fails where it does not start."""
    with shared(run_folder, "opensearch", servers.opensearch) as url:
        if not servers.answers(url):
            pytest.fail(f"no OpenSearch answers at {url}")
        ran.setdefault("opensearch", 0)
        yield url


@pytest.fixture(scope="session")
def qdrant_server(run_folder: Path) -> Iterator[tuple[str, int]]:
    """URL and gRPC port of a real Qdrant."""
    with shared(run_folder, "qdrant", servers.qdrant) as (url, grpc_port):
        if not servers.answers(url):
            pytest.fail(f"no Qdrant answers at {url}")
        yield url, grpc_port


@pytest.fixture(scope="session")
def second_node(ran: Counter[str]) -> Iterator[servers.Node]:
    """An OpenSearch of our own without neural-search, which a test may kill."""
    with servers.opensearch_node(without=servers.NEURAL_SEARCH, heap="512m") as node:
        ran.setdefault("opensearch without neural-search", 0)
        yield node
