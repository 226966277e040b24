"""The one data path: embed, first pass, rerank, rebuild; colourless, under one policy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

from vecdb_rerank import fusion
from vecdb_rerank.blending import Blend
from vecdb_rerank.candidates import Candidate, ExplainedHit, Outcome, Ranking, Scores, Status
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import Documents
from vecdb_rerank.errors import (
    ConfigurationError,
    FirstPassError,
    FirstPassTimeoutError,
    RerankError,
    RerankTimeoutError,
    VecdbRerankError,
)
from vecdb_rerank.flow import Compute, Flow
from vecdb_rerank.outcomes import publish
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Database, Embedder, FirstPass, Reranker, Vector
from vecdb_rerank.search import Search

R = TypeVar("R")
log = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True)
class Pipeline:
    """What every search of a connector goes through.

    Without an ``embedder``, searches with a dense branch need ``query_vector``; without a
    ``reranker`` the first-pass order is returned.
    """

    reranker: Reranker | None = None
    embedder: Embedder | None = None
    documents: Documents = field(default_factory=Documents)
    policy: Policy = field(default_factory=Policy)

    @property
    def uses_evidence(self) -> bool:
        """Whether the first pass shall bring each branch's own ranks and scores."""
        return self.reranker is not None and self.policy.branch_evidence

    def search(self, database: Database[R], search: Search, *, explain: bool = False) -> Flow[R]:
        """The flow of one search: its value is the native response."""
        clock = Clock()
        deadline = Deadline.after(self.policy.deadline)
        vector = yield from self._query_vector(search, deadline, clock)
        with clock.stage("first_pass"):
            first = yield from self._first_pass(database, search, vector, deadline)
        found = database.candidates(first, self.documents)
        candidates = fusion.first_pass_order(found)[: search.k]
        verdict = yield from self._rerank(search.query, candidates, deadline, clock)
        kept = fusion.keep_relevant(verdict.ranking, self.policy.min_relevance)
        page = kept.page(search.offset, search.limit)
        response = database.rebuild(first, page)
        outcome = self._outcome(database, search, first, candidates, verdict, clock)
        if explain:
            outcome = _explained(outcome, candidates, page, search.offset)
        publish(outcome, self.policy)
        if verdict.error is not None and self.policy.on_error == "raise":
            raise verdict.error
        return response

    def _query_vector(
        self, search: Search, deadline: Deadline, clock: Clock
    ) -> Flow[Vector | None]:
        if not search.needs_vector or search.query_vector is not None:
            return _plain(search.query_vector)
        embedder = self.embedder
        if embedder is None:
            raise ConfigurationError(
                f"query_vector: mode={search.mode!r} needs it, since no embedder is configured"
            )
        with clock.stage("embed"):
            try:
                vector: Vector = yield Compute(
                    lambda: embedder.embed_query(search.query), deadline.remaining()
                )
            except TimeoutError as error:
                raise FirstPassTimeoutError("embedding the query took too long") from error
            except VecdbRerankError:
                raise
            except Exception as error:
                raise FirstPassError(f"embedding the query failed: {error}") from error
        return _plain(vector)

    def _first_pass(
        self, database: Database[R], search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[R]]:
        try:
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
        self, query: str, candidates: Sequence[Candidate], deadline: Deadline, clock: Clock
    ) -> Flow[Verdict]:
        reranker = self.reranker
        texts = list(dict.fromkeys(c.text for c in candidates if c.text))  # equal texts: once
        reason = _reason_to_skip(reranker, candidates, texts, self.documents)
        if reranker is None or reason is not None:
            return Verdict(fusion.unchanged(candidates), "skipped", reason)
        with clock.stage("rerank"):
            try:
                scores = yield from _scores(reranker, query, texts, deadline)
            except Exception as error:
                return Verdict.failed(candidates, _as_rerank_error(error, reranker))
        return _verdict(candidates, texts, scores, self.policy.blend)

    def _outcome(
        self,
        database: Database[R],
        search: Search,
        first: FirstPass[R],
        candidates: Sequence[Candidate],
        verdict: Verdict,
        clock: Clock,
    ) -> Outcome:
        hits = verdict.ranking.hits
        return Outcome(
            status=verdict.status,
            reason=verdict.reason,
            error=verdict.error,
            backend=database.name,
            reranker=self.reranker.name if self.reranker else "",
            mode=search.mode,
            fused_by=first.fused_by,
            seen=len(candidates),
            scored=sum(h.relevance is not None for h in hits),
            empty=sum(not c.text for c in candidates),
            truncated=verdict.truncated,
            timings=clock.timings(),
            relevance={h.candidate.id: h.relevance for h in hits if h.relevance is not None},
            raw={h.candidate.id: h.raw for h in hits if h.raw is not None},
            first_pass_score={c.id: c.score for c in candidates},
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The order a rerank ended in, and how it got there."""

    ranking: Ranking
    status: Status
    reason: str | None = None
    error: RerankError | None = None
    truncated: int = 0

    @classmethod
    def failed(cls, candidates: Sequence[Candidate], error: RerankError) -> Verdict:
        """The first-pass order, with the error that left it so."""
        log.warning("rerank failed, keeping the first-pass order: %s", error)
        return cls(fusion.unchanged(candidates), "fell_back", str(error), error)


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = (time.perf_counter() - started) * 1e3

    def timings(self) -> Mapping[str, float]:
        """The stages so far, and the ``total`` since the clock was made."""
        return {**self._stages, "total": (time.perf_counter() - self._started) * 1e3}


def _reason_to_skip(
    reranker: Reranker | None,
    candidates: Sequence[Candidate],
    texts: Sequence[str],
    documents: Documents,
) -> str | None:
    if reranker is None:
        return "no reranker"
    if not candidates:
        return "no hits"
    if texts:
        return None
    named, held = ", ".join(documents.paths), ", ".join(candidates[0].payload) or "nothing"
    reason = f"no hit has text in {named} (the first one holds {held}): set documents.fields"
    log.warning("not reranked: %s", reason)
    return reason


def _scores(
    reranker: Reranker, query: str, texts: Sequence[str], deadline: Deadline
) -> Flow[Scores]:
    """Ask the reranker: one with ``steps`` in the driver's colour, any other as blocking work."""
    if (steps := getattr(reranker, "steps", None)) is not None:
        answer: Scores = yield from steps(query, texts, deadline=deadline)
    else:
        watched = math.inf if getattr(reranker, "keeps_deadline", False) else deadline.remaining()
        answer = yield Compute(lambda: reranker.score(query, texts, deadline=deadline), watched)
    return _checked(answer, texts)


def _checked(scores: Scores, texts: Sequence[str]) -> Scores:
    """``scores``, or an error: a wrong answer must not become a ranking."""
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if len(values) != len(texts):
            raise RerankError(f"{len(values)} {name} came back for {len(texts)} documents")
        if any(value is not None and not math.isfinite(value) for value in values):
            raise RerankError(f"one of the {name} is not a finite number")
    pairs = list(zip(scores.raw, scores.relevance, strict=True))
    if any((raw is None) != (relevance is None) for raw, relevance in pairs):
        raise RerankError("a document has a score or a relevance, but not both")
    best_first = sorted(((raw, rel) for raw, rel in pairs if raw is not None), reverse=True)
    relevance = [rel for _, rel in best_first if rel is not None]
    if any(not 0 <= value <= 1 for value in relevance):
        raise RerankError("a relevance is not in 0 to 1")
    if any(low > high for high, low in pairwise(relevance)):
        raise RerankError("a relevance does not rise with its score")
    return scores


def _verdict(
    candidates: Sequence[Candidate], texts: Sequence[str], scores: Scores, blend: Blend
) -> Verdict:
    scored = sum(score is not None for score in scores.raw)
    if not scored:
        return Verdict.failed(
            candidates, RerankTimeoutError("the deadline came before any document was scored")
        )
    ranking = fusion.rerank(candidates, _spread(scores, texts, candidates), blend)
    if scored < len(texts):
        reason = f"the deadline came after {scored} of {len(texts)} documents"
        return Verdict(ranking, "partial", reason, truncated=scores.truncated)
    return Verdict(ranking, "reranked", truncated=scores.truncated)


def _spread(scores: Scores, texts: Sequence[str], candidates: Sequence[Candidate]) -> Scores:
    """Scores by distinct text become scores by candidate."""
    raw = dict(zip(texts, scores.raw, strict=True))
    relevance = dict(zip(texts, scores.relevance, strict=True))
    return Scores(
        [_number(raw.get(c.text)) for c in candidates],
        [_number(relevance.get(c.text)) for c in candidates],
    )


def _plain(vector: Vector | None) -> Vector | None:
    """Plain floats: an array has no truth value, and no place in a JSON request."""
    return None if vector is None else [float(x) for x in vector]


def _number(value: Any) -> float | None:
    """A plain float: numpy's break ``json.dumps`` of a native response."""
    return None if value is None else float(value)


def _as_rerank_error(error: Exception, reranker: Reranker) -> RerankError:
    if isinstance(error, RerankError):
        return error
    if isinstance(error, TimeoutError):
        mapped: RerankError = RerankTimeoutError(f"{reranker.name} was late")
    else:
        mapped = RerankError(f"{reranker.name} failed: {error!r}")
    mapped.__cause__ = error
    return mapped


def _explained(
    outcome: Outcome, candidates: Sequence[Candidate], page: Ranking, offset: int
) -> Outcome:
    from dataclasses import replace

    first_rank = {c.position: n for n, c in enumerate(candidates, start=1)}
    hits = tuple(
        ExplainedHit(
            id=hit.candidate.id,
            rank=rank,
            score=hit.score,
            first_pass_rank=first_rank[hit.candidate.position],
            first_pass_score=hit.candidate.score,
            raw=hit.raw,
            relevance=hit.relevance,
            branches=hit.candidate.branches,
        )
        for rank, hit in enumerate(page.hits, start=offset + 1)
    )
    return replace(outcome, hits=hits)
