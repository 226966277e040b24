"""What is OpenSearch's own: sources, highlights, facets, routing, aliases, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.contract.backends import (
    OPENSEARCH,
    Backend,
    Remembering,
    first_pass_notes,
    opened,
    opensearch_client,
)
from tests.contract.documents import BY_ID, FORMS, NESTED
from tests.servers import free_port
from vecdb_rerank.errors import ConfigurationError, FirstPassError, SchemaError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.request import Fusion, Language
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name, one_line
from vecdb_rerank.testing.searching import WIDE, every_mode
from vecdb_rerank.text_fields import TextFields


@pytest.fixture(scope="module")
def index(opensearch: Backend, models: Remembering) -> Iterator[str]:
    name = new_name()
    connector = opensearch.connect(name, embedder=models, reranker=models)
    opensearch.call(connector.create())
    report = opensearch.call(connector.add(NESTED))
    assert report.added == len(NESTED)
    yield name
    opensearch.call(connector.delete())


@pytest.fixture
def connector(opensearch: Backend, index: str, models: Remembering) -> Any:
    return opensearch.connect(index, embedder=models, reranker=models)


def stored(backend: Backend, index: str, **body: Any) -> dict[str, Any]:
    """The hits as OpenSearch itself gives them, by id."""
    request = {"query": {"match_all": {}}, "size": 100, **body}
    response = backend.call(backend.client.search(index=index, body=request))
    return {hit["_id"]: hit for hit in response["hits"]["hits"]}


def notes(backend: Backend, connector: Any, query: str, **options: Any) -> Mapping[str, str]:
    """The notes of a first pass."""
    return first_pass_notes(backend.call, connector, query, **options)


def hits(response: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response["hits"]["hits"]
    return found


SOURCES: list[Any] = [
    True,
    False,
    "number",
    ["number"],
    ["text"],
    ["meta.author.name", "tags"],
    [],
    {"includes": ["number", "meta.*"]},
    {"excludes": ["text", "dense"]},
    {"includes": ["*"], "excludes": ["title", "text", "meta", "bm25_text"]},
    {"excludes": ["meta.summary"]},
]


@every_mode
@pytest.mark.parametrize("names", [("title", "text"), ("meta.summary", "text")])
@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_sources(
    opensearch: Backend,
    index: str,
    models: Remembering,
    source: Any,
    names: tuple[str, ...],
    mode: str,
) -> None:
    """Whatever is selected: all is reranked alike, and hits hold what was selected."""
    options: dict[str, Any] = {"embedder": models, "reranker": models}
    connector = opensearch.connect(index, text_fields=TextFields(names), **options)
    with observe() as outcomes:
        plain = opensearch.call(connector.search(WIDE, mode=mode))
        response = opensearch.call(connector.search(WIDE, mode=mode, _source=source))
    assert [outcome.status for outcome in outcomes] == ["reranked", "reranked"]
    assert [(h["_id"], h["_score"]) for h in hits(response)] == [
        (h["_id"], h["_score"]) for h in hits(plain)
    ]
    expected = stored(opensearch, index, _source=source)
    for hit in hits(response):
        assert {**hit, "_score": 1.0} == {**expected[hit["_id"]], "_score": 1.0}


@every_mode
def test_fields_of_the_caller(opensearch: Backend, index: str, connector: Any, mode: str) -> None:
    """Fields that the caller asks for stay, also where one is the text."""
    for fields in (["number"], ["number", "text"], ["t*", "meta.author.age"]):
        body = {"fields": fields}
        response = opensearch.call(connector.search(WIDE, mode=mode, _source=False, body=body))
        expected = stored(opensearch, index, _source=False, fields=fields)
        for hit in hits(response):
            assert hit["fields"] == expected[hit["_id"]]["fields"]


@every_mode
def test_hits_are_opensearchs_own(
    opensearch: Backend, index: str, connector: Any, mode: str
) -> None:
    """A hit is the document as it went in; the response is plain JSON with all its parts."""
    response = opensearch.call(connector.search(WIDE, mode=mode))
    assert json.loads(json.dumps(response)) == response
    assert {"took", "timed_out", "_shards", "hits"} <= set(response)
    assert response["hits"]["max_score"] == hits(response)[0]["_score"]
    for hit in hits(response):
        assert hit["_source"] == BY_ID[hit["_id"]]
        assert hit["_index"] == index


@every_mode
def test_total(opensearch: Backend, index: str, connector: Any, mode: str) -> None:
    """``hits.total`` is the server's, on every page."""
    pages = [
        opensearch.call(connector.search(WIDE, mode=mode, k=20, limit=5, offset=offset))
        for offset in (0, 10)
    ]
    assert pages[0]["hits"]["total"] == pages[1]["hits"]["total"]
    assert pages[0]["hits"]["max_score"] == pages[1]["hits"]["max_score"]
    if mode == "bm25":
        query = {"match": {"bm25_text": WIDE}}
        direct = opensearch.call(opensearch.client.search(index=index, body={"query": query}))
        assert pages[0]["hits"]["total"] == direct["hits"]["total"]
    no_total = opensearch.call(connector.search(WIDE, mode=mode, body={"track_total_hits": False}))
    assert len(hits(no_total)) == 10


