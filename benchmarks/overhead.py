"""What the plugin itself costs per search: everything but database and models.

A client that answers at once with a recorded response (k hits of about 1 kB), an identity
reranker and a given query vector leave only our own work: building the request, reading the
candidates, ordering, rebuilding the response, and the outcome. "drop-in" is a call of a wrapped
client. "breaker open" is the same with a reranker that has failed and is no longer called. "order"
computes the final order from a reranker's scores, without a database: calibration, blending, and
exact terms, of which the query has two, for hits of about 1 kB that both branches know in part;
with and without smoothing over similar documents.

    python benchmarks/overhead.py [--k 50] [--searches 2000]
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

from opensearchpy import OpenSearch
from qdrant_client import QdrantClient
from qdrant_client.http import models

from vecdb_rerank import Deadline, Policy, Scores
from vecdb_rerank.model import BranchHit, Candidate, Ranking
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import MS_MARCO_MINILM
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.ranking.exact_terms import protect
from vecdb_rerank.ranking.ordering import rerank
from vecdb_rerank_opensearch import OpenSearchConnector, RerankingOpenSearch
from vecdb_rerank_qdrant import QdrantConnector, RerankingQdrantClient

Search = Callable[[], Any]
PATIENT = Policy(breaker=Breaker(pause=3600.0))
VECTOR = [0.05] * 384
TEXT = "A cross-encoder reads the query and the document together. " * 16


class Identity(BaseReranker):
    """Keeps the first-pass order."""

    name = "identity"
    keeps_deadline = True

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        n = len(documents)
        return Scores.from_relevance([1.0 - i / n for i in range(n)])


MAPPING = {
    "docs": {
        "mappings": {
            "properties": {
                "text": {"type": "text"},
                "title": {"type": "text"},
                "dense": {"type": "knn_vector", "dimension": len(VECTOR)},
            }
        }
    }
}


class Failing(BaseReranker):
    """Is down, and soon left alone."""

    name = "failing"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        raise ConnectionError


def points(k: int, first: int = 0) -> models.QueryResponse:
    """A recorded response of Qdrant, k hits of about 1 kB."""
    return models.QueryResponse(
        points=[
            models.ScoredPoint(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))),
                version=1,
                score=20.0 - n / 10,
                payload={"title": f"Title {n}", "text": f"{n}: {TEXT}", "tags": ["a", "b"], "n": n},
            )
            for n in range(first, first + k)
        ]
    )


def qdrant(k: int, reranker: BaseReranker) -> Search:
    """A search on a Qdrant connector whose client replays a response."""
    branches = [points(k), points(k, k // 2)]  # half of each is in the other, too
    client = QdrantClient(":memory:")
    client.query_batch_points = lambda **_: branches  # type: ignore[method-assign]  # the replay
    connector = QdrantConnector(client, "docs", reranker=reranker, embedder=None, policy=PATIENT)
    return lambda: connector.search("a query of some words", query_vector=VECTOR, k=k)


def qdrant_dropin(k: int, reranker: BaseReranker) -> Search:
    """A call of a wrapped Qdrant client that replays a response."""
    answer = points(k)
    client = QdrantClient(":memory:")
    client.query_points = lambda *_, **__: answer  # type: ignore[method-assign]  # the replay
    wrapped = RerankingQdrantClient(client, reranker, policy=PATIENT, k=k)
    return lambda: wrapped.query_points("docs", VECTOR, limit=10, rerank_query="some words")


def hits(k: int, first: int, score: float, source: Mapping[str, object]) -> dict[str, object]:
    """A recorded response of OpenSearch."""
    found = [
        {"_index": "docs", "_id": str(n), "_score": score - n / 100, "_source": {**source}}
        for n in range(first, first + k)
    ]
    total = {"value": 100, "relation": "eq"}
    return {"took": 5, "timed_out": False, "hits": {"total": total, "hits": found}}


def texts(k: int) -> dict[str, Any]:
    """A recorded response of OpenSearch, hits of about 1 kB."""
    response: dict[str, Any] = hits(k, 0, 2.0, {"title": "Title", "tags": ["a", "b"], "n": 1})
    for n, hit in enumerate(response["hits"]["hits"]):
        hit["_source"]["text"] = f"{n}: {TEXT}"
    return response


def opensearch(k: int, reranker: BaseReranker) -> Search:
    """A search on an OpenSearch connector whose client replays a response."""
    answer = {"responses": [texts(k), hits(k, 0, 20.0, {}), hits(k, k // 2, 2.0, {})]}
    client = OpenSearch()
    client.msearch = lambda **_: answer  # the replay
    client.indices.get_mapping = lambda **_: MAPPING  # read once
    connector = OpenSearchConnector(
        client, "docs", reranker=reranker, embedder=None, policy=PATIENT
    )
    return lambda: connector.search("a query of some words", query_vector=VECTOR, k=k)


def opensearch_dropin(k: int, reranker: BaseReranker) -> Search:
    """A call of a wrapped OpenSearch client that replays a response."""
    answer = texts(k)
    client = OpenSearch()
    client.search = lambda **_: answer  # the replay
    wrapped = RerankingOpenSearch(client, reranker, policy=PATIENT, k=k)
    body = {"query": {"match": {"text": "a query of some words"}}, "size": 10}
    return lambda: wrapped.search(index="docs", body=body)


def order(k: int, blend: Blend) -> Search:
    """Calibration, blending and exact terms of one window's scores, a new window every time."""
    # More windows than `similarity` caches.
    windows = cycle([Window(k, random.Random(seed)) for seed in range(20)])
    rules = ExactTerms(terms=("cluster",), boost=0.05)

    def ordered() -> Ranking:
        window = next(windows)
        scores = MS_MARCO_MINILM.scores(window.given)
        ranking = rerank(window.candidates, scores, blend)
        return protect(ranking, "what does ERR_4032 mean on a cluster?", rules)

    return ordered


