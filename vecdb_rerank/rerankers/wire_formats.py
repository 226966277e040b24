"""The wire formats of rerank servers: one table, and the functions that read its rows.

To add a format, add a row to `FORMATS` and its name to `FormatName`, and a case to
``tests/rerankers/test_wire_formats.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeGuard
from urllib.parse import urlsplit, urlunsplit

from vecdb_rerank.errors import RerankError
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.http.server_messages import value_at
from vecdb_rerank.model import clip_relevance

Scale = Literal["relevance", "logits"]
Unit = Literal["search", "token"]
FormatName = Literal["cohere", "cohere_v1", "jina", "tei", "voyage"]


@dataclass(frozen=True, slots=True)
class WireFormat:
    """The requests and responses of one kind of server.

    The path and the fields of the request:

    - ``path``: what is appended to the server's address, unless it ends in it already.
    - ``query``, ``documents``, ``model``: the fields of the request. ``model=None``: the server
      has one model, and requests do not name it.
    - ``asks_logits``: the boolean field that requests logits instead of relevance.
    - ``constants``: fields that every request has.
    - ``auth_header``, ``auth_prefix``: the header of the key, and what precedes the key in it.

    The response:

    - ``results``: the field that holds the list of results; None: the response is the list.
    - ``index``, ``score``: the fields of one result.
    - ``scale``: what the scores are by default, ``relevance`` (0 to 1) or ``logits``.
    - ``usage``: the path of the billed units. ``error``: the path of the message in the body of an
      error response; if it is missing, the shapes of other servers are tried.

    The limits of one request, and its price:

    - ``max_documents``; ``max_tokens`` of the query with each of the documents (None: no limit).
    - ``listwise``: a score depends on the other documents of the request, so no call is split
      into several requests.
    - ``unit``: what the service bills.
    """

    path: str
    query: str = "query"
    documents: str = "documents"
    model: str | None = "model"
    asks_logits: str | None = None
    constants: Mapping[str, object] = field(default_factory=dict)
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    results: str | None = "results"
    index: str = "index"
    score: str = "relevance_score"
    scale: Scale = "relevance"
    usage: tuple[str, ...] = ()
    error: tuple[str, ...] = ("message",)
    max_documents: int = 1_000
    max_tokens: int | None = None
    listwise: bool = False
    unit: Unit | None = None


_NO_DOCUMENTS = {"return_documents": False}
_SEARCH_UNITS = ("meta", "billed_units", "search_units")
_TOTAL_TOKENS = ("usage", "total_tokens")

# Sources: the API references of Cohere (v2 and v1 rerank, also the format of vLLM, Infinity,
# LocalAI and llama.cpp; llama.cpp returns logits), Jina AI (returns the documents by default),
# Voyage AI (at most 1,000 documents; at most 100,000 tokens for rerank-1, 300,000 for the lite
# models before 2.5 and 600,000 for rerank-2 and 2.5: the smallest is the default), and Hugging
# Face text-embeddings-inference (max-client-batch-size 32; without `truncate` one long document
# fails the whole request; logits distinguish scores that a server's 16-bit sigmoid makes equal).
FORMATS: Mapping[FormatName, WireFormat] = {
    "cohere": WireFormat("/v2/rerank", usage=_SEARCH_UNITS, unit="search"),
    "cohere_v1": WireFormat(
        "/v1/rerank", constants=_NO_DOCUMENTS, usage=_SEARCH_UNITS, unit="search"
    ),
    "jina": WireFormat(
        "/v1/rerank",
        constants=_NO_DOCUMENTS,
        usage=_TOTAL_TOKENS,
        error=("detail",),
        unit="token",
    ),
    "tei": WireFormat(
        "/rerank",
        documents="texts",
        model=None,
        asks_logits="raw_scores",
        constants={"truncate": True},
        results=None,
        score="score",
        scale="logits",
        error=("error",),
        max_documents=32,
    ),
    "voyage": WireFormat(
        "/v1/rerank",
        constants=_NO_DOCUMENTS,
        results="data",
        usage=_TOTAL_TOKENS,
        error=("detail",),
        max_tokens=100_000,
        unit="token",
    ),
}


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One request: the scores of ``documents`` for ``query``, on a ``scale``."""

    model: str | None
    query: str
    documents: Sequence[str]
    scale: Scale


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request: a score for each document, and the units billed for it."""

    scores: list[float]
    billed: float


def request_body(request: ScoreRequest, wire: WireFormat) -> dict[str, object]:
    """Return the JSON body of ``request``."""
    body: dict[str, object] = {} if wire.model is None else {wire.model: request.model}
    body |= {wire.query: request.query, wire.documents: list(request.documents)}
    if wire.asks_logits is not None:
        body[wire.asks_logits] = request.scale == "logits"
    return {**body, **wire.constants}


def request_tokens(query: str, documents: Sequence[str]) -> list[float]:
    """Estimate the tokens that each document adds to a request: its own, and the query's again."""
    asked = estimated_tokens(query)
    return [asked + estimated_tokens(document) for document in documents]


