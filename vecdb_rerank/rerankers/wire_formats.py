"""The wire formats of rerank servers, as data: path, request, response."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from vecdb_rerank.errors import RerankError

FormatName = Literal["cohere", "cohere_v1", "jina", "tei", "voyage"]
Scale = Literal["relevance", "logits"]
Body = dict[str, Any]
Units = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request asks: scores of ``documents`` for ``query``, on a ``scale``."""

    model: str | None
    query: str
    documents: Sequence[str]
    scale: Scale


def _nothing(query: str, documents: Sequence[str]) -> float:  # noqa: ARG001 - `units` of a Format
    return 0.0


@dataclass(frozen=True, slots=True)
class Format:
    """One wire format.

    ``body`` makes the request; ``results`` names the key of the response that holds the results
    (None: the response is the list), ``score`` that of a result's number. ``scale`` is what the
    numbers are where nothing else is said: ``relevance`` (0 to 1), or ``logits``. ``batch_size``
    is the most documents that one request may have. ``units`` foretells what a request will be
    billed, and ``billed`` is where the response says it.
    """

    path: str
    body: Callable[[Ask], Body]
    units: Units = _nothing
    billed: tuple[str, ...] = ()
    results: str | None = "results"
    score: str = "relevance_score"
    scale: Scale = "relevance"
    batch_size: int = 1_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gave: a score for each document, and the units billed for it."""

    scores: list[float]
    billed: float


def _cohere(ask: Ask) -> Body:
    return {"model": ask.model, "query": ask.query, "documents": list(ask.documents)}


def _without_documents(ask: Ask) -> Body:
    return {**_cohere(ask), "return_documents": False}


def _tei(ask: Ask) -> Body:
    # Logits keep apart what a server's 16-bit sigmoid makes equal.
    return {
        "query": ask.query,
        "texts": list(ask.documents),
        "raw_scores": ask.scale == "logits",
        "truncate": True,  # else one long document fails them all with 413
    }


def _searches(query: str, documents: Sequence[str]) -> float:  # noqa: ARG001 - `units` of a Format
    """Cohere's search units: one for a query with up to 100 documents (Cohere, Pricing)."""
    return float(math.ceil(len(documents) / 100))


def _tokens(query: str, documents: Sequence[str]) -> float:
    """Tokens of the query with each document, at four characters a token."""
    return sum(len(query) + len(document) for document in documents) / 4


_SEARCH_UNITS = ("meta", "billed_units", "search_units")
_TOTAL_TOKENS = ("usage", "total_tokens")

# Sources: the API references of Cohere (v2 and v1 rerank, which vLLM, Infinity, LocalAI and
# llama.cpp speak; the last one answers with logits), Jina AI (returns the documents unless told
# not to), Voyage AI (at most 1,000 documents), and Hugging Face text-embeddings-inference
# (max-client-batch-size 32; refuses with 413, 422 and 424, is overloaded with 429).
FORMATS: Mapping[FormatName, Format] = {
    "cohere": Format("/v2/rerank", _cohere, _searches, _SEARCH_UNITS),
    "cohere_v1": Format("/v1/rerank", _without_documents, _searches, _SEARCH_UNITS),
    "jina": Format("/v1/rerank", _without_documents, _tokens, _TOTAL_TOKENS),
    "tei": Format("/rerank", _tei, results=None, score="score", scale="logits", batch_size=32),
    "voyage": Format("/v1/rerank", _without_documents, _tokens, _TOTAL_TOKENS, results="data"),
}


def root(url: str) -> str:
    """``url`` without what the paths of these formats bring: ``/rerank``, ``/v1``, ``/v2``."""
    base = url.rstrip("/").removesuffix("/rerank")
    return base.removesuffix("/v1").removesuffix("/v2").rstrip("/")


def endpoint(url: str, path: str) -> str:
    """The address to post to; a ``url`` that already ends in the path, or its version, is kept so.

    ``http://host/v2`` and ``/v2/rerank`` give ``http://host/v2/rerank``, not ``/v2/v2/rerank``.
    """
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    version = path.removesuffix("/rerank")
    if base.endswith("/rerank"):
        whole = base
    elif version and base.endswith(version):
        whole = f"{base}/rerank"
    else:
        whole = f"{base}{path}"
    return urlunsplit(parts._replace(path=whole, fragment=""))


def reply(answer: Any, ask: Ask, wire: Format) -> Reply:
    """What a response says to ``ask``; one that tells no price has billed nothing."""
    found = scores(answer, len(ask.documents), wire, ask.scale)
    said: Any = answer if wire.billed else None
    for key in wire.billed:
        said = said.get(key) if isinstance(said, Mapping) else None
    if isinstance(said, int | float) and _is_finite(said) and said >= 0:
        return Reply(found, float(said))
    return Reply(found, 0.0)


def scores(answer: Any, count: int, wire: Format, scale: Scale) -> list[float]:
    """The scores of a response by document; `RerankError` unless each has exactly one."""
    entries = answer.get(wire.results) if wire.results and isinstance(answer, Mapping) else answer
    if not isinstance(entries, list):
        raise RerankError(f"the response has no list of {wire.results or 'results'}")
    found: dict[int, float] = {}
    for entry in entries:
        index, score = _entry(entry, wire.score)
        if not 0 <= index < count:
            raise RerankError(f"the response has index {index} for {count} documents")
        if index in found:
            raise RerankError(f"the response has index {index} twice")
        if scale == "relevance" and not 0 <= score <= 1:
            raise RerankError(
                f"the response has a {wire.score} of {score:g}, which is not in 0 to 1 "
                "(if the server answers with logits, set scale='logits')"
            )
        found[index] = score
    if len(found) != count:
        raise RerankError(f"the response has {len(found)} scores for {count} documents")
    return [found[index] for index in range(count)]


def _entry(entry: Any, key: str) -> tuple[int, float]:
    index = entry.get("index") if isinstance(entry, Mapping) else None
    if not isinstance(index, int) or isinstance(index, bool):
        raise RerankError("a result of the response has no index")
    score = entry.get(key)
    if not isinstance(score, int | float) or isinstance(score, bool) or not _is_finite(score):
        raise RerankError(f"a result of the response has no finite {key}")
    return index, float(score)


def _is_finite(score: float) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:  # an int with hundreds of digits
        return False
