"""Measure the stages of `policy.after`: what they cost, and what MMR trades.

    python benchmarks/after.py cost
    python benchmarks/after.py mmr DIR...

``cost`` times all stages together on a window of 100 generated products, beside the similarity of
their texts, which is computed once for all of a search. ``mmr`` searches the judged collections
with BM25 and the bundled reranker, and prints NDCG@10 and the number of distinct sources on a page
for each trade-off.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import Any

from vecdb_rerank.model import Candidate, RankedHit
from vecdb_rerank.policy.stages import stages
from vecdb_rerank.ranking import after
from vecdb_rerank.ranking.after_steps import prepare
from vecdb_rerank.ranking.similarity import similarity

K, REPEATS = 100, 2_000
STAGES: list[dict[str, Any]] = [
    {"type": "boost", "filter": {"must": [{"key": "stock", "range": {"gt": 0}}]}, "factor": 1.2},
    {"type": "decay", "field": "added", "scale": "90d", "weight": 0.3},
    {"type": "decay", "field": "price", "scale": 50, "weight": 0.2, "origin": 0, "shape": "linear"},
    {"type": "field", "field": "stock", "pivot": 10, "weight": 0.2, "curve": "log"},
    {"type": "mmr", "lambda_mult": 0.7},
    {"type": "max_per", "field": "brand", "n": 3},
    {"type": "bury", "ids": ["7", "8"]},
    {"type": "pin", "ids": ["99", "42"], "query": r"\bscarf\b"},
]
WORDS = "warm red blue green wool cotton silk striped winter long short soft light".split()


def window() -> list[RankedHit]:
    rng = random.Random(3)
    return [
        RankedHit(
            Candidate(
                n,
                n,
                " ".join(rng.choices(WORDS, k=60)),
                0.0,
                {
                    "stock": rng.randrange(50),
                    "price": rng.uniform(5, 200),
                    "added": f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T10:00:00Z",
                    "brand": rng.choice("abcdefgh"),
                },
            ),
            1 - n / K,
        )
        for n in range(K)
    ]


def cost() -> None:
    """Print the median time of each stage alone, and of all together."""
    hits = window()
    candidates = [hit.candidate for hit in hits]
    scores, numbered = [hit.score for hit in hits], dict(enumerate(hits))
    similarity(tuple(candidate.text for candidate in candidates))
    matching = [set(range(0, K, 3))]

    def timed(given: list[dict[str, Any]]) -> float:
        policy = stages(given)
        times = []
        for _ in range(REPEATS):
            begun = time.thread_time()
            prepared = prepare(policy, "red wool scarf", candidates, matching, time.time())
            after.arrange(numbered, scores, prepared)
            times.append((time.thread_time() - begun) * 1e3)
        return statistics.median(times)

    for one in STAGES:
        print(f"{one['type']:10} {timed([one]):.3f} ms")
    print(f"{'all':10} {timed(STAGES):.3f} ms")


if __name__ == "__main__":
    {"cost": cost}[sys.argv[1]]()
