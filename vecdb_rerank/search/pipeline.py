"""The one data path: embed, first pass, rerank, rebuild; colourless, under one policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from vecdb_rerank import telemetry
from vecdb_rerank.errors import (
    ConfigurationError,
    FirstPassError,
    FirstPassTimeoutError,
    VecdbRerankError,
)
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.outcome import Outcome, publish
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Database, Embedder, FirstPass, Hits, Vector
from vecdb_rerank.ranking import exact_terms, ordering, skip_rules
from vecdb_rerank.request import Search
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search import outcome_builder
from vecdb_rerank.search.clock import Clock, SearchRun
from vecdb_rerank.search.outcome_builder import AnySearch, Judged
from vecdb_rerank.search.result import Verdict, reason_to_skip, verdict
from vecdb_rerank.text_fields import TextFields

R = TypeVar("R")


@dataclass(frozen=True)
class Pipeline:
    """What every search of a connector goes through.

    Without an ``embedder``, searches with a dense branch need ``query_vector``; without a
    ``chain`` of rerankers the first-pass order is returned.
    """

    chain: Chain | None = None
    embedder: Embedder | None = None
    text_fields: TextFields = field(default_factory=TextFields)
    policy: Policy = field(default_factory=Policy)

    @property
    def uses_evidence(self) -> bool:
        """Whether the first pass shall bring each branch's own ranks and scores."""
        return self.chain is not None and self.policy.branch_evidence

    def under(self, policy: Policy) -> Pipeline:
        """The same pipeline under another policy, with breakers and paces of its own."""
        chain = Chain(self.chain.rerankers, policy) if self.chain else None
        return replace(self, chain=chain, policy=policy)

    def search(self, database: Database[R], search: Search, *, explain: bool = False) -> Flow[R]:
        """The flow of one search: its value is the native response."""
        with self.trip(database, search) as trip:
            try:
                vector = yield from self._query_vector(search, trip)
                first = yield from self._first_pass(database, search, vector, trip)
            except Exception as error:
                telemetry.count_failed(database.name, error)
                raise
            judged = yield from self._judge(database, search, first, trip)
            return self._told(self._settled(database, judged, trip, explain))

    @contextmanager
    def trip(
        self, database: Hits[R], search: AnySearch, clock: Clock | None = None
    ) -> Iterator[SearchRun]:
        """Begin a search: its clock and its deadline run; those of ``clock`` run already."""
        clock = clock or Clock()
        asked = {"db.system.name": database.name, "mode": search.mode, "k": search.k}
        with telemetry.span("search", asked) as span:
            yield SearchRun(clock, clock.deadline(self.policy.deadline), span)

    def rerank(
        self,
        database: Hits[R],
        search: AnySearch,
        first: FirstPass[R],
        trip: SearchRun,
        *,
        explain: bool = False,
    ) -> Flow[R]:
        """The second half of a search: from what the first pass found to the native response."""
        return self._told((yield from self.settle(database, search, first, trip, explain=explain)))

    def settle(
        self,
        database: Hits[R],
        search: AnySearch,
        first: FirstPass[R],
        trip: SearchRun,
        *,
        explain: bool = False,
    ) -> Flow[Settled[R]]:
        """The second half, without telling the caller what happened."""
        judged = yield from self._judge(database, search, first, trip)
        return self._settled(database, judged, trip, explain)

    def _judge(
        self,
        database: Hits[R],
        search: AnySearch,
        first: FirstPass[R],
        trip: SearchRun,
    ) -> Flow[Judged[R]]:
        """Rerank what the first pass found."""
        found, rest = _window(database.candidates(first, self.text_fields), search, first.ascending)
        window = found if self._may_use_evidence(first) else _without_branches(found)
        rule = skip_rules.rule(search.query, window, self.policy.skip) if self.chain else None
        if rule is not None and not self.policy.skip.shadow:
            name = self.chain.name if self.chain else ""
            verdict = Verdict(ordering.unchanged(window), "skipped", name, rule)
        else:
            verdict = yield from self._rerank(search, window, trip)
        kept = ordering.keep_relevant(verdict.ranking, self.policy.min_relevance)
        return Judged(search, first, found, rest, verdict, kept, rule)

    def _settled(
        self, database: Hits[R], judged: Judged[R], trip: SearchRun, explain: bool
    ) -> Settled[R]:
        """The page of a judged search as the native response, and its outcome."""
        search, kept = judged.search, judged.kept
        page = _page(kept, ordering.followed(kept, judged.rest, judged.verdict.rescored), search)
        response = database.rebuild(judged.first, page)
        outcome = outcome_builder.outcome(
            judged,
            page,
            backend=database.name,
            policy=self.policy,
            timings=trip.clock.timings(),
            explain=explain,
        )
        telemetry.record(outcome, trip.span, search.query if self.policy.record_query else None)
        return Settled(response, outcome)

    def _told(self, settled: Settled[R]) -> R:
        """The response, once the caller knows what happened."""
        self.announce(settled.outcome)
        return settled.response

    def _may_use_evidence(self, first: FirstPass[R]) -> bool:
        """Whether branches may decide: what ``explain`` alone brought is for showing."""
        return self.policy.branch_evidence or first.fused_by == "none"

    def passed(self, database: Hits[R], search: AnySearch, reason: str, trip: SearchRun) -> Outcome:
        """The outcome of a request whose response is given back as it came."""
        outcome = Outcome(
            status="skipped",
            reason=reason,
            backend=database.name,
            reranker=self.chain.name if self.chain else "",
            mode=search.mode,
            k=search.k,
            timings=trip.clock.timings(),
        )
        telemetry.record(outcome, trip.span, None)
        return outcome

    def announce(self, outcome: Outcome) -> None:
        """Tell the caller what happened; a failed rerank raises under ``on_error="raise"``."""
        publish(outcome, self.policy.on_outcome)
        if outcome.error is not None and self.policy.on_error == "raise":
            raise outcome.error

    def _query_vector(self, search: Search, trip: SearchRun) -> Flow[Vector | None]:
        if not search.needs_vector or search.query_vector is not None:
            return _plain(search.query_vector)
        embedder = self.embedder
        if embedder is None:
            raise ConfigurationError(
                "query_vector", f"mode={search.mode!r} needs it, since no embedder is configured"
            )
        with trip.clock.stage("embed"):
            try:
                vector: Vector = yield Compute(
                    lambda: embedder.embed_query(search.query), trip.deadline.remaining()
                )
            except TimeoutError as error:
                raise FirstPassTimeoutError("embedding the query took too long") from error
            except VecdbRerankError:
                raise
            except Exception as error:
                raise FirstPassError(f"embedding the query failed: {error}") from error
        return _plain(vector)

    def _first_pass(
        self, database: Database[R], search: Search, vector: Vector | None, trip: SearchRun
    ) -> Flow[FirstPass[R]]:
        deadline = trip.deadline
        try:
            with trip.clock.stage("first_pass"):
                first = yield from database.first_pass(search, vector, deadline)
        except VecdbRerankError:
            raise
        except Exception as error:
            late = deadline.expired or isinstance(error, TimeoutError)
            described = database.describe_error(error)
            if late:
                raise FirstPassTimeoutError(
                    f"{database.name} did not answer before the deadline ({described})"
                ) from error
            raise FirstPassError(described) from error
        if deadline.expired:
            raise FirstPassTimeoutError(
                f"{database.name} answered after the deadline of {self.policy.deadline} s"
            )
        return first

    def _rerank(
        self, search: AnySearch, candidates: Sequence[Candidate], trip: SearchRun
    ) -> Flow[Verdict]:
        if self.chain is None:
            return Verdict(ordering.unchanged(candidates), "skipped", reason="no reranker")
        if search.offset >= search.k and not search.tail_follows:
            past = f"the page lies past the {search.k} hits that are reranked"
            return Verdict(ordering.unchanged(candidates), "skipped", self.chain.name, past)
        texts = list(dict.fromkeys(c.text for c in candidates if c.text))  # equal texts: once
        if reason := reason_to_skip(candidates, texts, self.text_fields):
            unchanged = ordering.unchanged(candidates)
            return Verdict(unchanged, "skipped", self.chain.name, reason)
        with trip.clock.stage("rerank"):
            answer = yield from self.chain.ask(search.query, texts, trip.deadline)
        said = verdict(candidates, texts, answer, self.policy.blend)
        if self.policy.exact_terms is None or answer.scores is None:
            return said
        guarded = exact_terms.protect(said.ranking, search.query, self.policy.exact_terms)
        return replace(said, ranking=guarded)


