"""Compare weights of the branches, on judged collections and on ones with a weak branch.

Every query is searched once (hybrid, k = 50); vectors and scores are kept in the user's cache.

    python -m benchmarks.branch_weights DIR... [--weak] [--queries 200] [--seed 0] [--language L]
        [--url URL of an OpenSearch node]

Prints NDCG@10 by collection of each branch alone, of plain and tuned fusion (200 split halves), and
of the reranked search with equal weights and with the two measurements of `doctor`; that with the
change against equal weights, the better branch and tuned fusion, and its 95 % interval. With
--weak, each collection is searched again with an embedder cut to 8 dimensions, with each question
wrapped in an instruction, and with BM25 in another language.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import NoneSettings, Settings
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.evaluation import datasets, metrics, tuning, yardstick
from vecdb_rerank.evaluation.connector import temporary_connector
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.significance import paired
from vecdb_rerank.evaluation.tuning.collected import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import branch_quality
from vecdb_rerank.request import Fusion

K = 50
WRAPPED = (
    "Assume that you are an experienced analyst. Answer the following question by relying on the "
    "details shown in the documents below, and give a short response: {}"
)


class Truncated(OnnxEmbedder):
    """The bundled embedder, cut to eight dimensions."""

    @property
    def name(self) -> str:
        """A name of its own, for the cache."""
        return f"{super().name}:8"

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return unit vectors, shape (len(texts), 8)."""
        vectors = np.array(super().embed_documents(texts))[:, :8]
        found: list[list[float]] = (
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        ).tolist()
        return found

    dimension = 8


@contextmanager
def truncated() -> Iterator[None]:
    """Make searches use `Truncated`."""
    with patch("vecdb_rerank.embedders.onnx.OnnxEmbedder", Truncated):
        yield


def measure(settings: Settings, dataset: Dataset) -> tuple[Fusion, dict[str, list[float]]]:
    """Return what was measured of the branches, and the NDCG@10 of each query by way."""
    without = settings.model_copy(update={"reranker": NoneSettings()})
    with temporary_connector(without, dataset, lambda *_: None) as connector:
        found = connector.self_retrieval()
    plain = Setting(K, K, Fusion(), Blend())
    collected = tuning.collect(settings, dataset, [plain], tuning.sections(settings))
    measured = Fusion(self_retrieval=found, branch_quality=_quality(collected, plain))
    tried = {"equal": plain, "measured": replace(plain, fusion=measured)}
    quality = tuning.evaluate(collected, list(dict.fromkeys(tried.values())))
    fusions = np.array([_fused(collected, fusion) for fusion in yardstick.FUSIONS])
    return measured, {
        "bm25": _fused(collected, Fusion("min_max", weights=(1, 0))),
        "dense": _fused(collected, Fusion("min_max", weights=(0, 1))),
        "rrf": _fused(collected, Fusion()),
        "tuned fusion": yardstick.held_out(fusions).tolist(),
        **{name: list(quality[setting]) for name, setting in tried.items()},
    }


def _quality(collected: Collected, setting: Setting) -> tuple[float, float]:
    """Return what `doctor --queries-file` finds for these queries, which reads fewer hits."""
    pairs = []
    for query in collected.queries:
        one = query.scored(query.first_pass(K, setting.fusion, K), setting)
        pairs.append(branch_quality.ndcg(one.candidates, one.scores.relevance))
    bm25, dense = np.mean([pair for pair in pairs if pair], axis=0).round(2).tolist()
    return bm25, dense


def _fused(collected: Collected, fusion: Fusion) -> list[float]:
    return [
        metrics.ndcg(
            [query.names[hit.id] for hit in query.first_pass(K, fusion, 10)],
            collected.qrels[query.query_id],
        )
        for query in collected.queries
    ]


def report(name: str, settings: Settings, dataset: Dataset) -> None:
    """Print the rows of one collection."""
    measured, found = measure(settings, dataset)
    best = max(("bm25", "dense"), key=lambda branch: np.mean(found[branch]))
    print(
        f"{name}, {len(dataset.queries)} queries, self-retrieval {measured.self_retrieval}, "
        f"branch quality {measured.branch_quality}"
    )
    for way, values in found.items():
        print(f"  {way:12s} {np.mean(values):.3f}", end="")
        if way in ("equal", "measured"):
            for other in ("equal", best, "tuned fusion"):
                how = paired([a - b for a, b in zip(values, found[other], strict=True)])
                low, high = how.interval
                print(f"  {other} {how.change:+.3f} [{low:+.3f}, {high:+.3f}]", end="")
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language", default="english")
    parser.add_argument("--weak", action="store_true")
    parser.add_argument("--url")
    options = parser.parse_args()

    def configured(language: str) -> Settings:
        place = {"path": ":memory:"}
        if options.url:
            place = {"type": "opensearch", "url": options.url}
        return load(backend={**place, "language": language}).settings

    for folder in options.folders:
        dataset = datasets.load(folder).sample(options.queries, options.seed)
        report(folder.name, configured(options.language), dataset)
        if not options.weak:
            continue
        wrapped = {query: WRAPPED.format(text) for query, text in dataset.queries.items()}
        other = "french" if options.language != "french" else "english"
        for name, language, searched, made in (
            ("8 dimensions", options.language, dataset, truncated()),
            ("wrapped", options.language, replace(dataset, queries=wrapped), nullcontext()),
            (f"BM25 in {other}", other, dataset, nullcontext()),
        ):
            with made:
                report(f"{folder.name}, {name}", configured(language), searched)


if __name__ == "__main__":
    main()
