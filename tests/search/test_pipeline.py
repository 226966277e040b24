"""The one data path, over a database that is a dictionary."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pytest

from vecdb_rerank.errors import (
    ConfigurationError,
    FirstPassError,
    FirstPassTimeoutError,
    InvalidRerankerError,
    RerankError,
    RerankTimeoutError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Call, Flow, Wait
from vecdb_rerank.model import BranchHit, Candidate, Ranking, Scores
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.protocols import BaseReranker, Embedder, FirstPass, Reranker, Vector
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.text_fields import TextFields

Response = dict[str, Any]
Drive = Callable[[Flow[Any]], Any]


def drive_async(flow: Flow[Any]) -> Any:
    async def main() -> Any:
        return await run_async(flow)

    return asyncio.run(main())


DRIVERS = pytest.mark.parametrize("drive", [run, drive_async], ids=["sync", "async"])


def hit(hit_id: int | str, score: float, text: str | None = "") -> dict[str, Any]:
    return {"id": hit_id, "score": score, "text": text}


# Best first pass first; what a reranker that counts q's makes of it is in the comment.
HITS = [
    hit("a", 0.9, "q"),  # 4th
    hit("b", 0.8, "qqq"),  # 2nd
    hit("c", 0.7, ""),  # without text: last
    hit("d", 0.6, "qqqq"),  # 1st
    hit("e", 0.5, "qq"),  # 3rd
]


class Delivering:
    """A pipeline whose searches end as those of a connector do: published, and the response."""

    def __init__(self, *parts: Any) -> None:
        self.pipeline = Pipeline(*parts)

    def search(self, database: Shelf, search: Search, **options: Any) -> Flow[Response]:
        completed = yield from self.pipeline.search(database, search, **options)
        return deliver(completed, options.get("policy") or self.pipeline.policy)


def piped(
    reranker: Reranker | None = None,
    embedder: Embedder | None = None,
    text_fields: TextFields | None = None,
    policy: Policy | None = None,
) -> Delivering:
    """A pipeline, as in a connector."""
    policy = policy or Policy()
    chain = Chain([reranker]) if reranker else None
    return Delivering(chain, embedder, text_fields or TextFields(), policy)


def rules(**options: Any) -> Policy:
    """A policy under which the reranker's order is taken as it is."""
    return Policy(blend=Blend("replace"), **options)


@dataclass
class Shelf:
    """A database: answers every search with its hits, and records its requests."""

    hits: list[dict[str, Any]]
    fail: Callable[[], None] = lambda: None
    evidence: dict[str, dict[int | str, BranchHit]] = field(default_factory=dict)
    name: str = "shelf"
    asked: list[tuple[Search, Vector | None]] = field(default_factory=list)

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        def answer() -> Response:
            self.asked.append((search, vector))
            self.fail()
            return {"took": 3, "hits": [dict(h) for h in self.hits[: search.k]], "facets": {"x": 1}}

        response = yield Call(answer, deadline.remaining())
        return FirstPass(response, "database", self.evidence)

    def candidates(
        self, first: FirstPass[Response], text_fields: TextFields
    ) -> Sequence[Candidate]:
        return [
            Candidate(
                n,
                h["id"],
                text_fields.text(h),
                h["score"],
                h,
                {name: hits[h["id"]] for name, hits in first.evidence.items() if h["id"] in hits},
            )
            for n, h in enumerate(first.response["hits"])
        ]

    def rebuild(self, first: FirstPass[Response], ranking: Ranking) -> Response:
        old = first.response["hits"]
        hits = [{**old[h.candidate.position], "score": h.score} for h in ranking.hits]
        return {**first.response, "hits": hits}

    def describe_error(self, error: Exception) -> str:
        return f"the shelf broke: {error}"


@dataclass
class CountingReranker:
    """Relevance is the share of q's that a text has of ten."""

    name: str = "counting"
    sent: list[list[str]] = field(default_factory=list)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.sent.append(list(documents))
        return Scores.from_relevance([d.count("q") / 10 for d in documents], truncated=1)


class NoReranker(BaseReranker):
    """A reranker whose answer is set by the test, error or not."""

    name = "broken"

    def __init__(self, answer: Callable[[Sequence[str]], Any], *, promises: bool = False) -> None:
        self._answer = answer
        self.keeps_deadline = promises

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        scores: Scores = self._answer(documents)
        return scores


