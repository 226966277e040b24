"""Measure the stages of `policy.after`: what they cost, and what MMR trades.

    python -m benchmarks.after cost
    python -m benchmarks.after mmr DIR... [--queries 50] [--seed 0] [--cache FOLDER]

``cost`` prints the CPU time of each stage, and of all together, on a window of 100 generated
products, beside the similarity of their texts, which a search computes once.

``mmr`` searches judged collections once (hybrid, k=50; `benchmarks/blending.py` keeps the hits in
the cache folder) and orders the hits under each trade-off. It prints NDCG@10, and how similar the
first ten hits are to each other: the mean cosine of their dense vectors, which MMR over texts does
not see (intra-list similarity; Ziegler et al., 2005). In xquad, whose paragraphs come five to an
article, it also counts the distinct articles among the ten.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blending import Judged, load
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.cache import CachedEmbedder
from vecdb_rerank.model import Candidate, RankedHit, Scores
from vecdb_rerank.policy.after import Mmr
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import MS_MARCO_MINILM
from vecdb_rerank.policy.stages import stages
from vecdb_rerank.ranking import after
from vecdb_rerank.ranking.after_steps import prepare
from vecdb_rerank.ranking.ordering import rerank
from vecdb_rerank.ranking.similarity import similarity

K, REPEATS = 100, 2_000
LAMBDAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
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


def order(query: Judged, weight: float) -> list[int]:
    """Return the places of a query's candidates in the order of MMR."""
    scores = MS_MARCO_MINILM.scores(Scores.from_logits(query.logits))
    ranking = rerank(query.candidates, scores, Blend())
    prepared = prepare([Mmr(weight)], query.query, query.candidates, [], 0.0)
    hits = {hit.candidate.position: hit for hit in ranking.hits}
    found = after.arrange(hits, [hit.score for hit in ranking.hits], prepared) or ranking
    return [hit.candidate.position for hit in found.hits]


def alike(vectors: Any) -> float:
    """Return the mean cosine of each pair of unit vectors."""
    cosines = vectors @ vectors.T
    count = len(vectors)
    return float((cosines.sum() - np.trace(cosines)) / max(1, count * (count - 1)))


def mmr(folders: Sequence[Path], cache: Path, queries: int, seed: int) -> None:
    """Print NDCG@10 and the variety of the first ten hits for each trade-off."""
    print("| collection | lambda | NDCG@10 | similarity | articles |")
    print("| --- | ---: | ---: | ---: | ---: |")
    embedder = OnnxEmbedder()
    with closing(CachedEmbedder(embedder, embedder.name)) as cached:
        for folder in folders:
            judged = load(folder, cache, queries, seed)
            texts = [[candidate.text for candidate in query.candidates] for query in judged]
            vectors = [np.array(cached.embed_documents(each)) for each in texts]
            for weight in LAMBDAS:
                quality, similar, articles = [], [], []
                for query, of_query in zip(judged, vectors, strict=True):
                    first = order(query, weight)[:10]
                    ids = [str(query.candidates[n].id) for n in first]
                    quality.append(metrics.ndcg(ids, query.grades))
                    similar.append(alike(of_query[first]))
                    if folder.name.startswith("xquad"):
                        articles.append(len({int(one) // 5 for one in ids}))
                numbers = [statistics.fmean(quality), statistics.fmean(similar)]
                distinct = f"{statistics.fmean(articles):.1f}" if articles else ""
                cells = [folder.name, f"{weight:g}", *(f"{x:.3f}" for x in numbers), distinct]
                print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["cost", "mmr"])
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/blending"))
    options = parser.parse_args()
    if options.what == "cost":
        cost()
    else:
        mmr(options.folders, options.cache, options.queries, options.seed)


if __name__ == "__main__":
    main()