def test_total_and_facets_of_what_is_fused_here(opensearch: Backend, connector: Any) -> None:
    """Facets count what a hybrid query counts; a total alone is marked as a lower bound."""

    def searched(fusion: Fusion, **native: Any) -> Any:
        arguments = {"k": 10, "limit": 5, "fusion": fusion, **native}
        return opensearch.call(connector.search(WIDE, **arguments))

    theirs, ours = Fusion(), Fusion(weights=(0.5, 0.5))
    aggs = {"subjects": {"terms": {"field": "subject.keyword", "size": 20}}}
    for native in ({"aggs": aggs}, {"aggs": aggs, "body": {"track_total_hits": 12}}):
        expected, found = searched(theirs, **native), searched(ours, **native)
        assert found["aggregations"] == expected["aggregations"]
        assert found["hits"]["total"] == expected["hits"]["total"]
    exact, bound = searched(theirs)["hits"]["total"], searched(ours)["hits"]["total"]
    assert exact["relation"] == "eq"
    assert bound["relation"] == "gte"
    assert 10 <= bound["value"] <= exact["value"]
    assert "total" not in searched(ours, body={"track_total_hits": False})["hits"]


@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
@pytest.mark.parametrize("fusion", [None, Fusion(weights=(0.5, 0.5))], ids=["default", "weighted"])
def test_highlight(opensearch: Backend, connector: Any, mode: str, fusion: Any) -> None:
    highlight: dict[str, Any] = {"fields": {"bm25_text": {}}}  # what BM25 searches
    query = "honey bees dance"
    response = opensearch.call(
        connector.search(query, mode=mode, fusion=fusion, highlight=highlight, _source=False)
    )
    first = hits(response)[0]
    assert first["_id"] == "bees-0"
    assert "<em>dance</em>" in " ".join(first["highlight"]["bm25_text"])
    assert "_source" not in first
    assert "fields" not in first


@every_mode
@pytest.mark.parametrize("fusion", [None, Fusion(weights=(0.5, 0.5))], ids=["default", "weighted"])
def test_facets(opensearch: Backend, connector: Any, mode: str, fusion: Any) -> None:
    aggs = {"subjects": {"terms": {"field": "subject.keyword", "size": 20}}}
    arguments: dict[str, Any] = {"mode": mode, "fusion": fusion, "k": 40, "aggs": aggs}
    response = opensearch.call(connector.search(WIDE, limit=3, **arguments))
    buckets = response["aggregations"]["subjects"]["buckets"]
    assert sum(bucket["doc_count"] for bucket in buckets) == response["hits"]["total"]["value"]
    later = opensearch.call(connector.search(WIDE, limit=3, offset=3, **arguments))
    assert later["aggregations"] == response["aggregations"]


@every_mode
@pytest.mark.parametrize("fusion", [None, Fusion(weights=(0.5, 0.5))], ids=["default", "weighted"])
def test_filters(opensearch: Backend, connector: Any, mode: str, fusion: Any) -> None:
    """One filter or a list of them, of which all hold."""
    one = {"term": {"subject.keyword": "tax"}}
    both = [one, {"range": {"number": {"gte": 3}}}]
    for native, expected in ((one, {0, 1, 2, 3, 4}), (both, {3, 4}), (tuple(both), {3, 4})):
        response = opensearch.call(
            connector.search(
                "tax office receipts income tax invoice losses machine",
                mode=mode,
                fusion=fusion,
                filter=native,
            )
        )
        found = {int(doc_id.removeprefix("tax-")) for doc_id in ids(connector, response)}
        assert found <= expected
        assert found
        if mode != "bm25":
            assert found == expected


