"""Requests in a wire format: the address, the body, and what they will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.rerankers.wire_format import Scale, WireFormat
from vecdb_rerank.rerankers.wire_template import fill


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One request: the scores of ``documents`` for ``query``, on a ``scale``."""

    model: str | None
    query: str
    documents: Sequence[str]
    scale: Scale
    instruction: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that are sent, which no message may repeat."""
        return (self.instruction, self.query, *self.documents)


def request_body(request: ScoreRequest, wire: WireFormat) -> dict[str, object]:
    """Return the JSON body of ``request``."""
    documents = [text[: wire.max_chars] for text in request.documents]
    query = asked(wire, request.query, request.instruction)
    values = {
        "model": request.model,
        "query": query,
        "documents": documents,
        "queries": [query] * len(documents),
        "count": len(documents),
        "instruction": request.instruction or None,
        "logits": request.scale == "logits",
    }
    body = fill(wire.body, values, documents)
    assert isinstance(body, dict)  # as the format's is
    return body


def asked(wire: WireFormat, query: str, instruction: str) -> str:
    """Return the query as it is sent: with the instruction if the format has its place there."""
    if not instruction or wire.instructed_query is None:
        return query
    filled = fill(wire.instructed_query, {"query": query, "instruction": instruction}, ())
    return str(filled)


def request_tokens(query: str, documents: Sequence[str]) -> list[float]:
    """Estimate the tokens that each document adds to a request: its own, and the query's again."""
    per_query = estimated_tokens(query)
    return [per_query + estimated_tokens(document) for document in documents]


def predicted_units(wire: WireFormat, query: str, documents: Sequence[str]) -> float:
    """Predict the units that one request will be billed; 0 if the service bills nothing.

    A search unit is a query with up to 100 documents. A document of more than 500 tokens, the
    query included, is split into chunks, and each chunk counts as a document (Cohere, "Pricing").
    """
    if wire.unit is None or not documents:
        return 0.0
    if wire.unit == "query":
        return float(math.ceil(len(documents) / 100))
    tokens = request_tokens(query, documents)
    if wire.unit == "token":
        return sum(tokens)
    return float(search_units(tokens))


def search_units(tokens: Sequence[float]) -> int:
    """Return Cohere's search units of documents with these ``tokens``, the query included."""
    chunks = sum(max(1, math.ceil(count / 500)) for count in tokens)
    return math.ceil(chunks / 100)


def root(url: str) -> str:
    """Return ``url`` without the path of Cohere's API: ``/rerank``, ``/v1``, ``/v2``."""
    base = url.rstrip("/").removesuffix("/rerank")
    return base.removesuffix("/v1").removesuffix("/v2").rstrip("/")


def one_address(url: object, endpoint: object) -> None:
    """Raise `ConfigurationError` unless one of the two arguments is given."""
    if url is None and endpoint is None:
        raise ConfigurationError("url", "is missing; set it to the server's address")
    if url is not None and endpoint is not None:
        raise ConfigurationError("url", "set it or endpoint, not both")


def endpoint(url: str, path: str, model: str | None = None) -> str:
    """Return the address to post to; keep what ``url`` has of the path already.

    ``http://host/v2`` and ``/v2/rerank`` give ``http://host/v2/rerank``, not ``/v2/v2/rerank``. A
    ``url`` that ends in the last part of the path is kept as it is.
    """
    if not path:
        return url
    whole = with_model(path, model)
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    segments = whole.split("/")
    if base.endswith(f"/{segments[-1]}"):
        return urlunsplit(parts._replace(path=base, fragment=""))
    starts = ("/".join(segments[:end]) for end in range(len(segments) - 1, 1, -1))
    start = next((start for start in starts if base.endswith(start)), "")
    return urlunsplit(parts._replace(path=base + whole.removeprefix(start), fragment=""))


def with_model(path: str, model: str | None) -> str:
    """Return ``path`` with the model's name, quoted, in its place."""
    name = quote(model or "", safe="/:@")
    filled = path.replace("{model}", name)
    return filled.replace("{model_with_underscores}", name.replace(".", "_"))


def merged_query(query: str, more: Mapping[str, str]) -> str:
    """Return a query string with parameters added."""
    return "&".join(filter(None, (query, urlencode(more))))
