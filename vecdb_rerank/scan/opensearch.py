"""What becomes of each call of an OpenSearch client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from vecdb_rerank.scan.rulings import (
    Arguments,
    Clients,
    Reading,
    Ruling,
    batch,
    bound,
    has_query,
    passed,
    ruling,
    undecided,
    without_unknown,
)
from vecdb_rerank.scan.values import Open, Undecided, as_list, is_unknown, known_part, source
from vecdb_rerank_opensearch import request_reader
from vecdb_rerank_opensearch.depth import Body, Page
from vecdb_rerank_opensearch.query_text import has_context, query_texts
from vecdb_rerank_opensearch.request_reader import Request

_READS = {
    "scroll": "a page of the database's order",
    "count": "a count",
    "get": "a document by id",
    "mget": "documents by id",
    **request_reader.TEMPLATES,
}
_NUMBERS = ("from", "from_", "size")
_NOT_URL = ("body", "index", "params", "headers", "rerank", "rerank_query", "instruction")
RAW = ("transport",)


def rulings(
    method: str, positional: Sequence[object], named: Arguments, clients: Clients
) -> list[Ruling]:
    """Return the rulings on one call, one a request; none for a method that does not search."""
    if method in _READS:
        return [passed(f"{method}: {_READS[method]}")]
    arguments = bound(("body", "index"), positional, named)
    if method == "search":
        return [
            ruling(
                arguments, lambda: _read(arguments, Request(*_parts(arguments)), clients), clients
            )
        ]
    return _msearch(arguments, clients) if method == "msearch" else []


def _msearch(arguments: Arguments, clients: Clients) -> list[Ruling]:
    body = known_part(arguments).get("body")
    if (lines := as_list(body)) is None:
        if known_part(arguments).get("rerank") is False:
            return [passed("rerank=False")]
        return [undecided(source(body) if is_unknown(body) else "body")]
    if len(lines) % 2:
        return [passed("body: headers and bodies do not pair")]
    shared, bodies = known_part(arguments), lines[1::2]
    return batch(
        arguments,
        len(bodies),
        lambda n, own: _member({**shared, "body": bodies[n]}, own, clients),
    )


def _member(arguments: Arguments, own: Arguments, clients: Clients) -> Ruling:
    read = partial(_read_call, arguments, own, Request.of_many, clients)
    return ruling(own, read, clients)


def _read_call(
    arguments: Arguments,
    own: Arguments,
    make: Callable[[Body | None, Arguments], Request],
    clients: Clients,
) -> Reading:
    return _read(own, make(*_parts(arguments)), clients)


def _parts(arguments: Arguments) -> tuple[Body | None, Arguments]:
    """Return the body and the URL's arguments of a search, without numbers that are not literal."""
    body, params = arguments.get("body"), arguments.get("params")
    for value in (body, params):
        if is_unknown(value):
            raise Undecided(source(value))
    if isinstance(arguments, Open) or isinstance(params, Open):
        raise Undecided("**")
    named = {name: value for name, value in arguments.items() if name not in _NOT_URL}
    url = request_reader.url_arguments(params if isinstance(params, dict) else None, named)
    if isinstance(body, dict | Open):
        body = without_unknown(body, _NUMBERS)
    return request_reader.parsed(body), without_unknown(url, _NUMBERS)


def _read(own: Arguments, request: Request, clients: Clients) -> Reading:
    if (obstacle := request_reader.obstacle(request, clients.text_fields.paths)) is not None:
        return Reading(obstacle)
    body = request.effective
    return Reading(
        texts=() if has_query(own) else query_texts(body),
        where="ext.rerank.query_context" if has_context(body) else "the query",
        is_past=Page.of(body).offset >= clients.k,
    )
