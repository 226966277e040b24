"""What a drop-in client adds to a call: the wrapped call less the raw one that is as deep.

In turns, so that both see the same machine: the raw client is sent the widened request (`deepen`),
the drop-in the caller's own, with an identity reranker, so that all that is left is our work:
reading the request, widening, the candidates, their order, the response, the outcome. A "replay"
answers at once with a recorded response; the others are real calls. The overhead is the median
of the differences of the pairs.

    python benchmarks/dropin.py [--k 50] [--calls 1000] [--qdrant URL]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opensearchpy import OpenSearch
from qdrant_client import QdrantClient
from qdrant_client.http import models

import vecdb_rerank_opensearch
from vecdb_rerank import Deadline, Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank_opensearch import RerankingOpenSearch
from vecdb_rerank_qdrant import RerankingQdrantClient, deepen

TEXT = "A cross-encoder reads the query and the document together. " * 16  # about 1 kB
DIMENSION, COUNT = 384, 500
Call = Callable[[], Any]


class Identity(BaseReranker):
    """Keeps the first-pass order."""

    name = "identity"
    keeps_deadline = True

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        n = len(documents)
        return Scores.from_relevance([1.0 - i / n for i in range(n)])


class Replay(QdrantClient):
    """Answers the first query of each depth, and gives that answer again from then on."""

    def query_points(self, *args: Any, **kwargs: Any) -> Any:
        known: dict[Any, Any] = self.__dict__.setdefault("known", {})
        if kwargs["limit"] not in known:
            known[kwargs["limit"]] = super().query_points(*args, **kwargs)
        return known[kwargs["limit"]]


@contextmanager
def qdrant(client: Any, k: int) -> Iterator[tuple[Call, Call]]:
    """A raw widened call and the wrapped one, on a collection of their own."""
    drawn = random.Random(0)
    name = f"dropin-{uuid.uuid4().hex[:8]}"
    vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=vectors)
    client.upsert(
        name,
        [
            models.PointStruct(
                id=n + 1,
                vector=[drawn.gauss(0, 1) for _ in range(DIMENSION)],
                payload={"title": f"Title {n}", "text": f"{n}: {TEXT}", "tags": ["a", "b"], "n": n},
            )
            for n in range(COUNT)
        ],
        wait=True,
    )
    request: dict[str, Any] = {
        "collection_name": name,
        "query": [drawn.gauss(0, 1) for _ in range(DIMENSION)],
        "limit": 10,
        "with_payload": ["title", "n"],
    }
    deep = deepen(request, k)
    wrapped = RerankingQdrantClient(client, Identity(), k=k)

    try:
        yield (
            lambda: client.query_points(**deep),
            lambda: wrapped.query_points(**request, rerank_query="a query of some words"),
        )
    finally:
        client.delete_collection(name)


class ReplayTransport:
    """Answers every search with one recorded response."""

    def __init__(self, k: int) -> None:
        source = {"title": "Title", "tags": ["a", "b"], "n": 1}
        hits = [
            {"_index": "docs", "_id": str(n), "_score": 9 - n / 100, "_source": source}
            for n in range(k)
        ]
        for n, hit in enumerate(hits):
            hit["fields"] = {"text": [f"{n}: {TEXT}"], "title": [f"Title {n}"]}
        total = {"value": 100, "relation": "eq"}
        self.answer = {"took": 5, "hits": {"total": total, "max_score": 9.0, "hits": hits}}

    def perform_request(self, *_: Any, **__: Any) -> Any:
        return self.answer


@contextmanager
def opensearch(client: Any, k: int) -> Iterator[tuple[Call, Call]]:
    """A raw widened call and the wrapped one."""
    body = {
        "query": {"match": {"text": "a query of some words"}},
        "size": 10,
        "_source": ["title", "n"],
    }
    deep = vecdb_rerank_opensearch.deepen(body, k)
    wrapped = RerankingOpenSearch(client, Identity(), k=k)
    yield (
        lambda: client.search(index="docs", body=deep),
        lambda: wrapped.search(index="docs", body=body),
    )


def opensearch_replay(k: int) -> Any:
    """A client that answers at once."""
    client: Any = OpenSearch()
    client.transport = ReplayTransport(k)
    return client


def paired(raw: Call, ours: Call, calls: int) -> dict[str, float]:
    """Milliseconds: the median of both, and the median and 95th percentile of what is added."""
    pairs = [(timed(raw), timed(ours)) for _ in range(calls + 30)][30:]
    added = statistics.quantiles([two - one for one, two in pairs], n=20)
    return {
        "raw_p50_ms": round(statistics.median(one for one, _ in pairs), 3),
        "wrapped_p50_ms": round(statistics.median(two for _, two in pairs), 3),
        "overhead_p50_ms": round(added[9], 3),
        "overhead_p95_ms": round(added[18], 3),
    }


def timed(call: Call) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--qdrant", metavar="URL", help="a server, over REST and gRPC, besides")
    options = parser.parse_args()
    clients: dict[str, Any] = {
        "qdrant, replay": Replay(":memory:"),
        "qdrant, local": QdrantClient(":memory:"),
    }
    if options.qdrant:
        clients["qdrant, REST"] = QdrantClient(options.qdrant)
        clients["qdrant, gRPC"] = QdrantClient(options.qdrant, prefer_grpc=True)
    results = {}
    for name, client in clients.items():
        with qdrant(client, options.k) as calls:
            results[name] = paired(*calls, options.calls)
    with opensearch(opensearch_replay(options.k), options.k) as calls:
        results["opensearch, replay"] = paired(*calls, options.calls)
    print(json.dumps({"k": options.k, **results}, indent=2))


if __name__ == "__main__":
    main()
