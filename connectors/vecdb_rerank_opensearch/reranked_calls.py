"""The flows of a drop-in: somebody else's ``search`` or ``msearch``, reranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from more_itertools import chunked
from opensearchpy.exceptions import RequestError

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.search import dropin
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import DropIn, Job, Plan, each
from vecdb_rerank_opensearch import errors, request_reader
from vecdb_rerank_opensearch.request_reader import Body, Request
from vecdb_rerank_opensearch.responses import OpenSearchHits, Response
from vecdb_rerank_opensearch.source_selection import NOTHING, Forced

T = TypeVar("T")
Native = Callable[..., Any]
Arguments = Mapping[str, Any]
# The text of a search; of an ``msearch`` that of all its searches, or one for each.
Query = str | None
Queries = Query | Sequence[Query]
Reranks = Rerank | Sequence[Rerank]
_NO_URL = ("body", "index", "params", "headers")
PAGE = (*request_reader.PAGE, "from_")
_BAD_REQUEST = 400
_REFUSED = "OpenSearch refused the deeper search, and was sent the caller's own: {}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A search as it is sent: the caller's ``own`` body, or a deeper one that brings the text."""

    plan: Plan
    own: Body
    wide: Body
    body: Body
    injected_fields: Forced = NOTHING

    @property
    def changed(self) -> bool:
        """Whether it is another one than the caller's."""
        return self.body is not self.own

    @property
    def job(self) -> Job[Response]:
        """What reranking it needs."""
        return Job(self.plan, OpenSearchHits(), self._first)

    def _first(self, response: Any) -> FirstPass[Response] | str:
        if (error := _error(response)) is not None:
            told = _REFUSED if self.is_refused(response) else "the search failed: {}"
            return told.format(errors.reason(error))
        if not isinstance(response, Mapping) or "hits" not in response:
            return "the answer has no hits"
        hybrid = self.plan.search.mode == "hybrid"
        return FirstPass(
            dict(response), "database" if hybrid else "none", injected_fields=self.injected_fields
        )

    def passed(self, error: RequestError) -> Job[Response]:
        """What is told where the caller's own is sent instead."""
        reason = self.plan.reason or _REFUSED.format(errors.reason(error))
        return replace(self.job, plan=replace(self.plan, reason=reason))

    def is_refused(self, response: Any) -> bool:
        """Whether OpenSearch refused what was made of the caller's search."""
        error = _error(response)
        return self.changed and error is not None and error.status == _BAD_REQUEST


def search(
    drop_in: DropIn, native: Native, arguments: Arguments, rerank: Rerank, query: Query
) -> Flow[Any]:
    """One search: ``native(**arguments)``, with its hits reranked.

    Where OpenSearch refuses the deeper search (400), the caller's own is sent: it may be fine,
    and else the error is the caller's own.
    """
    request = Request(request_reader.parsed(arguments.get("body")), _url(arguments))
    sent = _sent(drop_in, request, rerank, query)
    if not sent.changed:
        return (yield from dropin.single(sent.job, lambda: native(**arguments)))
    deeper = _deepen_arguments(
        arguments, sent.body, without=PAGE if sent.wide is not sent.own else ()
    )
    return (
        yield from _or_own(
            dropin.single(sent.job, lambda: native(**deeper)),
            lambda error: dropin.single(sent.passed(error), lambda: native(**arguments)),
        )
    )


def msearch(
    drop_in: DropIn, native: Native, arguments: Arguments, rerank: Reranks, queries: Queries
) -> Flow[Any]:
    """Several searches in one request: ``native(**arguments)``, with the hits of each reranked.

    An answer that is an error stays where it is. What OpenSearch refuses of the deeper searches
    is sent again as the caller wrote it.
    """
    arguments, pairs = _paired(arguments)
    url, count = _url(arguments), len(pairs)
    reranks: list[Rerank] = each("rerank", rerank, bool | Policy, count)
    texts: list[str | None] = each("rerank_query", queries, str | None, count)
    sent = [
        _sent(drop_in, Request.of_many(request_reader.parsed(body), url), how, text)
        for (_, body), how, text in zip(pairs, reranks, texts, strict=True)
    ]
    jobs, split = [one.job for one in sent], partial(_split, len(sent))
    if not any(one.changed for one in sent):
        answer, responses = yield from dropin.batch(jobs, lambda: native(**arguments), split)
        return _joined(answer, responses)
    deeper = _deepen_arguments(arguments, list(_lines(pairs, sent)))
    answer, responses = yield from _or_own(
        dropin.batch(jobs, lambda: native(**deeper), split),
        lambda error: dropin.batch(
            [one.passed(error) for one in sent], lambda: native(**arguments), split
        ),
    )
    refused = [n for n, one in enumerate(sent) if one.is_refused(responses[n])]
    if refused:
        own = {**arguments, "body": [line for n in refused for line in pairs[n]]}
        again = yield Call(lambda: native(**own))
        for n, response in zip(refused, _split(len(refused), again), strict=True):
            responses[n] = response
    return _joined(answer, responses)


