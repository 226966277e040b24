"""Measure the engine with many concurrent callers, tokenization, and the score cache.

    python -m benchmarks.engine [--threads 64] [--documents 10] [--dtype auto] [--long | --compile]

Prints the throughput of concurrent calls relative to one call with all their documents, p50 and p99
of the calls, the number of wrong scores, the time to tokenize 50 documents cold and warm, and the
time of a cached pair.

``--long`` measures one call with 1,000 documents of 8,192 tokens instead, on a small XLM-RoBERTa
with random weights: its time, and its peak memory beyond the loaded model. ``--compile`` alternates
calls with 50 documents with and without ``compile=True``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import torch

from benchmarks.checkpoints import english, minilm, xlmr_long
from benchmarks.rerankers import QUERY, Texts
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.torch_engine.hardware import RerankerDType


def scores(reranker: CrossEncoderReranker, documents: list[str]) -> tuple[list[float], float]:
    """Return the logits of ``documents`` and the seconds that they took."""
    started = time.perf_counter()
    raw = reranker.score(QUERY, documents, deadline=Deadline()).raw
    return [x for x in raw if x is not None], time.perf_counter() - started


def measure_concurrent(
    reranker: CrossEncoderReranker, texts: Texts, threads: int, documents: int
) -> dict[str, float]:
    """Compare concurrent calls with one call for all of their documents."""
    ratios, waits, wrong = [], [], 0
    for _ in range(3):
        mine = [[texts.document(70) for _ in range(documents)] for _ in range(threads)]
        expected, alone = scores(reranker, [text for texts_ in mine for text in texts_])
        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(lambda batch: scores(reranker, batch), mine))
        ratios.append(alone / (time.perf_counter() - started))
        waits += [seconds for _, seconds in answers]
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


def measure_tokenization(reranker: CrossEncoderReranker, texts: Texts) -> dict[str, float]:
    """Return the milliseconds for 50 new documents, and for the same ones from the cache."""
    runner = reranker.engine.runner(Deadline())
    assert runner is not None
    encoder = runner.encoder
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(20):
        documents = [texts.document(70) for _ in range(50)]
        for times in (cold, warm):
            started = time.perf_counter()
            encoder.pairs(encoder.query(QUERY), encoder.documents(documents))
            times.append((time.perf_counter() - started) * 1e3)
    return {
        "cold_ms": round(statistics.median(cold), 2),
        "warm_ms": round(statistics.median(warm), 2),
    }


def measure_cached(folder: str, texts: Texts, dtype: RerankerDType) -> float:
    """Return the microseconds for a pair whose score is cached."""
    reranker = CrossEncoderReranker(folder, dtype=dtype, device="cpu")
    documents = [texts.document(70) for _ in range(50)]
    scores(reranker, documents)
    times = [scores(reranker, documents)[1] for _ in range(50)]
    return round(statistics.median(times) / len(documents) * 1e6, 1)


def measure_long(
    dtype: RerankerDType, documents: int = 1_000, tokens: int = 8_192
) -> dict[str, float]:
    """Measure one call with documents that all fill the model's window."""
    reranker = CrossEncoderReranker(
        str(xlmr_long()), dtype=dtype, device="cpu", max_length=tokens, score_cache_mb=0
    )
    reranker.warmup()
    words = " ".join(english()).split()
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, tokens)) for _ in range(documents)]
    before = peak_megabytes()
    started = time.perf_counter()
    found = reranker.score(QUERY, texts, deadline=Deadline())
    return {
        "documents": documents,
        "scored": sum(raw is not None for raw in found.raw),
        "truncated": found.truncated,
        "seconds": round(time.perf_counter() - started, 1),
        "loaded, MB": round(before),
        "peak beyond that, MB": round(peak_megabytes() - before),
    }


def peak_megabytes() -> float:
    """Return the peak memory of this process, in megabytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


def measure_compiled(dtype: RerankerDType, rounds: int = 9) -> dict[str, float]:
    """Alternate calls with and without the compiler, on the same new documents."""
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
        "not compiled, ms": round(statistics.median(b for _, b in times) * 1e3, 1),
        "ratio": round(statistics.median(a / b for a, b in times), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--dtype", default="auto", choices=get_args(RerankerDType))
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--long", action="store_true")
    kinds.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.long or options.compile:
        measure = measure_long if options.long else measure_compiled
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
                "concurrent callers": measure_concurrent(
                    reranker, texts, options.threads, options.documents
                ),
                "tokenizing 50 documents": measure_tokenization(reranker, texts),
                "a cached pair, microseconds": measure_cached(folder, texts, options.dtype),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
