"""The path of one search: embed, first pass, rerank, rebuild; written as a flow, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from vecdb_rerank import telemetry
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import BranchWeight, Candidate, Ranking, Scores
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.stages import extras
from vecdb_rerank.protocols import Database, Embedder, FirstPass, Hits
from vecdb_rerank.ranking import branch_weights, formula, ordering, skip_rules
from vecdb_rerank.ranking.after import Prepared
from vecdb_rerank.ranking.after_steps import prepare
from vecdb_rerank.request import Search
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search import outcome_builder
from vecdb_rerank.search.branch_watch import BranchWatch
from vecdb_rerank.search.clock import Clock, SearchRun
from vecdb_rerank.search.reading import SearchReading
from vecdb_rerank.search.result import AnySearch, CompletedSearch, RankedSearch
from vecdb_rerank.search.retrieval import completed, retrieve
from vecdb_rerank.text_fields import TextFields

R = TypeVar("R")
log = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True)
class Pipeline:
    """What every search of a connector or a drop-in client goes through.

    Without an ``embedder``, searches with a dense branch need ``query_vector``; without a
    ``chain`` of rerankers the first-pass order is returned. ``policy`` holds for searches that
    are not given one. With ``scores_all``, the effort ``auto`` reads all candidates, because the
    caller expects a score of each. Without a ``branch_watch``, a weak branch is noted only if the
    settings say that it is weak. Raises `ConfigurationError` if ``policy`` does not fit the
    rerankers.
    """

    chain: Chain | None = None
    embedder: Embedder | None = None
    text_fields: TextFields = field(default_factory=TextFields)
    policy: Policy = field(default_factory=Policy)
    scores_all: bool = False
    branch_watch: BranchWatch | None = field(default_factory=BranchWatch, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.check(self.policy)

    def check(self, policy: Policy) -> None:
        """Raise `ConfigurationError` if ``policy`` does not fit the rerankers."""
        if self.chain is not None:
            self.chain.check(policy)

    def check_instruction(self, instruction: str | None) -> None:
        """Raise `ConfigurationError` if no reranker has a place for ``instruction``."""
        if self.chain is not None:
            self.chain.check_instruction(instruction)

    @contextmanager
    def begin(
        self,
        backend: str,
        search: AnySearch,
        *,
        policy: Policy | None = None,
        rerank: bool = True,
        explain: bool = False,
        clock: Clock | None = None,
    ) -> Iterator[SearchRun]:
        """Start the clock and the deadline of a search; those of ``clock`` run already."""
        if policy is None:
            policy = self.policy
        else:
            self.check(policy)
        clock = clock or Clock()
        attributes = {"db.system.name": backend, "mode": search.mode, "k": search.k}
        with telemetry.span("search", attributes) as span:
            yield SearchRun(
                policy,
                self.chain if rerank else None,
                explain,
                clock,
                clock.deadline(policy.deadline),
                span,
            )

    def search(
        self,
        database: Database[R],
        search: Search,
        *,
        policy: Policy | None = None,
        rerank: bool = True,
        explain: bool = False,
    ) -> Flow[CompletedSearch[R]]:
        """Return the flow of one search. ``policy`` holds for this search alone."""
        if rerank:
            self.check_instruction(search.instruction)
        evidence = (policy or self.policy).branch_evidence and self.chain is not None
        # The same first pass with and without rerank: equal ranks are broken the same way.
        search = replace(search, evidence=explain or evidence)
        if rerank and self.chain is not None:
            search = replace(search, extras=extras((policy or self.policy).after))
        with self.begin(
            database.name, search, policy=policy, rerank=rerank, explain=explain
        ) as run:
            try:
                search, first = yield from retrieve(
                    database, search, run, self.embedder, self.text_fields
                )
            except Exception as error:
                telemetry.count_failed(database.name, error)
                raise
            return (yield from self.rerank(database, search, first, run))

    def rerank(
        self, hits: Hits[R], search: AnySearch, first: FirstPass[R], run: SearchRun
    ) -> Flow[CompletedSearch[R]]:
        """Return the second half of a search: from the first pass to the native response."""
        ranked = yield from self._rank(hits, search, first, run)
        page = _page(ranked)
        first = yield from completed(hits.name, first, page, run)
        outcome = outcome_builder.build(
            ranked,
            page,
            backend=hits.name,
            policy=run.policy,
            timings=run.clock.timings(),
            explain=run.explain,
        )
        telemetry.record(outcome, run.span, search.query if run.policy.record_query else None)
        return CompletedSearch(hits.rebuild(first, page), page, outcome)

    def pass_through(
        self, hits: Hits[R], search: AnySearch, response: R, reason: str, run: SearchRun
    ) -> CompletedSearch[R]:
        """Complete a search whose ``response`` is returned as it came."""
        outcome = Outcome(
            status="skipped",
            reason=reason,
            backend=hits.name,
            reranker=run.chain.name if run.chain else "",
            mode=search.mode,
            k=search.k,
            timings=run.clock.timings(),
            notes=search.notes,
        )
        telemetry.record(outcome, run.span, None)
        return CompletedSearch(response, Ranking.of(()), outcome)

    def _rank(
        self, hits: Hits[R], search: AnySearch, first: FirstPass[R], run: SearchRun
    ) -> Flow[RankedSearch[R]]:
        found, tail = _window(hits.candidates(first, self.text_fields), search, first.ascending)
        # Branches that `explain` alone brought are shown, but do not decide.
        decide = run.policy.branch_evidence or first.fused_by == "none"
        candidates = found if decide else [replace(c, branches={}) for c in found]
        unchanged, first = ordering.unchanged(candidates), _checked(first, found)
        if first.formula is not None:
            candidates = formula.under(candidates, first.formula)
        rule = skip_rules.rule(search.query, candidates, run.policy.skip) if run.chain else None
        ranked = RankedSearch(
            search,
            first,
            found,
            tail,
            unchanged,
            unchanged,
            reranker=run.chain.name if run.chain else "",
            skip_rule=rule,
            notes={**search.notes, **first.notes, **_weak_branch(search)},
            branch_weights=_branch_weights(search, first) if decide else {},
        )
        texts = list(dict.fromkeys(c.text for c in candidates if c.text))  # equal texts: once
        reason = self._reason_to_skip(search, candidates, texts, rule, run) or first.obstacle
        stages = _stages(search, found, first, run)
        if run.chain is None or reason is not None:
            return replace(ranked.staged_by_rank(stages if reason == rule else None), reason=reason)
        deadline = run.deadline
        if first.complete is not None:  # about as long as the first pass, as far as is known
            deadline = deadline.reserving_for([run.clock.seconds("first_pass")])
        with run.clock.stage("rerank"):
            reading = SearchReading(
                search.query,
                candidates,
                texts,
                run.policy,
                # A formula may bring any hit of the window to any page.
                offset=search.offset if first.formula is None else 0,
                limit=search.limit if first.formula is None else search.k,
                scores_all=self.scores_all,
                weights=ranked.branch_weights,
                after=stages if first.formula is None else None,
            )
            answer = yield from run.chain.ask(
                search.query, texts, deadline, run.policy, reading, search.instruction
            )
        ranked = ranked.with_answer(candidates, texts, answer, run.policy, reading, stages)
        ranked = self._watched(ranked, answer.scores)
        return ranked.under_formula(run.policy.min_relevance, stages)

    def _watched(self, ranked: RankedSearch[R], scores: Scores | None) -> RankedSearch[R]:
        """Note a branch whose hits prove to be far worse in search after search.

        Only if nothing is configured about it: then the branches count equally.
        """
        search = ranked.search
        if self.branch_watch is None or not ranked.branch_weights:
            return ranked
        if scores is None or not scores.calibrated:
            return ranked
        if not isinstance(search, Search) or not branch_weights.unknown(search.fusion):
            return ranked
        weak = self.branch_watch.add(ranked.ranking)
        return ranked if weak is None else ranked.noting("weak_branch", weak)

    def _reason_to_skip(
        self,
        search: AnySearch,
        candidates: Sequence[Candidate],
        texts: Sequence[str],
        rule: str | None,
        run: SearchRun,
    ) -> str | None:
        """Return why a search is not reranked, or None."""
        if run.chain is None:
            return "no reranker" if self.chain is None else "rerank=False"
        if rule is not None and not run.policy.skip.shadow:
            return rule
        if search.offset >= search.k and not search.tail_follows:
            return f"the page lies past the {search.k} hits that are reranked"
        if not candidates:
            return "no hits"
        if not search.query.strip():
            return "the query is empty"
        return None if texts else self._reason_without_text(candidates[0])

    def _reason_without_text(self, candidate: Candidate) -> str:
        fields, held = ", ".join(self.text_fields.paths), ", ".join(candidate.payload) or "nothing"
        reason = f"no hit has text in {fields} (the first one has: {held}); set text_fields.fields"
        log.warning("not reranked: %s", reason)
        return reason


def _stages(
    search: AnySearch, window: Sequence[Candidate], first: FirstPass[R], run: SearchRun
) -> Prepared | None:
    """Return the stages of a search that is to be reranked; None if its policy has none."""
    after = run.policy.after
    if not after or run.chain is None:
        return None
    return prepare(after, search.query, window, first.matching, time.time(), first.vectors)


def _branch_weights(search: AnySearch, first: FirstPass[R]) -> Mapping[str, BranchWeight]:
    """Return the weights of the branches whose hits are known; a drop-in's never are."""
    if not isinstance(search, Search) or search.mode != "hybrid" or not first.evidence:
        return {}
    return branch_weights.decide(first.evidence, search.fusion)


