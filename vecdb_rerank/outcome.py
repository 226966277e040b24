"""What happened in a search: `Outcome`, and `observe` to collect outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from vecdb_rerank.model import BranchHit, BranchWeight, Estimate, HitId, Span

Status = Literal["reranked", "partial", "skipped", "fell_back"]
# Why no more documents were scored: the page was settled, the deadline came, `Effort.pairs` was
# reached, or all were scored.
Stopped = Literal["settled", "deadline", "effort", "all"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in one search; never part of the native response.

    ``timings`` are milliseconds by stage (``embed``, ``first_pass``, ``rerank``, ``payload``,
    ``total``). ``k`` is the size of the window. ``seen`` counts candidates, ``scored`` those
    the reranker scored, ``empty`` those without text (never sent, ranked after the scored ones),
    ``estimated`` those whose place comes from an estimate. ``stopped`` is why no more were scored;
    None if the search was not reranked.
    ``relevance`` and ``first_pass_score`` hold every candidate by id, not only those on the
    page. ``hits`` explains the page's hits if ``explain=True``. ``branch_weights`` gives the
    weight of each branch in the blend of a hybrid search, and why, if the branches are known.
    ``fused_by`` is what fused a hybrid search: the ``database``, or the ``client`` for a server
    that cannot; ``none`` for a single branch.

    ``reranker`` is the one whose scores were used, or the first of the chain if none were.
    ``failed`` maps the rerankers that failed to the reason. ``billed`` maps rerankers to the units
    that they charged (Cohere's search units, tokens elsewhere), ``cost`` is the price of these.

    ``would_skip`` names the skip rule that applied in shadow mode, and ``skip_change`` is the
    share (0 to 1) of the page's hits that skipping would have replaced. ``passages`` gives the
    best passage (characters of the text) of each document that was read in several, or from the
    first to the last sentence of each that was read in parts.

    ``notes`` maps a code, such as ``partial_first_pass``, to a sentence about something that
    lowered the quality of the result.
    """

    status: Status
    reason: str | None = None
    error: BaseException | None = None
    backend: str = ""
    reranker: str = ""
    mode: str = ""
    fused_by: Literal["database", "client", "none"] = "none"
    k: int = 0
    seen: int = 0
    scored: int = 0
    empty: int = 0
    estimated: int = 0
    stopped: Stopped | None = None
    truncated: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    billed: Mapping[str, float] = field(default_factory=dict)
    cost: float = 0.0
    would_skip: str | None = None
    skip_change: float | None = None
    passages: Mapping[HitId, Span] = field(default_factory=dict, repr=False)
    timings: Mapping[str, float] = field(default_factory=dict)
    relevance: Mapping[HitId, float] = field(default_factory=dict, repr=False)
    raw: Mapping[HitId, float] = field(default_factory=dict, repr=False)
    first_pass_score: Mapping[HitId, float] = field(default_factory=dict, repr=False)
    hits: tuple[ExplainedHit, ...] = field(default=(), repr=False)
    branch_weights: Mapping[str, BranchWeight] = field(default_factory=dict, repr=False)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExplainedHit:
    """How a hit came to its rank: its ranks (from 1), scores and relevance.

    ``estimate`` stood in for a relevance that is None. ``after`` tells what each stage of
    `Policy.after` did to it.
    """

    id: HitId
    rank: int
    score: float
    first_pass_rank: int
    first_pass_score: float
    raw: float | None
    relevance: float | None
    branches: Mapping[str, BranchHit]
    estimate: Estimate | None = None
    after: tuple[StageEffect, ...] = ()


@dataclass(frozen=True, slots=True)
class StageEffect:
    """A hit after a stage of `Policy.after`: its score, and its rank (from 1) in the window.

    ``stage`` is the stage's type, with its field if it has one: ``decay(published)``. ``value`` is
    the factor or addend of a boost that the hit matches, and the value (0 to 1) of its field in a
    decay or signal.
    """

    stage: str
    score: float
    rank: int
    value: float | None = None


_observers: ContextVar[tuple[list[Outcome], ...]] = ContextVar("observers", default=())


@contextmanager
def observe() -> Iterator[list[Outcome]]:
    """Collect the outcomes of the searches made inside the block, in request order.

    Safe under threads and tasks: a block collects the searches of its own thread or task, and of
    tasks started in it.
    """
    outcomes: list[Outcome] = []
    token = _observers.set((*_observers.get(), outcomes))
    try:
        yield outcomes
    finally:
        _observers.reset(token)


def publish(outcome: Outcome, on_outcome: Callable[[Outcome], None] | None = None) -> None:
    """Give ``outcome`` to every `observe` block around this search, and to ``on_outcome``."""
    for outcomes in _observers.get():
        outcomes.append(outcome)
    if on_outcome is not None:
        on_outcome(outcome)