class OneEmbedder:
    """Embeds every query as the same vector."""

    dimension = 2

    def __init__(self, vector: Any = (1.0, 0.0), fail: Callable[[], None] = lambda: None) -> None:
        self._vector = vector
        self._fail = fail
        self.queries: list[str] = []

    def embed_query(self, text: str) -> Vector:
        self.queries.append(text)
        self._fail()
        vector: Vector = self._vector
        return vector

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [self._vector for _ in texts]


@pytest.fixture
def hang() -> Iterator[Callable[..., Any]]:
    """Work that does not end before the test does."""
    released = threading.Event()

    def wait(*_: Any) -> None:
        released.wait(60)

    yield wait
    released.set()


def searching(**changes: Any) -> Search:
    plain = Search("q", k=50, limit=50, offset=0, mode="bm25", depth=50, fusion=Fusion())
    return replace(plain, **changes)


def searched(
    drive: Drive,
    *,
    hits: Sequence[dict[str, Any]] = HITS,
    reranker: Reranker | None = None,
    embedder: Embedder | None = None,
    policy: Policy | None = None,
    shelf: Shelf | None = None,
    explain: bool = False,
    rerank: bool = True,
    **changes: Any,
) -> tuple[Response, Outcome]:
    """The response and the one outcome of a search."""
    pipeline = piped(reranker, embedder, TextFields(("text",)), policy or rules())
    with observe() as outcomes:
        response = drive(
            pipeline.search(
                shelf or Shelf(list(hits)), searching(**changes), rerank=rerank, explain=explain
            )
        )
    (outcome,) = outcomes
    return response, outcome


def ids(response: Response) -> list[Any]:
    return [h["id"] for h in response["hits"]]


def scores(response: Response) -> list[float]:
    return [h["score"] for h in response["hits"]]


# -- reranked


@DRIVERS
def test_hits_come_in_the_rerankers_order_with_its_scores(drive: Drive) -> None:
    response, _ = searched(drive, reranker=CountingReranker())
    assert ids(response) == ["d", "b", "e", "a", "c"]
    assert scores(response)[:4] == [0.4, 0.3, 0.2, 0.1]
    assert scores(response) == sorted(scores(response), reverse=True)


@DRIVERS
def test_all_else_of_the_response_is_kept(drive: Drive) -> None:
    response, _ = searched(drive, reranker=CountingReranker())
    assert {k: v for k, v in response.items() if k != "hits"} == {"took": 3, "facets": {"x": 1}}


@DRIVERS
def test_the_outcome_says_what_happened(drive: Drive) -> None:
    _, outcome = searched(drive, reranker=CountingReranker())
    assert outcome.status == "reranked"
    assert (outcome.reason, outcome.error) == (None, None)
    assert (outcome.backend, outcome.reranker, outcome.mode) == ("shelf", "counting", "bm25")
    assert outcome.fused_by == "database"
    assert (outcome.seen, outcome.scored, outcome.empty, outcome.truncated) == (5, 4, 1, 1)
    assert outcome.relevance == {"a": 0.1, "b": 0.3, "d": 0.4, "e": 0.2}
    assert outcome.raw == outcome.relevance
    assert outcome.first_pass_score == {h["id"]: h["score"] for h in HITS}
    assert outcome.hits == ()


@DRIVERS
def test_timings_name_the_stages_that_ran(drive: Drive) -> None:
    _, without = searched(drive, reranker=CountingReranker())
    assert set(without.timings) == {"first_pass", "rerank", "total"}
    _, full = searched(drive, reranker=CountingReranker(), embedder=OneEmbedder(), mode="hybrid")
    assert set(full.timings) == {"embed", "first_pass", "rerank", "total"}
    assert all(ms >= 0 for ms in full.timings.values())
    assert full.timings["total"] >= full.timings["first_pass"]


