"""Connectors, rerankers and embedders of other packages, and missing libraries."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vecdb_rerank import registry
from vecdb_rerank._optional import require
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import PluginSettings
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError
from vecdb_rerank.flow.deadline import Deadline

SECRET = "s3cr3t-that-nobody-may-see"
ENTRY_POINTS = """
[vecdb_rerank.rerankers]
shouting = acme_search:Reranker
broken = acme_broken:Reranker

[vecdb_rerank.embedders]
counting = acme_search:Embedder

[vecdb_rerank.connectors]
shelf = acme_search:connect
"""
MODULE = """
from vecdb_rerank.model import Scores


class Reranker:
    name = "shouting"

    def __init__(self, *, volume, api_key=None):
        self.volume, self.api_key = volume, api_key

    def score(self, query, documents, *, deadline):
        return Scores.from_relevance([min(1.0, d.count("!") / self.volume) for d in documents])


class Embedder:
    name = "counting"

    def __init__(self, *, letters):
        self.letters = letters
        self.dimension = len(letters)

    def embed_query(self, text):
        return self.embed_documents([text])[0]

    def embed_documents(self, texts):
        return [[float(t.count(x)) + 0.01 for x in self.letters] for t in texts]


class Shelf:
    def __init__(self, settings, **options):
        self.settings, self.options = settings, options


def connect(settings, **options):
    return Shelf(settings, **options)
"""


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[str, str], None]:
    """Add modules to the path for one test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def add(name: str, source: str) -> None:
        path = folder.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(source, encoding="utf-8")
        request.addfinalizer(lambda: sys.modules.pop(name, None))

    return add


@pytest.fixture
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Callable[[str, str], None]
) -> None:
    """Install another package's distribution with a component of every kind."""
    monkeypatch.chdir(tmp_path)
    metadata = tmp_path / "site" / "acme_search-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-search\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    module("acme_search", MODULE)
    module("acme_broken", "import acme_library_that_nobody_has\n")


# -- plug-ins


def test_the_parts_that_come_with_this_package_are_registered() -> None:
    assert {"qdrant", "opensearch"} <= set(registry.names("connectors"))
    assert {"onnx", "sentence_transformers"} <= set(registry.names("embedders"))
    assert "onnx" in registry.names("rerankers")


@pytest.mark.usefixtures("installed")
def test_the_parts_of_another_distribution_are_found() -> None:
    assert "shelf" in registry.names("connectors")
    assert registry.find("rerankers", "shouting").__name__ == "Reranker"


@pytest.mark.usefixtures("installed")
def test_a_reranker_and_an_embedder_of_another_package_get_their_options() -> None:
    connector: Any = factory.connect(
        backend={"path": ":memory:"},
        reranker={"type": "shouting", "volume": 4},
        embedder={"type": "counting", "letters": "abc"},
    )
    try:
        connector.create()
        connector.add([{"id": n, "text": "a" + "!" * n} for n in (1, 2, 3)])
        response = connector.search("a")
    finally:
        connector.close()
    assert connector.pipeline.embedder.letters == "abc"
    assert [point.id for point in response.points] == [3, 2, 1]
    reranker: Any = factory.reranker(load(reranker={"type": "shouting", "volume": 4}).settings)
    assert (reranker.name, reranker.volume) == ("shouting", 4)
    assert reranker.score("a", ["a!"], deadline=Deadline()).relevance == [0.25]


@pytest.mark.usefixtures("installed")
def test_a_connector_of_another_package_gets_its_settings_and_what_all_connectors_get() -> None:
    Path("vecdb_rerank.toml").write_text(
        '[backend]\ntype = "shelf"\n[backend.shelf]\nboards = 3\n[backend.qdrant]\nurl = "x"\n'
    )
    connector: Any = factory.connect_async(
        reranker={"type": "none"}, embedder={"type": "none"}, search={"k": 20}
    )
    assert isinstance(connector.settings, PluginSettings)
    assert connector.settings.model_dump() == {"type": "shelf", "boards": 3}
    assert connector.options["use_async"] is True
    assert connector.options["reranker"] is connector.options["embedder"] is None
    assert connector.options["defaults"].k == 20
    assert connector.options["text_fields"].fields == ("title", "text")
    assert connector.options["policy"].on_error == "fallback"


