"""A reranker as a plug-in, and services that tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.server.running import Running, serving

POINTS = "[vecdb_rerank.rerankers]\nwords = tests.server.words:Words\n"


@pytest.fixture(scope="session", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install `Words` as an entry point."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "words-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: words\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    sys.path.append(str(site))
    yield
    sys.path.remove(str(site))


@pytest.fixture(scope="module")
def running(plugin: None) -> Iterator[Running]:
    """A service with one reranker, under every name."""
    with serving() as found:
        yield found


@pytest.fixture
def client(running: Running) -> httpx.Client:
    """A client of `running`."""
    return running.client