@DRIVERS
def test_equal_texts_are_scored_once_and_each_hit_is_kept(drive: Drive) -> None:
    reranker = CountingReranker()
    hits = [hit(1, 0.9, "q"), hit(2, 0.8, "qq"), hit(3, 0.7, "q"), hit(4, 0.6, "qq")]
    response, outcome = searched(drive, hits=hits, reranker=reranker)
    assert reranker.sent == [["q", "qq"]]
    assert ids(response) == [2, 4, 1, 3]
    assert outcome.scored == 4
    assert outcome.relevance == {1: 0.1, 2: 0.2, 3: 0.1, 4: 0.2}


@DRIVERS
def test_hits_without_text_are_never_sent_and_come_last(drive: Drive) -> None:
    reranker = CountingReranker()
    hits = [hit(1, 0.9, ""), hit(2, 0.8, None), hit(3, 0.7, "  "), hit(4, 0.6, "no letter")]
    response, outcome = searched(drive, hits=hits, reranker=reranker)
    assert reranker.sent == [["no letter"]]
    assert ids(response) == [4, 1, 2, 3]
    assert outcome.empty == 3
    assert scores(response)[0] > scores(response)[1]


@DRIVERS
def test_numpy_scores_come_out_as_plain_floats(drive: Drive) -> None:
    def numpy_scores(documents: Sequence[str]) -> Scores:
        array = np.array([len(d) / 10 for d in documents], dtype=np.float32)
        return Scores.from_relevance(array)  # type: ignore[arg-type]  # as careless code does

    response, outcome = searched(drive, reranker=NoReranker(numpy_scores))
    assert outcome.status == "reranked"
    json.dumps([response, dict(outcome.relevance), dict(outcome.raw)])
    assert {type(score) for score in scores(response)} == {float}


# -- pages


@DRIVERS
@pytest.mark.parametrize("with_reranker", [True, False])
def test_pages_never_repeat_or_skip_a_hit_though_ties_come_in_any_order(
    drive: Drive, with_reranker: bool
) -> None:
    tied = [hit(n, 0.5, "q" * (n % 3)) for n in range(20)]
    reranker = CountingReranker() if with_reranker else None
    seen: list[int] = []
    for offset in range(0, 24, 3):
        # A database orders equal scores differently from call to call.
        turned = tied[offset % 7 :] + tied[: offset % 7]
        response, _ = searched(drive, hits=turned, reranker=reranker, limit=3, offset=offset)
        seen += ids(response)
    assert sorted(seen) == list(range(20))


@DRIVERS
def test_every_page_sends_the_same_first_pass(drive: Drive) -> None:
    shelf = Shelf(HITS)
    for offset in (0, 2):
        searched(drive, shelf=shelf, reranker=CountingReranker(), limit=2, offset=offset, k=5)
    (first, _), (second, _) = shelf.asked
    assert (first.k, first.depth) == (second.k, second.depth) == (5, 50)


@DRIVERS
def test_a_page_past_the_window_is_empty(drive: Drive) -> None:
    response, outcome = searched(drive, reranker=CountingReranker(), limit=5, offset=5)
    assert response["hits"] == []
    assert outcome.scored == 4


# -- skipped


@DRIVERS
def test_without_a_reranker_the_first_pass_is_returned_as_it_is(drive: Drive) -> None:
    response, outcome = searched(drive)
    assert response["hits"] == HITS
    assert (outcome.status, outcome.reason) == ("skipped", "no reranker")


@DRIVERS
def test_a_call_without_rerank_says_so(drive: Drive) -> None:
    response, outcome = searched(drive, reranker=CountingReranker(), rerank=False)
    assert response["hits"] == HITS
    assert (outcome.status, outcome.reason) == ("skipped", "rerank=False")
    assert (outcome.reranker, outcome.scored, outcome.relevance) == ("", 0, {})
    assert "rerank" not in outcome.timings


@DRIVERS
def test_no_hits_are_not_reranked(drive: Drive) -> None:
    reranker = CountingReranker()
    response, outcome = searched(drive, hits=[], reranker=reranker)
    assert response["hits"] == []
    assert (outcome.status, outcome.reason, outcome.seen) == ("skipped", "no hits", 0)
    assert reranker.sent == []


