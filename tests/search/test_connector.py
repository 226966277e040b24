"""Options of connectors and their searches, at run time; `tests/typing` has the type checkers'."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank import Blend, Candidate, ConfigurationError, Policy, SearchDefaults, observe
from vecdb_rerank.errors import RerankError
from vecdb_rerank.testing import HashEmbedder, KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_opensearch import OpenSearchConnector
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

DOCUMENTS = [{"id": n, "text": f"honey bees {n}"} for n in range(1, 6)]
PURE = Policy(deadline=None, breaker=None, blend=Blend("replace"))


def qdrant(reranker: Any = None, **options: Any) -> QdrantConnector:
    options = {"embedder": HashEmbedder(), "close_client": True, **options}
    return QdrantConnector(QdrantClient(":memory:"), "docs", reranker=reranker, **options)


def opensearch(**options: Any) -> OpenSearchConnector:
    options = {"reranker": None, "embedder": None, **options}
    return OpenSearchConnector(OpenSearch("http://127.0.0.1:1"), "docs", **options)


@pytest.fixture(scope="module")
def filled() -> Any:
    with qdrant(ReversingReranker(), policy=PURE) as connector:
        connector.create()
        connector.add(DOCUMENTS)
        yield connector


def ids(connector: QdrantConnector, response: Any) -> list[Any]:
    hits: list[Candidate] = list(connector.candidates(response))
    return [hit.id for hit in hits]


@pytest.mark.parametrize("make", [qdrant, opensearch])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rerankr", None),
        ("documents", None),
        ("policy", "strict"),
        ("policy", 1),
        ("text_fields", ["text"]),
        ("defaults", 50),
        ("embedder", "bert"),
        ("reranker", "bert"),
    ],
)
def test_a_wrong_option_of_a_connector_is_named(
    make: Callable[..., Any], key: str, value: Any
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**{key: value})
    assert caught.value.key == key


@pytest.mark.parametrize("make", [qdrant, opensearch])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limt", 3),
        ("size", 3),
        ("k", "10"),
        ("k", 0),
        ("limit", "10"),
        ("limit", 51),
        ("offset", -1),
        ("depth", "10"),
        ("mode", "fuzzy"),
        ("mode", ""),
        ("fusion", "rrf"),
        ("rerank", "no"),
        ("rerank", 1),
    ],
)
def test_a_wrong_option_of_a_search_is_named(
    make: Callable[..., Any], key: str, value: Any
) -> None:
    with make() as connector, pytest.raises(ConfigurationError) as caught:
        connector.search("honey", **{key: value})
    assert caught.value.key == key


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    misspelt: Any = {"highlights": {}}
    with opensearch() as connector, pytest.raises(ConfigurationError, match="highlight"):
        connector.search("honey", **misspelt)


def test_an_option_of_the_other_database_is_unknown() -> None:
    qdrants: Any = {"with_payload": True}
    with opensearch() as connector, pytest.raises(ConfigurationError) as caught:
        connector.search("honey", **qdrants)
    assert caught.value.key == "with_payload"


def test_an_unknown_option_of_add_is_named(filled: QdrantConnector) -> None:
    unknown: Any = {"batch": 3}
    with pytest.raises(ConfigurationError) as caught:
        filled.add([], **unknown)
    assert caught.value.key == "batch"


def test_none_stands_for_the_default(filled: QdrantConnector) -> None:
    names = ["k", "limit", "offset", "mode", "depth", "fusion", "filter", "rerank", "explain"]
    given: dict[str, Any] = dict.fromkeys(names)
    assert filled.search("honey", **given) == filled.search("honey")


def test_a_small_k_lowers_the_default_limit() -> None:
    with qdrant(defaults=SearchDefaults(limit=4)) as connector:
        connector.create()
        connector.add(DOCUMENTS)
        assert len(connector.search("honey", k=2).points) == 2
        assert len(connector.search("honey").points) == 4


def test_rerank_false_is_the_first_pass_order(filled: QdrantConnector) -> None:
    with observe() as outcomes:
        plain = filled.search("honey bees 3", rerank=False)
        reranked = filled.search("honey bees 3")
    assert ids(filled, reranked) == ids(filled, plain)[::-1]
    assert [outcome.status for outcome in outcomes] == ["skipped", "reranked"]


def test_a_policy_given_to_a_search_acts_for_that_search_alone(filled: QdrantConnector) -> None:
    seen: list[str] = []
    policy = Policy(
        deadline=None, blend=Blend("replace"), on_outcome=lambda one: seen.append(one.status)
    )
    assert filled.search("honey", rerank=policy) == filled.search("honey")
    assert seen == ["reranked"]


def test_the_policy_of_a_search_decides_what_a_failure_does() -> None:
    with qdrant(RaisingReranker(), policy=PURE) as connector:
        connector.create()
        connector.add(DOCUMENTS)
        assert len(connector.search("honey").points) == 5
        with pytest.raises(RerankError):
            connector.search("honey", rerank=Policy(on_error="raise"))


async def test_every_method_of_an_asynchronous_connector_is_a_coroutine_function() -> None:
    client = AsyncQdrantClient(":memory:")
    async with AsyncQdrantConnector(
        client, "docs", reranker=KeepingReranker(), embedder=HashEmbedder(), close_client=True
    ) as connector:
        for name in ("search", "create", "add", "warmup", "check", "delete", "close"):
            assert inspect.iscoroutinefunction(getattr(connector, name))
        assert await asyncio.create_task(connector.create())
        assert (await asyncio.create_task(connector.add(DOCUMENTS))).added == 5
        response = await asyncio.create_task(connector.search("honey"))
        assert len(response.points) == 5
