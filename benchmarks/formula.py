"""Time what a caller's own formula adds to a reranked search of a drop-in.

    python benchmarks/formula.py [--k 100] [--repeats 300]

Four boosts (in stock, fresh, cheap, a brand) over ``k`` hits, as a Qdrant formula and as an
OpenSearch `function_score`: reading the request, reading the scores that came, checking that they
explain the hits, and dealing the native scores out in a reversed order. No database and no reranker
take part.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from qdrant_client.http import models

from vecdb_rerank.model import Candidate, RankedHit, Ranking
from vecdb_rerank.protocols import Formula
from vecdb_rerank.ranking import formula
from vecdb_rerank.search.learned import Learned
from vecdb_rerank_opensearch import native_scores as opensearch
from vecdb_rerank_opensearch.formula import read
from vecdb_rerank_qdrant.native_scores import NativeScores

BRAND = models.FieldCondition(key="brand", match=models.MatchValue(value="a"))
STOCK = models.FieldCondition(key="stock", range=models.Range(gt=0))
FRESH = models.ExpDecayExpression(
    exp_decay=models.DecayParamsExpression(
        x=models.DatetimeKeyExpression(datetime_key="added"),
        target=models.DatetimeExpression(datetime="2026-01-01T00:00:00Z"),
        scale=7776000.0,
    )
)
CHEAP = models.LinDecayExpression(
    lin_decay=models.DecayParamsExpression(x="price", scale=100.0, midpoint=0.5)
)
BOOSTS = [models.MultExpression(mult=[0.2, part]) for part in (STOCK, FRESH, CHEAP, BRAND)]
QUERY = models.FormulaQuery(formula=models.SumExpression(sum=["$score", *BOOSTS]))
FUNCTIONS = [
    {"filter": {"range": {"stock": {"gt": 0}}}, "weight": 0.2},
    {"exp": {"added": {"origin": "2026-01-01", "scale": "90d"}}, "weight": 0.2},
    {"linear": {"price": {"origin": 0, "scale": 100}}, "weight": 0.2},
    {"filter": {"term": {"brand": "a"}}, "weight": 0.2},
]
BODY: dict[str, Any] = {
    "query": {
        "function_score": {
            "query": {"match": {"text": "warm red scarf"}},
            "functions": FUNCTIONS,
            "score_mode": "sum",
            "boost_mode": "sum",
        }
    }
}
Scores = Sequence[float]


def qdrant(natives: Scores) -> Callable[[], tuple[Formula, list[float]]]:
    """Read points with payloads, and the answer with their native scores."""
    rng = random.Random(2)
    points = [
        models.ScoredPoint(
            id=n,
            version=0,
            score=0.0,
            payload={
                "stock": rng.randrange(3),
                "price": rng.uniform(5, 200),
                "added": f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T10:00:00Z",
                "brand": rng.choice("abcd"),
            },
        )
        for n in range(len(natives))
    ]
    below = [models.ScoredPoint(id=n, version=0, score=s) for n, s in enumerate(natives)]
    call = {
        "collection_name": "products",
        "query": QUERY,
        "prefetch": models.Prefetch(query=[0.1] * 384, limit=len(natives)),
    }

    def reading() -> tuple[Formula, list[float]]:
        sent = NativeScores.of(call, None, Learned())
        assert sent is not None
        return sent.read(points, [models.QueryResponse(points=below)] * len(sent.requests)), own

    own: list[float] = []
    kept, _ = reading()
    own += [kept.score(n, native) for n, native in enumerate(natives)]
    return reading


def opensearch_(natives: Scores) -> Callable[[], tuple[Formula, list[float]]]:
    """Read hits with the scores of the named queries."""
    names = ("vecdb_rerank.formula.native", "vecdb_rerank.formula.part 1")
    hits = [
        {
            "_id": str(n),
            "_score": s + 0.4,
            "matched_queries": dict(zip(names, (s, 0.4), strict=True)),
        }
        for n, s in enumerate(natives)
    ]
    response = {"hits": {"hits": hits}}

    def reading() -> tuple[Formula, list[float]]:
        composition = read(BODY, ("warm red scarf",))
        assert composition is not None
        _, scores = opensearch.taken(response, with_scores=False)
        return opensearch.formula(composition, scores), [s + 0.4 for s in natives]

    return reading


def cost(reading: Callable[[], tuple[Formula, list[float]]], repeats: int) -> float:
    """Return the median milliseconds of one search, as time of this process alone."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        kept, own = reading()
        found = [Candidate(n, n, "", score) for n, score in enumerate(own)]
        assert formula.mismatch(found, kept) is None
        ranking = Ranking.of(RankedHit(c, 0.0) for c in reversed(formula.under(found, kept)))
        formula.applied(ranking, found, kept)
        times.append((time.process_time() - started) * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=300)
    given = parser.parse_args()
    rng = random.Random(1)
    natives = [rng.uniform(0.2, 0.9) for _ in range(given.k)]
    for name, made in (("Qdrant", qdrant), ("OpenSearch", opensearch_)):
        print(f"{name}: {cost(made(natives), given.repeats):.2f} ms for {given.k} hits")


if __name__ == "__main__":
    main()