@DRIVERS
def test_hits_without_any_text_are_not_reranked_and_the_reason_says_what_to_set(
    drive: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = CountingReranker()
    hits = [{"id": 1, "score": 0.9, "body": "elsewhere"}]
    response, outcome = searched(drive, hits=hits, reranker=reranker)
    assert response["hits"] == hits
    assert outcome.status == "skipped"
    assert outcome.reason is not None
    for fragment in ("text", "body", "text_fields.fields"):
        assert fragment in outcome.reason
    assert outcome.reason in caplog.text
    assert reranker.sent == []


# -- fell back


def raising(_: Sequence[str]) -> Scores:
    raise LookupError("no GPU today")


def one_too_few(documents: Sequence[str]) -> Scores:
    return Scores.from_logits([0.0] * (len(documents) - 1))


def uneven(documents: Sequence[str]) -> Scores:
    return Scores([0.0] * len(documents), [0.5])


def half_scored(documents: Sequence[str]) -> Scores:
    return Scores([1.0] * len(documents), [0.5] * (len(documents) - 1) + [None])


def too_relevant(documents: Sequence[str]) -> Scores:
    return Scores.from_relevance([1.5] * len(documents))


def upside_down(documents: Sequence[str]) -> Scores:
    n = len(documents)
    return Scores([float(i) for i in range(n)], [1.0 - i / n for i in range(n)])


def nan(documents: Sequence[str]) -> Scores:
    return Scores.from_relevance([math.nan] * len(documents))


def wrongly_set(_: Sequence[str]) -> Scores:
    raise ConfigurationError("model", "no such folder")


def infinite(documents: Sequence[str]) -> Scores:
    return Scores([math.inf] * len(documents), [1.0] * len(documents))


def nothing(_: Sequence[str]) -> None:
    return None


def none_scored(documents: Sequence[str]) -> Scores:
    return Scores.from_logits([None] * len(documents))


FAILURES = pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (raising, "broken failed with LookupError"),
        (wrongly_set, "broken: model: no such folder"),
        (half_scored, "a score or a relevance, but not both"),
        (upside_down, "does not rise with its score"),
        (nan, "not a finite number"),
        (infinite, "not a finite number"),
        (none_scored, "no document"),
    ],
)


