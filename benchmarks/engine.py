"""The engine under many callers, its tokenizing, and its score cache.

    python -m benchmarks.engine [--threads 64] [--documents 10] [--dtype auto]

Prints the throughput of so many threads that call at once beside that of one call with all their
documents, p50 and p99 of their calls, wrong scores, and the times of tokenizing 50 documents cold
and warm and of a pair that comes again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from benchmarks.checkpoints import minilm
from benchmarks.rerankers import QUERY, Texts
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker


def scores(reranker: Any, documents: list[str]) -> tuple[list[float], float]:
    started = time.perf_counter()
    raw = reranker.score(QUERY, documents, deadline=Deadline()).raw
    return list(raw), time.perf_counter() - started


def together(reranker: Any, texts: Texts, threads: int, documents: int) -> dict[str, float]:
    """``threads`` calls at once beside one call with all of it."""
    ratios, waits, wrong = [], [], 0
    for _ in range(3):
        mine = [[texts.document(70) for _ in range(documents)] for _ in range(threads)]
        expected, alone = scores(reranker, [text for texts_ in mine for text in texts_])
        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(lambda batch: scores(reranker, batch), mine))
        ratios.append(alone / (time.perf_counter() - started))
        waits += [took for _, took in answers]
        found = [score for raw, _ in answers for score in raw]
        wrong += sum(abs(a - b) > 0.2 for a, b in zip(expected, found, strict=True))
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return {
        "threads": threads,
        "throughput_of_one_call": round(statistics.median(ratios), 3),
        "p50_ms": round(cuts[49] * 1e3, 1),
        "p99_ms": round(cuts[98] * 1e3, 1),
        "wrong": wrong,
    }


def tokenizing(reranker: Any, texts: Texts) -> dict[str, float]:
    """Milliseconds for 50 documents that no cache has seen, and for the same again."""
    tokens = reranker.engine.runner(Deadline()).tokens
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(20):
        documents = [texts.document(70) for _ in range(50)]
        for times in (cold, warm):
            started = time.perf_counter()
            tokens.pairs(tokens.query(QUERY), tokens.documents(documents))
            times.append((time.perf_counter() - started) * 1e3)
    return {
        "cold_ms": round(statistics.median(cold), 2),
        "warm_ms": round(statistics.median(warm), 2),
    }


def again(folder: str, texts: Texts, dtype: Any) -> float:
    """Microseconds for a pair whose score is kept."""
    reranker = CrossEncoderReranker(folder, dtype=dtype, device="cpu")
    documents = [texts.document(70) for _ in range(50)]
    scores(reranker, documents)
    times = [scores(reranker, documents)[1] for _ in range(50)]
    return round(statistics.median(times) / len(documents) * 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(2)
    from transformers import AutoTokenizer

    folder = str(minilm())
    texts = Texts(AutoTokenizer.from_pretrained(folder))
    reranker = CrossEncoderReranker(folder, dtype=options.dtype, device="cpu", score_cache_mb=0)
    reranker.warmup()
    print(
        json.dumps(
            {
                "many callers": together(reranker, texts, options.threads, options.documents),
                "tokenizing 50 documents": tokenizing(reranker, texts),
                "a pair again, microseconds": again(folder, texts, options.dtype),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
