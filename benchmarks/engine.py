"""The engine under many callers, its tokenizing, and its score cache.

    python -m benchmarks.engine [--threads 64] [--documents 10] [--dtype auto] [--long | --compile]

Prints the throughput of so many threads that call at once beside that of one call with all their
documents, p50 and p99 of their calls, wrong scores, and the times of tokenizing 50 documents cold
and warm and of a pair that comes again.

``--long`` is one call with 1,000 documents of 8,192 tokens each, in a small XLM-RoBERTa with random
weights, instead: its time, and the most memory that it took beyond the loaded model. ``--compile``
is the time of 50 documents with ``compile=True`` beside that without, in turn.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from benchmarks.checkpoints import english, minilm, xlmr_long
from benchmarks.rerankers import QUERY, Texts
from vecdb_rerank.flow.deadline import Deadline
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


def long(dtype: Any, documents: int = 1_000, tokens: int = 8_192) -> dict[str, Any]:
    """One call with documents that all fill the model's window."""
    reranker = CrossEncoderReranker(
        str(xlmr_long()), dtype=dtype, device="cpu", max_length=tokens, score_cache_mb=0
    )
    reranker.warmup()
    words = " ".join(english()).split()
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, tokens)) for _ in range(documents)]
    before = peak()
    started = time.perf_counter()
    found = reranker.score(QUERY, texts, deadline=Deadline())
    return {
        "documents": documents,
        "scored": sum(raw is not None for raw in found.raw),
        "that fill the window": found.truncated,
        "seconds": round(time.perf_counter() - started, 1),
        "loaded, MB": round(before),
        "more at the most, MB": round(peak() - before),
    }


def peak() -> float:
    """The most memory that this process ever had, in megabytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


def compiled(dtype: Any, rounds: int = 9) -> dict[str, Any]:
    """The same new documents with and without the compiler, in turn."""
    from transformers import AutoTokenizer

    folder = str(minilm())
    texts = Texts(AutoTokenizer.from_pretrained(folder))
    started = time.perf_counter()
    both = [
        CrossEncoderReranker(folder, dtype=dtype, device="cpu", score_cache_mb=0, compile=on)
        for on in (True, False)
    ]
    both[0].warmup()
    warmup = time.perf_counter() - started
    times: list[tuple[float, float]] = []
    for n in range(rounds + 1):
        documents = [texts.document(70) for _ in range(50)]
        with_it, without = (scores(reranker, documents)[1] for reranker in both)
        times += [(with_it, without)] if n else []  # the first round warms up
    return {
        "warm-up, seconds": round(warmup, 1),
        "compiled, ms": round(statistics.median(a for a, _ in times) * 1e3, 1),
        "not, ms": round(statistics.median(b for _, b in times) * 1e3, 1),
        "ratio": round(statistics.median(a / b for a, b in times), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--dtype", default="auto")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--long", action="store_true")
    kinds.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.long or options.compile:
        measure = long if options.long else compiled
        print(json.dumps(measure(options.dtype), indent=2))
        return
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
