"""How outcomes reach the caller: `observe`, and the policy's ``on_outcome``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from vecdb_rerank.model import BranchHit, HitId, Span

Status = Literal["reranked", "partial", "skipped", "fell_back"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one search; never part of the native response.

    ``timings`` are milliseconds by stage (``embed``, ``first_pass``, ``rerank``,
    ``total``). ``k`` is the size of the window. ``seen`` counts candidates, ``scored`` those
    the reranker scored, ``empty`` those without text (never sent, ranked after the scored ones).
    ``relevance`` and ``first_pass_score`` hold every candidate by id, not only those on the
    page. ``hits`` explains the page's hits when ``explain=True``. ``fused_by`` says who fused a
    hybrid search: ``database`` or ``client`` (a server that cannot); ``none`` for a single branch.

    ``reranker`` is the one whose scores were taken, or the first of the chain where none were.
    ``failed`` says why those asked before it, or a part of it, did not answer. ``billed`` has the
    units that were charged by the reranker's name (Cohere's search units, others' tokens),
    ``cost`` is their price by the policy.

    ``would_skip`` names the skip rule that applied in shadow mode, and ``skip_change`` is the
    share (0 to 1) of the page's hits that would have been others. ``passages`` says of each
    document that was read in several where in its text (characters) the best one is.

    ``notes`` maps a code, such as ``partial_first_pass``, to a sentence about something that made
    the result worse than it looks.
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
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExplainedHit:
    """Why a hit is where it is: its ranks (from 1), scores and relevance."""

    id: HitId
    rank: int
    score: float
    first_pass_rank: int
    first_pass_score: float
    raw: float | None
    relevance: float | None
    branches: Mapping[str, BranchHit]


_observers: ContextVar[tuple[list[Outcome], ...]] = ContextVar("observers", default=())


@contextmanager
def observe() -> Iterator[list[Outcome]]:
    """Collect the outcomes of the searches made inside the block, in request order.

    Safe under threads and tasks: each sees its own searches, and those of tasks it started.
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