@DRIVERS
@FAILURES
@pytest.mark.parametrize("promises", [True, False], ids=["inline", "watched"])
def test_a_failing_reranker_leaves_the_first_pass_with_its_scores(
    drive: Drive,
    answer: Callable[[Sequence[str]], Any],
    fragment: str,
    promises: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    response, outcome = searched(drive, reranker=NoReranker(answer, promises=promises))
    assert response["hits"] == HITS
    assert outcome.status == "fell_back"
    assert isinstance(outcome.error, RerankError)
    assert outcome.reason == str(outcome.error)
    assert fragment in outcome.reason
    assert (outcome.seen, outcome.scored, outcome.relevance) == (5, 0, {})
    assert outcome.reason in caplog.text


@DRIVERS
@pytest.mark.parametrize("on_error", ["fallback", "raise"])
def test_an_answer_that_is_not_scores_is_raised(
    drive: Drive, on_error: Literal["fallback", "raise"]
) -> None:
    plain: list[Callable[..., Any]] = [nothing, lambda _: "0.5", lambda t: [2.0] * len(t), len]
    for answer in (*plain, one_too_few, uneven, too_relevant):
        with pytest.raises(InvalidRerankerError) as caught:
            searched(drive, reranker=NoReranker(answer), policy=rules(on_error=on_error))
        assert caught.value.key == "reranker"


@DRIVERS
def test_the_foreign_error_is_the_cause(drive: Drive) -> None:
    _, outcome = searched(drive, reranker=NoReranker(raising))
    assert outcome.error is not None
    assert isinstance(outcome.error.__cause__, LookupError)


@DRIVERS
def test_a_reranker_that_hangs_past_the_deadline_leaves_the_first_pass(
    drive: Drive, hang: Callable[..., Any]
) -> None:
    policy = rules(deadline=0.2)
    response, outcome = searched(drive, reranker=NoReranker(hang), policy=policy)
    assert response["hits"] == HITS
    assert outcome.status == "fell_back"
    assert isinstance(outcome.error, RerankTimeoutError)
    assert isinstance(outcome.error, TimeoutError)


@DRIVERS
def test_a_failing_reranker_raises_where_the_policy_says_so(drive: Drive) -> None:
    pipeline = piped(
        NoReranker(raising), text_fields=TextFields(("text",)), policy=rules(on_error="raise")
    )
    with (
        observe() as outcomes,
        pytest.raises(RerankError, match="failed with LookupError") as caught,
    ):
        drive(pipeline.search(Shelf(HITS), searching()))
    assert isinstance(caught.value.__cause__, LookupError)
    assert [(o.status, o.error) for o in outcomes] == [("fell_back", caught.value)]


@DRIVERS
def test_a_late_reranker_raises_a_timeout_error_where_the_policy_says_so(
    drive: Drive, hang: Callable[..., Any]
) -> None:
    pipeline = piped(
        NoReranker(hang),
        text_fields=TextFields(("text",)),
        policy=rules(deadline=0.2, on_error="raise"),
    )
    with pytest.raises(RerankTimeoutError):
        drive(pipeline.search(Shelf(HITS), searching()))


# -- partial


@DRIVERS
def test_what_was_scored_before_the_deadline_leads_and_the_rest_follows(drive: Drive) -> None:
    def two(documents: Sequence[str]) -> Scores:
        assert documents == ["q", "qqq", "qqqq", "qq"]
        return Scores.from_relevance([0.1, 0.3, None, None])

    response, outcome = searched(drive, reranker=NoReranker(two))
    assert ids(response) == ["b", "a", "c", "d", "e"]
    assert scores(response) == sorted(scores(response), reverse=True)
    assert len(set(scores(response))) == 5
    assert outcome.status == "partial"
    assert outcome.reason == "there was time for 2 of 4 documents"
    assert outcome.error is None
    assert (outcome.scored, outcome.relevance) == (2, {"a": 0.1, "b": 0.3})


# -- minimum relevance


@DRIVERS
def test_min_relevance_drops_scored_hits_below_it(drive: Drive) -> None:
    policy = rules(min_relevance=0.2)
    response, outcome = searched(drive, reranker=CountingReranker(), policy=policy)
    assert ids(response) == ["d", "b", "e", "c"]
    assert (outcome.seen, outcome.scored) == (5, 4)
    assert outcome.relevance["a"] == 0.1


@DRIVERS
def test_min_relevance_never_drops_what_was_not_scored(drive: Drive) -> None:
    policy = rules(min_relevance=1.0)
    response, _ = searched(drive, reranker=NoReranker(raising), policy=policy)
    assert response["hits"] == HITS
    response, _ = searched(drive, policy=policy)
    assert response["hits"] == HITS
    response, _ = searched(drive, reranker=CountingReranker(), policy=policy)
    assert ids(response) == ["c"]


# -- explain


@DRIVERS
def test_explain_says_why_each_hit_of_the_page_is_where_it_is(drive: Drive) -> None:
    bm25: dict[int | str, BranchHit] = {"d": BranchHit(1, 12.5), "b": BranchHit(2, 11.0)}
    shelf = Shelf(HITS, evidence={"bm25": bm25, "dense": {"b": BranchHit(1, 0.9)}})
    _, outcome = searched(
        drive, shelf=shelf, reranker=CountingReranker(), explain=True, limit=2, offset=1
    )
    second, third = outcome.hits
    assert (second.id, second.rank, second.first_pass_rank) == ("b", 2, 2)
    assert (second.score, second.raw, second.relevance) == (0.3, 0.3, 0.3)
    assert second.first_pass_score == 0.8
    assert second.branches == {"bm25": BranchHit(2, 11.0), "dense": BranchHit(1, 0.9)}
    assert (third.id, third.rank, third.first_pass_rank, third.branches) == ("e", 3, 5, {})


@DRIVERS
def test_explain_holds_for_hits_that_were_not_scored(drive: Drive) -> None:
    _, outcome = searched(drive, reranker=CountingReranker(), explain=True)
    last = outcome.hits[-1]
    assert (last.id, last.raw, last.relevance) == ("c", None, None)
    assert last.score < outcome.hits[-2].score


# -- the first pass


def refuse() -> None:
    raise ConnectionError("refused")


def be_late() -> None:
    raise TimeoutError("slow disk")


@DRIVERS
def test_a_failing_first_pass_raises_and_never_answers_empty(drive: Drive) -> None:
    pipeline = piped(CountingReranker())
    with (
        observe() as outcomes,
        pytest.raises(FirstPassError, match="the shelf broke: refused") as caught,
    ):
        drive(pipeline.search(Shelf(HITS, fail=refuse), searching()))
    assert not isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert outcomes == []


@DRIVERS
def test_a_first_pass_that_times_out_raises_a_timeout_error(drive: Drive) -> None:
    with pytest.raises(FirstPassTimeoutError, match="slow disk"):
        drive(piped().search(Shelf(HITS, fail=be_late), searching()))


@DRIVERS
def test_a_first_pass_that_answers_after_the_deadline_raises(drive: Drive) -> None:
    class Slow(Shelf):
        def first_pass(
            self, search: Search, vector: Vector | None, deadline: Deadline
        ) -> Flow[FirstPass[Response]]:
            yield Wait(0.03)  # a synchronous client cannot be interrupted
            return (yield from super().first_pass(search, vector, deadline))

    pipeline = piped(CountingReranker(), policy=rules(deadline=0.01))
    with pytest.raises(FirstPassTimeoutError, match=r"shelf answered after .* 0\.01 s"):
        drive(pipeline.search(Slow(HITS), searching()))


@DRIVERS
def test_an_error_of_ours_in_the_first_pass_is_not_wrapped(drive: Drive) -> None:
    def misconfigured() -> None:
        raise ConfigurationError("filter", "is not one")

    with pytest.raises(ConfigurationError, match="filter: is not one"):
        drive(piped().search(Shelf(HITS, fail=misconfigured), searching()))


# -- the query's vector


@DRIVERS
@pytest.mark.parametrize("mode", ["hybrid", "dense"])
def test_the_query_is_embedded_where_there_is_a_dense_branch(drive: Drive, mode: str) -> None:
    embedder, shelf = OneEmbedder(), Shelf(HITS)
    searched(drive, shelf=shelf, embedder=embedder, mode=mode, query="find it")
    assert embedder.queries == ["find it"]
    assert shelf.asked[0][1] == [1.0, 0.0]


@DRIVERS
def test_bm25_alone_needs_no_embedder(drive: Drive) -> None:
    embedder, shelf = OneEmbedder(), Shelf(HITS)
    searched(drive, shelf=shelf, embedder=embedder, mode="bm25")
    assert embedder.queries == []
    assert shelf.asked[0][1] is None


@DRIVERS
def test_a_query_vector_bypasses_the_embedder(drive: Drive) -> None:
    embedder, shelf = OneEmbedder(fail=refuse), Shelf(HITS)
    _, outcome = searched(
        drive, shelf=shelf, embedder=embedder, mode="hybrid", query_vector=[0.5, 0.5]
    )
    assert shelf.asked[0][1] == [0.5, 0.5]
    assert "embed" not in outcome.timings


@DRIVERS
def test_a_missing_embedder_is_named_and_nothing_is_sent(drive: Drive) -> None:
    shelf = Shelf(HITS)
    with pytest.raises(ConfigurationError, match=r"query_vector: .*no embedder"):
        drive(piped(CountingReranker()).search(shelf, searching(mode="dense")))
    assert shelf.asked == []


@DRIVERS
@pytest.mark.parametrize(
    ("mode", "policy"), [("dense", rules()), ("hybrid", rules(on_error="raise"))]
)
def test_a_failing_embedder_is_a_first_pass_error(drive: Drive, mode: Any, policy: Policy) -> None:
    pipeline = piped(embedder=OneEmbedder(fail=refuse), policy=policy)
    with pytest.raises(FirstPassError, match="embedding the query failed: refused") as caught:
        drive(pipeline.search(Shelf(HITS), searching(mode=mode)))
    assert isinstance(caught.value.__cause__, ConnectionError)


@DRIVERS
def test_an_embedder_that_hangs_is_a_first_pass_timeout(
    drive: Drive, hang: Callable[..., Any]
) -> None:
    pipeline = piped(embedder=OneEmbedder(fail=hang), policy=rules(deadline=0.05))
    with pytest.raises(FirstPassTimeoutError, match="embedding"):
        drive(pipeline.search(Shelf(HITS), searching(mode="dense")))


def be_private() -> None:
    raise ValueError("the text of the query")


@DRIVERS
@pytest.mark.parametrize(
    "embedder",
    [
        OneEmbedder(fail=be_private),
        OneEmbedder(fail=be_late),
        OneEmbedder(vector=(1.0, math.nan)),
        OneEmbedder(vector=None),
        OneEmbedder(vector="nonsense"),
    ],
    ids=["error", "timeout", "nan", "none", "nonsense"],
)
def test_a_hybrid_search_whose_query_is_not_embedded_is_one_by_bm25(
    drive: Drive, embedder: Embedder
) -> None:
    shelf, weak = Shelf(HITS), Fusion(self_retrieval=(0.01, 0.9))
    response, outcome = searched(
        drive,
        shelf=shelf,
        reranker=CountingReranker(),
        embedder=embedder,
        mode="hybrid",
        fusion=weak,
    )
    [(asked, vector)] = shelf.asked
    assert (asked.mode, vector) == ("bm25", None)
    assert ids(response) == ["d", "b", "e", "a", "c"]
    assert (outcome.mode, outcome.status) == ("bm25", "reranked")
    assert set(outcome.notes) == {"embedder_failed"}
    assert "text of the query" not in outcome.notes["embedder_failed"]
    assert outcome.branch_weights == {}


@DRIVERS
def test_an_outage_of_the_embedder_is_logged_once(
    drive: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    class Logged(OneEmbedder):
        name = f"logged-{drive.__name__}".replace("_", "-")

    for _ in range(3):
        searched(drive, embedder=Logged(fail=refuse), mode="hybrid")
    assert sum(Logged.name in record.getMessage() for record in caplog.records) == 1


@DRIVERS
def test_an_embedder_that_hangs_leaves_time_for_bm25_and_the_reranker(
    drive: Drive, hang: Callable[..., Any]
) -> None:
    _, outcome = searched(
        drive,
        reranker=CountingReranker(),
        embedder=OneEmbedder(fail=hang),
        mode="hybrid",
        policy=rules(deadline=2.0),
    )
    assert (outcome.mode, outcome.status, outcome.scored) == ("bm25", "reranked", 4)
    assert 900 < outcome.timings["embed"] <= outcome.timings["total"] < 2000


@DRIVERS
def test_a_misconfigured_embedder_raises_in_every_mode(drive: Drive) -> None:
    def misconfigured() -> None:
        raise ConfigurationError("embedder.model", "is not one")

    pipeline = piped(embedder=OneEmbedder(fail=misconfigured))
    with pytest.raises(ConfigurationError, match=r"embedder\.model"):
        drive(pipeline.search(Shelf(HITS), searching(mode="hybrid")))


# -- outcomes


@DRIVERS
def test_observers_nest(drive: Drive) -> None:
    search = piped(CountingReranker()).search
    with observe() as outer:
        drive(search(Shelf(HITS), searching()))
        with observe() as inner:
            drive(search(Shelf([]), searching()))
        drive(search(Shelf(HITS), searching()))
    drive(search(Shelf(HITS), searching()))
    assert [o.seen for o in inner] == [0]
    assert [o.seen for o in outer] == [5, 0, 5]
    assert outer[1] is inner[0]


@DRIVERS
def test_an_observer_that_an_error_left_sees_nothing_more(drive: Drive) -> None:
    with pytest.raises(LookupError), observe() as outcomes:
        raise LookupError
    drive(piped().search(Shelf(HITS), searching()))
    assert outcomes == []


def test_each_thread_sees_its_own_outcomes() -> None:
    barrier = threading.Barrier(4)

    def work(n: int) -> list[int]:
        with observe() as outcomes:
            for _ in range(20):
                barrier.wait(30)
                run(piped(CountingReranker()).search(Shelf(HITS[:n]), searching()))
        return [o.seen for o in outcomes]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [1, 2, 3, 4])) == [[n] * 20 for n in (1, 2, 3, 4)]


