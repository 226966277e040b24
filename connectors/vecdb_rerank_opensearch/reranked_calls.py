"""The flows of a drop-in: the caller's own ``search`` or ``msearch``, with its hits reranked."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from more_itertools import chunked
from opensearchpy.exceptions import RequestError

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, call
from vecdb_rerank.model import Ranking
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.search import dropin
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import DropIn, Job, Plan, each
from vecdb_rerank_opensearch import (
    conditions,
    depth,
    errors,
    native_scores,
    page_source,
    request_reader,
)
from vecdb_rerank_opensearch.depth import Body
from vecdb_rerank_opensearch.formula import Composition
from vecdb_rerank_opensearch.native_scores import WITH_SCORES
from vecdb_rerank_opensearch.page_source import PageSource
from vecdb_rerank_opensearch.request_reader import Request
from vecdb_rerank_opensearch.responses import OpenSearchHits, Response
from vecdb_rerank_opensearch.source_selection import NOTHING, Forced, fields_of

T = TypeVar("T")
# A native method, of a synchronous or an asynchronous client.
Native = Callable[..., Response | Awaitable[Response]]
Arguments = Mapping[str, Any]
Fetch = Callable[[Body, float], Response | Awaitable[Response]]  # a body, the seconds left
# The text of a search; for an ``msearch``, one text for all its searches or one for each.
Query = str | None
Queries = Query | Sequence[Query]
Reranks = Rerank | Sequence[Rerank]
_TRUE = (True, "true", "")
_NO_URL = ("body", "index", "params", "headers")
PAGE = (*request_reader.PAGE, "from_")
# URL arguments that say where a search goes and how long it may take.
_SAME_URL = (
    "routing",
    "preference",
    "ignore_unavailable",
    "allow_no_indices",
    "expand_wildcards",
    "ccs_minimize_roundtrips",
    "request_timeout",
)
_BAD_REQUEST = 400
_REFUSED = "OpenSearch refused the deeper search, so the caller's own was sent: {}"


class _Learned(Exception):
    """An answer showed something of the index: the search is planned again with that."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A search as it is sent: ``body`` is the caller's ``own`` or a deeper one with the text.

    ``wide`` is the caller's body made deeper, without the fields that bring the text.
    ``available`` is how many hits there are, if the deeper search finds more; it is known only for
    a search that goes to one shard. ``later`` is what comes for the page alone, by ``fetch``.
    ``filters`` counts the filters of boosts, which the hits tell whether they match.
    ``composition`` is how the score is composed, if it is more than relevance; ``with_scores`` says
    whether the caller asked for scores of named queries.
    """

    plan: Plan
    own: Body
    wide: Body
    body: Body
    injected_fields: Forced = NOTHING
    available: int | None = None
    later: PageSource | None = None
    fetch: Fetch | None = None
    filters: int = 0
    composition: Composition | None = None
    with_scores: bool = False

    def check(self, drop_in: DropIn, target: str, response: object) -> None:
        """Raise `_Learned` if the response shows something that changes the plan.

        That is a search of several shards, on which it cannot be known how many hits there are,
        or an index whose ``max_result_window`` is below the search's depth.
        """
        if not isinstance(response, Mapping) or not self.changed:
            return
        if self.available is not None and "hits" in response and depth.shards(response) != 1:
            drop_in.several_shards.set(target, True)
            raise _Learned
        if _learn_depth(drop_in, target, response):
            raise _Learned

    @property
    def changed(self) -> bool:
        """Whether the body differs from the caller's."""
        return self.body is not self.own

    @property
    def job(self) -> Job[Response]:
        """Return what reranking the response needs."""
        return Job(self.plan, OpenSearchHits(), self._first)

    def _first(self, response: object) -> FirstPass[Response] | str:
        if (error := _error(response)) is not None:
            message = _REFUSED if self.is_refused(response) else "the search failed: {}"
            return message.format(errors.reason(error))
        if not isinstance(response, Mapping) or "hits" not in response:
            return "the response has no hits"
        hybrid = self.plan.search.mode == "hybrid"
        response = depth.with_total_at_most(response, self.available)
        formula, obstacle = None, None
        if self.composition is not None:
            response, scores = native_scores.taken(response, with_scores=self.with_scores)
            formula = native_scores.formula(self.composition, scores)
            if self.composition.window is not None and depth.shards(response) != 1:
                obstacle = "rescore: each of several shards has its own window"
        response = conditions.aggregations_stripped(response, self.filters)
        return FirstPass(
            response,
            "database" if hybrid else "none",
            injected_fields=self.injected_fields,
            complete=None if self.later is None else partial(self._complete, response),
            matching=conditions.matching(response["hits"].get("hits") or [], self.filters),
            formula=formula,
            obstacle=obstacle,
        )

    def _complete(self, response: Response, page: Ranking, deadline: Deadline) -> Flow[Response]:
        """Bring the source of the page."""
        if self.later is None or self.fetch is None:
            return response
        fetch, positions = self.fetch, [hit.candidate.position for hit in page.hits]
        body = self.later.request([response["hits"]["hits"][n] for n in positions])
        left = deadline.remaining()
        answer = yield from call(lambda: fetch(body, left), left)
        if responses := answer.get("responses"):  # of an _msearch
            (answer,) = responses
        if (error := _error(answer)) is not None:
            raise error
        return page_source.filled(response, positions, answer)

    def passed(self, error: RequestError) -> Job[Response]:
        """Return the job of the caller's own search, which is sent because of ``error``."""
        return self.job.passed(_REFUSED.format(errors.reason(error)))

    def is_refused(self, response: object) -> bool:
        """Check whether OpenSearch refused the deeper search."""
        error = _error(response)
        return self.changed and error is not None and error.status == _BAD_REQUEST


