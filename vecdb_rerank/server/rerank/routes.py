"""The routes that rerank and score."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.flow.steps import together
from vecdb_rerank.server.checks.admission import in_turn
from vecdb_rerank.server.models import Model
from vecdb_rerank.server.requests.exchange import Exchange, exchange_of
from vecdb_rerank.server.requests.outcome_report import headers
from vecdb_rerank.server.requests.reading import json_object
from vecdb_rerank.server.requests.replies import JsonResponse
from vecdb_rerank.server.rerank import body as rerank_body
from vecdb_rerank.server.rerank import reply as rerank_reply
from vecdb_rerank.server.rerank import score_body
from vecdb_rerank.server.rerank.body import RerankRequest
from vecdb_rerank.server.rerank.scoring import Scored, score


async def rerank(request: Request) -> Response:
    """Rank documents, in the shape of Cohere's API and its relatives."""
    exchange = exchange_of(request)
    serve = exchange.service.settings.serve
    body = await json_object(request, serve.max_body_bytes)
    return await _rerank(request, exchange, rerank_body.parse(body, serve.max_documents))


async def rerank_or_tei(request: Request) -> Response:
    """Rank ``texts`` as text-embeddings-inference does, or ``documents`` as `rerank` does."""
    exchange = exchange_of(request)
    serve = exchange.service.settings.serve
    body = await json_object(request, serve.max_body_bytes)
    if not rerank_body.is_tei(body):
        exchange.shape = "common"
        return await _rerank(request, exchange, rerank_body.parse(body, serve.max_documents))
    asked = rerank_body.parse_tei(body, serve.max_documents)
    model, scored = await _scored(request, exchange, asked)
    return _answered(rerank_reply.tei_answer(asked, scored), model, scored)


async def _rerank(request: Request, exchange: Exchange, asked: RerankRequest) -> Response:
    model, scored = await _scored(request, exchange, asked)
    answer = rerank_reply.answer(
        asked,
        scored,
        request_id=exchange.request_id,
        model=model.name,
        document=exchange.service.settings.serve.document,
    )
    return _answered(answer, model, scored)


def _answered(content: object, model: Model, scored: Scored) -> Response:
    return JsonResponse(content, headers=headers(scored.outcome, model.rerankers))


async def _scored(
    request: Request, exchange: Exchange, asked: RerankRequest
) -> tuple[Model, Scored]:
    model = exchange.service.models.find(asked.model, exchange.caller)
    deadline = exchange.deadline(model.policy.deadline)
    work = partial(run_async, score(model, asked, deadline))
    return model, await in_turn(request.receive, exchange.service.gate, deadline, work)


async def score_pairs(request: Request) -> Response:
    """Score pairs of texts, in vLLM's shape."""
    exchange = exchange_of(request)
    serve = exchange.service.settings.serve
    body = await json_object(request, serve.max_body_bytes)
    asked = score_body.parse(body, serve.max_documents)
    model = exchange.service.models.find(asked.model, exchange.caller)
    deadline = exchange.deadline(model.policy.deadline)
    places = asked.by_query()
    flows = [
        partial(
            score,
            model,
            RerankRequest(
                query,
                [asked.documents[n] for n in own],
                cut=asked.cut,
                instruction=asked.instruction,
            ),
            deadline,
        )
        for query, own in places.items()
    ]
    work = partial(run_async, together(flows))
    parts = await in_turn(request.receive, exchange.service.gate, deadline, work)
    scores = [0.0] * len(asked.documents)
    for own, part in zip(places.values(), parts, strict=True):
        for n, value in zip(own, part.raw if asked.raw else part.relevance, strict=True):
            scores[n] = value
    answer = score_body.answer(
        exchange.request_id, model.name, scores, sum(part.tokens for part in parts)
    )
    worst = max(parts, key=lambda part: part.unread)
    return JsonResponse(answer, headers=headers(worst.outcome, model.rerankers))
