"""Score texts with a model: everything between a request that was read and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from vecdb_rerank import telemetry
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.model import Answer
from vecdb_rerank.outcome import Outcome, publish
from vecdb_rerank.policy import Policy
from vecdb_rerank.rerankers.wire_request import request_tokens, search_units
from vecdb_rerank.search.clock import Clock
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.models import Model
from vecdb_rerank.server.rerank.body import RerankRequest
from vecdb_rerank.server.rerank.documents import Document, cut_texts, text_of

BACKEND = "rerank-api"  # the outcome's word for where the texts came from


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of the documents of a request, in their order.

    ``relevance`` (0 to 1) and ``raw``, the model's own numbers, are the lowest for a document
    without text, and for one that was not reached before the deadline: ``unread`` of them.
    ``order`` holds the places of the documents, best first; equal ones, and those without a score
    at the end, in their order. ``texts`` are what was read; ``tokens`` and ``search_units``
    estimate their size by Cohere's price list.
    """

    texts: Sequence[str]
    relevance: Sequence[float]
    raw: Sequence[float]
    order: Sequence[int]
    outcome: Outcome
    unread: int
    tokens: int
    search_units: int


def score(model: Model, request: RerankRequest, deadline: Deadline) -> Flow[Scored]:
    """Return the flow that scores the documents of ``request``.

    Raises `RerankError` if every reranker of the chain fails, and `ApiError` (422) for a text that
    is too long where the request wants none to be cut.
    """
    clock = Clock()
    policy = _policy(model.policy, request)
    attributes = {"db.system.name": BACKEND, "k": len(request.documents)}
    with telemetry.span("search", attributes) as span:
        with clock.stage("rerank"):
            query, texts = yield from _texts(model, request, deadline)
            sent = [n for n, text in enumerate(texts) if text.strip()]
            answer = Answer(model.chain.name)
            if sent:
                chosen = texts if len(sent) == len(texts) else [texts[n] for n in sent]
                answer = yield from model.chain.ask(
                    query, chosen, deadline, policy, instruction=request.instruction
                )
        outcome = _outcome(answer, len(texts), len(sent), policy, clock)
        telemetry.record(outcome, span, query if policy.record_query else None)
    publish(outcome, policy.on_outcome)
    if answer.error is not None:
        raise answer.error
    if request.strict and (outcome.truncated or not _short(request.documents, model.max_chars)):
        raise ApiError(422, "some are longer than the model reads", field="texts")
    return _scored(answer, outcome, query, texts, sent)


def _policy(policy: Policy, request: RerankRequest) -> Policy:
    if request.chunks is None or policy.passages.mode != "all":
        return policy
    most = min(policy.passages.most, request.chunks)
    return replace(policy, passages=replace(policy.passages, most=most))


def _texts(
    model: Model, request: RerankRequest, deadline: Deadline
) -> Flow[tuple[str, Sequence[str]]]:
    """Return the query and the texts to read; work that takes long is done in a thread."""
    most, cut = model.max_chars, request.cut
    query = request.query[:most]

    def prepare() -> tuple[str, Sequence[str]]:
        texts = []
        for document in request.documents:
            if deadline.expired:  # YAML takes its time
                raise TimeoutError
            texts.append(text_of(document, request.rank_fields, most, cut.side))
        return cut_texts(model.chain.rerankers[0], query, texts, cut)

    if not cut.changes and _short(request.documents, most):
        return query, request.documents  # type: ignore[return-value]
    prepared: tuple[str, Sequence[str]] = yield Compute(prepare, deadline.remaining())
    return prepared


def _short(documents: Sequence[Document], most: int) -> bool:
    """Whether all documents are texts that need not be cut."""
    return all(type(document) is str and len(document) <= most for document in documents)


def _outcome(answer: Answer, seen: int, sent: int, policy: Policy, clock: Clock) -> Outcome:
    scores = answer.scores
    scored = sum(raw is not None for raw in scores.raw) if scores else 0
    failed = answer.error is not None
    return Outcome(
        status="fell_back" if failed else "reranked" if scored == sent else "partial",
        reason=str(answer.error) if failed else None,
        error=answer.error,
        backend=BACKEND,
        reranker=answer.reranker,
        k=seen,
        seen=seen,
        scored=scored,
        empty=seen - sent,
        truncated=scores.truncated if scores else 0,
        failed=answer.failed,
        billed=answer.billed,
        cost=policy.cost.of(answer.billed),
        timings=clock.timings(),
        notes=scores.notes if scores else {},
    )


def _scored(
    answer: Answer, outcome: Outcome, query: str, texts: Sequence[str], sent: Sequence[int]
) -> Scored:
    relevance, raw = [0.0] * len(texts), [0.0] * len(texts)
    order: list[int] = []
    if (scores := answer.scores) is not None:
        known = [value for value in scores.raw if value is not None]
        raw = [min(known, default=0.0)] * len(texts)
        for n, own, rel in zip(sent, scores.raw, scores.relevance, strict=True):
            if own is not None and rel is not None:
                raw[n], relevance[n] = float(own), float(rel)
                order.append(n)
        order.sort(key=lambda n: (-relevance[n], -raw[n]))
    scored = set(order)
    tokens = request_tokens(query, texts)
    return Scored(
        texts,
        relevance,
        raw,
        [*order, *(n for n in range(len(texts)) if n not in scored)],
        outcome,
        unread=len(sent) - outcome.scored,
        tokens=ceil(sum(tokens)),
        search_units=search_units(tokens),
    )
