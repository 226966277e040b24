"""A probe finds what is wrong with a reranker in a few calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from vecdb_rerank.errors import InvalidRerankerError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores, sigmoid
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.resilience.probe import probe


class Fixed(BaseReranker):
    def __init__(self, answer: Callable[[int], Scores]) -> None:
        self.answer = answer
        self.calls: list[int] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.calls.append(len(documents))
        return self.answer(len(documents))


def falling(n: int) -> list[float]:
    return [3.0 - 2 * i for i in range(n)]


def test_a_real_model_has_no_problem() -> None:
    found = probe(OnnxReranker(), 20)
    assert found.problem is None
    assert found.milliseconds > 0


def test_it_is_called_with_as_many_documents_as_a_search() -> None:
    reranker = Fixed(lambda n: Scores.from_logits(falling(n)))
    assert probe(reranker, 64).problem is None
    assert max(reranker.calls) == 64


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: Scores.from_logits([sigmoid(x) for x in falling(n)]),
        lambda n: Scores.from_relevance([0.5] * n),
        lambda n: Scores.from_relevance([0.0] * n),
        lambda n: Scores.from_logits(falling(n)[::-1]),
        lambda n: Scores.from_logits([*falling(n)[1:], None]) if n > 1 else Scores.from_logits([1]),
    ],
    ids=["probabilities as logits", "equal", "zeros", "upside down", "one left out"],
)
def test_wrong_scores_are_a_problem_at_once(answer: Callable[[int], Scores]) -> None:
    assert probe(Fixed(answer), 50).problem is not None


def test_a_wrong_return_value_is_raised() -> None:
    class Wrong:
        def score(self, query: str, texts: Sequence[str]) -> str:
            return "0.5"

    with pytest.raises(InvalidRerankerError):
        probe(Wrong())  # type: ignore[arg-type]