def search(
    drop_in: DropIn, native: Native, arguments: Arguments, rerank: Rerank, query: Query
) -> Flow[Response]:
    """Run ``native(**arguments)``, a ``search``, with its hits reranked.

    If the index's ``max_result_window`` is below the window, the search goes as deep as that. If
    OpenSearch refuses the deeper search (400) for another reason, the caller's own is sent, and its
    error raised.
    """
    request = Request(request_reader.parsed(arguments.get("body")), _url(arguments))
    target = _target(arguments)
    sent = _sent(drop_in, request, rerank, query, target)
    sent = replace(sent, fetch=lambda body, left: native(**_second(arguments, body, left)))
    if not sent.changed:
        return (yield from dropin.single(sent.job, lambda: native(**arguments)))
    deeper = _deepen_arguments(
        arguments, sent.body, without=PAGE if sent.wide is not sent.own else ()
    )
    if sent.composition is not None:
        deeper = {**_without(deeper, (WITH_SCORES,)), WITH_SCORES: True}

    def first(response: Response) -> FirstPass[Response] | str:
        sent.check(drop_in, target, response)
        return sent.job.first(response)

    job = replace(sent.job, first=first)
    try:
        return (
            yield from _or_own(
                dropin.single(job, lambda: native(**deeper)),
                lambda error: dropin.single(sent.passed(error), lambda: native(**arguments)),
                lambda error: _learn_depth(drop_in, target, error.info),
            )
        )
    except _Learned:
        pass
    return (yield from search(drop_in, native, arguments, rerank, query))