@every_mode
@pytest.mark.parametrize("fusion", [None, Fusion(weights=(0.5, 0.5))], ids=["default", "weighted"])
def test_routing_and_preference(
    opensearch: Backend, models: Remembering, mode: str, fusion: Any
) -> None:
    """Both reach the server: each narrows the search to one of three shards."""
    name = new_name()
    connector = opensearch.connect(name, embedder=models, reranker=models)
    from vecdb_rerank_opensearch.schema import index_body

    shards: Mapping[str, Any] = index_body(connector.store._layout, models.dimension)
    shards["settings"]["index"]["number_of_shards"] = 3
    opensearch.call(opensearch.client.indices.create(index=name, body=shards))
    opensearch.call(connector.add(NESTED))
    every = {"query": {"match_all": {}}, "size": 100, "_source": False}
    for native in ({"routing": "x"}, {"preference": "_shards:1"}):
        direct = opensearch.call(opensearch.client.search(index=name, body=every, params=native))
        expected = {hit["_id"] for hit in hits(direct)}
        assert 0 < len(expected) < len(NESTED)
        for explain in (False, True):
            response = opensearch.call(
                connector.search(
                    WIDE, mode=mode, fusion=fusion, limit=40, explain=explain, **native
                )
            )
            assert set(ids(connector, response)) <= expected
            assert mode == "bm25" or set(ids(connector, response)) == expected
    opensearch.call(connector.delete())


@every_mode
@pytest.mark.parametrize("fusion", [None, Fusion(weights=(0.5, 0.5))], ids=["default", "weighted"])
def test_alias_and_pattern(
    opensearch: Backend, models: Remembering, mode: str, fusion: Any
) -> None:
    """Several indices are searched as one, also where two hold a document of the same id."""
    name = new_name()
    options: dict[str, Any] = {"embedder": models, "reranker": models}
    parts = [opensearch.connect(f"{name}-{n}", **options) for n in (1, 2)]
    for n, part in enumerate(parts):
        opensearch.call(part.create())
        same = Document("same", {"text": f"honey bees of index {n}"})
        opensearch.call(part.add([*NESTED[n::2], same]))
    opensearch.call(opensearch.client.indices.put_alias(index=f"{name}-*", name=f"alias-{name}"))
    for target in (f"alias-{name}", f"{name}-*", f"{name}-1,{name}-2"):
        connector = opensearch.connect(target, **options)
        assert [finding for finding in opensearch.call(connector.check()) if not finding.ok] == []
        for explain in (False, True):
            with observe() as outcomes:
                response = opensearch.call(
                    connector.search(
                        "honey bees", mode=mode, fusion=fusion, k=60, limit=60, explain=explain
                    )
                )
            (outcome,) = outcomes
            assert len(outcome.relevance) == outcome.seen
            assert {f"{name}-1/same", f"{name}-2/same"} <= outcome.relevance.keys()
            found = [(hit["_index"], hit["_id"]) for hit in hits(response)]
            assert len(found) == len(set(found))
            assert {(f"{name}-1", "same"), (f"{name}-2", "same")} <= set(found)
            assert mode == "bm25" or len(found) == len(NESTED) + 2
    for part in parts:
        opensearch.call(part.delete())


@every_mode
def test_fields_with_boosts(
    opensearch: Backend, index: str, models: Remembering, mode: str
) -> None:
    fields = ["title^2", "text"]
    connector = opensearch.connect(index, bm25_fields=fields, embedder=models, reranker=models)
    assert opensearch.call(connector.create()) is False
    response = opensearch.call(connector.search("how do honey bees dance", mode=mode))
    assert ids(connector, response)[0] == "bees-0"
    quick = opensearch.connect(
        index, bm25_fields=fields, embedder=models, reranker=KeepingReranker()
    )
    assert hits(opensearch.call(quick.search("bread " * 1_500, mode=mode)))


