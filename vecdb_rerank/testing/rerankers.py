"""The contract of a reranker."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import AnyReranker
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.checks import scores_of
from vecdb_rerank.testing.corpus import CORPUS, QUERIES

QUERY = QUERIES["bread"]
INSTRUCTION = "Prefer documents that give numbers."
TEXTS = [str(document["text"]) for document in CORPUS[:12]]
AWKWARD = [
    "x",
    "   \n\t ",
    "... !!! ???",
    "\N{PILE OF POO} \N{FAMILY} e\u0301 \u202eright to left \u0000 zero",
    "日本語のテキスト と العربية و עברית",
    "word " * 40_000,
    "one" * 70_000,
]


class RerankerContract:
    """Tests for a reranker; define the fixture ``reranker``.

    It needs only ``score(query, texts)``, or ``async def score_async(query, texts)``. ``tolerance``
    is the largest difference allowed between two scores of the same pair; those of a remote model
    or of a batch on a GPU vary.
    """

    tolerance: float = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> AnyReranker:
        """The reranker under test."""
        raise NotImplementedError("define the fixture `reranker`")

    def test_is_a_reranker(self, reranker: AnyReranker) -> None:
        """It has a method with a signature that a search can call, and a name."""
        assert adapt(reranker).name

    def test_one_score_a_document(self, reranker: AnyReranker) -> None:
        """Every document gets a finite score and a relevance from 0 to 1."""
        _check(_scores(reranker, TEXTS), len(TEXTS))

    def test_no_documents(self, reranker: AnyReranker) -> None:
        """No documents get no scores."""
        _check(_scores(reranker, []), 0)

    def test_finds_the_answer(self, reranker: AnyReranker) -> None:
        """The document that answers the query has the best score."""
        raw = _numbers(_scores(reranker, TEXTS).raw)
        assert raw.index(max(raw)) == 0

    def test_relevance_agrees_with_raw(self, reranker: AnyReranker) -> None:
        """Relevance rises with the raw score."""
        scores = _scores(reranker, TEXTS)
        pairs = sorted(zip(_numbers(scores.raw), _numbers(scores.relevance), strict=True))
        relevance = [r for _, r in pairs]
        assert relevance == sorted(relevance)

    def test_scores_follow_their_documents(self, reranker: AnyReranker) -> None:
        """A document's score depends neither on its position nor on the other documents."""
        forward = _numbers(_scores(reranker, TEXTS).raw)
        backward = _numbers(_scores(reranker, TEXTS[::-1]).raw)[::-1]
        alone = _numbers(_scores(reranker, [TEXTS[3]]).raw)
        assert backward == pytest.approx(forward, abs=self.tolerance)
        assert alone == pytest.approx([forward[3]], abs=self.tolerance)

    def test_equal_documents_get_equal_scores(self, reranker: AnyReranker) -> None:
        """The same text gets the same score twice, another text another score."""
        first, other, again = _numbers(_scores(reranker, [TEXTS[0], TEXTS[1], TEXTS[0]]).raw)
        assert again == pytest.approx(first, abs=self.tolerance)
        assert other != first

    @pytest.mark.parametrize("query", [QUERY, "?!", "q " * 5_000, "日本語 \N{FAMILY}"])
    def test_awkward_texts(self, reranker: AnyReranker, query: str) -> None:
        """Short, blank, very long and non-Latin texts are scored."""
        _check(_scores(reranker, AWKWARD, query), len(AWKWARD))

    def test_threads(self, reranker: AnyReranker) -> None:
        """Concurrent threads get the same scores as a single one."""
        expected = _numbers(_scores(reranker, TEXTS).raw)
        with ThreadPoolExecutor(4) as pool:
            many = list(pool.map(lambda _: _scores(reranker, TEXTS), range(8)))
        for scores in many:
            assert _numbers(scores.raw) == pytest.approx(expected, abs=self.tolerance)

    def test_follows_an_instruction_or_refuses_it(self, reranker: AnyReranker) -> None:
        """With ``takes_instruction`` it follows one; else it raises `ConfigurationError`."""
        adapted = adapt(reranker)
        if not adapted.takes_instruction:
            with pytest.raises(ConfigurationError):
                adapted.with_instruction(INSTRUCTION)
            return
        instructed = adapted.with_instruction(INSTRUCTION)
        assert instructed.name == adapted.name
        _check(_scores(instructed, TEXTS), len(TEXTS))
        before = _numbers(_scores(adapted.with_instruction(""), TEXTS).raw)
        again = _numbers(_scores(instructed.with_instruction(""), TEXTS).raw)
        assert again == pytest.approx(before, abs=self.tolerance)

    def test_keeps_the_deadline_it_promises(self, reranker: AnyReranker) -> None:
        """With ``keeps_deadline``, it returns in time, with None for documents not scored."""
        adapted = adapt(reranker)
        if not adapted.keeps_deadline:
            return
        started = time.monotonic()
        scores = adapted.score(QUERY, TEXTS * 50, deadline=Deadline.after(0.2))
        assert time.monotonic() - started < 2.0
        assert len(scores.raw) == len(scores.relevance) == len(TEXTS) * 50
        missing = [raw is None for raw in scores.raw]
        assert missing == [relevance is None for relevance in scores.relevance]


def _scores(reranker: AnyReranker, texts: Sequence[str], query: str = QUERY) -> Scores:
    adapted = adapt(reranker)
    answer = run(adapted.steps(query, texts, deadline=Deadline.after(120)))
    return scores_of(answer, len(texts), adapted.name)


def _check(scores: Scores, count: int) -> None:
    raw, relevance = _numbers(scores.raw), _numbers(scores.relevance)
    assert len(raw) == len(relevance) == count
    assert all(map(math.isfinite, raw))
    assert all(0 <= r <= 1 for r in relevance)
    assert 0 <= scores.truncated <= count


def _numbers(scores: Sequence[float | None]) -> list[float]:
    numbers = [score for score in scores if score is not None]
    assert len(numbers) == len(scores), "a document was not scored, although there was time"
    return numbers
