"""Stages act on the order that a formula of the caller's leaves, by rank."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from qdrant_client import QdrantClient
from qdrant_client.http import models

from vecdb_rerank import Outcome, Pin, Policy, observe
from vecdb_rerank.protocols import AnyReranker
from vecdb_rerank.testing import HashEmbedder, KeepingReranker, RaisingReranker
from vecdb_rerank_qdrant import QdrantConnector, RerankingQdrantClient

EMBEDDER = HashEmbedder(16)
TEXTS = [f"{'wool ' * n}scarf number{n}" for n in range(8)]


@pytest.fixture(scope="module")
def client() -> QdrantClient:
    client = QdrantClient(":memory:")
    connector = QdrantConnector(client, "c", embedder=EMBEDDER, reranker=None)
    connector.create()
    connector.add({"id": n, "text": text, "stock": n % 3} for n, text in enumerate(TEXTS))
    return client


def searched(
    client: QdrantClient, reranker: AnyReranker, policy: Policy
) -> tuple[Sequence[models.ScoredPoint], Outcome]:
    formula = models.SumExpression(sum=["$score", models.MultExpression(mult=[0.3, "stock"])])
    with observe() as outcomes:
        found = RerankingQdrantClient(client, reranker).query_points(
            "c",
            models.FormulaQuery(formula=formula),
            prefetch=models.Prefetch(
                query=EMBEDDER.embed_query("wool scarf"), using="dense", limit=8
            ),
            rerank_query="wool scarf",
            rerank=policy,
        )
    return found.points, outcomes[-1]


@pytest.mark.parametrize("reranker", [KeepingReranker(), RaisingReranker()])
def test_stages_follow_a_formula(client: QdrantClient, reranker: AnyReranker) -> None:
    plain, _ = searched(client, reranker, Policy())
    last = plain[-1].id
    found, outcome = searched(client, reranker, Policy(after=(Pin((str(last),)),)))
    assert [p.id for p in found] == [last, *(p.id for p in plain[:-1])]
    scores = [p.score for p in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert outcome.status == ("fell_back" if isinstance(reranker, RaisingReranker) else "reranked")
