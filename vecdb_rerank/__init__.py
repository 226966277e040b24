"""Hybrid first pass, rerank, native results: for Qdrant and OpenSearch.

::

    import vecdb_rerank

    connector = vecdb_rerank.connect()
    response = connector.search("how do I undo the last commit?")

Names load on first use, so that importing this package loads no client or model library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vecdb_rerank._version import __version__

if TYPE_CHECKING:
    from vecdb_rerank.config.factory import connect, connect_async
    from vecdb_rerank.embedders.function import FunctionEmbedder
    from vecdb_rerank.embedders.onnx import OnnxEmbedder
    from vecdb_rerank.embedders.sentence_transformers import SentenceTransformersEmbedder
    from vecdb_rerank.errors import (
        ConfigurationError,
        DatabaseError,
        FirstPassError,
        FirstPassTimeoutError,
        IngestError,
        MissingDependencyError,
        RerankError,
        RerankerSkippedError,
        RerankTimeoutError,
        SchemaError,
        VecdbRerankError,
    )
    from vecdb_rerank.flow.deadline import Deadline
    from vecdb_rerank.ingest.model import Document, IngestReport
    from vecdb_rerank.model import BranchHit, Candidate, Scores
    from vecdb_rerank.outcome import Outcome, observe
    from vecdb_rerank.policy import Policy
    from vecdb_rerank.policy.blend import Blend
    from vecdb_rerank.policy.breaker import Breaker
    from vecdb_rerank.policy.cost import Cost
    from vecdb_rerank.protocols import Embedder, Reranker
    from vecdb_rerank.request import Fusion, SearchDefaults
    from vecdb_rerank.rerankers.cascade import CascadeReranker
    from vecdb_rerank.rerankers.cohere import CohereReranker
    from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
    from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker
    from vecdb_rerank.rerankers.http import HttpReranker
    from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
    from vecdb_rerank.rerankers.onnx import OnnxReranker
    from vecdb_rerank.resilience.ledger import billed_units
    from vecdb_rerank.search.dropin import rerank_query
    from vecdb_rerank.text_fields import TextFields

_HOMES = {
    "Blend": "policy.blend",
    "BranchHit": "model",
    "Breaker": "policy.breaker",
    "Candidate": "model",
    "CascadeReranker": "rerankers.cascade",
    "CohereReranker": "rerankers.cohere",
    "ConfigurationError": "errors",
    "DatabaseError": "errors",
    "Cost": "policy.cost",
    "CrossEncoderReranker": "rerankers.cross_encoder",
    "Deadline": "flow.deadline",
    "Document": "ingest.model",
    "TextFields": "text_fields",
    "Embedder": "protocols",
    "FirstPassError": "errors",
    "FirstPassTimeoutError": "errors",
    "FlagEmbeddingReranker": "rerankers.flag_embedding",
    "FunctionEmbedder": "embedders.function",
    "Fusion": "request",
    "HttpReranker": "rerankers.http",
    "IngestError": "errors",
    "IngestReport": "ingest.model",
    "LateInteractionReranker": "rerankers.late_interaction",
    "MissingDependencyError": "errors",
    "RerankerSkippedError": "errors",
    "OnnxEmbedder": "embedders.onnx",
    "OnnxReranker": "rerankers.onnx",
    "Outcome": "outcome",
    "Policy": "policy",
    "RerankError": "errors",
    "RerankTimeoutError": "errors",
    "Reranker": "protocols",
    "SchemaError": "errors",
    "Scores": "model",
    "SearchDefaults": "request",
    "SentenceTransformersEmbedder": "embedders.sentence_transformers",
    "VecdbRerankError": "errors",
    "billed_units": "resilience.ledger",
    "connect": "config.factory",
    "connect_async": "config.factory",
    "observe": "outcome",
    "rerank_query": "search.dropin",
}

__all__ = [
    "Blend",
    "BranchHit",
    "Breaker",
    "Candidate",
    "CascadeReranker",
    "CohereReranker",
    "ConfigurationError",
    "Cost",
    "CrossEncoderReranker",
    "DatabaseError",
    "Deadline",
    "Document",
    "Embedder",
    "FirstPassError",
    "FirstPassTimeoutError",
    "FlagEmbeddingReranker",
    "FunctionEmbedder",
    "Fusion",
    "HttpReranker",
    "IngestError",
    "IngestReport",
    "LateInteractionReranker",
    "MissingDependencyError",
    "OnnxEmbedder",
    "OnnxReranker",
    "Outcome",
    "Policy",
    "RerankError",
    "RerankTimeoutError",
    "Reranker",
    "RerankerSkippedError",
    "SchemaError",
    "Scores",
    "SearchDefaults",
    "SentenceTransformersEmbedder",
    "TextFields",
    "VecdbRerankError",
    "__version__",
    "billed_units",
    "connect",
    "connect_async",
    "observe",
    "rerank_query",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    try:
        module = import_module(f"{__name__}.{home}")
    except ModuleNotFoundError as error:
        from vecdb_rerank._optional import missing

        if (known := missing(error, home.rpartition(".")[2])) is None:
            raise
        raise known from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
