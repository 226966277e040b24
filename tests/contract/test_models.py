"""The contract suites over the rerankers and embedders that come with the package."""

from __future__ import annotations

import pytest

from benchmarks.checkpoints import minilm
from tests.torch_engine.test_untrusted_text import wheel_model
from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.embedders.torch import TorchEmbedder
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.testing import EmbedderContract, HashEmbedder, RerankerContract


class TestOnnxReranker(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> OnnxReranker:
        return OnnxReranker()


class TestCrossEncoderReranker(RerankerContract):
    @pytest.fixture(scope="class", params=["float32", "auto"])
    @classmethod
    def reranker(cls, request: pytest.FixtureRequest) -> CrossEncoderReranker:
        return CrossEncoderReranker(str(minilm()), dtype=request.param, score_cache_mb=0)


class TestOnnxEmbedder(EmbedderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> OnnxEmbedder:
        return OnnxEmbedder()


class TestTorchEmbedder(EmbedderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> TorchEmbedder:
        return TorchEmbedder(wheel_model(), device="cpu")


class TestFunctionEmbedder(EmbedderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> FunctionEmbedder:
        return FunctionEmbedder(HashEmbedder().embed_documents)
