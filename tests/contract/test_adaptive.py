"""A window that is widened over a real database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.contract.backends import Backend
from vecdb_rerank.adaptive import AdaptiveK
from vecdb_rerank.blending import Blend
from vecdb_rerank.candidates import Scores
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.outcomes import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.search import SearchDefaults
from vecdb_rerank.testing import CORPUS, HashEmbedder
from vecdb_rerank.testing.base import ids, new_name, scores
from vecdb_rerank.testing.searching import WIDE, every_mode


class Hashing:
    """Relevance by a hash of the text: the same wherever it stands, and in no order."""

    name = "hashing"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.sent += documents
        digests = [hashlib.blake2b(text.encode(), digest_size=4).digest() for text in documents]
        return Scores.from_relevance([int.from_bytes(d, "big") / 2**32 for d in digests])


@pytest.fixture(scope="module")
def filled(backend: Backend) -> Iterator[tuple[Backend, str]]:
    """The backend, and a collection of it that holds the corpus."""
    name = new_name()
    connector = backend.connect(name, embedder=HashEmbedder(), reranker=None)
    backend.call(connector.create())
    report = backend.call(connector.add(CORPUS))
    assert report.added == len(CORPUS)
    yield backend, name
    backend.call(connector.delete())


def connected(filled: tuple[Backend, str], reranker: Any, k: int) -> tuple[Any, Any]:
    """A connector that widens ``k``, and what calls it."""
    backend, name = filled
    policy = Policy(blend=Blend("replace"), adaptive_k=AdaptiveK(least=1, most=30, edge=0.99))
    connector = backend.connect(
        name,
        embedder=HashEmbedder(),
        reranker=reranker,
        policy=policy,
        defaults=SearchDefaults(k=k, limit=4),
    )
    return connector, backend.call


@every_mode
def test_a_widened_search_is_a_plain_one_with_that_k(
    filled: tuple[Backend, str], mode: str
) -> None:
    reranker = Hashing()
    connector, call = connected(filled, reranker, 10)
    with observe() as outcomes:
        widened = call(connector.search(WIDE, mode=mode))
        assert len(reranker.sent) == len(set(reranker.sent)) == outcomes[0].scored
        plain = call(connector.search(WIDE, mode=mode, k=20))
    assert [(outcome.k, outcome.widened) for outcome in outcomes] == [(20, True), (20, False)]
    assert ids(connector, widened) == ids(connector, plain)
    assert scores(connector, widened) == pytest.approx(scores(connector, plain), rel=1e-6)


def test_pages_and_a_k_that_is_named_are_left_alone(filled: tuple[Backend, str]) -> None:
    connector, call = connected(filled, Hashing(), 10)
    with observe() as outcomes:
        second = call(connector.search(WIDE, offset=4))
        first = call(connector.search(WIDE, k=10))
        unranked = call(connector.search(WIDE, rerank=False))
    assert [(outcome.k, outcome.widened) for outcome in outcomes] == [(10, False)] * 3
    assert not set(ids(connector, first)) & set(ids(connector, second))
    assert len(ids(connector, unranked)) == 4