async def test_each_task_sees_its_own_outcomes_and_their_parent_all() -> None:
    async def work(n: int) -> list[int]:
        with observe() as outcomes:
            for _ in range(20):
                search = piped(CountingReranker()).search(Shelf(HITS[:n]), searching())
                await run_async(search)
        return [o.seen for o in outcomes]

    with observe() as all_of_them:
        seen = await asyncio.gather(*(work(n) for n in (1, 2, 3, 4)))
    assert seen == [[n] * 20 for n in (1, 2, 3, 4)]
    assert sorted(o.seen for o in all_of_them) == sorted([1, 2, 3, 4] * 20)


@DRIVERS
def test_on_outcome_gets_what_observers_get(drive: Drive) -> None:
    published: list[Outcome] = []
    policy = rules(on_outcome=published.append)
    _, outcome = searched(drive, reranker=CountingReranker(), policy=policy)
    assert published == [outcome]


@DRIVERS
def test_what_on_outcome_raises_reaches_the_caller(drive: Drive) -> None:
    def complain(outcome: Outcome) -> None:
        raise LookupError(outcome.status)

    pipeline = piped(CountingReranker(), policy=rules(on_outcome=complain))
    with pytest.raises(LookupError, match="reranked"):
        drive(pipeline.search(Shelf(HITS), searching()))