def predicted_units(wire: WireFormat, query: str, documents: Sequence[str]) -> float:
    """Predict the units that one request will be billed; 0 if the service bills nothing.

    A search unit is a query with up to 100 documents. A document of more than 500 tokens, the
    query included, is split into chunks, and each chunk counts as a document (Cohere, "Pricing").
    """
    if wire.unit is None or not documents:
        return 0.0
    tokens = request_tokens(query, documents)
    if wire.unit == "token":
        return sum(tokens)
    chunks = sum(max(1, math.ceil(count / 500)) for count in tokens)
    return float(math.ceil(chunks / 100))


def root(url: str) -> str:
    """Return ``url`` without the path of any of these formats: ``/rerank``, ``/v1``, ``/v2``."""
    base = url.rstrip("/").removesuffix("/rerank")
    return base.removesuffix("/v1").removesuffix("/v2").rstrip("/")


def endpoint(url: str, path: str) -> str:
    """Return the address to post to; keep a ``url`` that ends in the path or its version.

    ``http://host/v2`` and ``/v2/rerank`` give ``http://host/v2/rerank``, not ``/v2/v2/rerank``.
    """
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    version, _, name = path.rpartition("/")
    if base.endswith(f"/{name}"):
        whole = base
    elif version and base.endswith(version):
        whole = f"{base}/{name}"
    else:
        whole = f"{base}{path}"
    return urlunsplit(parts._replace(path=whole, fragment=""))


def reply(answer: object, request: ScoreRequest, wire: WireFormat) -> Reply:
    """Return the scores and billed units of a response; without a price, 0 units are billed.

    Raise `RerankError` unless each document has exactly one valid score.
    """
    found = scores(answer, len(request.documents), wire, request.scale)
    billed = value_at(answer, wire.usage) if wire.usage else None
    return Reply(found, float(billed) if _is_finite(billed) and billed >= 0 else 0.0)


def scores(answer: object, count: int, wire: WireFormat, scale: Scale) -> list[float]:
    """Return the scores of a response by document.

    Raise `RerankError` unless each of ``count`` documents has exactly one valid score.
    """
    entries = value_at(answer, (wire.results,)) if wire.results else answer
    if not isinstance(entries, list):
        raise RerankError(f"the response has no list of {wire.results or 'results'}")
    found: dict[int, float] = {}
    for entry in entries:
        index, score = _result(entry, wire)
        if not 0 <= index < count:
            raise RerankError(f"the response has index {index} for {count} documents")
        if index in found:
            raise RerankError(f"the response has index {index} twice")
        found[index] = _on_scale(score, scale, wire.score)
    if len(found) != count:
        raise RerankError(f"the response has {len(found)} scores for {count} documents")
    return [found[index] for index in range(count)]


def _on_scale(score: float, scale: Scale, name: str) -> float:
    """Return ``score``, rounding errors clipped; raise `RerankError` if it is off the scale."""
    if scale == "logits":
        return score
    if (clipped := clip_relevance(score)) is not None:
        return clipped
    raise RerankError(
        f"the response has a {name} of {score:g}, which is not in 0 to 1 (set scale='logits' if "
        "the server answers with logits; percentages have to be divided by 100)"
    )


def _result(entry: object, wire: WireFormat) -> tuple[int, float]:
    index, score = value_at(entry, (wire.index,)), value_at(entry, (wire.score,))
    if not isinstance(index, int) or isinstance(index, bool):
        raise RerankError(f"a result of the response has no {wire.index}")
    if not _is_finite(score):
        raise RerankError(f"a result of the response has no finite {wire.score}")
    return index, float(score)


def _is_finite(value: object) -> TypeGuard[int | float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int with hundreds of digits
        return False
