"""What doctor says of branches that find, or do not find, what is stored."""

from __future__ import annotations

import pytest
from qdrant_client import QdrantClient

from vecdb_rerank import Fusion, SearchDefaults
from vecdb_rerank.search.self_retrieval import finding
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector


@pytest.mark.parametrize(
    ("found", "fusion", "level", "words"),
    [
        ((0.98, 0.8), Fusion(), "ok", ("0.98", "0.8")),
        ((0.98, 0.1), Fusion(), "warning", ("dense", "self_retrieval = [0.98, 0.1]", "embedder")),
        ((0.98, 0.1), Fusion("dbsf"), "warning", ('method = "rrf"',)),
        ((0.1, 0.8), Fusion(), "warning", ("bm25", "[0.1, 0.8]", "language")),
        # The configuration knows it already, or decides by itself.
        ((0.98, 0.1), Fusion(self_retrieval=(0.97, 0.12)), "note", ("dense",)),
        ((0.98, 0.1), Fusion(weights=(3, 1)), "note", ("dense",)),
        # What was weak works again.
        (
            (0.98, 0.8),
            Fusion(self_retrieval=(0.97, 0.1)),
            "warning",
            ("0.98, 0.8",),
        ),
        ((0.58, 0.12), Fusion(), "ok", ("0.58", "0.12")),  # sentences are no queries here
        ((0.0, 0.0), Fusion(), "warning", ("neither",)),
    ],
)
def test_what_is_measured_is_compared_with_what_is_configured(
    found: tuple[float, float], fusion: Fusion, level: str, words: tuple[str, ...]
) -> None:
    result = finding(found, fusion)
    assert result.level == level
    assert all(word in f"{result.detail} {result.fix}" for word in words)


@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
def test_nothing_is_measured_with_few_documents_or_one_branch(mode: str) -> None:
    defaults = SearchDefaults(mode=mode)  # type: ignore[arg-type]  # a plain str
    with QdrantConnector(
        QdrantClient(":memory:"),
        "docs",
        embedder=HashEmbedder(),
        reranker=None,
        defaults=defaults,
        close_client=True,
    ) as connector:
        connector.create()
        count = 4 if mode == "hybrid" else 20
        text = "Bees make honey all summer. They live in a hive of wax."
        connector.add({"id": n, "text": f"{text} Number {n}."} for n in range(count))
        assert connector.self_retrieval() is None