@pytest.mark.usefixtures("installed")
def test_a_variable_reaches_a_plugins_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECDB_RERANK__RERANKER__TYPE", "shouting")
    monkeypatch.setenv("VECDB_RERANK__RERANKER__VOLUME", "7")
    loaded = load()
    assert loaded.settings.reranker.model_dump() == {"type": "shouting", "volume": "7"}
    assert loaded.origin("reranker", "volume") == "environment"


@pytest.mark.usefixtures("installed")
def test_a_plugins_secret_is_handed_over_but_not_shown() -> None:
    options = {"type": "shouting", "volume": 1, "api_key": SECRET, "nested": {"token": SECRET}}
    settings = load(reranker=options).settings
    assert SECRET not in f"{settings!r} {settings} {settings.reranker!r} {settings.reranker}"
    settings = load(reranker={"type": "shouting", "volume": 1, "api_key": SECRET}).settings
    built: Any = factory.reranker(settings)
    assert built.api_key == SECRET


@pytest.mark.usefixtures("installed")
def test_an_installed_but_broken_plugin_keeps_its_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="acme_library_that_nobody_has") as caught:
        registry.find("rerankers", "broken")
    assert not isinstance(caught.value, MissingDependencyError)
    assert caught.value.__cause__ is None
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename.endswith("acme_broken.py")


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_names_the_nearest_of_all_that_are_installed() -> None:
    with pytest.raises(ConfigurationError, match="'shouting'") as caught:
        registry.find("rerankers", "shoutng")
    assert caught.value.key == "type"


def test_without_a_near_name_all_are_named() -> None:
    assert "onnx, none" in registry.nearest("zzz", ["onnx", "none"])
    assert "'onnx'" in registry.nearest("ONNX", ["onnx", "none"])


@pytest.mark.parametrize(
    ("name", "library"), [("qdrant", "qdrant_client"), ("opensearch", "opensearchpy")]
)
def test_a_connector_without_its_client_library_names_the_extra(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in (library, f"vecdb_rerank_{name}"):
            monkeypatch.delitem(sys.modules, loaded)
    # As if it is not installed: the import system finds nothing.
    monkeypatch.setattr(sys, "meta_path", [_Without(library), *sys.meta_path])
    with pytest.raises(MissingDependencyError) as caught:
        registry.find("connectors", name)
    assert caught.value.key == library
    assert f"[{name}]" in caught.value.problem
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


class _Without:
    """A finder that hides one library."""

    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == self._library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


# -- optional libraries


def test_an_installed_library_is_imported() -> None:
    assert require("json", "onnx").loads("1") == 1


@pytest.mark.parametrize("name", ["acme_missing", "acme_missing.part"])
def test_a_missing_library_names_its_extra(name: str) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        require(name, "cohere")
    assert caught.value.key == "acme_missing"
    assert "[cohere]" in caught.value.problem
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("cross_encoder", "torch", "torch"),
        ("cross_encoder", "transformers", "torch"),
        ("late_interaction", "safetensors", "torch"),
        ("flag_embedding", "FlagEmbedding", "flagembedding"),
    ],
)
def test_a_reranker_without_its_library_is_not_even_made(
    name: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it is not installed
    settings = load(reranker={"type": name, "model": "some/model"}).settings
    with pytest.raises(MissingDependencyError) as caught:
        factory.reranker(settings)
    assert caught.value.key == library
    assert f"[{extra}]" in caught.value.problem


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        ("import acme_other_missing", ModuleNotFoundError, "acme_other_missing"),
        # Its name begins like that of the library, but it is another one.
        ("import acme_lib", ModuleNotFoundError, "acme_lib'"),
        ("from json import no_such_name", ImportError, "no_such_name"),
        ("raise RuntimeError('no CUDA driver')", RuntimeError, "no CUDA driver"),
    ],
)
def test_an_installed_but_broken_library_keeps_its_own_traceback(
    module: Callable[[str, str], None], source: str, error: type[Exception], match: str
) -> None:
    module("acme_library", f"{source}\n")
    with pytest.raises(error, match=match) as caught:
        require("acme_library", "onnx")
    assert not isinstance(caught.value, MissingDependencyError)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert any(frame.filename.endswith("acme_library.py") for frame in frames)
