"""The wire formats of rerank servers, as data: path, request, response."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vecdb_rerank.errors import RerankError

FormatName = Literal["cohere", "cohere_v1", "jina", "tei", "voyage"]
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One wire format.

    ``body`` makes the request from (model, query, documents); ``results`` names the key of the
    response that holds the results (None: the response is the list), ``score`` that of a result's
    number, 0 to 1. ``batch_size`` is the most documents that one request may have.
    """

    path: str
    body: Callable[[str | None, str, Sequence[str]], Body]
    results: str | None
    score: str
    batch_size: int


def _cohere(model: str | None, query: str, documents: Sequence[str]) -> Body:
    return {"model": model, "query": query, "documents": list(documents)}


def _jina(model: str | None, query: str, documents: Sequence[str]) -> Body:
    return {**_cohere(model, query, documents), "return_documents": False}


def _tei(_model: str | None, query: str, documents: Sequence[str]) -> Body:
    return {"query": query, "texts": list(documents), "truncate": True}


# Sources: the API references of Cohere (v2 and v1 rerank; vLLM, Infinity and LocalAI speak them),
# Jina AI, Voyage AI, and Hugging Face text-embeddings-inference (max-client-batch-size 32).
FORMATS: Mapping[FormatName, Format] = {
    "cohere": Format("/v2/rerank", _cohere, "results", "relevance_score", 1_000),
    "cohere_v1": Format("/v1/rerank", _cohere, "results", "relevance_score", 1_000),
    "jina": Format("/v1/rerank", _jina, "results", "relevance_score", 1_000),
    "tei": Format("/rerank", _tei, None, "score", 32),
    "voyage": Format("/v1/rerank", _cohere, "data", "relevance_score", 1_000),
}


def endpoint(url: str, path: str) -> str:
    """The address to post to; a ``url`` that already ends in the path, or its version, is kept so.

    ``http://host/v2`` and ``/v2/rerank`` give ``http://host/v2/rerank``, not ``/v2/v2/rerank``.
    """
    base = url.rstrip("/")
    if base.endswith("/rerank"):
        return base
    version = path.removesuffix("/rerank")
    return f"{base}/rerank" if version and base.endswith(version) else f"{base}{path}"


def scores(answer: Any, count: int, wire: Format) -> list[float]:
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
        found[index] = score
    if len(found) != count:
        raise RerankError(f"the response has {len(found)} scores for {count} documents")
    return [found[index] for index in range(count)]


def _entry(entry: Any, key: str) -> tuple[int, float]:
    index = entry.get("index") if isinstance(entry, Mapping) else None
    score = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(index, int) or isinstance(index, bool):
        raise RerankError("a result of the response has no index")
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise RerankError(f"a result of the response has no finite {key}")
    return index, float(score)
