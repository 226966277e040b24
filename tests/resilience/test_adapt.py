"""Third-party rerankers: a method is enough, and what is wrong with it is found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest

from vecdb_rerank.errors import ConfigurationError, InvalidRerankerError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.model import Answer, Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.chain import Chain

TEXTS = ["a", "bb", "ccc"]


class ByLength:
    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [len(text) / 10 for text in texts]


class InTime:
    name = "in time"

    def score(self, query: str, texts: Sequence[str], *, deadline: Deadline) -> Scores:
        assert deadline.remaining() <= 5.0
        return Scores.from_relevance([len(text) / 10 for text in texts])


class OnTheLoop:
    async def score_async(self, query: str, texts: Sequence[str]) -> list[float]:
        await asyncio.sleep(0)
        return [len(text) / 10 for text in texts]


class Either:
    """Knows which of its two methods was called last."""

    called = ""

    def score(self, query: str, texts: Sequence[str], **_: object) -> Any:
        self.called = "score"
        return np.array([len(text) / 10 for text in texts], np.float32)

    async def score_async(self, query: str, texts: Sequence[str], **_: object) -> Any:
        self.called = "score_async"
        return np.array([len(text) / 10 for text in texts], np.float32)


def ask(reranker: AnyReranker, texts: Sequence[str] = TEXTS) -> Answer:
    return run(Chain([reranker]).ask("q", texts, Deadline.after(5.0), Policy()))


@pytest.mark.parametrize("kind", [ByLength, InTime, OnTheLoop, Either])
def test_one_method_is_enough(kind: type[Any]) -> None:
    def flow() -> Any:
        return Chain([kind()]).ask("q", TEXTS, Deadline.after(5.0), Policy())

    for answer in (run(flow()), asyncio.run(run_async(flow()))):
        assert answer.scores is not None, answer.error
        assert list(answer.scores.relevance) == pytest.approx([0.1, 0.2, 0.3])
        assert answer.reranker == getattr(kind, "name", kind.__name__)


def test_a_search_calls_the_method_of_its_kind() -> None:
    either = Either()
    flow = Chain([either]).ask("q", TEXTS, Deadline(), Policy())
    run(flow)
    assert either.called == "score"
    asyncio.run(run_async(Chain([either]).ask("q", TEXTS, Deadline(), Policy())))
    assert either.called == "score_async"


def test_a_coroutine_works_in_a_synchronous_search_on_a_running_loop() -> None:
    async def main() -> Answer:
        return ask(OnTheLoop())

    assert asyncio.run(main()).scores is not None


def test_one_that_hangs_is_abandoned_at_the_deadline() -> None:
    class Hangs:
        async def score_async(self, query: str, texts: Sequence[str]) -> list[float]:
            await asyncio.sleep(30)
            return []

    started = time.monotonic()
    answer = run(Chain([Hangs()]).ask("q", TEXTS, Deadline.after(0.2), Policy()))
    assert time.monotonic() - started < 3.0
    assert isinstance(answer.error, TimeoutError)


class NoArguments:
    def score(self) -> list[float]:
        return []


class ThreeArguments:
    def score(self, query: str, texts: Sequence[str], top_n: int) -> list[float]:
        return []


class AsyncScore:
    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return []


class BadSubclass(BaseReranker):
    def score(self, query: str, documents: Sequence[str]) -> Scores:  # type: ignore[override]
        return Scores.from_relevance([])


class NothingOverridden(BaseReranker):
    pass


class AsyncSubclass(BaseReranker):
    async def score(  # type: ignore[override]
        self, query: str, documents: Sequence[str], *, deadline: Deadline
    ) -> Scores:
        return Scores.from_relevance([])


class StepsWithoutDeadline(BaseReranker):
    def steps(self, query: str, documents: Sequence[str]) -> Any:  # type: ignore[override]
        yield from ()


class Nameless(BaseReranker):
    name = ""

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_relevance([])


class NotAMethod:
    score = 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        *(NoArguments(), ThreeArguments(), AsyncScore(), BadSubclass(), ByLength, object(), 7),
        *(None, NothingOverridden(), AsyncSubclass(), StepsWithoutDeadline(), Nameless()),
        *(NotAMethod(), mock.Mock(spec=Nameless), mock.AsyncMock()),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_a_wrong_signature_is_found_before_any_call(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        adapt(wrong)
    assert caught.value.key == "reranker"


@pytest.mark.parametrize(
    "answer",
    [None, "0.5", 0.5, [0.5], [0.5] * 4, [[0.5]] * 3, [True] * 3, ["a"] * 3, [3.2, 0.1, 0.2], {}],
    ids=repr,
)
def test_a_wrong_return_value_raises_and_never_falls_back(answer: Any) -> None:
    class Wrong:
        def score(self, query: str, texts: Sequence[str]) -> Any:
            return answer

    with pytest.raises(InvalidRerankerError) as caught:
        run(Chain([Wrong(), ByLength()]).ask("q", TEXTS, Deadline(), Policy()))
    assert caught.value.key == "reranker"


def passed_on(query: str, texts: Sequence[str]) -> list[float]:
    return [0.5] * len(texts)


class PassesOn:
    def score(self, *args: Any, **kwargs: Any) -> list[float]:
        return passed_on(*args, **kwargs)


class NotACoroutine:
    def score_async(self, query: str, texts: Sequence[str]) -> list[float]:
        return [0.5] * len(texts)


class NotAFlow(BaseReranker):
    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Any:
        return Scores.from_relevance([0.5] * len(documents))


class WrittenInC:
    score = max


class WrongScores:
    def score(self, query: str, texts: Sequence[str]) -> Scores:
        return Scores.from_logits([1.0])


@pytest.mark.parametrize(
    "wrong",
    [
        *(PassesOn(), NotACoroutine(), NotAFlow(), WrittenInC(), WrongScores()),
        *(
            mock.Mock(),
            mock.MagicMock(),
            mock.Mock(spec=["score"], score=mock.Mock(side_effect=passed_on)),
        ),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_inspection_cannot_see_raises_at_every_search(wrong: Any) -> None:
    chain = Chain([wrong])
    for _ in range(10):  # more than a circuit breaker lets pass
        with pytest.raises(InvalidRerankerError) as caught:
            run(chain.ask("q", TEXTS, Deadline(), Policy()))
        assert caught.value.key == "reranker"


@pytest.mark.parametrize(
    "answer",
    [
        np.array([0.1, 0.2, 0.3], np.float16),
        list(np.array([0.1, 0.2, 0.3], np.float32)),
        (Fraction(1, 10), 0.2, 0.3),
        Scores.from_relevance(list(np.array([0.1, 0.2, 0.3], np.float32))),
        Scores.from_relevance(np.array([0.1, 0.2, 0.3], np.float32)),  # type: ignore[arg-type]
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_numbers_of_other_types_become_floats(answer: Any) -> None:
    class Numbers:
        def score(self, query: str, texts: Sequence[str]) -> Any:
            return answer

    scores = ask(Numbers()).scores
    assert scores is not None
    assert list(scores.raw) == list(scores.relevance) == pytest.approx([0.1, 0.2, 0.3], abs=1e-3)
    assert {type(value) for value in (*scores.raw, *scores.relevance)} == {float}


def test_a_score_that_is_not_finite_is_a_failure_of_the_model() -> None:
    class Overflows:
        def score(self, query: str, texts: Sequence[str]) -> list[float]:
            return [float("nan"), 0.2, 0.3]

    answer = ask(Overflows())
    assert answer.scores is None
    assert "finite" in str(answer.error)


def test_a_relevance_that_rounding_put_outside_is_clipped() -> None:
    class Rounds:
        def score(self, query: str, texts: Sequence[str]) -> list[float | None]:
            return [1.0000001, -1e-8, None]

    scores = ask(Rounds()).scores
    assert scores is not None
    assert list(scores.relevance) == [1.0, 0.0, None]


def test_a_base_reranker_overrides_what_it_is_called_by() -> None:
    """Otherwise ``score`` and ``steps`` would call each other for ever."""

    class OnlyAsync(BaseReranker):
        async def score_async(self, query: str, documents: Sequence[str]) -> list[float]:
            return [0.5 for _ in documents]

    with pytest.raises(ConfigurationError) as error:
        adapt(OnlyAsync())
    assert error.value.key == "reranker"
