"""The contract suite of rerankers passes for those that have one method and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from vecdb_rerank.testing import RerankerContract


def shared_words(query: str, text: str) -> float:
    """The share (0 to 1) of the words of both that the query and a text have in common."""
    one, other = (set(re.findall(r"\w+", t.lower())) for t in (query, text))
    return len(one & other) / max(1, len(one | other))


class Blocking:
    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [shared_words(query, text) for text in texts]


class Awaited:
    async def score_async(self, query: str, texts: Sequence[str]) -> list[float]:
        return [shared_words(query, text) for text in texts]


class TestBlocking(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> Blocking:
        return Blocking()


class TestAwaited(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> Awaited:
        return Awaited()


class Worse(Blocking):
    """Scores by position, which the suite must notice."""

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [(n + 1) / (len(texts) + 1) for n in range(len(texts))]


@pytest.mark.parametrize(
    "test",
    [
        "test_finds_the_answer",
        "test_scores_follow_their_documents",
        "test_equal_documents_get_equal_scores",
    ],
)
def test_a_reranker_that_scores_by_position_fails(test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(RerankerContract(), test)(Worse())