def msearch(
    drop_in: DropIn, native: Native, arguments: Arguments, rerank: Reranks, queries: Queries
) -> Flow[Response]:
    """Run ``native(**arguments)``, an ``msearch``, with the hits of each search reranked.

    A response that is an error keeps its place. A deeper search that OpenSearch refuses is sent
    again as the caller wrote it.
    """
    arguments, pairs = _paired(arguments)
    url, count = _url(arguments), len(pairs)
    reranks: list[Rerank] = each("rerank", rerank, bool | Policy | Mapping, count)
    texts: list[str | None] = each("rerank_query", queries, str | None, count)
    sent = [
        _sent(
            drop_in,
            Request.of_many(request_reader.parsed(body), url),
            how,
            text,
            _target(arguments, header),
        )
        for (header, body), how, text in zip(pairs, reranks, texts, strict=True)
    ]
    sent = [
        replace(one, fetch=partial(_fetch_one, native, arguments, header))
        for one, (header, _) in zip(sent, pairs, strict=True)
    ]
    jobs, split = [one.job for one in sent], partial(_split, len(sent))
    if not any(one.changed for one in sent):
        answer, responses = yield from dropin.batch(jobs, lambda: native(**arguments), split)
        return _joined(answer, responses)
    deeper = _deepen_arguments(arguments, list(_lines(pairs, sent)))

    targets = [_target(arguments, header) for header, _ in pairs]

    def checked(answer: object) -> list[Any]:
        responses = split(answer)
        for one, target, response in zip(sent, targets, responses, strict=True):
            one.check(drop_in, target, response)
        return responses

    try:
        answer, responses = yield from _or_own(
            dropin.batch(jobs, lambda: native(**deeper), checked),
            lambda error: dropin.batch(
                [one.passed(error) for one in sent], lambda: native(**arguments), split
            ),
        )
    except _Learned:
        return (yield from msearch(drop_in, native, arguments, rerank, queries))
    refused = [n for n, one in enumerate(sent) if one.is_refused(responses[n])]
    if refused:
        own = {**arguments, "body": [line for n in refused for line in pairs[n]]}
        again = yield from call(lambda: native(**own))
        for n, response in zip(refused, _split(len(refused), again), strict=True):
            responses[n] = response
    return _joined(answer, responses)


def _or_own(
    deeper: Flow[T],
    own: Callable[[RequestError], Flow[T]],
    learn: Callable[[RequestError], bool] = lambda _: False,
) -> Flow[T]:
    """Run the deeper search, or the caller's own if OpenSearch refuses it.

    Raises `_Learned` if ``learn`` finds something new in the refusal.
    """
    try:
        return (yield from deeper)
    except RequestError as caught:
        if caught.status_code != _BAD_REQUEST:
            raise
        if learn(caught):
            raise _Learned from None
        error = caught
    return (yield from own(error))


def _learn_depth(drop_in: DropIn, target: str, answer: object) -> bool:
    """Remember the ``max_result_window`` that a search exceeded; return if that is news."""
    window = errors.window(answer)
    if window is not None:
        return drop_in.learn_depth(target, window)
    if drop_in.shallow.get(target) or not errors.exceeds_unnamed_window(answer):
        return False
    drop_in.shallow.set(target, True)
    return True


def _sent(drop_in: DropIn, request: Request, rerank: Rerank, query: Query, target: str) -> Sent:
    """Plan how to send a request."""
    extras = drop_in.extras(rerank)
    conditions.check(extras.filters)
    paths = (*drop_in.pipeline.text_fields.paths, *fields_of(extras))
    one_shard = not drop_in.several_shards.get(target)
    window, limit = drop_in.depths.get(target), "the index's max_result_window"
    rescored = depth.window_size(request.effective)
    if rescored is not None and (window is None or rescored < window):
        window, limit = rescored, "the window_size of the rescore"
    k = drop_in.k if window is None else min(drop_in.k, window)
    info = request_reader.read(request, paths, k, drop_in.rerank_depth, one_shard=one_shard)
    if info.mode == "hybrid" and drop_in.shallow.get(target) and not info.own_depth:
        info = request_reader.read(request, paths, k, "own", one_shard=one_shard)
        why = "the index's max_result_window allows no deeper pagination_depth"
        info = replace(info, notes={**info.notes, "own_depth": why})
    if not info.own_depth:
        drop_in, info = drop_in.within(k, info, f"{limit} is {window}")
    if extras.filters and not request.shows([native_scores.NAMED]):
        why = f"filter_path: hides {native_scores.NAMED}, which boosts need"
        info = replace(info, obstacle=info.obstacle or why)
    plan = drop_in.plan(info, rerank, query)
    own = request.body if request.body is not None else {}
    if plan.reason is not None:
        return Sent(plan, own, own, own)
    wide = request_reader.deepen_request(request, info, drop_in.k)
    projection = request_reader.projection(request, paths)
    body = {**wide, **projection.parts} if projection.parts else wide
    composition = request_reader.composition(request)
    if composition is not None:
        body = {**body, **native_scores.asking(body, composition)}
    later = None
    if drop_in.by_page(info):
        if (reason := page_source.reason_for_all(request.effective, request.url)) is not None:
            notes = {**plan.search.notes, **page_source.note(reason)}
            plan = replace(plan, search=replace(plan.search, notes=notes))
        elif (later := PageSource.of(own.get("_source"), paths)) is not None:
            body = {**body, "_source": later.first}
    if extras.filters:
        body = {**body, **conditions.asking(body, extras.filters)}
    return Sent(
        plan,
        own,
        wide,
        body,
        projection.injected_fields,
        info.available,
        later,
        filters=len(extras.filters),
        composition=composition,
        with_scores=request.url.get(WITH_SCORES) in _TRUE,
    )