@pytest.mark.parametrize("name", ["query", "size", "from", "search_pipeline", "sort"])
def test_body_that_is_not_the_callers(opensearch: Backend, connector: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        opensearch.call(connector.search(WIDE, body={name: 1}))


def test_ids_that_are_too_long(opensearch: Backend, models: Remembering) -> None:
    connector = opensearch.connect(new_name(), embedder=models, reranker=models)
    opensearch.call(connector.create())
    documents = [Document("é" * 257, {"text": "too long"}), Document("é" * 256, {"text": "fits"})]
    report = opensearch.call(connector.add(documents))
    opensearch.call(connector.delete())
    assert (report.added, [f.id for f in report.failed]) == (1, ["é" * 257])
    assert "512" in report.failed[0].reason


@pytest.mark.parametrize("name", OPENSEARCH)
@every_mode
def test_unreachable(name: str, mode: str, models: Remembering) -> None:
    """A host that is not there is one line, at once."""
    port = free_port()
    with opened(name, opensearch_client(name, f"http://127.0.0.1:{port}")) as backend:
        connector = backend.connect("docs", embedder=models, reranker=models)
        started = time.monotonic()
        with pytest.raises(
            FirstPassError, match=rf"127\.0\.0\.1:{port} cannot be reached"
        ) as caught:
            backend.call(connector.search(WIDE, mode=mode))
        assert time.monotonic() - started < 5
        assert one_line(caught.value)
        findings = backend.call(connector.check())
        assert [finding.ok for finding in findings] == [False]


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
@pytest.mark.parametrize("evidence", [False, True])
def test_a_bm25_field_that_is_not_there_is_told(
    opensearch: Backend, mode: str, evidence: bool
) -> None:
    """The server finds nothing in it, without an error."""
    name = new_name()
    options = {"embedder": HashEmbedder(), "reranker": KeepingReranker()}
    right = opensearch.connect(name, **options)
    opensearch.call(right.create())
    opensearch.call(right.add([{"id": 1, "text": "one"}]))
    policy = Policy(branch_evidence=evidence)
    wrong = opensearch.connect(name, bm25_fields=["body"], policy=policy, **options)
    if mode == "bm25":
        with pytest.raises(SchemaError, match="'body'"):
            opensearch.call(wrong.search("one", mode=mode))
    else:  # the other branch still finds something
        assert ids(wrong, opensearch.call(wrong.search("one", mode=mode))) == ["1"]
        assert "'body'" in notes(opensearch, wrong, "one", mode=mode)["dead_branch"]
    assert opensearch.call(right.search("nothing like it", mode=mode)) is not None
    opensearch.call(right.delete())


def test_bm25_fields_are_a_list(opensearch: Backend) -> None:
    with pytest.raises(ConfigurationError, match=r"bm25_fields: .*\['body'\]"):
        opensearch.connect("docs", bm25_fields="body")


def test_numbers_and_words_may_both_be_ids(opensearch: Backend) -> None:
    name = new_name()
    connector = opensearch.connect(name, embedder=HashEmbedder(), reranker=KeepingReranker())
    opensearch.call(connector.create())
    documents = [{"id": 1, "text": "one"}, {"id": "c-3", "text": "three"}]
    report = opensearch.call(connector.add(documents))
    assert (report.added, report.failed) == (2, ())
    opensearch.call(connector.delete())


@pytest.mark.parametrize("language", FORMS)
def test_bm25_stems_in_the_language_of_the_collection(
    opensearch: Backend, models: Remembering, language: Language
) -> None:
    stored_form, asked_form = FORMS[language]
    connector = opensearch.connect(new_name(), language=language, embedder=models, reranker=None)
    opensearch.call(connector.create())
    try:
        texts = [f"xyz {stored_form} xyz", "xyz abc xyz"]
        opensearch.call(connector.add({"id": n, "text": text} for n, text in enumerate(texts)))
        response = opensearch.call(connector.search(asked_form, mode="bm25"))
        found = len(connector.candidates(response))
        assert found == (language != "tamil")  # which has no analyzer
    finally:
        opensearch.call(connector.delete())


def test_an_index_in_another_language_is_told(opensearch: Backend, models: Remembering) -> None:
    name = new_name()
    german = opensearch.connect(name, language="german", embedder=models, reranker=None)
    english = opensearch.connect(name, embedder=models, reranker=None)
    opensearch.call(german.create())
    try:
        assert not opensearch.call(german.create())
        with pytest.raises(SchemaError, match="'bm25_text' as german, language is 'english'"):
            opensearch.call(english.create())
        wrong = opensearch.call(english.check())[-1]
        assert not wrong.ok
        assert "language" in wrong.fix
    finally:
        opensearch.call(german.delete())