@dataclass(frozen=True, slots=True)
class Settled(Generic[R]):
    """A search that is done: the native response, and what happened."""

    response: R
    outcome: Outcome


def _window(
    found: Sequence[Candidate], search: AnySearch, ascending: bool
) -> tuple[list[Candidate], Sequence[Candidate]]:
    """The candidates to rerank, and the hits that follow them."""
    ordered = found if search.deterministic_ties else ordering.first_pass_order(found, ascending)
    window = ordering.first_pass_order(ordered[: search.k], ascending)
    return window, ordered[search.k :] if search.tail_follows else ()


def _without_branches(window: Sequence[Candidate]) -> list[Candidate]:
    return [replace(candidate, branches={}) for candidate in window]


def _page(window: Ranking, rest: Ranking, search: AnySearch) -> Ranking:
    """The page of the window, and of the hits past it, which keep their places."""
    end = search.offset + search.limit
    head = window.page(search.offset, min(search.limit, max(0, search.k - search.offset)))
    tail = rest.hits[max(0, search.offset - search.k) : max(0, end - search.k)]
    return replace(head, hits=(*head.hits, *tail))


def _plain(vector: Vector | None) -> Vector | None:
    """Plain floats: an array has no truth value, and no place in a JSON request."""
    return None if vector is None else [float(x) for x in vector]