def _second(arguments: Arguments, body: Body, left: float) -> dict[str, Any]:
    """Return the arguments of a second search where the first one went."""
    url = {name: value for name, value in _url(arguments).items() if name in _SAME_URL}
    if not math.isinf(left):
        url["request_timeout"] = max(0.001, min(left, float(url.get("request_timeout", left))))
    where = {name: arguments.get(name) for name in ("index", "headers")}
    return {**where, "body": body, "params": url}


def _fetch_one(
    native: Native, arguments: Arguments, header: object, body: Body, left: float
) -> Response | Awaitable[Response]:
    second = _second(arguments, body, left)
    return native(**{**second, "body": [header, body]})


def _target(arguments: Arguments, header: object = None) -> str:
    """Where a search goes to: what decides on how many shards it runs."""
    url = _url(arguments)
    return repr((header, arguments.get("index"), url.get("routing"), url.get("preference")))


def _url(arguments: Arguments) -> dict[str, Any]:
    named = {name: value for name, value in arguments.items() if name not in _NO_URL}
    return request_reader.url_arguments(arguments.get("params"), named)


def _deepen_arguments(
    arguments: Arguments, body: Any, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the arguments with another body, and without the URL parameters in ``without``.

    A refusal is raised even if the caller ignores its status.
    """
    given = _without({**arguments, "body": body}, without)
    if (ignored := _url(arguments).get("ignore")) is not None:
        statuses = [ignored] if isinstance(ignored, int) else list(ignored)
        kept = tuple(status for status in statuses if status != _BAD_REQUEST)
        given = {**_without(given, ("ignore",)), "ignore": kept}
    return given


def _lines(pairs: Sequence[Sequence[object]], sent: Sequence[Sent]) -> Iterator[object]:
    for (header, own), one in zip(pairs, sent, strict=True):
        yield header
        yield one.body if one.changed else own


def _without(arguments: Arguments, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments without some of the URL parameters."""
    kept = {name: value for name, value in arguments.items() if name not in names}
    if params := kept.get("params"):
        kept["params"] = {name: value for name, value in params.items() if name not in names}
    return kept


def _paired(arguments: Arguments) -> tuple[Arguments, list[list[Any]]]:
    """Return the arguments, and the header and body of each search; none if they do not pair up.

    The server skips an empty first line, so the lines after it would pair up differently.
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


def _split(count: int, answer: object) -> list[Response]:
    """Return the response to each search; empty ones if the answer has another form."""
    responses = answer.get("responses") if isinstance(answer, Mapping) else None
    if isinstance(responses, list) and len(responses) == count:
        return [*responses]
    return [{}] * count


def _joined(answer: Response, responses: Sequence[Response]) -> Response:
    """Return the answer with the responses, if it has that form."""
    has = isinstance(answer, Mapping) and len(answer.get("responses") or ()) == len(responses)
    return {**answer, "responses": responses} if has else answer


def _error(response: object) -> errors.SearchFailed | None:
    """Return the error that a response is, or None; ``filter_path`` may leave only its status."""
    if not isinstance(response, Mapping):
        return None
    error, status = response.get("error"), response.get("status")
    if error is None and (status or 0) < _BAD_REQUEST:
        return None
    details = error if isinstance(error, Mapping) else {"type": error or f"status {status}"}
    return errors.SearchFailed(status or 500, details)