def _weak_branch(search: AnySearch) -> Mapping[str, str]:
    """Return a note if one branch of a hybrid search is configured as a weak one."""
    if not isinstance(search, Search) or search.mode != "hybrid":
        return {}
    weak = branch_weights.weak_branch(search.fusion)
    return {} if weak is None else {"weak_branch": weak}


def _window(
    found: Sequence[Candidate], search: AnySearch, ascending: bool
) -> tuple[list[Candidate], Sequence[Candidate]]:
    """Return the candidates to rerank, and the hits that follow them."""
    ordered = found if search.deterministic_ties else ordering.first_pass_order(found, ascending)
    window = ordering.first_pass_order(ordered[: search.k], ascending)
    return window, ordered[search.k :] if search.tail_follows else ()


def _checked(first: FirstPass[R], found: Sequence[Candidate]) -> FirstPass[R]:
    """Return the first pass without its formula if that does not explain the scores of the hits."""
    why = None if first.formula is None else formula.mismatch(found, first.formula)
    return first if why is None else replace(first, formula=None, obstacle=why)


def _page(ranked: RankedSearch[R]) -> Ranking:
    """Return the page, cut from the window and from the hits past it, which keep their places."""
    search, window = ranked.search, ranked.shown
    head = window.page(search.offset, min(search.limit, max(0, search.k - search.offset)))
    tail = ranked.followed(window).hits
    end = search.offset + search.limit
    rest = tail[max(0, search.offset - search.k) : max(0, end - search.k)]
    return replace(head, hits=(*head.hits, *rest))
