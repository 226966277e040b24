"""Search texts with BM25 in an embedded Qdrant, without models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import EvaluatedConnector, Progress, fill

_TEXT = "text"


def bm25_hits(
    texts: Mapping[str, str], queries: Mapping[str, str], k: int, on_progress: Progress
) -> Mapping[str, Sequence[str]]:
    """Return the ids of each query's ``k`` best texts, best first."""
    settings = Settings(
        backend={"type": "qdrant", "path": ":memory:"},
        embedder={"type": "none"},
        reranker={"type": "none"},
        text_fields={"fields": [_TEXT]},
        policy={"deadline": None},
    )
    done = iter(range(1, len(queries) + 1))
    connector: EvaluatedConnector = factory.build(settings)
    with closing(connector):
        # A collection has a dense vector, which BM25 never reads.
        placeholder = FunctionEmbedder(lambda batch: [[1.0]] * len(batch), dimension=1)
        connector.pipeline = replace(connector.pipeline, embedder=placeholder)
        documents = ({"_id": i, _TEXT: text} for i, text in texts.items())
        fill(connector, documents, lambda n: on_progress("indexing", n, len(texts)))
        found = runs.run(
            connector,
            queries,
            modes=["bm25"],
            k=k,
            rerank=False,
            on_progress=lambda: on_progress("searching", next(done), len(queries)),
        )
    return found["bm25"].ranked
