"""The public names: what users import, from where."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import pytest

import vecdb_rerank
from vecdb_rerank import integrations

CORE = """
AddOptions AnyReranker AsyncConnector AsyncReranker BaseReranker Blend Boost BranchHit Breaker Bury
Calibration Candidate CascadeReranker CohereEmbedder CohereReranker ConfigurationError Connector
ConnectorOptions Cost CrossEncoderReranker DatabaseError Deadline Decay Document Effort Embedder
EmbedderError EmbedderTimeoutError Estimate ExactTerms ExplainedHit Failure FieldSignal Finding
FirstPassError FirstPassTimeoutError FlagEmbeddingReranker FunctionEmbedder FunctionReranker Fusion
HttpReranker IngestError IngestReport InvalidRerankerError JinaEmbedder LateInteractionReranker
LlmReranker MaxPer MissingDependencyError Mmr OnnxEmbedder OnnxReranker OpenAIEmbedder Outcome
Passages Pin Policy RerankError RerankTimeoutError Reranker RerankerSkippedError SchemaError Scores
SearchDefaults SearchOptions SentenceTransformersEmbedder Skip StageEffect TeiEmbedder TextFields
TorchEmbedder VecdbRerankError VoyageEmbedder WireFormat __version__ billed_units connect
connect_async observe rerank_query
"""
EXPORTS = {
    "vecdb_rerank": CORE,
    "vecdb_rerank_qdrant": """
        AsyncQdrantConnector AsyncRerankingQdrantClient Bm25 QdrantConnector QdrantSearchOptions
        RerankingQdrantClient deepen
    """,
    "vecdb_rerank_opensearch": """
        AsyncOpenSearchConnector AsyncRerankingOpenSearch OpenSearchConnector
        OpenSearchSearchOptions RerankingOpenSearch deepen
    """,
    "vecdb_rerank.testing": """
        CORPUS ConnectorContract EmbedderContract HashEmbedder KeepingReranker QUERIES
        RaisingReranker RerankerContract ReversingReranker
    """,
    "vecdb_rerank.integrations.haystack": "VecdbRerankRanker VecdbRerankRetriever",
    "vecdb_rerank.integrations.langchain": """
        VecdbRerankCompressor VecdbRerankEmbeddings VecdbRerankRetriever
    """,
    "vecdb_rerank.integrations.llama_index": """
        VecdbRerankEmbedding VecdbRerankPostprocessor VecdbRerankRetriever
    """,
}


def load(module: str) -> ModuleType:
    return importlib.import_module(module)


@pytest.mark.parametrize("module", EXPORTS)
def test_the_public_names_are_these(module: str) -> None:
    assert sorted(load(module).__all__) == sorted(EXPORTS[module].split())


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in EXPORTS for name in EXPORTS[module].split()]
)
def test_every_public_name_is_there_and_documented(module: str, name: str) -> None:
    value = getattr(load(module), name)
    if inspect.isclass(value) or inspect.isroutine(value):
        doc = inspect.getdoc(value)
        assert doc
        # A dataclass without a docstring gets its signature as one.
        assert not doc.startswith(f"{name}(")


def test_every_integration_is_listed() -> None:
    found = {
        f"{integrations.__name__}.{one.name}" for one in pkgutil.iter_modules(integrations.__path__)
    }
    assert found - set(EXPORTS) == {"vecdb_rerank.integrations.shared"}


def test_every_part_of_a_policy_is_public() -> None:
    from vecdb_rerank import policy
    from vecdb_rerank.policy.stages import TYPES

    parts = {kind.__name__ for kind in policy._PARTS.values()}
    stages = {kind.__name__ for kind in TYPES.values()}
    assert parts | stages | {"Calibration", "Policy"} <= set(CORE.split())


def test_a_star_import_brings_all_of_them() -> None:
    names: dict[str, Any] = {}
    exec("from vecdb_rerank import *", names)
    assert set(CORE.split()) <= set(names)
    assert set(dir(vecdb_rerank)) == set(CORE.split())


@pytest.mark.parametrize("package", ["vecdb_rerank_qdrant", "vecdb_rerank_opensearch"])
def test_a_connector_asked_of_the_core_is_named_with_its_package(package: str) -> None:
    for name in load(package).__all__:
        if name.endswith("Connector") or "Reranking" in name:
            with pytest.raises(AttributeError, match=f"from {package} import {name}"):
                getattr(vecdb_rerank, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Reranckr"):
        _ = vecdb_rerank.Reranckr  # type: ignore[attr-defined]  # which this is about
