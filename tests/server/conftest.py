"""A reranker as a plug-in, and services that tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server.running import WORDS, Running, serving
from tests.server.searched import Searched, filled
from vecdb_rerank.testing.base import new_name

POINTS = "[vecdb_rerank.rerankers]\nwords = tests.server.words:Words\n"


@pytest.fixture(scope="session", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install `Words` as an entry point; the folder is on the path of this process."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "words-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: words\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    sys.path.append(str(site))
    yield site
    sys.path.remove(str(site))


@pytest.fixture(scope="module")
def running(plugin: Path) -> Iterator[Running]:
    """A service with one reranker, under every name."""
    with serving() as found:
        yield found


@pytest.fixture
def client(running: Running) -> httpx.Client:
    """A client of `running`."""
    return running.client


@pytest.fixture(scope="session", params=["qdrant", "opensearch"])
def searched(
    request: pytest.FixtureRequest, plugin: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Searched]:
    """A service over each database."""
    backend: dict[str, object] = {"type": request.param, "collection": new_name()}
    if request.param == "opensearch":
        backend["url"] = request.getfixturevalue("opensearch_url")
    else:
        backend["path"] = str(tmp_path_factory.mktemp("qdrant"))
    settings, expected = filled(backend, WORDS)
    with serving(**settings) as running:
        yield Searched(request.param, running, expected)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The settings of a process of its own, over a filled embedded Qdrant."""
    folder = tmp_path / "qdrant"
    filled({"type": "qdrant", "collection": "notes", "path": str(folder)}, WORDS)
    file = tmp_path / "vecdb_rerank.toml"
    file.write_text(f'[backend]\ntype = "qdrant"\ncollection = "notes"\npath = "{folder}"\n')
    return file
