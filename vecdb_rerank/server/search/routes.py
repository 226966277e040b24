"""``POST /v1/search``: the reranked search, in the database's own REST format."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request

from vecdb_rerank.server.checks.admission import in_turn
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.requests import outcome_report
from vecdb_rerank.server.requests.exchange import exchange_of
from vecdb_rerank.server.requests.reading import json_object
from vecdb_rerank.server.requests.replies import JsonResponse
from vecdb_rerank.server.search import searching
from vecdb_rerank.server.search.body import SearchRequest


async def search(request: Request) -> JsonResponse:
    """Answer a search: the response as the database gives it, the outcome in headers.

    With ``?outcome=1``, the body is ``{"response": …, "outcome": …}``.
    """
    exchange = exchange_of(request)
    service, caller = exchange.service, exchange.caller
    serve = service.settings.serve
    whole = _flag(request.query_params.get("outcome"))
    body = await json_object(request, serve.max_body_bytes)
    asked = SearchRequest.of(body, max_k=serve.max_k)
    deadline = exchange.deadline(service.settings.policy.deadline)
    work = partial(searching.search, service, caller, asked, deadline)
    found = await in_turn(request.receive, service.gate, deadline, work)
    chain = service.models.default.chain
    headers = outcome_report.headers(found.outcome, [one.name for one in chain.rerankers])
    if not whole:
        return JsonResponse(found.rest, headers=headers)
    both = {"response": found.rest, "outcome": outcome_report.as_json(found.outcome)}
    return JsonResponse(both, headers=headers)


def _flag(given: str | None) -> bool:
    if given not in (None, "0", "1"):
        raise ApiError(400, "must be 1 or 0", field="outcome")
    return given == "1"
