"""The contract suite over remote rerankers, against a server that counts words in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import server as faults
from vecdb_rerank import CohereReranker, HttpReranker
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.rerankers.remote import RemoteReranker
from vecdb_rerank.testing import RerankerContract


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def overlap(_server: Any, connection: Any, body: Any) -> None:
    """A relevance of words in common, or its logit where the client asks for one."""
    query = words(body["query"])
    results: list[Any] = []
    for n, text in enumerate(body.get("texts", body.get("documents"))):
        share = len(query & words(text)) / (len(query) + 1)
        score = share * 10 - 5 if body.get("raw_scores") else share
        results.append({"index": n, "score": score, "relevance_score": score})
    faults._send(connection, faults._answer(body, results))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(faults.BEHAVIOURS, "overlap", overlap)
        with faults.fault_server("overlap") as server:
            yield server.url


class Remote(RerankerContract):
    @staticmethod
    def made(url: str) -> RemoteReranker:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, url: str) -> Iterator[RemoteReranker]:
        made = cls.made(url)
        yield made
        run(made.closing())


class TestTei(Remote):
    @staticmethod
    def made(url: str) -> RemoteReranker:
        return HttpReranker(url, format="tei")


class TestJina(Remote):
    @staticmethod
    def made(url: str) -> RemoteReranker:
        return HttpReranker(url, format="jina", model="m", api_key="k")


class TestCohere(Remote):
    @staticmethod
    def made(url: str) -> RemoteReranker:
        return CohereReranker(base_url=url, api_key="k")


del Remote  # has no server
