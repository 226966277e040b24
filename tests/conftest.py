"""Servers for the tests, started once per session, and a word on which ones ran."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import servers

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported
_RAN = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        choices=servers.CHOICES,
        default="auto",
        help="where the databases come from: see tests/servers.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RAN] = set()
    try:
        servers.choose(config.getoption("servers"))
    except servers.ServerError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    qdrant = servers.qdrant_source()
    where = f"local, REST and gRPC ({qdrant})" if qdrant else "local only"
    return f"databases: Qdrant {where}; OpenSearch {servers.opensearch_source()}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    ran = config.stash[_RAN]
    if ran:
        terminalreporter.write_line(f"backends that ran: {', '.join(sorted(ran))}")


@pytest.fixture(scope="session")
def ran(pytestconfig: pytest.Config) -> set[str]:
    """The backends that ran, for the summary."""
    return pytestconfig.stash[_RAN]


@pytest.fixture(scope="session")
def opensearch_url(ran: set[str]) -> Iterator[str]:
    """A real OpenSearch; a test that needs it fails where it does not start."""
    with servers.opensearch() as url:
        if not servers.answers(url):
            pytest.fail(f"no OpenSearch answers at {url}")
        ran.add("opensearch")
        yield url


@pytest.fixture(scope="session")
def qdrant_server() -> Iterator[tuple[str, int]]:
    """URL and gRPC port of a real Qdrant."""
    with servers.qdrant() as (url, grpc_port):
        if not servers.answers(url):
            pytest.fail(f"no Qdrant answers at {url}")
        yield url, grpc_port


@pytest.fixture(scope="session")
def second_node(ran: set[str]) -> Iterator[servers.Node]:
    """An OpenSearch of our own without neural-search, which a test may kill."""
    with servers.opensearch_node(without=servers.NEURAL_SEARCH, heap="512m") as node:
        ran.add("opensearch without neural-search")
        yield node
