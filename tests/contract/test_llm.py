"""The contract suite over a language model that judges documents by words in common."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.contract.test_remote import words
from tests.rerankers.chat.answers import data_of, likely
from tests.scripted_server import Answer, Body, scripted_server
from vecdb_rerank import LlmReranker
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.testing import RerankerContract


def overlap(body: Body) -> Answer:
    """Say yes with a probability that rises with the words in common."""
    data = data_of(body)
    query = words(data["query"])
    yes = 0.1 + 0.8 * len(query & words(data["document"])) / (len(query) + 1)
    yes += len(data["document"]) / 100_000  # no two documents alike
    return likely(("yes", math.log(yes)), ("no", math.log(1 - yes)))


class TestLlmReranker(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> Iterator[LlmReranker]:
        with scripted_server(overlap) as server:
            made = LlmReranker(server.url, model="m", mode="pointwise", max_tokens=10**7)
            yield made
            run(made.closing())
