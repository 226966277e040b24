"""What `scan` reports for a call is what a drop-in client does with it.

``VECDB_RERANK_TEST_EXAMPLES`` sets how many calls are generated for each property.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from opensearchpy import Connection, OpenSearch
from pydantic import BaseModel
from qdrant_client import QdrantClient
from qdrant_client.http import models

from tests.dropin.opensearch import generated as opensearch
from tests.dropin.qdrant import generated as qdrant
from vecdb_rerank import ConfigurationError, Policy, TextFields, observe
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.scan import Call, scan
from vecdb_rerank.testing import KeepingReranker
from vecdb_rerank_opensearch import RerankingOpenSearch
from vecdb_rerank_qdrant import RerankingQdrantClient

EXAMPLES = int(os.environ.get("VECDB_RERANK_TEST_EXAMPLES", "100"))
properties = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 100,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
POLICY = Policy(deadline=None, breaker=None, blend=Blend("replace"))
PAYLOAD = {"title": "honey", "text": "bees"}
SOURCE = """
from opensearchpy import OpenSearch
from qdrant_client import QdrantClient, models
{database} = {made}
{database}.{call}
"""


class Answering(QdrantClient):
    """A client that answers every query with one point."""

    def query_points(self, *_: Any, **__: Any) -> Any:
        point = models.ScoredPoint(id=1, version=1, score=0.5, payload=PAYLOAD)
        return models.QueryResponse(points=[point])

    def query_batch_points(  # type: ignore[override]  # narrower
        self, collection_name: str, requests: Any, **_: Any
    ) -> Any:
        return [self.query_points() for request in requests]


class AnsweringConnection(Connection):
    """A connection that answers every search with one hit."""

    def perform_request(self, method: str, url: str, *rest: Any, **_: Any) -> Any:
        fields = {name: [value] for name, value in PAYLOAD.items()}
        hit = {"_index": "i", "_id": "1", "_score": 0.5, "_source": PAYLOAD, "fields": fields}
        answer: Any = {"_shards": {"total": 1}, "hits": {"total": 1, "hits": [hit]}}
        if "_msearch" in url:
            _, body = rest[:2]
            count = len(body.decode().splitlines()) // 2
            answer = {"responses": [{**answer, "status": 200}] * count}
        return 200, {"content-type": "application/json"}, json.dumps(answer)


@pytest.fixture(scope="module")
def points() -> Iterator[Any]:
    client = Answering(":memory:")
    yield RerankingQdrantClient(client, KeepingReranker(), policy=POLICY)
    client.close()


@pytest.fixture(scope="module")
def hits() -> Any:
    client = OpenSearch("http://localhost:1", connection_class=AnsweringConnection)
    return RerankingOpenSearch(client, KeepingReranker(), policy=POLICY)


def done(call: Callable[[], Any]) -> list[tuple[str, str]]:
    """What a drop-in client does with a call: a verdict and its reason for each request."""
    with observe() as outcomes:
        try:
            call()
        except ConfigurationError as error:
            return [("refused", error.key)]
    verdicts = {"reranked": "reranked", "skipped": "passed_through"}
    return [(verdicts[outcome.status], str(outcome.reason)) for outcome in outcomes]


def said(folder: Path, database: str, method: str, arguments: dict[str, Any]) -> tuple[Call, ...]:
    """What scan reports for the same call."""
    made = "OpenSearch()" if database == "hits" else "QdrantClient()"
    call = f"{method}({', '.join(f'{name}={code(v)}' for name, v in arguments.items())})"
    file = folder / "called.py"
    file.write_text(SOURCE.format(database=database, made=made, call=call), encoding="utf-8")
    return scan(file).calls


def code(value: Any) -> str:
    """The expression that makes ``value``."""
    if isinstance(value, BaseModel):
        given = ((name, getattr(value, name)) for name in value.model_fields_set)
        inside = ", ".join(f"{name}={code(one)}" for name, one in given)
        return f"models.{type(value).__name__}({inside})"
    if isinstance(value, Enum):
        return f"models.{type(value).__name__}.{value.name}"
    if isinstance(value, list):
        return f"[{', '.join(map(code, value))}]"
    return repr(value)


def check(done: list[tuple[str, str]], said: tuple[Call, ...]) -> None:
    assert [call.verdict for call in said] == [verdict for verdict, _ in done]
    for call, (verdict, reason) in zip(said, done, strict=True):
        event(f"{verdict}: {call.reason.partition(':')[0]}")
        if verdict == "passed_through" and "query text" in call.reason:
            assert reason.startswith("no query: the request holds ")
        elif verdict == "passed_through":
            assert call.reason == reason
        elif verdict == "refused":
            assert call.reason.startswith(f"{reason}: ")


texts = st.sampled_from((None, "bees", "", " ", "x ", 7, 0.5))
reranks = st.sampled_from((qdrant.MISSING, True, True, True, False, None, "no", 1))
numbers = st.sampled_from((qdrant.MISSING, None, 0, 3, 60, -1, 1.5, True, "5"))
documents = st.sampled_from(("x", "x ", " ", "", "other")).map(
    lambda text: models.Document(text=text, model="qdrant/bm25")
)
document = st.one_of(
    documents,
    documents.map(lambda nearest: models.NearestQuery(nearest=nearest)),
    st.sampled_from(("x", " x", "")).map(lambda text: models.TextQuery(text=text)),
)


@st.composite
def asked(draw: Any) -> dict[str, Any]:
    queries = st.one_of(qdrant.reranked, qdrant.passed())
    found = draw(qdrant.requests(queries)).arguments
    if draw(st.booleans()):
        branches = st.lists(document.map(lambda query: models.Prefetch(query=query)), max_size=2)
        found = {**found, "query": draw(document), "prefetch": draw(branches)}
    odd = {name: draw(numbers) for name in ("limit", "offset")} if draw(st.booleans()) else {}
    ours = {"rerank_query": draw(texts), "rerank": draw(reranks)}
    return {**found, **qdrant.present({**odd, **ours})}


@properties
@given(call=asked())
def test_on_a_query_of_qdrants(points: Any, tmp_path: Path, call: dict[str, Any]) -> None:
    arguments = {"collection_name": "c", **call}
    found = done(lambda: points.query_points(**arguments))
    check(found, said(tmp_path, "points", "query_points", arguments))


@properties
@given(calls=st.lists(asked(), max_size=3), text=texts)
def test_on_a_batch_of_qdrants(
    points: Any, tmp_path: Path, calls: list[dict[str, Any]], text: Any
) -> None:
    kept = ("query", "prefetch")
    requests = [
        models.QueryRequest(**{name: call[name] for name in kept if name in call}) for call in calls
    ]
    arguments = {"collection_name": "c", "requests": requests, "rerank_query": text}
    found = done(lambda: points.query_batch_points(**arguments))
    check(found, said(tmp_path, "points", "query_batch_points", arguments))


# Members of kinds in which a second copy of the rules went wrong.
odd_parts = st.sampled_from(
    (
        {},
        {"stored_fields": ["_none_"]},
        {"stored_fields": "title,_none_"},
        {"size": "0"},
        {"size": "7"},
        {"size": None},
        {"size": "many"},
        {"from": -1},
        {"from": "60"},
        {"from": [3]},
        {"_source": False, "docvalue_fields": ["title.raw"]},
        {"_source": ["x"], "docvalue_fields": [{"field": "text.raw"}]},
        {"_source": "false"},
        {"script_fields": {"text": {"script": "1"}}},
        {"sort": ["_score", "_score"]},
        {"sort": {"_score": {}}},
        {"sort": ""},
        {"ext": {"rerank": {"query_context": {"query_text": " "}}}},
        {"ext": {"rerank": {"query_context": {"query_text_path": "query.match.title.query"}}}},
        {"search_after": None},
        {"collapse": {"field": "x"}},
        {"rescore": []},
        {"rescore": {"window_size": 2}},
        {"indices_boost": {}},
    )
)
said_texts = st.sampled_from(("x", "x ", " ", "", "y", 7))
odd_queries = st.one_of(
    said_texts.map(lambda text: {"match": {"title": text}}),
    said_texts.map(lambda text: {"match": {"title": {"query": text}}}),
    st.builds(
        lambda one, other: {"bool": {"should": [{"match": {"a": one}}, {"match": {"b": other}}]}},
        said_texts,
        said_texts,
    ),
    st.sampled_from(opensearch.composed),
    st.sampled_from((None, {}, [], "bees", {"match": None}, {"knn": {"v": {"k": 3}}})),
    said_texts.map(lambda like: {"more_like_this": {"like": like}}),
    said_texts.map(
        lambda text: {"bool": {"must": {"match": {"a": "x"}}, "should": {"term": {"b": text}}}}
    ),
)
odd_bodies = st.builds(lambda query, part: {"query": query, **part}, odd_queries, odd_parts)
encoded = odd_bodies.map(json.dumps)
bodies = st.one_of(
    odd_bodies, encoded, encoded.map(str.encode), st.sampled_from(("", "[]", "{", [], 7))
)
odd_urls = st.sampled_from(
    (
        {},
        {"size": 0},
        {"from_": 70},
        {"params": {"size": "0"}},
        {"params": {"from": "x"}},
        {"q": " "},
        {"q": "x"},
        {"sort": "year"},
        {"stored_fields": "_none_"},
        {"docvalue_fields": "text.raw", "_source": False},
        {"filter_path": "hits.hits._id"},
        {"format": "json"},
        {"scroll": None},
        {"params": {"scroll": "1m"}},
    )
)


@st.composite
def searches(draw: Any) -> dict[str, Any]:
    if draw(st.booleans()):
        call = {"body": draw(bodies), **draw(odd_urls)}
    else:
        call = draw(st.one_of(opensearch.searches(), opensearch.passed()))
    ours = qdrant.present({"rerank": draw(reranks)})
    return {**call, "index": "i", "rerank_query": draw(texts), **ours}


@properties
@given(call=searches())
def test_on_a_search_of_opensearchs(hits: Any, tmp_path: Path, call: dict[str, Any]) -> None:
    check(done(lambda: hits.search(**call)), said(tmp_path, "hits", "search", call))


@properties
@given(found=st.lists(st.one_of(odd_bodies, encoded), min_size=1, max_size=3), text=texts)
def test_on_an_msearch_of_opensearchs(
    hits: Any, tmp_path: Path, found: list[Any], text: Any
) -> None:
    lines: list[Any] = []
    for body in found:
        lines += [{}, body]
    call = {"body": lines, "index": "i", "rerank_query": text}
    check(done(lambda: hits.msearch(**call)), said(tmp_path, "hits", "msearch", call))


def test_text_fields_are_those_of_the_clients(tmp_path: Path) -> None:
    file = tmp_path / "called.py"
    call = 'search(body={"query": {"match": {"a": "x"}}, "docvalue_fields": ["body.raw"], '
    source = SOURCE.format(database="hits", made="OpenSearch()", call=call + '"_source": False})')
    file.write_text(source, encoding="utf-8")
    verdicts = [
        scan(file, text_fields=fields).calls[0].verdict
        for fields in (TextFields(), TextFields(("body",)))
    ]
    assert verdicts == ["reranked", "passed_through"]