class Window:
    """k hits of about 1 kB, in part known to both branches, with scores of an unsure reranker."""

    def __init__(self, k: int, chance: random.Random) -> None:
        words = ["disk", "error", "the", "of", "cluster", "utf-8", "README", "index", "shard"]
        words += [f"word{n}" for n in range(2_000)]
        common = [1 / (n + 1) for n in range(len(words))]  # Zipf's law
        self.texts = [f"{n}: {' '.join(chance.choices(words, common, k=170))}" for n in range(k)]
        self.texts[-1] += " ERR_4032"
        self.candidates = [
            Candidate(
                n,
                n,
                text,
                1 / (60 + n),
                {"text": text},
                {
                    name: BranchHit(n + 1, chance.random())
                    for name in ("bm25", "dense")
                    if chance.random() < 0.7
                },
            )
            for n, text in enumerate(self.texts)
        ]
        self.given = Scores.from_logits([chance.gauss(-2.0, 2.0) for _ in range(k)])


def measure(search: Search, searches: int) -> dict[str, float]:
    """p50, p95 and p99 of one search, in milliseconds."""
    for _ in range(50):
        search()
    times = []
    for _ in range(searches):
        started = time.perf_counter()
        search()
        times.append((time.perf_counter() - started) * 1e3)
    cuts = statistics.quantiles(times, n=100)
    return {f"p{n}_ms": round(cuts[n - 1], 3) for n in (50, 95, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--searches", type=int, default=2000)
    options = parser.parse_args()
    logging.getLogger("vecdb_rerank").setLevel(logging.ERROR)  # a warning when the breaker opens
    results = {
        f"{name}{what}": measure(make(options.k, reranker), options.searches)
        for name, make in (
            ("qdrant", qdrant),
            ("qdrant drop-in", qdrant_dropin),
            ("opensearch", opensearch),
            ("opensearch drop-in", opensearch_dropin),
        )
        for what, reranker in (("", Identity()), (", breaker open", Failing()))
    }
    alone = replace(Blend(), feedback=0.0, smoothing=0.0)
    results["order"] = measure(order(options.k, Blend()), options.searches)
    results["order, each document alone"] = measure(order(options.k, alone), options.searches)
    print(json.dumps({"k": options.k, **results}, indent=2))


if __name__ == "__main__":
    main()