@DRIVERS
def test_a_deadline_is_passed_down_to_the_reranker(drive: Drive) -> None:
    given: list[Deadline] = []

    class Asking(CountingReranker):
        def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
            given.append(deadline)
            return super().score(query, documents, deadline=deadline)

    searched(drive, reranker=Asking(), policy=rules(deadline=60))
    searched(drive, reranker=Asking(), policy=rules(deadline=None))
    assert 0 < given[0].remaining() <= 60
    assert given[1].remaining() == math.inf


@DRIVERS
def test_without_a_deadline_a_reranker_without_the_promise_works_too(drive: Drive) -> None:
    response, outcome = searched(drive, reranker=CountingReranker(), policy=rules(deadline=None))
    assert outcome.status == "reranked"
    assert ids(response)[0] == "d"


# The fakes are what the protocols ask for; mypy checks the same.
def test_the_fakes_are_rerankers_and_embedders() -> None:
    assert isinstance(CountingReranker(), Reranker)
    assert isinstance(OneEmbedder(), Embedder)


@DRIVERS
def test_a_vector_that_is_an_array_is_sent_as_plain_floats(drive: Drive) -> None:
    np = pytest.importorskip("numpy")
    shelf = Shelf(list(HITS))
    embedder = OneEmbedder(np.array([1.0, 0.0]))
    searched(drive, shelf=shelf, embedder=embedder, mode="dense")
    searched(drive, shelf=shelf, mode="dense", query_vector=np.array([0.5, 0.5]))
    assert [vector for _, vector in shelf.asked] == [[1.0, 0.0], [0.5, 0.5]]