def _or_own(deeper: Flow[T], own: Callable[[RequestError], Flow[T]]) -> Flow[T]:
    """The deeper search, or the caller's own where OpenSearch refuses it."""
    try:
        return (yield from deeper)
    except RequestError as caught:
        if caught.status_code != _BAD_REQUEST:
            raise
        error = caught
    return (yield from own(error))


def _sent(drop_in: DropIn, request: Request, rerank: Rerank, query: Query) -> Sent:
    """A request as it is to be sent."""
    paths = drop_in.pipeline.text_fields.paths
    asked = request_reader.asked(request, paths, drop_in.k)
    plan = drop_in.plan(asked, rerank, query)
    own = request.body if request.body is not None else {}
    if plan.reason not in (None, drop_in.past):
        return Sent(plan, own, own, own)
    wide = request_reader.deepen_request(request, drop_in.k)
    if plan.reason == drop_in.past:  # a page of the same first pass, without a text
        return Sent(plan, own, wide, wide)
    projection = request_reader.projected(request, paths)
    body = {**wide, **projection.parts} if projection.parts else wide
    return Sent(plan, own, wide, body, projection.injected_fields)


def _url(arguments: Arguments) -> dict[str, Any]:
    named = {name: value for name, value in arguments.items() if name not in _NO_URL}
    return request_reader.url_arguments(arguments.get("params"), named)


def _deepen_arguments(
    arguments: Arguments, body: Any, without: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments with another body, and what of the URL is not in it.

    A refusal comes as an error, also where the caller wants it as an answer.
    """
    given = _without({**arguments, "body": body}, without)
    if (ignored := _url(arguments).get("ignore")) is not None:
        statuses = [ignored] if isinstance(ignored, int) else list(ignored)
        kept = tuple(status for status in statuses if status != _BAD_REQUEST)
        given = {**_without(given, ("ignore",)), "ignore": kept}
    return given


def _lines(pairs: Sequence[Sequence[Any]], sent: Sequence[Sent]) -> Iterator[Any]:
    for (header, own), one in zip(pairs, sent, strict=True):
        yield header
        yield one.body if one.changed else own


def _without(arguments: Arguments, names: Sequence[str]) -> dict[str, Any]:
    """The arguments without some that go into the URL."""
    kept = {name: value for name, value in arguments.items() if name not in names}
    if params := kept.get("params"):
        kept["params"] = {name: value for name, value in params.items() if name not in names}
    return kept


def _paired(arguments: Arguments) -> tuple[Arguments, list[list[Any]]]:
    """The arguments, and the header and body of each search; no pairs where they do not pair.

    The server skips an empty first line, so that all lines after it pair otherwise.
    """
    body = arguments["body"]
    if isinstance(body, str | bytes):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        lines: list[Any] = text.rstrip("\n").split("\n")
    else:
        lines = list(body or ())
        arguments = {**arguments, "body": lines if body else body}
    pairs = len(lines) % 2 == 0 and lines[0] not in ("", b"") if lines else False
    return arguments, list(chunked(lines, 2)) if pairs else []


def _split(count: int, answer: Any) -> list[Any]:
    """The response to each search; nothing for any where the answer has another form."""
    responses = answer.get("responses") if isinstance(answer, Mapping) else None
    whole = isinstance(responses, list) and len(responses) == count
    return [*responses] if whole else [{}] * count  # type: ignore[misc]  # None is not whole


def _joined(answer: Any, responses: Sequence[Any]) -> Any:
    """The answer with the responses, where it has that form."""
    has = isinstance(answer, Mapping) and len(answer.get("responses") or ()) == len(responses)
    return {**answer, "responses": responses} if has else answer


def _error(response: Any) -> errors.SearchFailed | None:
    """The error that a response is, or None; ``filter_path`` may leave nothing but its status."""
    if not isinstance(response, Mapping):
        return None
    error, status = response.get("error"), response.get("status")
    if error is None and (status or 0) < _BAD_REQUEST:
        return None
    told = error if isinstance(error, Mapping) else {"type": error or f"status {status}"}
    return errors.SearchFailed(status or 500, told)
