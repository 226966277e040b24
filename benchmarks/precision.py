"""Compare the NDCG@10 of the same weights in float32 and other formats.

Each format scores the BM25 hits of each query (embedded Qdrant); the model alone orders them.

The weights of the MiniLM are int8, converted to float32 (benchmarks/checkpoints.py).

    python -m benchmarks.precision DIR... [--queries 30] [--k 30] [--seed 0] [--formats int8 ...]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.checkpoints import minilm
from vecdb_rerank.evaluation import datasets, metrics
from vecdb_rerank.evaluation.bm25 import bm25_hits
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.torch_engine.hardware import RerankerDType


def rerankers(formats: Sequence[RerankerDType]) -> dict[str, BaseReranker]:
    """Return the same model in float32, the given formats, and ONNX."""
    folder = str(minilm())
    found: dict[str, BaseReranker] = {
        name: CrossEncoderReranker(folder, dtype=name, device="cpu", score_cache_mb=0)
        for name in ("float32", *formats)
    }
    return {**found, "onnx int8": OnnxReranker()}


def logits(reranker: BaseReranker, query: str, documents: Sequence[str]) -> list[float]:
    scores = reranker.score(query, documents, deadline=Deadline())
    return [math.nan if raw is None else raw for raw in scores.raw]


def compare(
    dataset: datasets.Dataset, k: int, formats: Sequence[RerankerDType]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return NDCG@10 by format, and the mean difference of its logits from those of float32."""
    texts = {
        str(document["_id"]): f"{document.get('title', '')} {document.get('text', '')}".strip()
        for document in dataset.corpus
    }
    hits: Mapping[str, Sequence[str]] = bm25_hits(texts, dataset.queries, k, lambda *_: None)
    ranked: dict[str, dict[str, list[str]]] = {}
    found: dict[str, list[float]] = {}
    for name, reranker in rerankers(formats).items():
        ranked[name], found[name] = {}, []
        for query_id, ids in hits.items():
            scores = logits(reranker, dataset.queries[query_id], [texts[i] for i in ids])
            order = sorted(range(len(ids)), key=lambda n, scores=scores: -scores[n])  # type: ignore[misc]
            ranked[name][query_id] = [ids[n] for n in order]
            found[name] += scores
    quality = {n: metrics.quality(r, dataset.qrels, k)["ndcg@10"] for n, r in ranked.items()}
    exact = found["float32"]
    apart = {
        name: statistics.fmean(abs(a - b) for a, b in zip(exact, other, strict=True))
        for name, other in found.items()
    }
    return quality, apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--k", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", default=["bfloat16", "int8"])
    options = parser.parse_args()
    for folder in options.folders:
        dataset = datasets.load(folder).sample(options.queries, options.seed)
        quality, apart = compare(dataset, options.k, options.formats)
        cells = [f"{name} {quality[name]:.4f} (logits {apart[name]:.3f})" for name in quality]
        print(f"{folder.name}: {len(dataset.queries)} queries, " + ", ".join(cells), flush=True)


if __name__ == "__main__":
    main()
