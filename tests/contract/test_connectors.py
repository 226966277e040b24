"""The contract suite over every backend, with the bundled models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from qdrant_client.http import models as rest

from tests.contract.backends import Backend, Remembering
from vecdb_rerank.request import FusionMethod
from vecdb_rerank.testing import ConnectorContract
from vecdb_rerank.testing.base import Call, Connect


class _Bundled(ConnectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, models: Remembering) -> Remembering:
        return models

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, models: Remembering) -> Remembering:
        return models


class TestQdrant(_Bundled):
    response_type = rest.QueryResponse
    fusions: tuple[FusionMethod, ...] = ("rrf", "dbsf", "min_max", "l2")

    @pytest.fixture(scope="class")
    @classmethod
    def connect(cls, qdrant: Backend) -> Connect:
        return qdrant.connect

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, qdrant: Backend) -> Call:
        return qdrant.call

    def filter_by(self, field: str, value: str) -> Any:
        matches = rest.FieldCondition(key=field, match=rest.MatchValue(value=value))
        return rest.Filter(must=[matches])

    def other_vectors(self) -> list[Mapping[str, Any]]:
        return [{"dense_vector": "elsewhere"}, {"bm25_vector": "elsewhere"}]


class TestOpenSearch(_Bundled):
    response_type = dict

    @pytest.fixture(scope="class")
    @classmethod
    def connect(cls, opensearch: Backend) -> Connect:
        return opensearch.connect

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls, opensearch: Backend) -> Call:
        return opensearch.call

    def filter_by(self, field: str, value: str) -> Any:
        return {"term": {f"{field}.keyword": value}}

    def other_vectors(self) -> list[Mapping[str, Any]]:
        return [{"dense_vector": "elsewhere"}, {"bm25_fields": ["elsewhere"]}]