# -- rules


@DRIVERS
def test_a_search_that_a_rule_skips_is_not_reranked(drive: Drive) -> None:
    reranker = CountingReranker()
    response, outcome = searched(drive, reranker=reranker, policy=rules(skip=Skip(few=5)))
    assert reranker.sent == []
    assert (outcome.status, outcome.reason) == ("skipped", "few: 5 hits")
    assert [h["id"] for h in response["hits"]] == ["a", "b", "c", "d", "e"]


@DRIVERS
def test_a_shadow_rule_reranks_and_says_what_skipping_would_have_changed(drive: Drive) -> None:
    shadow = rules(skip=Skip(few=5, shadow=True))
    response, outcome = searched(drive, reranker=CountingReranker(), policy=shadow, limit=2)
    assert outcome.status == "reranked"
    assert [h["id"] for h in response["hits"]] == ["d", "b"]
    assert (outcome.would_skip, outcome.skip_change) == ("few: 5 hits", 0.5)


@DRIVERS
def test_a_hit_with_a_rare_exact_term_stays_near_the_top(drive: Drive) -> None:
    hits = [hit(n, 1.0 - n / 100, "qqq") for n in range(20)] + [hit(99, 0.1, "ERR_4032")]
    asked: dict[str, Any] = {"query": "what is ERR_4032?", "k": 21, "limit": 21, "hits": hits}
    without, _ = searched(drive, reranker=CountingReranker(), **asked)
    assert without["hits"][-1]["id"] == 99
    guarded, _ = searched(
        drive, reranker=CountingReranker(), policy=rules(exact_terms=ExactTerms()), **asked
    )
    assert guarded["hits"][2]["id"] == 99
    scores = [h["score"] for h in guarded["hits"]]
    assert scores == sorted(scores, reverse=True)
